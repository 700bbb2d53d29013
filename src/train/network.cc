#include "train/network.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "formats/safetensors.h"
#include "runtime/loaded_model.h"
#include "runtime/model_folder.h"
#include "train/initial.h"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Kind = nn::Parameter::Kind;

std::vector<std::string> ClassNames(const base::Config& config) {
  std::vector<std::string> names;
  if (!config.Has("id2label")) return names;
  const base::Config labels = config.Object("id2label");
  for (size_t i = 0; i < labels.Keys().size(); ++i) names.push_back(labels.Require<std::string>(std::to_string(i)));
  return names;
}

// `templates`: those that tell classes by their names, see Recipe::label_templates.
base::Config WithClasses(const base::Config& config, const std::vector<std::string>& classes,
                         const std::vector<std::string>& templates) {
  json edited = config.json();
  json by_id = json::object(), by_label = json::object();
  for (size_t i = 0; i < classes.size(); ++i) {
    by_id[std::to_string(i)] = classes[i];
    by_label[classes[i]] = i;
  }
  edited["id2label"] = by_id;
  edited["label2id"] = by_label;
  if (!templates.empty()) {
    edited["label_templates"] = templates;
    return base::Config::Parse(edited.dump(), config.source());
  }
  edited["num_labels"] = classes.size();
  // An encoder without classes becomes a classifier as transformers names it: "ViTModel", "ViTForImageClassification".
  auto architectures = config.Get<std::vector<std::string>>("architectures", {});
  if (!architectures.empty() && architectures[0].ends_with("Model")) {
    architectures[0].replace(architectures[0].size() - 5, 5, "ForImageClassification");
    edited["architectures"] = architectures;
  }
  return base::Config::Parse(edited.dump(), config.source());
}

// The same preparation with another size of the result.
std::string WithImageSize(const std::string& text, const std::string& source, int64_t size) {
  json edited = base::ParseJson(text, source);
  const media::PreprocessSpec spec = media::PreprocessSpec::FromConfig(base::Config::Parse(text, source));
  const json square = {{"height", size}, {"width", size}};
  if (spec.do_center_crop && spec.crop_first_pct == 0) {
    const double wider = static_cast<double>(std::max(spec.size.shortest_edge, spec.size.height)) /
                         static_cast<double>(std::max<int64_t>(1, spec.crop_height));
    const auto edge = std::max<int64_t>(size, std::llround(wider * static_cast<double>(size)));
    edited["crop_size"] = square;
    edited["size"] =
        spec.size.shortest_edge > 0 ? json{{"shortest_edge", edge}} : json{{"height", edge}, {"width", edge}};
  } else {
    edited["size"] = square;
  }
  edited["do_resize"] = true;
  return edited.dump(2) + "\n";
}

std::map<std::string, Shape> Shapes(models::Model& model) {
  std::map<std::string, Shape> shapes;
  nn::ForEachParameter(model, [&](const std::string& path, nn::Parameter& p) { shapes.emplace(path, p.shape()); });
  return shapes;
}

bool IsWeightsFile(const std::string& name) {
  return std::ranges::any_of(std::initializer_list<const char*>{".safetensors", ".bin", ".pth", ".pt", ".index.json"},
                             [&](const char* ending) { return name.ends_with(ending); });
}

// The values of a network whose parts start from other models, a picture model and perhaps a text model:
// "vision_model.x" and "vision_model.<family>.x" from what the picture model calls "x" or "<prefix>.x". Every parameter
// of a tower must be found.
std::map<std::string, Tensor> ComposedValues(const Recipe& recipe, models::Model& network) {
  std::map<std::string, Tensor> known;
  for (const auto& [prefix, name] :
       {std::pair{"vision_model.", recipe.vision_model}, {"text_model.", recipe.text_model}}) {
    if (name.empty()) continue;
    const std::string folder = runtime::ResolveModelFolder(name);
    base::Config config = runtime::ReadModelConfig(folder);
    const models::Entry& entry = runtime::FindEntry(config);
    const std::vector<NamedTensor> tensors = runtime::ReadWeights(folder, entry, config);
    const auto source = entry.create(config);
    runtime::AssignParameters(*source, entry, tensors, base::PrintableUtf8(folder), {.keeps_compact_weights = false});
    std::map<std::string, Tensor> values;
    for (const auto& [path, value] : Values(*source)) {
      values.emplace(path, value);
      if (const size_t dot = path.find('.'); dot != std::string::npos) values.emplace(path.substr(dot + 1), value);
    }
    int64_t found_in_tower = 0;
    for (const auto& [path, shape] : Shapes(network)) {
      if (!path.starts_with(prefix)) continue;
      const std::string name_in_tower = path.substr(std::string(prefix).size());
      auto found = values.find(name_in_tower);
      if (found == values.end()) found = values.find(name_in_tower.substr(name_in_tower.find('.') + 1));
      Require(found != values.end() && found->second.shape() == shape, "[train] expected ", base::PrintableUtf8(folder),
              " to hold ", name_in_tower, shape, " for the tower ", prefix,
              "; hint: the tower's part of config.json must be that of the model it starts from");
      known.emplace(path, found->second);
      ++found_in_tower;
    }
    Require(found_in_tower > 0, "[train] ", recipe.model, " has no part ", prefix, " that could start from ", name);
  }
  return known;
}

}  // namespace

std::map<std::string, Tensor> Values(models::Model& model) {
  std::map<std::string, Tensor> values;
  nn::ForEachParameter(model, [&](const std::string& path, nn::Parameter& p) {
    if (p.has_value()) values.emplace(path, p.value());
  });
  return values;
}

std::vector<std::string> ModelClasses(const Recipe& recipe) {
  return ClassNames(runtime::ReadModelConfig(runtime::ResolveModelFolder(recipe.model)));
}

Network BuildNetwork(const Recipe& recipe, const std::vector<std::string>& classes) {
  const std::string folder = runtime::ResolveModelFolder(recipe.model);
  base::Config base_config = runtime::ReadModelConfig(folder);
  const models::Entry& entry = runtime::FindEntry(base_config);
  std::vector<NamedTensor> tensors;
  const bool is_composed = !recipe.vision_model.empty();
  if (!recipe.is_from_scratch && !is_composed) tensors = runtime::ReadWeights(folder, entry, base_config);
  const std::vector<std::string> base_classes = ClassNames(base_config);
  const bool has_new_classes = !classes.empty() && classes != base_classes;
  Network network{.model = nullptr,
                  .config = has_new_classes ? WithClasses(base_config, classes, recipe.label_templates) : base_config,
                  .base_folder = folder,
                  .class_names = classes.empty() ? base_classes : classes};
  network.model = entry.create(network.config);

  const std::string preprocess_path = folder + "/preprocessor_config.json";
  if (fs::exists(preprocess_path)) {
    network.preprocess_text = base::ReadTextFile(preprocess_path);
    if (recipe.image_size > 0)
      network.preprocess_text = WithImageSize(network.preprocess_text, preprocess_path, recipe.image_size);
    network.preprocess = media::PreprocessSpec::FromConfig(
        base::Config::Parse(network.preprocess_text, preprocess_path), entry.model_type);
  } else if (entry.input_spec != nullptr || recipe.task != Task::kLanguage) {
    Require(entry.input_spec != nullptr && recipe.image_size == 0, "[train] ", base::PrintableUtf8(folder),
            " has no preprocessor_config.json, so data.image_size cannot be changed");
    network.preprocess = entry.input_spec(network.config);
  }

  if (!classes.empty() && recipe.label_templates.empty()) {
    std::vector<std::string> one_more = classes;
    one_more.emplace_back("\x01");
    const auto probe = Shapes(*entry.create(WithClasses(base_config, one_more, {})));
    for (const auto& [path, shape] : Shapes(*network.model)) {
      if (probe.at(path) != shape) network.head.push_back(path);
    }
  }
  std::map<std::string, Tensor> known;
  if (is_composed) known = ComposedValues(recipe, *network.model);
  if (!recipe.is_from_scratch && !is_composed) {
    const auto source = entry.create(base_config);
    runtime::AssignParameters(*source, entry, tensors, base::PrintableUtf8(folder), {.keeps_compact_weights = false});
    known = Values(*source);
    if (has_new_classes) {
      for (const std::string& path : network.head) known.erase(path);
    }
  }
  nn::ForEachParameter(*network.model, [&](const std::string& path, nn::Parameter& parameter) {
    const auto found = known.find(path);
    if (found != known.end() && found->second.shape() == parameter.shape()) {
      parameter.Assign(found->second.Contiguous().Clone());
      return;
    }
    parameter.Assign(InitialValue(path, parameter, network.config, recipe.seed));
    if (parameter.kind() != Kind::kCounter) network.fresh.push_back(path);
  });
  return network;
}

void WriteModelFolder(const Network& network, const std::map<std::string, Tensor>& values, const std::string& folder,
                      const std::string& card) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) Fail(ErrorCode::kIo, "[train] cannot create ", base::PrintableUtf8(folder), ": ", error.message());
  for (const auto& file : fs::directory_iterator(network.base_folder, error)) {
    const std::string name = file.path().filename().string();
    if (!file.is_regular_file(error) || IsWeightsFile(name) || name == "README.md" || name == "config.json") continue;
    if (fs::equivalent(file.path(), folder + "/" + name, error)) continue;
    base::WriteTextFileAtomically(folder + "/" + name, base::ReadTextFile(file.path().string()));
  }
  if (!network.preprocess_text.empty())
    base::WriteTextFileAtomically(folder + "/preprocessor_config.json", network.preprocess_text);
  base::WriteTextFileAtomically(folder + "/README.md", card);
  std::vector<NamedTensor> tensors;
  for (const auto& [name, value] : values) tensors.push_back({name, value});
  formats::WriteSafetensors(folder + "/model.safetensors", tensors, {{"format", "pt"}});
  base::WriteTextFileAtomically(folder + "/config.json", network.config.json().dump(2) + "\n");
}

}  // namespace fovea::train
