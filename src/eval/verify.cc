// The parity certificate of one checkpoint: see Verify in fovea/eval.h.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "eval/golden.h"
#include "fovea/eval.h"
#include "nn/stage.h"
#include "runtime/loaded_model.h"

namespace fovea {
namespace {

// Share of the largest magnitude that an f32 computation may be off (docs/DESIGN.md, section 5).
constexpr double kTolerance = 1e-4;
// Of pixels before normalisation, in the units of the stored 8-bit picture (docs/DESIGN.md, section 5).
constexpr double kPixelTolerance = 1.0 / 255;

StageReport Judged(const std::string& stage, const eval::Difference& difference, double tolerance) {
  return {.stage = stage,
          .max_abs = difference.max_abs,
          .max_rel = difference.max_rel(),
          .tolerance = tolerance,
          .ok = difference.max_abs <= tolerance};
}

Image ImageFrom(const Tensor& rgb) {
  const auto [Y, X, C] = rgb.Dims<3>("golden image");
  Require(C == 3 && rgb.dtype() == DType::kU8, "[verify] expected a picture u8 [Y,X,3], got ", rgb.dtype(),
          rgb.shape());
  Image image = Image::Allocate(X, Y);
  std::copy_n(rgb.raw(), image.size_bytes(), image.mutable_row(0));
  return image;
}

// Every name in a JSON list of the metadata, none when it is absent.
std::vector<std::string> ListInMetadata(const formats::SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) return {};
  const auto list = base::ParseJson(found->second, "metadata \"" + key + "\" of the golden file");
  std::vector<std::string> names;
  for (const auto& item : list) names.push_back(item.is_string() ? item.get<std::string>() : std::string());
  return names;
}

void VerifyPixels(const runtime::LoadedModel& model, const formats::SafetensorsFile& file,
                  std::vector<StageReport>& reports) {
  std::vector<Image> images;
  for (int64_t i = 0; file.Has("image." + std::to_string(i)); ++i)
    images.push_back(ImageFrom(file.Get("image." + std::to_string(i)).Contiguous()));
  if (images.empty() || !file.Has("input.pixels")) return;
  const media::PreprocessSpec& spec = model.preprocess();
  const float smallest = *std::min_element(spec.std.begin(), spec.std.end());
  const double tolerance = kPixelTolerance / (spec.do_normalize ? smallest : 1.0);
  reports.push_back(
      Judged("pixels", eval::Compare(model.Prepare(images), file.Get("input.pixels"), 1, "pixels"), tolerance));
}

// [B,T] of an encoder, [1,T] of a language model, which is compared on one text: decoders pad a batch in many ways.
Tensor Ids(const runtime::LoadedModel& model, const std::vector<std::string>& texts) {
  if (model.network().CanEncodeTexts()) return model.texts().Prepare(model.network(), texts).ids;
  Require(texts.size() == 1, "[verify] expected one text for a language model, got ", texts.size());
  const auto ids = model.texts().tokenizer().Encode(texts[0]).ids;
  return Tensor::FromValues<int64_t>({1, static_cast<int64_t>(ids.size())}, ids);
}

void VerifyTokens(const runtime::LoadedModel& model, const formats::SafetensorsFile& file,
                  std::vector<StageReport>& reports) {
  const std::vector<std::string> texts = ListInMetadata(file, "texts");
  if (texts.empty() || !file.Has("input.ids")) return;
  const Tensor ids = Ids(model, texts), expected = file.Get("input.ids");
  StageReport report{.stage = "tokens"};
  if (ids.shape() == expected.shape()) {
    for (int64_t i = 0; i < ids.numel(); ++i)
      report.max_abs += ids.values<int64_t>()[i] != expected.values<int64_t>()[i];
  } else {
    report.max_abs = static_cast<double>(std::max(ids.numel(), expected.numel()));
  }
  report.max_rel = report.max_abs / static_cast<double>(std::max<int64_t>(expected.numel(), 1));
  report.ok = report.max_abs == 0;
  reports.push_back(report);
}

// Stages and outputs computed from the stored inputs.
void VerifyStages(const models::Model& network, const formats::SafetensorsFile& file, const std::string& path,
                  std::vector<StageReport>& reports) {
  eval::TensorsByName found;
  const nn::StageWatch watch([&](const std::string& name, const Tensor& value) { found["stage." + name] = value; });
  for (const auto& [name, value] : eval::RunCapabilities(network, eval::GoldenInputs(file)))
    found["output." + name] = value;
  for (const auto& info : file.tensors()) {
    if (!info.name.starts_with("stage.") && !info.name.starts_with("output.")) continue;
    const auto actual = found.find(info.name);
    if (actual == found.end())
      Fail(ErrorCode::kCorruptData, "[verify] ", base::PrintableUtf8(path), " holds ", base::PrintableUtf8(info.name),
           ", which the model does not give");
    const auto step_text = file.metadata().find("step." + info.name);
    const int64_t step = step_text == file.metadata().end() ? 1 : std::atoll(step_text->second.c_str());
    Require(step >= 1, "[verify] expected a step >= 1 for ", base::PrintableUtf8(info.name), " in ",
            base::PrintableUtf8(path));
    const eval::Difference difference = eval::Compare(actual->second, file.Get(info.name), step, info.name);
    reports.push_back(
        Judged(info.name.substr(info.name.find('.') + 1), difference, kTolerance * std::max(1e-3, difference.scale)));
  }
}

}  // namespace

std::vector<StageReport> Verify(const std::string& model_name, const std::string& golden_file) {
  std::vector<StageReport> reports;
  std::error_code ignored;
  if (std::filesystem::is_regular_file(model_name, ignored)) {
    Require(golden_file.empty(), "[verify] ", base::PrintableUtf8(model_name),
            " is a file with weights of its own; expected no second golden file");
    const auto file = formats::SafetensorsFile::Open(model_name);
    VerifyStages(*eval::BuildGolden(file), file, model_name, reports);
  } else {
    const Model loaded = Model::Load(model_name);
    const std::string path = golden_file.empty() ? loaded.info().path + "/golden.safetensors" : golden_file;
    if (!std::filesystem::exists(path, ignored)) {
      Fail(ErrorCode::kNotFound, "[verify] there is no reference ", base::PrintableUtf8(path),
           "; hint: tools/make_golden.py DIR makes it with the reference implementation");
    }
    const auto file = formats::SafetensorsFile::Open(path);
    VerifyPixels(loaded.impl(), file, reports);
    VerifyTokens(loaded.impl(), file, reports);
    VerifyStages(loaded.impl().network(), file, path, reports);
  }
  Require(!reports.empty(), "[verify] the reference holds no stage and no output to compare with");
  return reports;
}

}  // namespace fovea
