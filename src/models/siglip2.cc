// SigLIP 2 with pictures at their own aspect ratio (NaFlex): a picture is cut into at most num_patches squares, and the
// position embeddings are resized to its rows and columns.
//
// Paper: Tschannen et al. 2025, SigLIP 2: Multilingual Vision-Language Encoders, arXiv 2502.14786.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/siglip2/modeling_siglip2.py
//
// Legend: B batch, P patches with padding, F numbers in a patch, D width, G side of the square of positions.
#include <cmath>

#include "nn/siglip.h"
#include "ops/arithmetic.h"
#include "ops/resize.h"

namespace fovea::models {
namespace {

struct Config : SiglipConfig {
  int64_t num_patches = 256, grid = 16;

  explicit Config(const base::Config& c) : SiglipConfig(c, "siglip2", "Siglip2") {
    if (towers.has_vision) TowerKeys(c, "vision_config", towers).Read("num_patches", num_patches, 1, 1e6);
    grid = std::lround(std::sqrt(static_cast<double>(num_patches)));
    Require(grid * grid == num_patches, "[siglip2] expected num_patches that is a square, got ", num_patches);
  }
  int64_t PatchNumbers() const { return vision.num_channels * vision.patch_size * vision.patch_size; }
};

struct Siglip2 {
  Config config;
  SiglipNetwork network;
  nn::Linear patch_embedding;
  nn::Embedding position_embedding;

  explicit Siglip2(const Config& c)
      : config(c),
        network(c),
        patch_embedding({.in_features = c.PatchNumbers(), .out_features = c.vision.hidden_size}),
        position_embedding(c.num_patches, c.vision.hidden_size) {}

  void Visit(nn::Visitor& v) {
    if (config.towers.has_vision) {
      v("vision_model.embeddings.patch_embedding", patch_embedding);
      v("vision_model.embeddings.position_embedding", position_embedding);
    }
    v("", network);
  }

  bool CanEncodePatches() const { return config.towers.has_vision; }
  bool CanEncodeTexts() const { return network.CanEncodeTexts(); }
  Matching HowItMatches() const { return network.HowItMatches(); }
  TextSpec Texts() const { return network.Texts(); }
  bool CanClassify() const { return network.CanClassify(); }
  int64_t FeatureSize() const { return network.FeatureSize(); }

  // Position embeddings of each picture, resized to its grid; padding gets those of the first patch. shapes i64 [B,2]
  Tensor Positions(const Tensor& shapes, int64_t P) const {
    const int64_t B = shapes.dim(0), G = config.grid, D = config.vision.hidden_size;
    const Tensor sizes = shapes.Contiguous();
    const Tensor square = Reshape(position_embedding.weight, {1, G, G, D});
    std::vector<Tensor> rows;
    for (int64_t b = 0; b < B; ++b) {
      const int64_t y = sizes.data<int64_t>()[2 * b], x = sizes.data<int64_t>()[2 * b + 1];
      Require(y >= 1 && x >= 1 && y <= P && x <= P / y, "[siglip2] expected a grid of at most ", P, " patches, got ", y,
              "x", x);
      const Tensor resized = Resize2d(square, {y, x}, {.antialias = true});  // [1,y,x,D]
      const Tensor flat = Reshape(resized, {y * x, D});                      // [yx,D]
      rows.push_back(Concat({flat, Expand(Slice(flat, 0, 0, 1), {P - y * x, D})}, 0));
    }
    return Stack(rows, 0);  // [B,P,D]
  }

  ImageOutputs EncodePatches(const PatchInputs& inputs) const {
    network.RequireVision();
    const auto [B, P, F] = inputs.patches.Dims<3>("patches");
    Require(inputs.shapes.defined() && inputs.shapes.shape() == Shape({B, 2}), "[siglip2] expected shapes [", B,
            ",2], got ", inputs.shapes.shape());
    Require(F == config.PatchNumbers(), "[siglip2] expected ", config.PatchNumbers(), " numbers in a patch, got ", F);
    const Tensor h = patch_embedding(inputs.patches) + Positions(inputs.shapes, P);  // [B,P,D]
    ImageOutputs outputs = network.EncodeEmbedded(h, inputs.mask);
    outputs.grid = Unsqueeze(outputs.grid, 1);  // [B,1,P,D]: row by row of each picture's own grid, then padding
    return outputs;
  }
  TextOutputs EncodeTexts(const TextInputs& inputs) const { return network.EncodeTexts(inputs); }
  Tensor MatchLogits(const Tensor& image_features, const Tensor& text_features) const {
    return network.MatchLogits(image_features, text_features);
  }
};

constexpr std::string_view kUnused[] = {"*.position_ids", "vision_model.head.*"};
constexpr std::string_view kAliases[] = {"siglip2_text_model", "siglip2_vision_model"};

}  // namespace

const Entry& siglip2_entry() {
  static const Entry entry{
      .model_type = "siglip2",
      .aliases = kAliases,
      .card = {.title = "SigLIP 2 NaFlex",
               .paper = "Tschannen et al. 2025, arXiv 2502.14786",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/siglip2/"
                            "modeling_siglip2.py",
               .tasks = "image and text features, zero-shot classification, search by words"},
      .create = [](const base::Config& config) { return MakeModel(Siglip2(Config(config))); },
      .input_spec = nullptr,
      .unused = kUnused,
      .adapt = [](std::vector<NamedTensor>& tensors,
                  const base::Config& config) { AddTowerPrefix(tensors, Towers::FromConfig(config, "Siglip2")); }};
  return entry;
}

}  // namespace fovea::models
