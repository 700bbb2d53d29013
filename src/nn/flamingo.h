// What a Flamingo adds to a language model (Alayrac et al. 2022, arXiv 2204.14198): a resampler that turns the vectors
// of a picture into a fixed number, and layers of gated cross-attention through which tokens see pictures.
//
// Legend: R pictures, P vectors of a picture's tower, L latents, W width of the tower, B rows, T tokens, S vectors of a
// row's pictures, D width of the language model, H heads, E head dimension.
#pragma once

#include "nn/decoder.h"

namespace fovea::nn {

struct PerceiverOptions {
  int64_t dim = 0, latents = 64, depth = 6, heads = 16, head_dim = 96;  // W, L, blocks, H, E
  bool has_qk_norms = false;
};

// Learnt latents look at the vectors of a picture and at each other. Names as in IDEFICS.
class PerceiverResampler {
 public:
  explicit PerceiverResampler(const PerceiverOptions& options);

  Tensor operator()(const Tensor& pictures) const;  // [R,P,W] -> [R,L,W]
  void Visit(Visitor& v);

 private:
  struct Block {
    explicit Block(const PerceiverOptions& options);
    Tensor operator()(const Tensor& context, const Tensor& latents) const;  // [R,P,W], [R,L,W] -> [R,L,W]
    void Visit(Visitor& v);

    int64_t heads;
    LayerNorm context_layer_norm, latents_layer_norm;
    Linear q, k, v, output;
    Optional<LayerNorm> q_norm, k_norm;
    LayerNorm ln;
    Linear fc, c_proj;
  };

  Parameter latents_;  // [L,W]
  List<Block> blocks_;
  LayerNorm layer_norm_;
};

struct GatedCrossOptions {
  DecoderBlockOptions block;  // of the language model's own layers; memory_dim is W
  bool has_qk_norms = false;
  bool has_vector_gate = false;  // a gate for each element, not one number
};

// x + tanh(gate) attention(x), then the same with an MLP. A token that sees no picture gets nothing from the attention.
class GatedCrossBlock {
 public:
  explicit GatedCrossBlock(const GatedCrossOptions& options);

  // x [B,T,D] -> [B,T,D]. Of `inputs`: memory [B,S,W] and memory_mask, bool [B,S] or, for what each token sees,
  // [B,T,S]; with caches the memory is projected and kept when it is given, and without a mask each token sees what the
  // cache's memory_mask says. Without any memory nothing is seen.
  Tensor operator()(const Tensor& x, const models::DecodeInputs& inputs, int64_t layer) const;
  void Visit(Visitor& v);

 private:
  DecodeCache::Entries Project(const Tensor& memory) const;  // [B,S,W] -> [B,H,S,E]
  Tensor Attend(const Tensor& queries, const DecodeCache::Entries& memory, const Tensor& mask) const;  // -> [B,T,HE]
  Tensor Attention(const Tensor& x, const models::DecodeInputs& inputs, int64_t layer) const;

  DecoderBlockOptions options_;
  Norm input_layernorm_, post_attention_layernorm_;
  Linear q_, k_, v_, out_, gate_, up_, down_;
  Optional<Norm> q_norm_, k_norm_;
  Parameter alpha_cross_attn_, alpha_dense_;  // [1] or [1,1,D]
};

// Keeps in each cache what the row's last token sees, for tokens that come without a mask. mask bool [B,T,S] or [B,S].
void KeepLastMask(const models::DecodeInputs& inputs);

}  // namespace fovea::nn
