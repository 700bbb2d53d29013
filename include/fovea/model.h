// A model: load once, then ask it about pictures from any number of threads.
//
//   fovea::Model model = fovea::Model::Load("efficientnet-lite2");
//   for (const auto& labels : model.Classify(images, {.top_k = 5})) ...
//
// A model is immutable after loading and cheap to copy (copies share the weights).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fovea/image.h"

namespace fovea {

namespace runtime {
class LoadedModel;
struct LabelFeatures;
}  // namespace runtime

// One class and how likely the model holds it to be.
struct Label {
  std::string name;
  int64_t index;  // position in the model's list of classes
  float score;    // softmax probability, 0..1
};

struct ClassifyOptions {
  int64_t top_k = 5;
};

// What the model sees in one picture, from one forward.
struct Analysis {
  std::vector<Label> labels;     // best first; empty when the model does not classify
  std::vector<float> embedding;  // [D], L2-normalised
};

// $XDG_CACHE_HOME/fovea/labels, else ~/.cache/fovea/labels; "" when neither variable is set.
std::string DefaultLabelCache();

struct LabelOptions {
  // Sentences around a label, each with "{}" where it goes. Several make an ensemble: their features are averaged.
  std::vector<std::string> templates = {"a photo of a {}"};
  // Folder where the features of labels are kept from one run to the next; "" keeps none.
  std::string cache_folder = DefaultLabelCache();
};

// Classes given as words, as one model reads them (see Model::PrepareLabels). Cheap to copy.
class LabelSet {
 public:
  const std::vector<std::string>& names() const;

 private:
  friend class Model;
  std::shared_ptr<const runtime::LabelFeatures> features_;
  std::string fingerprint_;  // of the model that made it
};

// What a detector found in one picture.
struct Regions {
  int64_t count = 0;            // R
  std::vector<float> features;  // [R,F], row by row
  std::vector<float> boxes;  // [R,4], corners x0, y0, x1, y1 as shares of the picture; empty where a model needs none
};

// What a model makes of a text and the regions of a picture together.
struct JointAnalysis {
  std::vector<float> embedding;                     // [D], L2-normalised
  std::map<std::string, std::vector<float>> heads;  // logits, row by row, by the names of the reference implementation
};

struct ModelInfo {
  std::string name;         // as it was asked for, or the folder's name
  std::string path;         // folder of the weights
  std::string model_type;   // as in config.json
  std::string fingerprint;  // changes whenever weights, config or preprocessing change; 32 hex digits
  std::string licence;      // from the model card, "" when it states none
  std::string input;        // how pictures are prepared, for people
  int64_t parameters;       // number of trained values
  int64_t memory_bytes;     // of the weights as held in memory
  int64_t classes;          // 0 when it does not classify
  int64_t embedding_dim;    // D, 0 when it embeds nothing
  int64_t max_text_tokens;  // longer texts are cut; 0 when it reads no text or sets no limit
  std::vector<std::string>
      capabilities;  // "classify", "embed_image", "embed_text", "match", "embed_jointly", "generate", "see"
};

// What storing one tensor in another type costs.
struct TensorError {
  std::string tensor;  // its name in the file
  std::string type;    // "int8", "bf16", "f16"; "f32" for what stays
  double error;        // |stored - original| / |original|
};

struct ModelOptions {
  // "f32", or "bf16": the matrices of linear layers are rounded to bf16, which halves the memory they are read from.
  // Where the processor multiplies bf16 faster than f32 (AMX; AVX512-BF16 of AMD and of Intel's Cooper Lake) what they
  // are multiplied by is rounded too; all else is computed in f32. Features change by up to 3 % of their largest value.
  std::string precision = "f32";
};

class Model {
 public:
  // `name_or_path`: a folder in the Hugging Face layout (config.json, preprocessor_config.json, weights as
  // *.safetensors or pytorch_model.bin), the name of a bundled model, or OWNER/NAME of a model that was pulled
  // (fovea/hub.h). Names are looked up in the folders of ModelSearchPath(), OWNER/NAME also in the cache of Hugging
  // Face's own programs ($HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub). No connection is made. A path always
  // wins. Throws kNotFound, kCorruptData, kUnimplemented (model_type or option), each naming file and cause.
  static Model Load(const std::string& name_or_path, const ModelOptions& options = {});

  const ModelInfo& info() const;

  // For each picture the `top_k` best classes, best first. Throws kUnimplemented when the model has no classes.
  std::vector<std::vector<Label>> Classify(std::span<const Image> images, const ClassifyOptions& options = {}) const;

  // One L2-normalised vector of info().embedding_dim floats for each picture.
  std::vector<std::vector<float>> EmbedImages(std::span<const Image> images) const;

  // One L2-normalised vector of info().embedding_dim floats for each text (UTF-8; longer ones are cut at
  // info().max_text_tokens). Throws kUnimplemented when the model reads no text, kNotFound / kCorruptData for its
  // tokenizer.
  std::vector<std::vector<float>> EmbedTexts(std::span<const std::string> texts) const;

  // Zero-shot classification: classes of yours instead of the model's own. PrepareLabels encodes the words once; the
  // set then serves any number of pictures. Scores are a softmax over the labels (CLIP), or for each label the
  // probability that it fits (SigLIP), with the model's own scale and bias. Throws kUnimplemented when the model
  // compares no pictures with texts, kInvalidArgument for an empty label, a template without "{}", or a set that
  // another model made.
  LabelSet PrepareLabels(const std::vector<std::string>& labels, const LabelOptions& options = {}) const;
  std::vector<std::vector<Label>> Classify(std::span<const Image> images, const LabelSet& labels,
                                           const ClassifyOptions& options = {}) const;

  // Labels and embedding from one forward. `options.top_k` = 0 skips the labels.
  std::vector<Analysis> Analyze(std::span<const Image> images, const ClassifyOptions& options = {}) const;

  // Each text beside the regions of one picture (VisualBERT, LXMERT: answers, reasoning, masked words). Throws
  // kUnimplemented when the model does not read both, kInvalidArgument for lists of different lengths and regions of
  // different widths.
  std::vector<JointAnalysis> AnalyzeJointly(std::span<const std::string> texts, std::span<const Regions> regions) const;

  // All class names, by index.
  const std::vector<std::string>& class_names() const;

  // Saves the weights and configuration as a folder in the Hugging Face layout; `type`: "f32", "bf16" or "f16".
  void Save(const std::string& folder, const std::string& type) const;

  // The same smaller, and what it cost, tensor by tensor; `type`: "int8" (a scale for each output row, see
  // docs/quantization.md), "bf16" or "f16". Vectors stay f32. Throws kUnimplemented for "int4", kInvalidArgument for
  // the model's own folder or a weight that is not finite, kIo.
  std::vector<TensorError> Quantize(const std::string& folder, const std::string& type) const;

  const runtime::LoadedModel& impl() const { return *impl_; }
  std::shared_ptr<const runtime::LoadedModel> shared_impl() const { return impl_; }

 private:
  explicit Model(std::shared_ptr<const runtime::LoadedModel> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const runtime::LoadedModel> impl_;
};

// Folders that are searched for a model's name, in order: FOVEA_MODELS (a colon-separated list), models/ beside or
// above the binary, the user's data folder ($XDG_DATA_HOME/fovea/models), the system's (/usr/local/share/fovea/models,
// /usr/share/fovea/models).
std::vector<std::string> ModelSearchPath();

// One line for each model found on the search path: FOLDER/NAME by its name, FOLDER/OWNER/NAME as OWNER/NAME.
struct ModelListing {
  std::string name;
  std::string path;
  std::string model_type;
  std::string licence;
  int64_t size_bytes;    // of all files
  std::string revision;  // the commit it was pulled at (fovea/hub.h), "" for other models
};
std::vector<ModelListing> ListModels();

// One line for each architecture that folders in the Hugging Face layout may ask for.
struct ArchitectureInfo {
  std::string model_type;  // as in config.json
  std::string title;
  std::string tasks;
  std::string paper;        // authors, year, arXiv number
  std::string reference;    // permalink to the implementation it is compared with
  std::string checkpoints;  // public weights that it was measured with, "" for none
};
std::vector<ArchitectureInfo> Architectures();

// The name used when none is given: "efficientnet-lite2".
std::string DefaultModelName();

// "0.1.0"
const char* Version();

}  // namespace fovea
