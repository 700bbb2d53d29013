// SigLIP: pictures and texts in one space, each pair judged by itself. Also the checkpoints of SigLIP 2 with pictures
// of one size, whose model_type is siglip.
//
// Paper: Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training, arXiv 2303.15343.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/siglip/modeling_siglip.py
//
// Legend: B batch, Y X picture, P Q grid of patches, D width.
#include "nn/siglip.h"
#include "ops/arithmetic.h"

namespace fovea::models {
namespace {

SiglipConfig ReadConfig(const base::Config& config) { return {config, "siglip", "Siglip"}; }

struct Siglip {
  SiglipNetwork network;
  nn::PatchEmbed patch_embedding;
  nn::Embedding position_embedding;
  bool has_vision;

  explicit Siglip(const SiglipConfig& c)
      : network(c),
        patch_embedding(c.vision.num_channels, c.vision.hidden_size, c.vision.patch_size),
        position_embedding(c.vision.Grid() * c.vision.Grid(), c.vision.hidden_size),
        has_vision(c.towers.has_vision) {}

  void Visit(nn::Visitor& v) {
    if (has_vision) {
      v("vision_model.embeddings.patch_embedding", patch_embedding.projection);
      v("vision_model.embeddings.position_embedding", position_embedding);
    }
    v("", network);
  }

  bool CanEncodeImages() const { return has_vision; }
  bool CanEncodeTexts() const { return network.CanEncodeTexts(); }
  Matching HowItMatches() const { return network.HowItMatches(); }
  TextSpec Texts() const { return network.Texts(); }
  bool CanClassify() const { return network.CanClassify(); }
  int64_t FeatureSize() const { return network.FeatureSize(); }

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    network.RequireVision();
    const Tensor patches = patch_embedding.Grid(pixels);  // [B,P,Q,D]
    const auto [B, P, Q, D] = patches.Dims<4>("patches");
    const Tensor h = Reshape(patches, {B, P * Q, D}) + PositionsForGrid(position_embedding.weight, P, Q);  // [B,PQ,D]
    ImageOutputs outputs = network.EncodeEmbedded(h, {});
    outputs.grid = Reshape(outputs.grid, {B, P, Q, D});
    return outputs;
  }
  TextOutputs EncodeTexts(const TextInputs& inputs) const { return network.EncodeTexts(inputs); }
  Tensor MatchLogits(const Tensor& image_features, const Tensor& text_features) const {
    return network.MatchLogits(image_features, text_features);
  }
};

media::PreprocessSpec InputSpec(const base::Config& config) {
  media::PreprocessSpec spec;  // mean and deviation 0.5
  spec.size.height = spec.size.width = ReadConfig(config).vision.image_size;
  spec.resample = media::Filter::kBicubic;
  return spec;
}

constexpr std::string_view kUnused[] = {"*.position_ids", "vision_model.head.*"};
constexpr std::string_view kAliases[] = {"siglip_text_model", "siglip_vision_model"};

}  // namespace

const Entry& siglip_entry() {
  static const Entry entry{
      .model_type = "siglip",
      .aliases = kAliases,
      .card = {.title = "SigLIP",
               .paper = "Zhai et al. 2023, arXiv 2303.15343",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/siglip/"
                            "modeling_siglip.py",
               .tasks = "image and text features, zero-shot classification, search by words"},
      .create = [](const base::Config& config) { return MakeModel(Siglip(ReadConfig(config))); },
      .input_spec = InputSpec,
      .unused = kUnused,
      .adapt = [](std::vector<NamedTensor>& tensors,
                  const base::Config& config) { AddTowerPrefix(tensors, Towers::FromConfig(config, "Siglip")); }};
  return entry;
}

}  // namespace fovea::models
