#include "train/recipe.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace fovea::train {
namespace {

using Words = std::vector<std::string>;

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

// `where`: "" or "data."
void CheckKeys(const base::Config& object, const std::string& where, const Words& known) {
  for (const std::string& key : object.Keys()) {
    if (std::ranges::find(known, key) != known.end()) continue;
    const std::string nearest = NearestWord(key, known);
    Fail(ErrorCode::kInvalidArgument, "[recipe] ", object.source(), ": unknown key \"", where, base::PrintableUtf8(key),
         "\"",
         nearest.empty() ? "; known are " + base::Join(known) : "; hint: did you mean \"" + where + nearest + "\"?");
  }
}

std::string OneOf(const base::Config& object, const std::string& key, const std::string& fallback, const Words& known) {
  const auto value = object.Get<std::string>(key, fallback);
  Require(std::ranges::find(known, value) != known.end(), "[recipe] ", object.source(), ": expected \"", key,
          "\" to be one of ", base::Join(known), ", got \"", base::PrintableUtf8(value), "\"");
  return value;
}

base::Config Part(const base::Config& recipe, const std::string& key) {
  return recipe.Has(key) ? recipe.Object(key) : base::Config::Parse("{}", recipe.source());
}

std::string Resolved(const std::string& path, const std::filesystem::path& folder) {
  return path.empty() ? path : (folder / path).lexically_normal().string();
}

// "a.b=value": value as JSON when it is some, else as text.
void Override(nlohmann::json& recipe, const std::string& assignment) {
  const size_t equals = assignment.find('=');
  Require(equals != std::string::npos && equals > 0, "[recipe] expected --set key=value, got \"",
          base::PrintableUtf8(assignment), "\"");
  nlohmann::json value = nlohmann::json::parse(assignment.substr(equals + 1), nullptr, false);
  if (value.is_discarded()) value = assignment.substr(equals + 1);
  nlohmann::json* place = &recipe;
  for (const std::string& key : base::Split(assignment.substr(0, equals), '.')) {
    Require(!key.empty() && (place->is_object() || place->is_null()), "[recipe] --set ",
            base::PrintableUtf8(assignment), " names nothing that can be set");
    place = &(*place)[key];
  }
  *place = std::move(value);
}

void ReadGrids(const base::Config& data, const std::filesystem::path& folder, Recipe& r) {
  data.Read("captions_per_picture", r.captions_per_picture, 1, 64);
  if (data.Has("cache_grids")) {
    const base::Config cache = data.Object("cache_grids");
    CheckKeys(cache, "data.cache_grids.", {"blocks", "crop", "flips", "file"});
    r.grids.blocks = cache.Require<int64_t>("blocks");
    Require(r.grids.blocks >= 1 && r.grids.blocks <= 1000, "[recipe] ", cache.source(),
            ": expected data.cache_grids.blocks in [1,1000], got ", r.grids.blocks);
    const auto crop = cache.Get<std::vector<int64_t>>("crop", {0, 0});
    Require(crop.size() == 2 && crop[0] >= 0 && crop[0] <= crop[1] && crop[1] <= 1024 && (crop[0] > 0 || crop[1] == 0),
            "[recipe] ", cache.source(), ": expected data.cache_grids.crop to be [low, high], in places of the grid");
    r.grids.crop_low = crop[0];
    r.grids.crop_high = crop[1];
    cache.Read("flips", r.grids.has_flips);
    r.grids.file = Resolved(cache.Get<std::string>("file", ""), folder);
  }
  if (data.Has("weak_labels")) {
    const base::Config weak = data.Object("weak_labels");
    CheckKeys(weak, "data.weak_labels.", {"model", "share", "least_probability", "prompts"});
    r.weak_labels.model = weak.Require<std::string>("model");
    weak.Read("share", r.weak_labels.share, 0, 1);
    weak.Read("least_probability", r.weak_labels.least_probability, 0, 1);
    weak.Read("prompts", r.weak_labels.prompts);
    Require(!r.weak_labels.prompts.empty(), "[recipe] ", weak.source(), ": expected data.weak_labels.prompts");
  }
  data.Read("end_marks", r.keeps_end_marks);
  if (data.Has("questions")) {
    const base::Config questions = data.Object("questions");
    CheckKeys(questions, "data.questions.", {"per_picture", "prompt", "validation_share"});
    r.questions.per_picture = 1;
    questions.Read("per_picture", r.questions.per_picture, 1, 1000);
    questions.Read("prompt", r.questions.prompt);
    questions.Read("validation_share", r.questions.validation_share, 0, 0.9);
    Require(r.questions.prompt.find("{}") != std::string::npos, "[recipe] ", questions.source(),
            ": expected data.questions.prompt to hold {}, the place of the question");
  }
  Require((r.questions.per_picture == 0 && r.keeps_end_marks) || (r.task == Task::kCaption && r.grids.blocks > 0),
          "[recipe] ", data.source(), ": data.questions and end_marks serve the task caption with data.cache_grids");
  const bool takes_grids = r.task == Task::kContrastive || r.task == Task::kCaption;
  Require(r.grids.blocks == 0 || (takes_grids && !r.augment.is_on && !r.caches_towers), "[recipe] ", data.source(),
          ": data.cache_grids is for the tasks contrastive and caption with \"augment\": false and without "
          "cache_features; crop and flips are its own");
  Require(r.weak_labels.model.empty() || r.task == Task::kContrastive, "[recipe] ", data.source(),
          ": data.weak_labels serves the task contrastive");
  Require(r.grids.blocks > 0 || (r.weak_labels.model.empty() && r.captions_per_picture == 1), "[recipe] ",
          data.source(), ": data.weak_labels and data.captions_per_picture need data.cache_grids");
}

void ReadData(const base::Config& recipe, const std::filesystem::path& folder, Recipe& r) {
  const base::Config data = recipe.Object("data");
  CheckKeys(data, "data.",
            {"train",        "validation",           "validation_share", "label",     "classes",        "top_classes",
             "image_size",   "shuffle_buffer",       "threads",          "augment",   "cache_features", "cache_grids",
             "weak_labels",  "captions_per_picture", "questions",        "end_marks", "prompt",         "prompt_field",
             "target_field", "max_tokens",           "label_templates"});
  r.train_paths = data.Require<Words>("train");
  r.validation_paths = data.Get<Words>("validation", {});
  for (Words* paths : {&r.train_paths, &r.validation_paths}) {
    for (std::string& path : *paths) path = Resolved(path, folder);
  }
  Require(!r.train_paths.empty(), "[recipe] ", data.source(), ": expected at least one path in data.train");
  data.Read("validation_share", r.validation_share, 0, 0.9);
  Require(r.validation_paths.empty() || r.validation_share == 0, "[recipe] ", data.source(),
          ": data.validation and data.validation_share exclude each other");
  data.Read("label", r.label_field);
  data.Read("classes", r.classes);
  data.Read("top_classes", r.top_classes, 0, 1e6);
  Require(r.classes.empty() || r.top_classes == 0, "[recipe] ", data.source(),
          ": data.classes and data.top_classes exclude each other");
  data.Read("label_templates", r.label_templates);
  Require(r.label_templates.empty() || r.task == Task::kClassify, "[recipe] ", data.source(),
          ": data.label_templates serves the task classify");
  data.Read("image_size", r.image_size, 0, 4096);
  data.Read("shuffle_buffer", r.shuffle_buffer, 1, 1e7);
  data.Read("threads", r.loader_threads, 0, 256);
  data.Read("cache_features", r.caches_towers);
  data.Read("prompt", r.prompt);
  data.Read("prompt_field", r.prompt_field);
  data.Read("target_field", r.target_field);
  data.Read("max_tokens", r.max_tokens, 0, 1 << 20);
  const bool is_language = r.task == Task::kCaption || r.task == Task::kLanguage;
  Require(is_language || (r.prompt.empty() && r.prompt_field.empty() && r.target_field.empty() && r.max_tokens == 0),
          "[recipe] ", data.source(),
          ": data.prompt, prompt_field, target_field and max_tokens are for the tasks caption "
          "and language");
  if (data.Has("augment") && data.json()["augment"].is_boolean()) {
    r.augment.is_on = data.Get<bool>("augment", true);
    return;
  }
  const base::Config a = Part(data, "augment");
  CheckKeys(
      a, "data.augment.",
      {"crop_scale", "crop_ratio", "flip", "brightness", "contrast", "saturation", "hue", "operations", "magnitude"});
  const auto pair = [&](const char* key, double& low, double& high) {
    const auto values = a.Get<std::vector<double>>(key, {low, high});
    Require(values.size() == 2 && values[0] > 0 && values[0] <= values[1], "[recipe] ", a.source(),
            ": expected data.augment.", key, " to be [low, high] with 0 < low <= high");
    low = values[0];
    high = values[1];
  };
  pair("crop_scale", r.augment.crop_scale_low, r.augment.crop_scale_high);
  pair("crop_ratio", r.augment.crop_ratio_low, r.augment.crop_ratio_high);
  Require(r.augment.crop_scale_high <= 1, "[recipe] ", a.source(), ": expected data.augment.crop_scale at most 1");
  a.Read("flip", r.augment.flip, 0, 1);
  a.Read("brightness", r.augment.brightness, 0, 1);
  a.Read("contrast", r.augment.contrast, 0, 1);
  a.Read("saturation", r.augment.saturation, 0, 1);
  a.Read("hue", r.augment.hue, 0, 0.5);
  a.Read("operations", r.augment.operations, 0, 10);
  a.Read("magnitude", r.augment.magnitude, 0, 10);
}

void ReadOptimizer(const base::Config& recipe, Recipe& r) {
  const base::Config o = Part(recipe, "optimizer");
  using Type = OptimizerOptions::Type;
  const std::string type = OneOf(o, "type", "adamw", {"adamw", "sgd", "lion"});
  Words known = {"type", "learning_rate", "weight_decay"};
  if (type == "sgd") {
    known.insert(known.end(), {"momentum", "nesterov"});
  } else {
    known.emplace_back("betas");
    if (type == "adamw") known.emplace_back("eps");
  }
  CheckKeys(o, "optimizer.", known);
  r.optimizer.type = type == "adamw" ? Type::kAdamW : type == "sgd" ? Type::kSgd : Type::kLion;
  if (type == "lion") {
    r.optimizer.beta2 = 0.99;
    r.optimizer.learning_rate = 1e-4;
  }
  if (type == "sgd") {
    r.optimizer.momentum = 0.9;
    r.optimizer.weight_decay = 1e-4;
    r.optimizer.learning_rate = 1e-2;
  }
  o.Read("learning_rate", r.optimizer.learning_rate, 0, 1e3);
  o.Read("weight_decay", r.optimizer.weight_decay, 0, 1e3);
  const auto betas = o.Get<std::vector<double>>("betas", {r.optimizer.beta1, r.optimizer.beta2});
  Require(betas.size() == 2 && betas[0] >= 0 && betas[0] < 1 && betas[1] >= 0 && betas[1] < 1, "[recipe] ", o.source(),
          ": expected optimizer.betas to be two numbers in [0,1)");
  r.optimizer.beta1 = betas[0];
  r.optimizer.beta2 = betas[1];
  o.Read("eps", r.optimizer.eps, 1e-16, 1);
  o.Read("momentum", r.optimizer.momentum, 0, 0.9999);
  o.Read("nesterov", r.optimizer.is_nesterov);

  const base::Config s = Part(recipe, "schedule");
  CheckKeys(s, "schedule.", {"type", "warmup_steps", "end_factor"});
  const std::string shape = OneOf(s, "type", "cosine", {"constant", "linear", "cosine"});
  r.schedule.type = shape == "constant" ? ScheduleOptions::Type::kConstant
                    : shape == "linear" ? ScheduleOptions::Type::kLinear
                                        : ScheduleOptions::Type::kCosine;
  s.Read("warmup_steps", r.schedule.warmup_steps, 0, 1e9);
  s.Read("end_factor", r.schedule.end_factor, 0, 1);
}

void ReadGroups(const base::Config& recipe, Recipe& r) {
  if (recipe.Has("groups")) {
    const nlohmann::json& groups = recipe.json()["groups"];
    Require(groups.is_array(), "[recipe] ", recipe.source(), ": expected \"groups\" to be a list of objects");
    for (const auto& stored : groups) {
      const base::Config group = base::Config::Parse(stored.dump(), recipe.source());
      CheckKeys(group, "groups.", {"match", "learning_rate_scale", "weight_decay", "frozen"});
      GroupRule rule;
      if (stored.contains("match") && stored["match"].is_array()) {
        rule.matches = group.Require<Words>("match");
      } else {
        rule.matches = {group.Require<std::string>("match")};
      }
      Require(!rule.matches.empty(), "[recipe] ", group.source(), ": expected groups.match to name something");
      group.Read("learning_rate_scale", rule.rate_scale, 0, 1e6);
      if (group.Has("weight_decay")) group.Read("weight_decay", rule.weight_decay, 0, 1e3);
      group.Read("frozen", rule.is_frozen);
      r.groups.push_back(rule);
    }
  }
  if (recipe.Has("lora")) {
    const base::Config lora = recipe.Object("lora");
    CheckKeys(lora, "lora.", {"rank", "alpha", "targets"});
    r.lora.rank = lora.Require<int64_t>("rank");
    Require(r.lora.rank >= 1 && r.lora.rank <= 4096, "[recipe] ", lora.source(),
            ": expected lora.rank in [1,4096], got ", r.lora.rank);
    r.lora.alpha = lora.Get<double>("alpha", static_cast<double>(r.lora.rank));
    r.lora.targets = lora.Get<Words>("targets", {});
  }
}

void ReadLoss(const base::Config& recipe, Recipe& r) {
  const base::Config l = Part(recipe, "loss");
  CheckKeys(l, "loss.",
            r.task == Task::kDistill   ? Words{"teacher", "temperature"}
            : r.task == Task::kCaption ? Words{"label_smoothing", "self_critical"}
            : r.task != Task::kContrastive
                ? Words{"label_smoothing"}
                : Words{"type", "label_smoothing", "margin", "teacher", "temperature", "distillation"});
  r.contrastive_loss = OneOf(l, "type", "infonce", {"infonce", "sigmoid", "max_of_hinges"});
  l.Read("label_smoothing", r.label_smoothing, 0, 0.99);
  if (l.Has("self_critical")) {
    const base::Config s = l.Object("self_critical");
    CheckKeys(s, "loss.self_critical.", {"samples", "max_tokens", "temperature", "least_captions", "cross_entropy"});
    r.self_critical.samples = 5;
    s.Read("samples", r.self_critical.samples, 2, 64);
    s.Read("max_tokens", r.self_critical.max_tokens, 1, 1024);
    s.Read("temperature", r.self_critical.temperature, 0.05, 20);
    s.Read("least_captions", r.self_critical.least_captions, 1, 1000);
    s.Read("cross_entropy", r.self_critical.cross_entropy, 0, 1e3);
    Require(r.grids.blocks > 0, "[recipe] ", s.source(), ": loss.self_critical needs data.cache_grids");
  }
  l.Read("margin", r.margin, 0, 10);
  l.Read("teacher", r.teacher);
  l.Read("temperature", r.temperature, 1e-4, 1e4);
  l.Read("distillation", r.distillation, 0, 1);
  Require(!r.teacher.empty() || !(l.Has("distillation") || l.Has("temperature")), "[recipe] ", l.source(),
          ": loss.distillation and loss.temperature need loss.teacher");
}

void ReadBookkeeping(const base::Config& recipe, Recipe& r) {
  recipe.Read("batch_size", r.batch_size, 1, 1e6);
  recipe.Read("micro_batch_size", r.micro_batch_size, 0, 1e6);
  recipe.Read("epochs", r.epochs, 0, 1e6);
  recipe.Read("steps", r.steps, 0, 1e9);
  Require((r.epochs > 0) != (r.steps > 0), "[recipe] ", recipe.source(), ": expected either epochs or steps above 0");
  recipe.Read("clip_norm", r.clip_norm, 0, 1e9);
  recipe.Read("ema_decay", r.ema_decay, 0, 0.999999);
  recipe.Read("layer_decay", r.layer_decay, 0.01, 1);
  recipe.Read("frozen_statistics", r.has_frozen_statistics);
  recipe.Read("gradient_checkpointing", r.recomputes);
  r.computes_bf16 = OneOf(recipe, "precision", "f32", {"f32", "bf16"}) == "bf16";
  recipe.Read("log_every", r.log_every, 1, 1e9);
  recipe.Read("validate_every", r.validate_every, 0, 1e9);
  recipe.Read("checkpoint_every", r.checkpoint_every, 1, 1e9);
  recipe.Read("keep_best", r.keep_best, 1, 100);
}

}  // namespace

std::string NearestWord(const std::string& word, const std::vector<std::string>& known) {
  std::string nearest;
  size_t best = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const size_t distance = EditDistance(word.substr(0, 64), candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

Recipe ReadRecipe(const std::string& file, const std::vector<std::string>& overrides) {
  nlohmann::json json = base::ParseJson(base::ReadTextFile(file, 1 << 20), base::PrintableUtf8(file));
  Require(json.is_object(), "[recipe] ", base::PrintableUtf8(file), ": expected a JSON object");
  for (const std::string& assignment : overrides) Override(json, assignment);
  const base::Config recipe = base::Config::Parse(json.dump(), base::PrintableUtf8(file));
  CheckKeys(recipe, "",
            {"output",
             "model",
             "vision_model",
             "text_model",
             "task",
             "from_scratch",
             "seed",
             "data",
             "optimizer",
             "schedule",
             "groups",
             "layer_decay",
             "lora",
             "loss",
             "batch_size",
             "micro_batch_size",
             "epochs",
             "steps",
             "clip_norm",
             "ema_decay",
             "frozen_statistics",
             "gradient_checkpointing",
             "precision",
             "log_every",
             "validate_every",
             "checkpoint_every",
             "keep_best"});
  const std::filesystem::path folder = std::filesystem::path(file).parent_path();
  Recipe r;
  r.text = recipe.Text();
  r.output = Resolved(recipe.Require<std::string>("output"), folder);
  r.model = recipe.Require<std::string>("model");
  recipe.Read("vision_model", r.vision_model);
  recipe.Read("text_model", r.text_model);
  Require(!r.vision_model.empty() || r.text_model.empty(), "[recipe] ", recipe.source(),
          ": expected vision_model beside text_model");
  std::error_code ignored;
  if (const std::string beside = Resolved(r.model, folder); std::filesystem::is_directory(beside, ignored))
    r.model = beside;
  const std::string task =
      OneOf(recipe, "task", "classify", {"classify", "contrastive", "distill", "caption", "language"});
  r.task = task == "classify"      ? Task::kClassify
           : task == "contrastive" ? Task::kContrastive
           : task == "distill"     ? Task::kDistill
           : task == "caption"     ? Task::kCaption
                                   : Task::kLanguage;
  recipe.Read("from_scratch", r.is_from_scratch);
  int64_t seed = 0;
  recipe.Read("seed", seed, 0, 9e15);
  r.seed = static_cast<uint64_t>(seed);
  ReadData(recipe, folder, r);
  ReadGrids(recipe.Object("data"), folder, r);
  for (std::string* model : {&r.model, &r.vision_model, &r.text_model, &r.weak_labels.model}) {
    std::error_code ignored;
    if (const std::string beside = Resolved(*model, folder);
        !model->empty() && std::filesystem::is_directory(beside, ignored))
      *model = beside;
  }
  ReadOptimizer(recipe, r);
  ReadGroups(recipe, r);
  ReadLoss(recipe, r);
  ReadBookkeeping(recipe, r);
  Require(r.task != Task::kDistill || !r.teacher.empty(), "[recipe] ", recipe.source(),
          ": task distill needs loss.teacher, a model");
  Require(r.grids.blocks == 0 || (r.teacher.empty() && r.contrastive_loss == "infonce" && r.micro_batch_size == 0),
          "[recipe] ", recipe.source(),
          ": data.cache_grids takes the loss infonce over whole batches, without loss.teacher and micro_batch_size");
  Require(!r.caches_towers || r.task == Task::kContrastive || r.task == Task::kDistill, "[recipe] ", recipe.source(),
          ": data.cache_features serves the tasks contrastive and distill");
  Require(!r.caches_towers || r.task == Task::kDistill || r.has_frozen_statistics, "[recipe] ", recipe.source(),
          ": data.cache_features needs frozen_statistics: true, so that a frozen tower always gives the same features");
  return r;
}

}  // namespace fovea::train
