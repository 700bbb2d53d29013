#include "eval/golden.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "nn/stage.h"
#include "ops/shape.h"
#include "runtime/loaded_model.h"

namespace fovea::eval {
namespace {

constexpr std::string_view kInput = "input.", kWeights = "weights.";

Tensor Find(const TensorsByName& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  return found != tensors.end() ? found->second : Tensor();
}

void Keep(TensorsByName& outputs, const std::string& name, const Tensor& tensor) {
  if (tensor.defined()) outputs[name] = tensor;
}

// While in scope collects the stages that pictures pass one after the other; Finish hands on each as one row of all.
class JoinedStages {
 public:
  JoinedStages() : outer_(nn::StageWatch::Active()) {
    if (outer_ == nullptr) return;
    watch_.emplace(
        [this](const std::string& name, const Tensor& value) { parts_[name].push_back(Reshape(value, {-1})); });
  }
  void Finish() {
    watch_.reset();
    for (const auto& [name, parts] : parts_) (*outer_)(name, Concat(parts, 0));
  }

 private:
  const nn::StageWatch::Function* outer_;
  std::map<std::string, std::vector<Tensor>> parts_;
  std::optional<nn::StageWatch> watch_;
};

// Of pictures cut into tiles, one after the other.
GoldenPictures EmbedGoldenTiles(const models::Model& model, const Tensor& tiles, const Tensor& shapes) {
  GoldenPictures pictures;
  JoinedStages stages;
  std::vector<Tensor> parts;
  int64_t first = 0;
  for (int64_t r = 0; r < shapes.dim(0); ++r) {
    const int64_t* shape = shapes.data<int64_t>() + 5 * r;
    parts.push_back(model.EmbedTiles({.pixels = Slice(tiles, 0, first, first + shape[0]),
                                      .rows = shape[1],
                                      .columns = shape[2],
                                      .height_px = shape[3],
                                      .width_px = shape[4]}));  // [N,D]
    pictures.counts.push_back(parts.back().dim(0));
    first += shape[0];
  }
  stages.Finish();
  pictures.vectors = Unsqueeze(Concat(parts, 0), 0);
  return pictures;
}

// Of pictures cut into patches, each without the padding of the batch.
GoldenPictures EmbedGoldenPatches(const models::Model& model, const Tensor& patches, const Tensor& shapes) {
  GoldenPictures pictures;
  JoinedStages stages;
  std::vector<Tensor> parts;
  for (int64_t r = 0; r < shapes.dim(0); ++r) {
    const int64_t rows = shapes.data<int64_t>()[2 * r], columns = shapes.data<int64_t>()[2 * r + 1];
    parts.push_back(model.EmbedPatches({.patches = Slice(Slice(patches, 0, r, r + 1), 1, 0, rows * columns),
                                        .mask = {},
                                        .shapes = Slice(shapes, 0, r, r + 1)}));  // [1,N,D]
    pictures.counts.push_back(parts.back().dim(1));
    pictures.grids.push_back(models::MergedGrid(rows, columns, parts.back().dim(1)));
  }
  stages.Finish();
  pictures.vectors = Concat(parts, 1);
  return pictures;
}

}  // namespace

Tensor GoldenPictures::Picture(size_t index) const {
  int64_t first = 0;
  for (size_t i = 0; i < index; ++i) first += counts[i];
  const int64_t D = vectors.dim(2);
  const Tensor all = Reshape(vectors, {vectors.dim(0) * vectors.dim(1), D});
  const Tensor picture = Slice(all, 0, first, first + counts[index]).Contiguous();
  return grids.empty() ? picture : Reshape(picture, {grids[index][0], grids[index][1], D});
}

GoldenPictures EmbedGoldenPictures(const models::Model& model, const TensorsByName& inputs) {
  const Tensor pixels = Find(inputs, "pixels"), patches = Find(inputs, "patches");
  if (patches.defined()) return EmbedGoldenPatches(model, patches, Find(inputs, "shapes"));
  if (const Tensor shapes = Find(inputs, "tile_shapes"); shapes.defined())
    return EmbedGoldenTiles(model, pixels, shapes);
  const Tensor vectors = model.EmbedImages(pixels);
  return {.vectors = vectors,
          .counts = std::vector<int64_t>(static_cast<size_t>(vectors.dim(0)), vectors.dim(1)),
          .grids = {}};
}

std::unique_ptr<models::Model> BuildGolden(const formats::SafetensorsFile& file) {
  const auto text = file.metadata().find("config");
  Require(text != file.metadata().end(), "[golden] expected \"config\" in the metadata of the reference");
  const base::Config config = base::Config::Parse(text->second, "config in the golden file");
  const models::Entry& entry = runtime::FindEntry(config);
  std::vector<NamedTensor> weights;
  for (const auto& info : file.tensors()) {
    // Clones: training mode writes into the running statistics.
    if (info.name.starts_with(kWeights))
      weights.push_back({info.name.substr(kWeights.size()), file.Get(info.name).Clone()});
  }
  if (entry.adapt != nullptr) entry.adapt(weights, config);
  auto model = entry.create(config);
  runtime::AssignParameters(*model, entry, weights, "the golden file", {.keeps_compact_weights = false});
  return model;
}

TensorsByName GoldenInputs(const formats::SafetensorsFile& file) {
  TensorsByName inputs;
  for (const auto& info : file.tensors()) {
    if (info.name.starts_with(kInput)) inputs[info.name.substr(kInput.size())] = file.Get(info.name).Clone();
  }
  return inputs;
}

TensorsByName RunCapabilities(const models::Model& model, const TensorsByName& inputs) {
  const auto input = [&](const std::string& name) { return Find(inputs, name); };
  models::TextInputs text{.ids = input("ids"), .mask = input("mask"), .type_ids = input("type_ids")};
  TensorsByName outputs;
  if (input("regions").defined()) {
    const models::JointOutputs joint = model.EncodeJointly(
        {.text = text, .regions = input("regions"), .boxes = input("boxes"), .region_mask = input("region_mask")});
    Keep(outputs, "joint_features", joint.features);
    Keep(outputs, "joint_text_tokens", joint.text_tokens);
    Keep(outputs, "joint_regions", joint.regions);
    for (const NamedTensor& head : joint.heads) Keep(outputs, head.name, head.tensor);
    return outputs;
  }
  if (text.ids.defined() && model.CanDecode() && !model.CanEncodeTexts()) {
    models::DecodeInputs given{
        .ids = text.ids, .mask = text.mask, .memory = input("memory"), .memory_mask = input("memory_mask")};
    if (input("pixels").defined() || input("patches").defined()) {
      const GoldenPictures pictures = EmbedGoldenPictures(model, inputs);
      Keep(outputs, "pictures", pictures.vectors);
      given = models::JoinPictures(model, text.ids, text.mask, pictures.vectors, pictures.grids);
    }
    const models::DecodeOutputs decoded = model.Decode(given);
    Keep(outputs, "hidden", decoded.hidden);
    Keep(outputs, "token_logits", decoded.logits);
    return outputs;
  }
  if (input("decoder_ids").defined()) {
    models::DecodeInputs given;
    if (input("pixels").defined()) {
      const Tensor pictures = model.EmbedImages(input("pixels"));
      Keep(outputs, "pictures", pictures);
      given = models::JoinPictures(model, text.ids, text.mask, pictures);
    } else {
      given = {.memory = model.EncodeTexts(text).tokens, .memory_mask = text.mask};
    }
    given.ids = input("decoder_ids");
    given.mask = input("decoder_mask");
    const models::DecodeOutputs decoded = model.Decode(given);
    Keep(outputs, "text_tokens", given.memory);
    Keep(outputs, "hidden", decoded.hidden);
    Keep(outputs, "token_logits", decoded.logits);
    return outputs;
  }
  models::ImageOutputs image;
  if (input("patches").defined()) {
    image = model.EncodePatches({.patches = input("patches"), .mask = input("patch_mask"), .shapes = input("shapes")});
  } else if (input("pixels").defined()) {
    image = model.EncodeImages(input("pixels"));
  }
  Keep(outputs, "features", image.features);
  Keep(outputs, "grid", image.grid);
  Keep(outputs, "logits", image.logits);
  if (!text.ids.defined()) return outputs;
  const models::TextOutputs texts = model.EncodeTexts(text);
  Keep(outputs, "text_features", texts.features);
  Keep(outputs, "text_tokens", texts.tokens);
  Keep(outputs, "text_logits", texts.logits);
  if (model.CanEmbedImages() && !model.CanDecode()) {  // a score of each pair, by an encoder that reads both
    text.pictures = model.EmbedImages(input("pixels"));
    Keep(outputs, "match_logits", model.EncodeTexts(text).logits);
  }
  if (image.features.defined() && model.HowItMatches() != models::Matching::kNone)
    outputs["logits_per_image"] = model.MatchLogits(image.features, texts.features);
  return outputs;
}

Difference Compare(const Tensor& actual, const Tensor& expected, int64_t step, const std::string& name) {
  const Tensor a = actual.To(DType::kF32).Contiguous(), e = expected.To(DType::kF32).Contiguous();
  const int64_t count = (a.numel() + step - 1) / step;
  if (count != e.numel()) {
    Fail(ErrorCode::kCorruptData, "[golden] ", name, ": the reference holds ", e.numel(), " numbers ", e.shape(),
         step > 1 ? base::StrCat(", every ", step, "th") : "", "; the model gives ", a.numel(), " ", a.shape());
  }
  Difference difference;
  for (int64_t i = 0; i < count; ++i) {
    const double x = a.data<float>()[i * step], y = e.data<float>()[i];
    const double error = std::fabs(x - y);
    difference.max_abs = std::max(difference.max_abs, std::isnan(error) ? INFINITY : error);
    difference.scale = std::max(difference.scale, std::fabs(y));
  }
  return difference;
}

}  // namespace fovea::eval
