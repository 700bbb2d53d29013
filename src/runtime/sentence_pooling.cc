#include "runtime/sentence_pooling.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "formats/checkpoint.h"
#include "ops/arithmetic.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace fovea::runtime {
namespace {

// In the order in which older configurations join the vectors of several modes.
struct ModeKey {
  const char* name;
  const char* key;  // of older configurations
};
constexpr ModeKey kModeKeys[] = {{"cls", "pooling_mode_cls_token"},
                                 {"max", "pooling_mode_max_tokens"},
                                 {"mean", "pooling_mode_mean_tokens"},
                                 {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"},
                                 {"weightedmean", "pooling_mode_weightedmean_tokens"},
                                 {"lasttoken", "pooling_mode_lasttoken"}};

bool Exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

// "Pooling" of "sentence_transformers.models.Pooling".
std::string LastPart(const std::string& name) { return name.substr(name.rfind('.') + 1); }

template <typename... Parts>
[[noreturn]] void Refuse(const std::string& source, const Parts&... parts) {
  Fail(ErrorCode::kUnimplemented, "[sentences] ", source, ": ", parts...);
}

// Steps work on the vector of the whole text; anything else is refused.
void RequireSentences(const base::Config& config) {
  for (const char* key : {"module_input_name", "module_output_name"}) {
    const auto name = config.Get<std::string>(key, "sentence_embedding");
    if (name != "sentence_embedding")
      Refuse(config.source(), key, " \"", base::PrintableUtf8(name), "\" is not implemented");
  }
}

// 1.0 where `mask` is true.
Tensor AsNumbers(const Tensor& mask, DType dtype) {
  return Where(mask, Tensor::Full({1}, 1.0f, dtype), Tensor::Full({1}, 0.0f, dtype));
}

// The first (or last) place of each row where `mask` is true, 0 in a row without: i64 [B].
Tensor EdgeOf(const Tensor& mask, bool is_last) {
  const auto [B, T] = mask.Dims<2>("sentences");
  const Tensor dense = mask.Contiguous();
  Tensor edge = Tensor::Zeros({B}, DType::kI64);
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t i = T - 1; i >= 0; --i) {
      const int64_t t = is_last ? T - 1 - i : i;
      if (dense.data<bool>()[b * T + t]) edge.mutable_data<int64_t>()[b] = t;
    }
  }
  return edge;
}

// One token of each row: tokens [B,T,D], place i64 [B] -> [B,D].
Tensor TokenAt(const Tensor& tokens, const Tensor& place) {
  const auto [B, T, D] = tokens.Dims<3>("sentences");
  return Squeeze(Gather(tokens, 1, Expand(place.View({B, 1, 1}), {B, 1, D}).Contiguous()), 1);  // [B,D]
}

// sum(tokens x weights) / max(sum(weights), 1e-9): tokens [B,T,D], weights [B,T,1] -> [B,D]. `root`: the sum's root.
Tensor WeightedMean(const Tensor& tokens, const Tensor& weights, bool root) {
  const Tensor total = Sum(weights, {1}).Contiguous();  // [B,1]; made of the mask, so it needs no gradient
  Tensor divisor = Tensor::Empty(total.shape());
  const Tensor numbers = total.To(DType::kF32);
  for (int64_t b = 0; b < total.numel(); ++b) {
    const float sum = std::max(numbers.data<float>()[b], 1e-9f);
    divisor.mutable_data<float>()[b] = root ? std::sqrt(sum) : sum;
  }
  return Sum(tokens * weights, {1}) / divisor.To(tokens.dtype());  // [B,D]
}

}  // namespace

// ---- reading a folder

SentencePooling::Mode SentencePooling::ModeFromName(const std::string& name, const std::string& source) {
  constexpr Mode kModes[] = {Mode::kCls,         Mode::kMax,          Mode::kMean,
                             Mode::kMeanSqrtLen, Mode::kWeightedMean, Mode::kLastToken};
  for (size_t i = 0; i < std::size(kModeKeys); ++i)
    if (name == kModeKeys[i].name) return kModes[i];
  Refuse(source, "the pooling mode \"", base::PrintableUtf8(name), "\" is not implemented");
}

void SentencePooling::ReadPooling(const std::string& folder) {
  const base::Config config = base::Config::FromFile(folder + "/config.json");
  if (!modes_.empty()) Refuse(config.source(), "a second pooling is not implemented");
  for (const char* key : {"word_embedding_dimension", "embedding_dimension"})
    if (config.Has(key)) config.Read(key, token_size_, 1, 1e6);
  config.Read("include_prompt", includes_prompt_);
  std::vector<std::string> names;
  if (config.Has("pooling_mode")) {
    const bool is_list = config.json().at("pooling_mode").is_array();
    if (is_list) config.Read("pooling_mode", names);
    if (!is_list) names = {config.Require<std::string>("pooling_mode")};
    Require(!names.empty() && names.size() <= 64, "[sentences] ", config.source(),
            ": expected 1 to 64 pooling modes, got ", names.size());
  } else {
    for (const std::string& key : config.Keys()) {
      const auto is_key = [&](const ModeKey& mode) { return key == mode.key; };
      const bool is_mode = key.starts_with("pooling_mode_");
      if (is_mode && std::ranges::none_of(kModeKeys, is_key) && config.Get<bool>(key, false))
        Refuse(config.source(), base::PrintableUtf8(key), " is not implemented");
    }
    for (const ModeKey& mode : kModeKeys)
      if (config.Get<bool>(mode.key, false)) names.emplace_back(mode.name);
    if (names.empty()) names = {"mean"};
  }
  for (const std::string& name : names) modes_.push_back(ModeFromName(name, config.source()));
}

void SentencePooling::ReadDense(const std::string& folder) {
  const base::Config config = base::Config::FromFile(folder + "/config.json");
  RequireSentences(config);
  const auto in = config.Require<int64_t>("in_features"), out = config.Require<int64_t>("out_features");
  Require(in >= 1 && in <= 1'000'000 && out >= 1 && out <= 1'000'000, "[sentences] ", config.source(),
          ": expected in_features and out_features from 1 to 1000000, got ", in, " and ", out);
  const bool has_bias = config.Get<bool>("bias", true);
  Step step;
  step.has_residual = config.Get<bool>("use_residual", false);
  if (step.has_residual && in != out) Refuse(config.source(), "a residual between different sizes is not implemented");
  const std::string act = base::AsciiLower(LastPart(config.Get<std::string>("activation_function", "Tanh")));
  step.act = act == "identity" ? Act::kIdentity : ActFromName(act, config.source());
  step.dense.emplace_back(nn::LinearOptions{.in_features = in, .out_features = out, .has_bias = has_bias});
  for (const NamedTensor& tensor : formats::ReadCheckpoint(folder)) {
    nn::Parameter* const part = tensor.name == "linear.weight"             ? &step.dense[0].weight
                                : has_bias && tensor.name == "linear.bias" ? &step.dense[0].bias
                                                                           : nullptr;
    Require(part != nullptr && part->shape() == tensor.tensor.shape(), "[sentences] ", base::PrintableUtf8(folder),
            ": expected linear.weight [", out, ",", in, "]", has_bias ? " and linear.bias" : "", ", got ",
            base::PrintableUtf8(tensor.name), " ", tensor.tensor.shape());
    part->Assign(tensor.tensor.To(DType::kF32));
  }
  Require(step.dense[0].weight.has_value() && (!has_bias || step.dense[0].bias.has_value()), "[sentences] ",
          base::PrintableUtf8(folder), " lacks linear.weight or linear.bias");
  steps_.push_back(std::move(step));
}

void SentencePooling::ReadTransformer(const std::string& folder) {
  const std::string path = folder + "/sentence_bert_config.json";
  if (!Exists(path)) return;
  const base::Config config = base::Config::FromFile(path);
  if (config.Has("max_seq_length")) config.Read("max_seq_length", max_tokens_, 1, 1e9);
  config.Read("do_lower_case", lowercases_);
  const auto task = config.Get<std::string>("transformer_task", "feature-extraction");
  if (task != "feature-extraction")
    Refuse(path, "transformer_task \"", base::PrintableUtf8(task), "\" is not implemented");
  if (!config.Has("modality_config") || !config.Object("modality_config").Has("text")) return;
  const base::Config text = config.Object("modality_config").Object("text");
  const auto output = text.Get<std::string>("method_output_name", "last_hidden_state");
  if (output != "last_hidden_state" || text.Get<std::string>("method", "forward") != "forward")
    Refuse(path, "a modality_config for texts other than last_hidden_state of forward is not implemented");
}

void SentencePooling::ReadPrompt(const std::string& folder) {
  const std::string path = folder + "/config_sentence_transformers.json";
  if (!Exists(path)) return;
  const base::Config config = base::Config::FromFile(path);
  if (!config.Has("default_prompt_name")) return;
  prompt_ = config.Object("prompts").Get<std::string>(config.Require<std::string>("default_prompt_name"), "");
  if (!prompt_.empty() && !includes_prompt_)
    Refuse(path, "a prompt that is left out of the pooling is not implemented");
}

SentencePooling SentencePooling::FromFolder(const std::string& folder) {
  SentencePooling pooling;
  const std::string path = folder + "/modules.json";
  if (!Exists(path)) return pooling;
  const nlohmann::json modules = base::ParseJson(base::ReadTextFile(path), path);
  Require(modules.is_array() && !modules.empty() && modules.size() <= 64, "[sentences] ", base::PrintableUtf8(path),
          ": expected a list of 1 to 64 modules");
  for (size_t i = 0; i < modules.size(); ++i) {
    const base::Config module = base::Config::Parse(modules[i].dump(), path);
    const auto type = module.Require<std::string>("type"), part = module.Get<std::string>("path", "");
    const std::string kind = LastPart(type);
    // A folder beside the file, never one elsewhere.
    Require(part.find('/') == std::string::npos && part != "..", "[sentences] ", base::PrintableUtf8(path),
            ": expected the name of a folder, got path \"", base::PrintableUtf8(part), "\"");
    if ((kind == "Transformer") != (i == 0) || (i == 1) != (kind == "Pooling"))
      Refuse(path, "module ", i, " is ", base::PrintableUtf8(type),
             "; implemented is Transformer, Pooling, then Dense and Normalize");
    if (kind == "Transformer") {
      if (!part.empty())
        Refuse(path, "a network in a folder of its own (", base::PrintableUtf8(part), ") is not implemented");
      pooling.ReadTransformer(folder);
    } else if (kind == "Pooling") {
      pooling.ReadPooling(folder + "/" + part);
    } else if (kind == "Dense") {
      pooling.ReadDense(folder + "/" + part);
    } else if (kind == "Normalize") {
      if (Exists(folder + "/" + part + "/config.json"))
        RequireSentences(base::Config::FromFile(folder + "/" + part + "/config.json"));
      pooling.steps_.emplace_back();
    } else {
      Refuse(path, "the module ", base::PrintableUtf8(type), " is not implemented");
    }
  }
  if (pooling.modes_.empty()) Refuse(path, "a list without a Pooling is not implemented");
  pooling.ReadPrompt(folder);
  return pooling;
}

// ---- pooling

Tensor SentencePooling::Pool(Mode mode, const Tensor& tokens, const Tensor& mask) {
  const auto [B, T, D] = tokens.Dims<3>("sentences");
  const Tensor column = Unsqueeze(mask, 2);  // [B,T,1]
  const DType dtype = tokens.dtype();
  switch (mode) {
    case Mode::kCls: return TokenAt(tokens, EdgeOf(mask, /*is_last=*/false));                                  // [B,D]
    case Mode::kLastToken: return TokenAt(tokens * AsNumbers(column, dtype), EdgeOf(mask, /*is_last=*/true));  // [B,D]
    case Mode::kMax: return Max(Where(column, tokens, Tensor::Full({1}, -INFINITY, dtype)), {1});              // [B,D]
    case Mode::kMean:
    case Mode::kMeanSqrtLen:
      return WeightedMean(tokens, AsNumbers(column, dtype), mode == Mode::kMeanSqrtLen);  // [B,D]
    case Mode::kWeightedMean: break;
  }
  // The first token that exists weighs 1, the next 2, ...
  const Tensor first = EdgeOf(mask, /*is_last=*/false);  // [B]
  Tensor place = Tensor::Empty({B, T, 1});
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t t = 0; t < T; ++t)
      place.mutable_data<float>()[b * T + t] = static_cast<float>(t + 1 - first.data<int64_t>()[b]);
  }
  return WeightedMean(tokens, place.To(dtype) * AsNumbers(column, dtype), /*root=*/false);  // [B,D]
}

Tensor SentencePooling::PoolSentences(const models::TextOutputs& outputs, const Tensor& mask) const {
  if (modes_.empty() && outputs.features.defined()) return outputs.features;  // [B,D]
  const auto [B, T, D] = outputs.tokens.Dims<3>("sentences");
  Require(T >= 1 && (token_size_ == 0 || token_size_ == D), "[sentences] expected tokens of size ",
          token_size_ == 0 ? D : token_size_, ", as 1_Pooling/config.json says, got ", outputs.tokens.shape());
  Require(!mask.defined() || (mask.dtype() == DType::kBool && mask.shape() == Shape{B, T}),
          "[sentences] expected a bool mask ", Shape{B, T}, ", got ", mask.defined() ? mask.shape() : Shape{});
  Tensor exists = mask;
  if (!mask.defined()) {
    exists = Tensor::Empty({B, T}, DType::kBool);
    std::fill_n(exists.mutable_data<bool>(), B * T, true);
  }
  std::vector<Tensor> parts;
  for (const Mode mode : modes_.empty() ? std::vector<Mode>{Mode::kMean} : modes_)
    parts.push_back(Pool(mode, outputs.tokens, exists));
  Tensor x = parts.size() == 1 ? parts[0] : Concat(parts, 1);  // [B,E]
  for (const Step& step : steps_) {
    if (step.dense.empty()) {
      x = L2Normalize(x);  // [B,E]
    } else {
      const Tensor y = step.dense[0](x, step.act);  // [B,E']
      x = step.has_residual ? y + x : y;
    }
  }
  return x;
}

int64_t SentencePooling::OutputSize(int64_t dim) const {
  int64_t size = dim * static_cast<int64_t>(std::max<size_t>(1, modes_.size()));
  for (const Step& step : steps_)
    if (!step.dense.empty()) size = step.dense[0].weight.shape()[0];
  return size;
}

}  // namespace fovea::runtime
