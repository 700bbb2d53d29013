#include "runtime/loaded_model.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "base/file.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "formats/checkpoint.h"
#include "formats/safetensors.h"
#include "ops/norm.h"
#include "ops/shape.h"
#include "runtime/gguf_model.h"
#include "runtime/int8_weights.h"
#include "runtime/label_set.h"
#include "runtime/model_folder.h"

namespace fovea::runtime {
namespace {

constexpr int64_t kBatch = 8;
constexpr size_t kNamesShown = 8;

// "a, b, c and 12 more"
std::string Listed(const std::vector<std::string>& names) {
  std::string text = base::Join(std::span(names).first(std::min(names.size(), kNamesShown)));
  if (names.size() > kNamesShown) text += base::StrCat(" and ", names.size() - kNamesShown, " more");
  return text;
}

// The weight of a linear layer.
bool IsMatrix(const nn::Parameter& parameter) { return parameter.is_packed() && parameter.shape().rank() == 2; }

Tensor InComputeType(const Tensor& tensor, const nn::Parameter& parameter, const LoadOptions& options) {
  if (parameter.kind() == nn::Parameter::Kind::kCounter) return tensor.To(DType::kI64).Clone();
  const bool is_compact = tensor.dtype() == DType::kF16 || tensor.dtype() == DType::kBF16;
  if (options.precision == DType::kBF16 && IsMatrix(parameter)) return tensor.To(DType::kBF16);
  if (parameter.is_packed() && is_compact && options.keeps_compact_weights) return tensor;
  return tensor.To(DType::kF32);
}

std::vector<std::string> ReadClassNames(const base::Config& config) {
  if (!config.Has("id2label")) return {};
  const base::Config labels = config.Object("id2label");
  std::vector<std::string> names;
  const size_t count = labels.Keys().size();
  for (size_t i = 0; i < count; ++i) names.push_back(labels.Require<std::string>(std::to_string(i)));
  return names;
}

// Whether a model of two towers was trained to tell classes by their names.
bool TellsClassesByNames(const base::Config& config) { return config.Has("id2label") && config.Has("label_templates"); }

// What the folder says about preparing pictures. In the order of transformers: a processor_config.json counts when it
// holds the image processor too.
std::optional<base::Config> PreprocessorFile(const std::string& folder) {
  for (const char* name : {"/processor_config.json", "/preprocessor_config.json"}) {
    const std::string path = folder + name;
    if (!std::filesystem::exists(path)) continue;
    const base::Config file = base::Config::FromFile(path);
    if (std::string_view(name) == "/processor_config.json" && !file.Has("image_processor")) continue;
    return file;
  }
  return std::nullopt;
}

media::PreprocessSpec ReadPreprocess(const std::string& folder, const models::Entry& entry,
                                     const base::Config& config) {
  if (const auto file = PreprocessorFile(folder)) return media::PreprocessSpec::FromConfig(*file, entry.model_type);
  Require(entry.input_spec != nullptr, "[model] ", base::PrintableUtf8(folder),
          " has no preprocessor_config.json, and ", entry.model_type, " has no rule of its own for preparing pictures");
  return entry.input_spec(config);
}

// What the folder says about cutting pictures into patches or tiles.
template <typename Spec>
Spec ReadCutting(const std::string& folder) {
  const auto file = PreprocessorFile(folder);
  Require(file.has_value(), "[model] ", base::PrintableUtf8(folder),
          " has no preprocessor_config.json, which says how pictures are cut");
  return Spec::FromConfig(*file);
}

// Softmax of one row, and its `top_k` classes, best first; the lower index wins a tie.
std::vector<Label> TopLabels(const float* logits, int64_t classes, int64_t top_k,
                             const std::vector<std::string>& names) {
  const int64_t count = std::min(top_k, classes);
  std::vector<int64_t> order(classes);
  for (int64_t i = 0; i < classes; ++i) order[i] = i;
  std::partial_sort(order.begin(), order.begin() + count, order.end(),
                    [&](int64_t a, int64_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  const double highest = count > 0 ? logits[order[0]] : 0;
  double sum = 0;
  for (int64_t i = 0; i < classes; ++i) sum += std::exp(logits[i] - highest);
  std::vector<Label> labels;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = order[i];
    const auto name = index < static_cast<int64_t>(names.size()) ? names[index] : std::to_string(index);
    labels.push_back({name, index, static_cast<float>(std::exp(logits[index] - highest) / sum)});
  }
  return labels;
}

std::vector<float> Normalized(const float* features, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += static_cast<double>(features[i]) * features[i];
  const auto scale = static_cast<float>(sum > 0 ? 1.0 / std::sqrt(sum) : 0.0);
  std::vector<float> normalized(features, features + size);
  for (float& value : normalized) value *= scale;
  return normalized;
}

// The files of a folder that say how texts become numbers.
constexpr const char* kTextFiles[] = {"tokenizer.json",
                                      "tokenizer_config.json",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "vocab.txt",
                                      "vocab.json",
                                      "merges.txt",
                                      "spiece.model",
                                      "sentencepiece.bpe.model",
                                      "tokenizer.model",
                                      "modules.json",
                                      "open_clip_config.json",
                                      "sentence_bert_config.json",
                                      "config_sentence_transformers.json"};

// Calls `use(name)` for those files and for what folders of sentence encoders keep in a folder for each module, e.g.
// 1_Pooling/config.json; sorted, only what is there.
template <typename Use>
void ForEachTextFile(const std::string& folder, const Use& use) {
  std::vector<std::string> names(std::begin(kTextFiles), std::end(kTextFiles));
  std::error_code error;
  for (const auto& module : std::filesystem::directory_iterator(folder, error)) {
    if (!std::filesystem::exists(module.path() / "config.json")) continue;
    for (const char* part : {"config.json", "model.safetensors", "pytorch_model.bin"})
      names.push_back(base::StrCat(module.path().filename().string(), "/", part));
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (std::filesystem::exists(base::StrCat(folder, "/", name))) use(name);
  }
}

// Everything of a model's folder but its weights.
void CopyFolderFiles(const std::string& from, const std::string& to) {
  std::error_code error;
  const auto copy = [&](const std::string& name) {
    std::filesystem::create_directories(std::filesystem::path(to + "/" + name).parent_path(), error);
    base::WriteTextFileAtomically(to + "/" + name, base::ReadTextFile(from + "/" + name));
  };
  for (const char* name : {"config.json", "preprocessor_config.json", "processor_config.json", "generation_config.json",
                           "chat_template.jinja", "chat_template.json", "README.md"}) {
    if (std::filesystem::exists(base::StrCat(from, "/", name))) copy(name);
  }
  ForEachTextFile(from, copy);
}

// |a - b| / |a|
double RelativeError(const Tensor& a, const Tensor& b) {
  const Tensor x = a.To(DType::kF32).Contiguous(), y = b.To(DType::kF32).Contiguous();
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double d = static_cast<double>(x.data<float>()[i]) - y.data<float>()[i];
    difference += d * d;
    norm += static_cast<double>(x.data<float>()[i]) * x.data<float>()[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : 0.0;
}

}  // namespace

const models::Entry& FindEntry(const base::Config& config) {
  const auto model_type = config.Require<std::string>("model_type");
  std::vector<std::string_view> known;
  for (const models::Entry* entry : models::AllEntries()) {
    if (entry->model_type == model_type || std::ranges::count(entry->aliases, model_type) > 0) return *entry;
    known.push_back(entry->model_type);
  }
  Fail(ErrorCode::kUnimplemented, "[model] ", config.source(), " asks for model_type \"",
       base::PrintableUtf8(model_type), "\"; Fovea has ", base::Join(known));
}

void AssignParameters(models::Model& network, const models::Entry& entry, std::span<const NamedTensor> tensors,
                      const std::string& source, const LoadOptions& options) {
  std::vector<Weight> weights;
  for (const NamedTensor& tensor : tensors)
    weights.push_back({.name = tensor.name, .tensor = tensor.tensor, .blocks = {}});
  AssignWeights(network, entry, weights, source, options);
}

void AssignWeights(models::Model& network, const models::Entry& entry, std::span<const Weight> weights,
                   const std::string& source, const LoadOptions& options) {
  std::map<std::string, const Weight*> by_name;
  std::vector<std::string> problems, missing, unknown;
  for (const Weight& weight : weights) {
    const std::string name = models::Renamed(weight.name, entry.renames);
    if (!by_name.emplace(name, &weight).second) problems.push_back("two tensors for " + name);
  }
  nn::ForEachParameter(network, [&](const std::string& path, nn::Parameter& parameter) {
    const auto found = by_name.find(path);
    if (found == by_name.end()) {
      if (parameter.kind() != nn::Parameter::Kind::kCounter) missing.push_back(base::StrCat(path, parameter.shape()));
      return;
    }
    const Weight& weight = *found->second;
    if (weight.shape() != parameter.shape()) {
      problems.push_back(base::StrCat(path, " has shape ", weight.shape(), ", expected ", parameter.shape()));
    } else if (weight.blocks != nullptr) {
      parameter.AssignBlocks(weight.blocks, weight.is_transposed);
    } else {
      parameter.Assign(InComputeType(weight.tensor, parameter, options));
      parameter.set_rounds_inputs(options.precision == DType::kBF16 && IsMatrix(parameter));
    }
    by_name.erase(found);
  });
  for (const auto& [name, tensor] : by_name) {
    const auto fits = [&name = name](std::string_view pattern) { return models::IsLike(name, pattern); };
    if (std::ranges::none_of(entry.unused, fits)) unknown.push_back(name);
  }
  if (!missing.empty()) problems.insert(problems.begin(), "missing " + Listed(missing));
  if (!unknown.empty()) problems.push_back("not part of this model: " + Listed(unknown));
  Require(problems.empty(), "[model] the weights in ", source, " do not fit the configuration: ", Listed(problems));
}

std::vector<NamedTensor> ReadWeights(const std::string& folder, const models::Entry& entry, base::Config& config) {
  std::vector<NamedTensor> tensors = formats::ReadCheckpoint(folder);
  ExpandInt8(tensors, base::PrintableUtf8(folder));
  if (entry.amend != nullptr) config = entry.amend(config, tensors);
  if (entry.adapt != nullptr) entry.adapt(tensors, config);
  return tensors;
}

std::shared_ptr<const LoadedModel> LoadedModel::Load(const std::string& folder, const std::string& name,
                                                     const LoadOptions& options) {
  if (IsGgufFile(folder)) return LoadGguf(folder, name, options);
  auto model = std::shared_ptr<LoadedModel>(new LoadedModel(ReadModelConfig(folder)));
  const models::Entry& entry = FindEntry(model->config_);
  const std::vector<NamedTensor> tensors = ReadWeights(folder, entry, model->config_);
  model->network_ = entry.create(model->config_);
  if (model->network_->CanEmbedTiles()) {
    model->tiles_ = ReadCutting<media::TileSpec>(folder);
  } else if (model->network_->CanEncodePatches() || model->network_->CanEmbedPatches()) {
    model->patches_ = ReadCutting<media::PatchSpec>(folder);
  } else if (model->network_->CanEncodeImages() || model->network_->CanEmbedImages()) {
    model->preprocess_ = ReadPreprocess(folder, entry, model->config_);
  }
  model->texts_ = std::make_unique<TextEncoder>(folder, std::string(entry.model_type));
  model->class_names_ = ReadClassNames(model->config_);
  AssignParameters(*model->network_, entry, tensors, base::PrintableUtf8(folder), options);

  model->Describe(folder, name);
  base::ContentHasher hasher;
  hasher.Add(model->config_.Text()).Add(model->info_.input);
  if (options.precision != DType::kF32) hasher.Add(DTypeName(options.precision));
  if (model->network_->CanEncodeTexts() || model->network_->CanDecode()) {
    ForEachTextFile(folder, [&](const std::string& file) {
      hasher.Add(file).Add(base::ReadTextFile(base::StrCat(folder, "/", file)));
    });
  }
  for (const NamedTensor& tensor : tensors) {
    const Tensor dense = tensor.tensor.Contiguous();
    hasher.Add(tensor.name).Add(dense.shape().ToString()).Add({dense.raw(), static_cast<size_t>(dense.size_bytes())});
  }
  model->info_.fingerprint = hasher.Hex();
  return model;
}

std::shared_ptr<const LoadedModel> LoadedModel::LoadGguf(const std::string& path, const std::string& name,
                                                         const LoadOptions& options) {
  const auto file = formats::GgufFile::Open(path);
  auto model = std::shared_ptr<LoadedModel>(new LoadedModel(GgufConfig(file)));
  const models::Entry& entry = FindEntry(model->config_);
  model->network_ = entry.create(model->config_);
  model->texts_ = std::make_unique<TextEncoder>(path, std::string(entry.model_type));
  AssignWeights(*model->network_, entry, GgufWeights(file), base::PrintableUtf8(path), options);
  model->Describe(path, name);
  model->info_.licence = file.metadata().Get<std::string>("general.license", "");
  base::ContentHasher hasher;
  hasher.Add(model->config_.Text());
  for (const formats::GgufTensor& tensor : file.tensors())
    hasher.Add(tensor.name).Add(tensor.shape.ToString()).Add(tensor.bytes);
  model->info_.fingerprint = hasher.Hex();
  return model;
}

// Everything of info_ but the fingerprint.
void LoadedModel::Describe(const std::string& folder, const std::string& name) {
  info_ = ModelInfo{};  // its numbers have no defaults
  const bool sees = network_->CanEncodeImages() || network_->CanEncodePatches();
  info_.name = name;
  info_.path = folder;
  info_.model_type = config_.Require<std::string>("model_type");
  info_.licence = CardLicence(folder);
  if (patches_) {
    info_.input = patches_->ToString();
  } else if (tiles_) {
    info_.input = tiles_->ToString();
  } else if (sees) {
    info_.input = preprocess_.ToString();
  }
  // A backbone's config.json may still name the classes of the head that it lost.
  if (sees && !network_->CanClassify() && !TellsClassesByNames(config_)) class_names_.clear();
  info_.classes = static_cast<int64_t>(class_names_.size());
  nn::ForEachParameter(*network_, [&](const std::string&, nn::Parameter& parameter) {
    if (parameter.kind() == nn::Parameter::Kind::kTrained) info_.parameters += parameter.shape().numel();
    info_.memory_bytes += parameter.size_bytes();
  });
  if (sees && info_.classes > 0) info_.capabilities.emplace_back("classify");
  if (sees) info_.capabilities.emplace_back("embed_image");
  if (network_->CanEncodeTexts()) {
    info_.capabilities.emplace_back("embed_text");
    info_.max_text_tokens = texts_->MaxTokens(*network_);
  }
  if (network_->HowItMatches() != models::Matching::kNone) info_.capabilities.emplace_back("match");
  if (network_->CanEncodeJointly()) info_.capabilities.emplace_back("embed_jointly");
  if (network_->CanDecode()) {
    info_.capabilities.emplace_back("generate");
    if (network_->Decoder().pictures != models::PicturePlace::kNone) info_.capabilities.emplace_back("see");
    if (info_.max_text_tokens == 0) info_.max_text_tokens = network_->Decoder().max_positions;
  }
  const bool only_reads = network_->CanEncodeTexts() && !sees;
  info_.embedding_dim = only_reads ? texts_->FeatureSize(*network_) : network_->FeatureSize();
}

Tensor LoadedModel::Prepare(std::span<const Image> images) const {
  Require(!images.empty(), "[model] expected at least one picture");
  Require(!patches_ && !tiles_, "[model] ", base::PrintableUtf8(info_.name), " sees ", patches_ ? "patches" : "tiles",
          ", not whole pictures of one size");
  const auto [height, width] = media::OutputSize(preprocess_, images[0].width, images[0].height);
  for (const Image& image : images) {
    const auto [other_height, other_width] = media::OutputSize(preprocess_, image.width, image.height);
    Require(other_height == height && other_width == width, "[model] the preparation leaves pictures of ", width, "x",
            height, " and ", other_width, "x", other_height, " px, which do not fit into one batch");
  }
  const auto batch = static_cast<int64_t>(images.size());
  Tensor pixels = Tensor::Empty({batch, height, width, 3});
  base::ParallelFor(batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) media::PreprocessInto(images[i], preprocess_, pixels, i);
  });
  return pixels;
}

models::TileInputs LoadedModel::PrepareTiles(const Image& image) const {
  const media::Tiles made = media::MakeTiles(image, *tiles_);
  return {.pixels = made.pixels,
          .rows = made.rows,
          .columns = made.columns,
          .height_px = image.height,
          .width_px = image.width};
}

models::PatchInputs LoadedModel::PreparePatches(std::span<const Image> images) const {
  const auto batch = static_cast<int64_t>(images.size());
  int64_t count = 0;
  for (const Image& image : images) count = std::max(count, media::LengthOf(*patches_, image.width, image.height));
  const int64_t size = patches_->patch_size * patches_->patch_size * 3;
  models::PatchInputs inputs{.patches = Tensor::Zeros({batch, count, size}),
                             .mask = Tensor::Empty({batch, count}, DType::kBool),
                             .shapes = Tensor::Empty({batch, 2}, DType::kI64)};
  base::ParallelFor(batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const media::Patches made = media::MakePatches(images[static_cast<size_t>(i)], *patches_);
      std::copy_n(made.values.data<float>(), made.values.numel(),
                  inputs.patches.mutable_data<float>() + i * count * size);
      for (int64_t k = 0; k < count; ++k)
        inputs.mask.mutable_data<bool>()[i * count + k] = k < made.grid.rows * made.grid.columns;
      inputs.shapes.mutable_data<int64_t>()[2 * i] = made.grid.rows;
      inputs.shapes.mutable_data<int64_t>()[2 * i + 1] = made.grid.columns;
    }
  });
  return inputs;
}

void LoadedModel::ForEachBatch(
    std::span<const Image> images,
    const std::function<void(const models::ImageOutputs&, size_t begin, size_t count)>& use) const {
  if (patches_) {
    for (size_t begin = 0; begin < images.size(); begin += kBatch) {
      const auto part = images.subspan(begin, std::min<size_t>(kBatch, images.size() - begin));
      use(network_->EncodePatches(PreparePatches(part)), begin, part.size());
    }
    return;
  }
  if (!network_->CanEncodeImages()) {
    Fail(ErrorCode::kUnimplemented, "[model] ", base::PrintableUtf8(info_.name), ", of type ", info_.model_type,
         ", encodes no pictures");
  }
  const auto size_of = [&](size_t i) { return media::OutputSize(preprocess_, images[i].width, images[i].height); };
  size_t begin = 0;
  while (begin < images.size()) {
    const media::PixelSize size = size_of(begin);
    size_t end = begin + 1;
    while (end < images.size() && end - begin < kBatch && size_of(end).height == size.height &&
           size_of(end).width == size.width)
      ++end;
    use(network_->EncodeImages(Prepare(images.subspan(begin, end - begin))), begin, end - begin);
    begin = end;
  }
}

const Tensor& LoadedModel::OwnLabelFeatures() const {
  std::call_once(own_labels_once_, [&] {
    const auto templates = config_.Require<std::vector<std::string>>("label_templates");
    own_labels_ = EncodeLabels(*this, class_names_, {.templates = templates}).features;
  });
  return own_labels_;
}

std::vector<Analysis> LoadedModel::Analyze(std::span<const Image> images, int64_t top_k) const {
  std::vector<Analysis> analyses;
  ForEachBatch(images, [&](const models::ImageOutputs& outputs, size_t, size_t count) {
    const Tensor features = outputs.features.Contiguous();
    const int64_t feature_size = features.dim(1);
    Tensor logits = outputs.logits;
    if (top_k > 0 && TellsClassesByNames(config_))
      logits = network_->MatchLogits(features, OwnLabelFeatures()).Contiguous();  // [B,V]
    for (int64_t i = 0; i < static_cast<int64_t>(count); ++i) {
      Analysis analysis;
      analysis.embedding = Normalized(features.data<float>() + i * feature_size, feature_size);
      if (top_k > 0 && logits.defined()) {
        const int64_t classes = logits.dim(1);
        analysis.labels = TopLabels(logits.data<float>() + i * classes, classes, top_k, class_names_);
      }
      analyses.push_back(std::move(analysis));
    }
  });
  return analyses;
}

Tensor LoadedModel::ImageFeatures(std::span<const Image> images) const {
  std::vector<Tensor> parts;
  ForEachBatch(images, [&](const models::ImageOutputs& outputs, size_t, size_t) { parts.push_back(outputs.features); });
  return Concat(parts, 0);
}

std::vector<TensorError> LoadedModel::Save(const std::string& folder, const std::string& type) const {
  if (IsGgufFile(info_.path))
    Fail(ErrorCode::kUnimplemented, "[model] ", base::PrintableUtf8(info_.path),
         " is a GGUF file, whose tokenizer has no files to copy; hint: `fovea quantize` writes GGUF files");
  const DType dtype = type == "bf16" ? DType::kBF16 : type == "f16" ? DType::kF16 : DType::kF32;
  std::vector<NamedTensor> tensors;
  std::vector<TensorError> errors;
  nn::ForEachParameter(*network_, [&](const std::string& path, nn::Parameter& parameter) {
    if (!parameter.has_value()) return;
    const Tensor value = parameter.value();
    // Vectors (norms, biases, statistics) stay f32: they are few, and a variance can leave the range of f16.
    const bool is_matrix = parameter.shape().rank() >= 2;
    if (parameter.kind() == nn::Parameter::Kind::kCounter) {
      tensors.push_back({path, value});
    } else if (is_matrix && type == "int8") {
      const Int8Rows rows = QuantizeRows(value, path);
      tensors.push_back({path, rows.values});
      tensors.push_back({path + std::string(kScaleSuffix), rows.scale});
      errors.push_back({path, "int8", rows.error});
    } else {
      tensors.push_back({path, value.To(is_matrix ? dtype : DType::kF32)});
      errors.push_back({path, is_matrix ? type : "f32", RelativeError(value, tensors.back().tensor)});
    }
  });
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) Fail(ErrorCode::kIo, "[model] cannot create ", base::PrintableUtf8(folder), ": ", error.message());
  formats::WriteSafetensors(folder + "/model.safetensors", tensors, {{"format", "pt"}});
  CopyFolderFiles(info_.path, folder);
  return errors;
}

}  // namespace fovea::runtime

namespace fovea {

Model Model::Load(const std::string& name_or_path, const ModelOptions& options) {
  Require(options.precision == "f32" || options.precision == "bf16", "[model] expected precision f32 or bf16, got \"",
          base::PrintableUtf8(options.precision), "\"");
  const std::string folder = runtime::ResolveModelFolder(name_or_path);
  return Model(runtime::LoadedModel::Load(folder, name_or_path,
                                          {.precision = options.precision == "bf16" ? DType::kBF16 : DType::kF32}));
}

std::vector<ArchitectureInfo> Architectures() {
  std::vector<ArchitectureInfo> all;
  for (const models::Entry* entry : models::AllEntries()) {
    const models::Card& card = entry->card;
    all.push_back({std::string(entry->model_type), std::string(card.title), std::string(card.tasks),
                   std::string(card.paper), std::string(card.reference), std::string(card.checkpoints)});
  }
  return all;
}

const ModelInfo& Model::info() const { return impl_->info(); }

const std::vector<std::string>& Model::class_names() const { return impl_->class_names(); }

std::vector<Analysis> Model::Analyze(std::span<const Image> images, const ClassifyOptions& options) const {
  return impl_->Analyze(images, options.top_k);
}

std::vector<std::vector<Label>> Model::Classify(std::span<const Image> images, const ClassifyOptions& options) const {
  if (info().classes == 0)
    Fail(ErrorCode::kUnimplemented, "[classify] the model ", info().name, " has no classes of its own");
  Require(options.top_k >= 1, "[classify] expected top_k >= 1, got ", options.top_k);
  std::vector<std::vector<Label>> labels;
  for (Analysis& analysis : impl_->Analyze(images, options.top_k)) labels.push_back(std::move(analysis.labels));
  return labels;
}

std::vector<std::vector<float>> Model::EmbedImages(std::span<const Image> images) const {
  std::vector<std::vector<float>> embeddings;
  for (Analysis& analysis : impl_->Analyze(images, 0)) embeddings.push_back(std::move(analysis.embedding));
  return embeddings;
}

std::vector<std::vector<float>> Model::EmbedTexts(std::span<const std::string> texts) const {
  if (!impl_->network().CanEncodeTexts())
    Fail(ErrorCode::kUnimplemented, "[embed] the model ", base::PrintableUtf8(info().name), " reads no text");
  std::vector<std::vector<float>> embeddings;
  if (texts.empty()) return embeddings;
  const Tensor features = L2Normalize(impl_->TextFeatures(texts)).Contiguous();  // [N,D]
  for (int64_t i = 0; i < features.dim(0); ++i) {
    const float* row = features.data<float>() + i * features.dim(1);
    embeddings.emplace_back(row, row + features.dim(1));
  }
  return embeddings;
}

const std::vector<std::string>& LabelSet::names() const {
  static const std::vector<std::string> none;
  return features_ ? features_->names : none;
}

std::string DefaultLabelCache() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != '\0') return std::string(cache) + "/fovea/labels";
  const char* home = std::getenv("HOME");
  return home != nullptr && *home != '\0' ? std::string(home) + "/.cache/fovea/labels" : "";
}

LabelSet Model::PrepareLabels(const std::vector<std::string>& labels, const LabelOptions& options) const {
  LabelSet set;
  set.features_ = std::make_shared<const runtime::LabelFeatures>(runtime::EncodeLabels(*impl_, labels, options));
  set.fingerprint_ = info().fingerprint;
  return set;
}

std::vector<std::vector<Label>> Model::Classify(std::span<const Image> images, const LabelSet& labels,
                                                const ClassifyOptions& options) const {
  Require(labels.features_ != nullptr && labels.fingerprint_ == info().fingerprint,
          "[classify] expected labels that PrepareLabels of this model made");
  Require(options.top_k >= 1, "[classify] expected top_k >= 1, got ", options.top_k);
  if (images.empty()) return {};
  return runtime::ScoreLabels(*impl_, impl_->ImageFeatures(images), *labels.features_, options.top_k);
}

void Model::Save(const std::string& folder, const std::string& type) const {
  Require(type == "f32" || type == "bf16" || type == "f16", "[model] expected type f32, bf16 or f16, got \"", type,
          "\"");
  impl_->Save(folder, type);
}

std::vector<TensorError> Model::Quantize(const std::string& folder, const std::string& type) const {
  if (type == "int4") Fail(ErrorCode::kUnimplemented, "[quantize] type int4 is not implemented; hint: int8 or bf16");
  Require(type == "int8" || type == "bf16" || type == "f16", "[quantize] expected type int8, bf16 or f16, got \"",
          base::PrintableUtf8(type), "\"");
  std::error_code ignored;
  Require(!std::filesystem::equivalent(folder, info().path, ignored),
          "[quantize] expected another folder than that of the model, ", base::PrintableUtf8(folder));
  return impl_->Save(folder, type);
}

}  // namespace fovea
