// The transformer encoder block that BERT, ViT, CLIP and their families share: self-attention and a two-layer MLP, each
// with a skip connection and a LayerNorm before (ViT, CLIP) or after it (BERT).
//
// What differs between the families is where the norm stands and how checkpoints call the eight parts; the first is an
// option, the second a table of names in the model's file:
//
//   constexpr nn::EncoderBlockNames kNames = {.q = "self_attn.q_proj", ...};
//   nn::EncoderBlock block({.dim = 768, .heads = 12, .ffn = 3072, .act = Act::kGelu, .eps = 1e-12}, kNames);
//
// A block with more parts (layer scale, gates, cross-attention) is the private business of its model file.
#pragma once

#include <string_view>

#include "nn/attention.h"
#include "nn/conv.h"
#include "nn/norm.h"
#include "ops/shape.h"

namespace fovea::nn {

// Names of the parts inside a block. norm1 belongs to the attention, norm2 to the MLP.
struct EncoderBlockNames {
  std::string_view q, k, v, out, norm1, fc1, fc2, norm2;
};

struct EncoderBlockOptions {
  int64_t dim, heads, ffn;  // D, H, F
  Act act = Act::kGelu;
  double eps = 1e-5;
  bool is_pre_norm = true;
  bool has_qkv_bias = true;
  double dropout = 0;            // after the attention and after the MLP, while training
  double attention_dropout = 0;  // of the attention weights, while training
};

class EncoderBlock {
 public:
  // `names` must outlive the block: a constexpr table.
  EncoderBlock(const EncoderBlockOptions& options, const EncoderBlockNames& names);

  Tensor operator()(const Tensor& x, const AttentionOptions& mask = {}) const;  // [B,T,D] -> [B,T,D]
  void Visit(Visitor& v);

  MultiHeadAttention attention;
  LayerNorm norm1, norm2;
  Linear fc1, fc2;

 private:
  Tensor Forward(const Tensor& x, const AttentionOptions& mask) const;  // [B,T,D] -> [B,T,D]
  Tensor Mlp(const Tensor& x) const;                                    // [B,T,D] -> [B,T,D]

  EncoderBlockOptions options_;
  const EncoderBlockNames* names_;
};

// A picture as a sequence: each square of patch_size x patch_size pixels becomes one vector. The owner visits
// `projection` under the name its checkpoints use.
class PatchEmbed {
 public:
  PatchEmbed(int64_t channels, int64_t dim, int64_t patch_size, bool has_bias = true)
      : projection({.in_channels = channels, .out_channels = dim, .kernel_size = patch_size, .has_bias = has_bias}),
        patch_size_(patch_size) {}

  Tensor Grid(const Tensor& pixels) const {  // [B,Y,X,C] -> [B,Y/p,X/p,D]; pixels that fill no patch are left out
    return projection(pixels, {.stride_y = patch_size_, .stride_x = patch_size_});
  }
  Tensor operator()(const Tensor& pixels) const {  // [B,Y,X,C] -> [B,P,D], row by row
    const Tensor grid = Grid(pixels);
    return Reshape(grid, {grid.dim(0), grid.dim(1) * grid.dim(2), grid.dim(3)});
  }

  Conv2d projection;

 private:
  int64_t patch_size_;
};

}  // namespace fovea::nn
