// A network with its weights, its way of preparing pictures and its class names: what a model folder becomes.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "fovea/model.h"
#include "media/patches.h"
#include "media/preprocess.h"
#include "media/tiles.h"
#include "nn/entry.h"
#include "runtime/text_encoder.h"
#include "tensor/named_tensor.h"

namespace fovea::runtime {

struct Weight;  // gguf_model.h

struct LoadOptions {
  // Weights that layers read through packed copies may stay in the compact type of the file (f16, bf16): faster to
  // load, half the memory. Training needs them in f32.
  bool keeps_compact_weights = true;
  // kBF16 rounds the matrices of linear layers to bf16: half the memory traffic. Where the processor multiplies bf16
  // faster than f32, layers round their inputs too. Everything else stays f32.
  DType precision = DType::kF32;
};

class LoadedModel {
 public:
  // Reads `folder` (config.json, preprocessor_config.json or processor_config.json, weights), which may be a GGUF file
  // instead. `name`: what the user called it.
  static std::shared_ptr<const LoadedModel> Load(const std::string& folder, const std::string& name,
                                                 const LoadOptions& options = {});

  const ModelInfo& info() const { return info_; }
  const base::Config& config() const { return config_; }
  const media::PreprocessSpec& preprocess() const { return preprocess_; }
  const std::vector<std::string>& class_names() const { return class_names_; }
  const models::Model& network() const { return *network_; }

  const TextEncoder& texts() const { return *texts_; }

  // Features of texts, [N,D], not normalised. Throws kUnimplemented when the network reads no text.
  Tensor TextFeatures(std::span<const std::string> texts) const { return texts_->Features(*network_, texts); }

  // Pixels [B,Y,X,3] of pictures prepared as the model wants them. Throws kInvalidArgument when the preparation leaves
  // them of different sizes.
  Tensor Prepare(std::span<const Image> images) const;
  // The same for a network that sees patches (SigLIP 2 NaFlex, Qwen2-VL).
  models::PatchInputs PreparePatches(std::span<const Image> images) const;
  // The same of one picture for a network that sees tiles (LLaVA-NeXT).
  models::TileInputs PrepareTiles(const Image& image) const;

  // Features of pictures and the model's own classes: its classifier's, or, in a model that compares pictures with
  // texts and was trained to tell classes by their names ("id2label" and "label_templates" of its config.json), those
  // of the names. Pictures that come out in one size run as one batch.
  std::vector<Analysis> Analyze(std::span<const Image> images, int64_t top_k) const;

  // Features of pictures, [B,D], not normalised.
  Tensor ImageFeatures(std::span<const Image> images) const;

  // See Model::Save and Model::Quantize.
  std::vector<TensorError> Save(const std::string& folder, const std::string& type) const;

 private:
  explicit LoadedModel(base::Config config) : config_(std::move(config)) {}
  static std::shared_ptr<const LoadedModel> LoadGguf(const std::string& path, const std::string& name,
                                                     const LoadOptions& options);
  void Describe(const std::string& folder, const std::string& name);

  // Calls `use(outputs, begin, count)` for each batch of pictures of one size.
  void ForEachBatch(std::span<const Image> images,
                    const std::function<void(const models::ImageOutputs&, size_t begin, size_t count)>& use) const;

  // Features of the names of its own classes, [V,D]; computed at the first use.
  const Tensor& OwnLabelFeatures() const;

  base::Config config_;
  media::PreprocessSpec preprocess_;
  std::optional<media::PatchSpec> patches_;  // of a network that sees patches; preprocess_ is unused then
  std::optional<media::TileSpec> tiles_;     // of a network that sees tiles; preprocess_ is unused then
  std::unique_ptr<models::Model> network_;
  std::unique_ptr<TextEncoder> texts_;
  std::vector<std::string> class_names_;
  mutable std::once_flag own_labels_once_;
  mutable Tensor own_labels_;
  ModelInfo info_;
};

// Gives every parameter of `network` its tensor. Strict: throws one kInvalidArgument that lists missing, unknown and
// misshapen tensors, naming `source`.
void AssignParameters(models::Model& network, const models::Entry& entry, std::span<const NamedTensor> tensors,
                      const std::string& source, const LoadOptions& options = {});

// The same for weights of which some are blocks.
void AssignWeights(models::Model& network, const models::Entry& entry, std::span<const Weight> weights,
                   const std::string& source, const LoadOptions& options = {});

// The weights of `folder`, changed as `entry` asks (Entry::adapt); `config` becomes what they show (Entry::amend).
std::vector<NamedTensor> ReadWeights(const std::string& folder, const models::Entry& entry, base::Config& config);

// The entry for config's model_type. Throws kUnimplemented listing the architectures there are.
const models::Entry& FindEntry(const base::Config& config);

}  // namespace fovea::runtime
