#include "runtime/gguf_model.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "ops/arithmetic.h"

namespace fovea::runtime {
namespace {

using formats::GgufFile;
using formats::GgufMetadata;
using formats::GgufTensor;

// ---- names

// How a tensor was changed on its way into the file.
enum class Change : uint8_t {
  kNone,
  kPairs,  // rows of each head: halves interleaved, because llama.cpp turns neighbours where transformers turns halves
  kPlusOne,     // Gemma's norms scale by 1 + weight
  kTransposed,  // GPT-2's checkpoints hold [I,O]
};

// What one architecture's tensors are called; "*" is the number of the layer. Endings .weight and .bias stay.
struct TensorRow {
  std::string_view gguf;
  std::string_view llama, gemma3, gpt2;
  Change llama_change = Change::kNone, gpt2_change = Change::kNone;
};
#define FOVEA_LAYER "model.layers.*."
constexpr TensorRow kTensorRows[] = {
    {"token_embd", "model.embed_tokens", "model.embed_tokens", "transformer.wte"},
    {"position_embd", "", "", "transformer.wpe"},
    {"output_norm", "model.norm", "model.norm", "transformer.ln_f"},
    {"output", "lm_head", "lm_head", "lm_head"},
    {"blk.*.attn_norm", FOVEA_LAYER "input_layernorm", FOVEA_LAYER "input_layernorm", "transformer.h.*.ln_1"},
    {"blk.*.attn_q", FOVEA_LAYER "self_attn.q_proj", FOVEA_LAYER "self_attn.q_proj", "", Change::kPairs},
    {"blk.*.attn_k", FOVEA_LAYER "self_attn.k_proj", FOVEA_LAYER "self_attn.k_proj", "", Change::kPairs},
    {"blk.*.attn_v", FOVEA_LAYER "self_attn.v_proj", FOVEA_LAYER "self_attn.v_proj", ""},
    {"blk.*.attn_qkv", "", "", "transformer.h.*.attn.c_attn", Change::kNone, Change::kTransposed},
    {"blk.*.attn_output", FOVEA_LAYER "self_attn.o_proj", FOVEA_LAYER "self_attn.o_proj", "transformer.h.*.attn.c_proj",
     Change::kNone, Change::kTransposed},
    {"blk.*.attn_q_norm", FOVEA_LAYER "self_attn.q_norm", FOVEA_LAYER "self_attn.q_norm", ""},
    {"blk.*.attn_k_norm", FOVEA_LAYER "self_attn.k_norm", FOVEA_LAYER "self_attn.k_norm", ""},
    {"blk.*.post_attention_norm", "", FOVEA_LAYER "post_attention_layernorm", ""},
    {"blk.*.ffn_norm", FOVEA_LAYER "post_attention_layernorm", FOVEA_LAYER "pre_feedforward_layernorm",
     "transformer.h.*.ln_2"},
    {"blk.*.ffn_gate", FOVEA_LAYER "mlp.gate_proj", FOVEA_LAYER "mlp.gate_proj", ""},
    {"blk.*.ffn_up", FOVEA_LAYER "mlp.up_proj", FOVEA_LAYER "mlp.up_proj", "transformer.h.*.mlp.c_fc", Change::kNone,
     Change::kTransposed},
    {"blk.*.ffn_down", FOVEA_LAYER "mlp.down_proj", FOVEA_LAYER "mlp.down_proj", "transformer.h.*.mlp.c_proj",
     Change::kNone, Change::kTransposed},
    {"blk.*.post_ffw_norm", "", FOVEA_LAYER "post_feedforward_layernorm", ""},
};
#undef FOVEA_LAYER

enum class Family : uint8_t { kLlama, kGemma3, kGpt2 };

struct Architecture {
  std::string_view name;        // general.architecture
  std::string_view model_type;  // of config.json
  Family family;
  bool has_pairs = false;  // queries and keys are changed
};
constexpr Architecture kArchitectures[] = {{"llama", "llama", Family::kLlama, true},
                                           {"qwen2", "qwen2", Family::kLlama},
                                           {"qwen3", "qwen3", Family::kLlama},
                                           {"gemma3", "gemma3_text", Family::kGemma3},
                                           {"gpt2", "gpt2", Family::kGpt2}};

const Architecture& ArchitectureOf(const GgufMetadata& metadata) {
  const auto name = metadata.Require<std::string>("general.architecture");
  std::vector<std::string_view> known;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) return architecture;
    known.push_back(architecture.name);
  }
  Fail(ErrorCode::kUnimplemented, "[gguf] ", metadata.source(), " holds a model of architecture \"",
       base::PrintableUtf8(name.substr(0, 100)), "\"; Fovea reads ", base::Join(known));
}

std::string_view NameIn(const TensorRow& row, Family family) {
  return family == Family::kLlama ? row.llama : family == Family::kGemma3 ? row.gemma3 : row.gpt2;
}

// `name` with the pattern `from` ("*" for a number) replaced by `to`; "" when it does not fit. Takes .weight and .bias.
std::string Translated(std::string_view name, std::string_view from, std::string_view to) {
  if (from.empty() || to.empty()) return "";
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return "";
  const std::string_view ending = name.substr(dot), stem = name.substr(0, dot);
  if (ending != ".weight" && ending != ".bias") return "";
  const size_t star = from.find('*');
  if (star == std::string_view::npos) return stem == from ? base::StrCat(to, ending) : "";
  const std::string_view before = from.substr(0, star), after = from.substr(star + 1);
  if (stem.size() <= before.size() + after.size() || !stem.starts_with(before) || !stem.ends_with(after)) return "";
  const std::string_view number = stem.substr(before.size(), stem.size() - before.size() - after.size());
  if (number.size() > 4 || number.find_first_not_of("0123456789") != std::string_view::npos) return "";
  const size_t at = to.find('*');
  return base::StrCat(to.substr(0, at), number, to.substr(at + 1), ending);
}

// ---- configuration

int64_t Size(const GgufMetadata& m, const std::string& key) {
  const auto value = m.Require<int64_t>(key);
  Require(value > 0 && value <= (int64_t{1} << 31), "[gguf] expected \"", key, "\" of ", m.source(),
          " to be in [1,2^31], got ", value);
  return value;
}

const GgufTensor* FindTensor(const GgufFile& file, std::string_view name) {
  const auto found = std::ranges::find(file.tensors(), name, &GgufTensor::name);
  return found == file.tensors().end() ? nullptr : &*found;
}

// llama.cpp's converter turns the rope_scaling of LLaMA 3.1 into a tensor of factors; this finds the options again.
nlohmann::json Llama3Scaling(const GgufFile& file, double theta, int64_t head_dim) {
  const GgufTensor* stored = FindTensor(file, "rope_freqs.weight");
  if (stored == nullptr) return nullptr;
  Require(!stored->block && stored->shape == Shape{head_dim / 2}, "[gguf] expected rope_freqs.weight of ",
          file.metadata().source(), " to hold ", head_dim / 2, " numbers, got ", stored->shape);
  const Tensor factors = file.Plain(*stored).To(DType::kF32);
  const auto values = factors.values<float>();
  const double factor = values.empty() ? 1 : *std::ranges::max_element(values);
  constexpr double kLow = 1, kHigh = 4, kOriginal = 8192;
  for (size_t i = 0; i < values.size(); ++i) {
    const double length = 2 * M_PI * std::pow(theta, 2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    const double smooth = std::clamp((kOriginal / length - kLow) / (kHigh - kLow), 0.0, 1.0);
    const double expected = 1 / ((1 - smooth) / factor + smooth);
    if (std::fabs(values[i] - expected) > 1e-3 * expected)
      Fail(ErrorCode::kUnimplemented, "[gguf] the rope_freqs of ", file.metadata().source(),
           " are not those of LLaMA 3.1; other factors are not read");
  }
  if (factor == 1) return nullptr;
  return {{"rope_type", "llama3"},
          {"factor", factor},
          {"low_freq_factor", kLow},
          {"high_freq_factor", kHigh},
          {"original_max_position_embeddings", static_cast<int64_t>(kOriginal)}};
}

nlohmann::json RopeScaling(const GgufFile& file, const std::string& prefix, double theta, int64_t head_dim) {
  const GgufMetadata& m = file.metadata();
  const auto type = m.Get<std::string>(prefix + "rope.scaling.type", "none");
  const auto factor = m.Get<double>(prefix + "rope.scaling.factor", m.Get<double>(prefix + "rope.scale_linear", 1));
  if (type == "linear" || (type == "none" && factor != 1)) return {{"rope_type", "linear"}, {"factor", factor}};
  if (type == "yarn") {
    nlohmann::json yarn = {{"rope_type", "yarn"}, {"factor", factor}};
    const std::string original = prefix + "rope.scaling.original_context_length";
    if (m.Has(original)) yarn["original_max_position_embeddings"] = Size(m, original);
    if (m.Has(prefix + "rope.scaling.attn_factor"))
      yarn["attention_factor"] = m.Require<double>(prefix + "rope.scaling.attn_factor");
    return yarn;
  }
  if (type != "none")
    Fail(ErrorCode::kUnimplemented, "[gguf] ", m.source(), " stretches positions by \"", base::PrintableUtf8(type),
         "\"; linear, yarn and LLaMA 3.1's factors are read");
  return Llama3Scaling(file, theta, head_dim);
}

// The number of key heads, which some files give for each layer.
int64_t KvHeads(const GgufMetadata& m, const std::string& prefix, int64_t heads) {
  const std::string key = prefix + "attention.head_count_kv";
  if (!m.Has(key)) return heads;
  try {
    return m.Require<int64_t>(key);
  } catch (const Error&) {
    const auto each = m.Require<std::vector<int64_t>>(key);
    if (each.empty() || std::ranges::any_of(each, [&](int64_t n) { return n != each[0]; }))
      Fail(ErrorCode::kUnimplemented, "[gguf] layers with different numbers of key heads, in ", m.source(),
           ", are not implemented");
    return each[0];
  }
}

void AddDecoder(const GgufFile& file, const Architecture& architecture, nlohmann::json& config) {
  const GgufMetadata& m = file.metadata();
  const std::string prefix = std::string(architecture.name) + ".";
  for (const char* key : {"expert_count", "leading_dense_block_count"}) {
    if (m.Get<int64_t>(prefix + key, 0) > 0)
      Fail(ErrorCode::kUnimplemented, "[gguf] ", m.source(), " mixes experts, which is not implemented");
  }
  const int64_t dim = Size(m, prefix + "embedding_length"), heads = Size(m, prefix + "attention.head_count");
  const auto head_dim = m.Get<int64_t>(prefix + "attention.key_length", dim / heads);
  const auto rotated = m.Get<int64_t>(prefix + "rope.dimension_count", head_dim);
  Require(m.Get<int64_t>(prefix + "attention.value_length", head_dim) == head_dim && rotated == head_dim,
          "[gguf] expected keys, values and turned parts of heads of one size in ", m.source());
  const auto theta = m.Get<double>(prefix + "rope.freq_base", architecture.family == Family::kGemma3 ? 1e6 : 10000);
  config["hidden_size"] = dim;
  config["intermediate_size"] = Size(m, prefix + "feed_forward_length");
  config["num_hidden_layers"] = Size(m, prefix + "block_count");
  config["num_attention_heads"] = heads;
  config["num_key_value_heads"] = KvHeads(m, prefix, heads);
  config["head_dim"] = head_dim;
  config["max_position_embeddings"] = Size(m, prefix + "context_length");
  config["rms_norm_eps"] = m.Require<double>(prefix + "attention.layer_norm_rms_epsilon");
  config["rope_theta"] = theta;
  config["rope_scaling"] = RopeScaling(file, prefix, theta, head_dim);
  config["attention_bias"] = FindTensor(file, "blk.0.attn_q.bias") != nullptr;
  if (architecture.family != Family::kGemma3) return;
  // llama.cpp's rules for Gemma 3 (src/models/gemma3.cpp); 62 layers are the 27B model.
  const bool is_largest = config["num_hidden_layers"] == 62;
  config["query_pre_attn_scalar"] = is_largest ? dim / heads : head_dim;
  config["sliding_window"] = nullptr;
  if (m.Has(prefix + "attention.sliding_window")) {
    config["sliding_window"] = Size(m, prefix + "attention.sliding_window");
    config["sliding_window_pattern"] = 6;
  }
  config["rope_local_base_freq"] = m.Get<double>(prefix + "rope.freq_base_swa", 10000);
  if (m.Has(prefix + "final_logit_softcapping"))
    config["final_logit_softcapping"] = m.Require<double>(prefix + "final_logit_softcapping");
}

void AddGpt2(const GgufMetadata& m, nlohmann::json& config) {
  config["n_embd"] = Size(m, "gpt2.embedding_length");
  config["n_layer"] = Size(m, "gpt2.block_count");
  config["n_head"] = Size(m, "gpt2.attention.head_count");
  config["n_inner"] = Size(m, "gpt2.feed_forward_length");
  config["n_positions"] = Size(m, "gpt2.context_length");
  config["layer_norm_epsilon"] = m.Require<double>("gpt2.attention.layer_norm_epsilon");
}

// ---- weights

// The row of the file that row i of a parameter was: halves of each head that stand interleaved there.
std::vector<int64_t> PairedRows(int64_t rows, int64_t heads, const std::string& what) {
  Require(heads > 0 && rows % heads == 0 && rows / heads % 2 == 0, "[gguf] expected ", what, " to have rows for ",
          heads, " heads of even size, got ", rows);
  const int64_t size = rows / heads, half = size / 2;
  std::vector<int64_t> row_of(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t within = i % size;
    row_of[static_cast<size_t>(i)] = i - within + 2 * (within % half) + within / half;
  }
  return row_of;
}

Tensor WithRows(const Tensor& tensor, std::span<const int64_t> row_of) {
  const Tensor dense = tensor.Contiguous();
  Tensor picked = Tensor::Empty(dense.shape(), dense.dtype());
  const auto row_bytes = static_cast<size_t>(dense.size_bytes()) / row_of.size();
  for (size_t i = 0; i < row_of.size(); ++i)
    std::copy_n(dense.raw() + static_cast<size_t>(row_of[i]) * row_bytes, row_bytes,
                picked.mutable_raw() + i * row_bytes);
  return picked;
}

Weight WeightOf(const GgufFile& file, const GgufTensor& stored, std::string name, Change change, int64_t heads) {
  constexpr size_t kSmallBytes = 1 << 20;  // copied, so that they do not keep the file mapped
  Weight weight{
      .name = std::move(name), .tensor = {}, .blocks = nullptr, .is_transposed = change == Change::kTransposed};
  std::vector<int64_t> row_of;
  if (change == Change::kPairs) row_of = PairedRows(stored.shape.rank() > 0 ? stored.shape[0] : 0, heads, stored.name);
  if (stored.block && stored.shape.rank() == 2) {
    const int64_t rows = stored.shape[0], columns = stored.shape[1];
    weight.blocks = row_of.empty() ? kernels::BlockMatrix::FromFile(*stored.block, rows, columns, stored.bytes)
                                   : kernels::BlockMatrix::FromFile(*stored.block, row_of, columns, stored.bytes);
    return weight;
  }
  if (stored.block)
    Fail(ErrorCode::kUnimplemented, "[gguf] ", file.metadata().source(), ": tensor \"", stored.name, "\" ",
         stored.shape, " is in ", *stored.block, " blocks; only matrices are read so");
  Tensor tensor = file.Plain(stored);
  if (stored.bytes.size() <= kSmallBytes) tensor = tensor.Clone();
  if (!row_of.empty()) tensor = WithRows(tensor, row_of);
  if (change == Change::kPlusOne) tensor = tensor.To(DType::kF32) + -1.0f;
  constexpr int kTurned[] = {1, 0};
  if (change == Change::kTransposed && tensor.rank() == 2) tensor = tensor.Permuted(kTurned).Contiguous();
  weight.tensor = tensor;
  return weight;
}

Change ChangeOf(const TensorRow& row, const Architecture& architecture, std::string_view name) {
  if (architecture.family == Family::kGemma3) return name.ends_with("norm.weight") ? Change::kPlusOne : Change::kNone;
  if (architecture.family == Family::kGpt2) return name.ends_with(".weight") ? row.gpt2_change : Change::kNone;
  return architecture.has_pairs ? row.llama_change : Change::kNone;
}

// All tokens that end a text: those that the file names, and as in llama.cpp the control tokens that end a turn by
// their names, because files name but one and instruction models end with another.
std::vector<int64_t> EndTokens(const GgufMetadata& m) {
  std::vector<int64_t> ends;
  const auto add = [&](int64_t id) {
    if (id >= 0 && std::ranges::find(ends, id) == ends.end()) ends.push_back(id);
  };
  for (const char* name : {"eos", "eot", "eom"})
    add(m.Get<int64_t>(base::StrCat("tokenizer.ggml.", name, "_token_id"), -1));
  const auto types = m.Get<std::vector<int64_t>>("tokenizer.ggml.token_type", {});
  if (types.empty()) return ends;
  const auto tokens = m.Get<std::vector<std::string>>("tokenizer.ggml.tokens", {});
  constexpr int64_t kControl = 3;
  for (size_t id = 0; id < std::min(types.size(), tokens.size()); ++id) {
    if (types[id] != kControl) continue;
    for (const std::string_view name : {"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>",
                                        "<|endoftext|>", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "</s>"}) {
      if (tokens[id] == name) add(static_cast<int64_t>(id));
    }
  }
  return ends;
}

}  // namespace

Shape Weight::shape() const {
  if (blocks == nullptr) return tensor.shape();
  return is_transposed ? Shape{blocks->columns(), blocks->rows()} : blocks->shape();
}

base::Config GgufConfig(const GgufFile& file) {
  const GgufMetadata& m = file.metadata();
  const Architecture& architecture = ArchitectureOf(m);
  nlohmann::json config = {{"model_type", architecture.model_type}};
  const GgufTensor* words = FindTensor(file, "token_embd.weight");
  Require(words != nullptr && words->shape.rank() == 2, "[gguf] expected a matrix token_embd.weight in ", m.source());
  config["vocab_size"] = words->shape[0];
  config["tie_word_embeddings"] = FindTensor(file, "output.weight") == nullptr;
  if (m.Has("tokenizer.ggml.bos_token_id")) config["bos_token_id"] = m.Require<int64_t>("tokenizer.ggml.bos_token_id");
  if (const std::vector<int64_t> ends = EndTokens(m); !ends.empty()) config["eos_token_id"] = ends;
  if (m.Has("tokenizer.ggml.padding_token_id"))
    config["pad_token_id"] = m.Require<int64_t>("tokenizer.ggml.padding_token_id");
  if (architecture.family == Family::kGpt2) {
    AddGpt2(m, config);
  } else {
    AddDecoder(file, architecture, config);
  }
  return base::Config::Parse(config.dump(), m.source());
}

std::vector<Weight> GgufWeights(const GgufFile& file) {
  const Architecture& architecture = ArchitectureOf(file.metadata());
  const std::string prefix = std::string(architecture.name) + ".attention.";
  const auto heads = file.metadata().Require<int64_t>(prefix + "head_count");
  std::vector<Weight> weights;
  for (const GgufTensor& stored : file.tensors()) {
    if (stored.name == "rope_freqs.weight") continue;  // read with the configuration
    std::string name;
    const TensorRow* row = std::begin(kTensorRows);
    for (; row != std::end(kTensorRows); ++row) {
      name = Translated(stored.name, row->gguf, NameIn(*row, architecture.family));
      if (!name.empty()) break;
    }
    if (name.empty())
      Fail(ErrorCode::kUnimplemented, "[gguf] ", file.metadata().source(), ": no place for the tensor \"",
           base::PrintableUtf8(stored.name), "\" in a model of architecture ", architecture.name);
    const bool is_key = row->gguf == "blk.*.attn_k";
    const int64_t count = is_key ? KvHeads(file.metadata(), std::string(architecture.name) + ".", heads) : heads;
    weights.push_back(WeightOf(file, stored, name, ChangeOf(*row, architecture, stored.name), count));
  }
  return weights;
}

namespace {

const Architecture& ArchitectureFor(const base::Config& config) {
  const auto model_type = config.Require<std::string>("model_type");
  const std::string_view name = model_type == "mistral" ? "llama" : std::string_view(model_type);
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.model_type == name) return architecture;
  }
  std::vector<std::string_view> known;
  for (const Architecture& architecture : kArchitectures) known.push_back(architecture.model_type);
  Fail(ErrorCode::kUnimplemented, "[gguf] models of type \"", base::PrintableUtf8(model_type),
       "\" are not written as GGUF; there are ", base::Join(known), " and mistral");
}

}  // namespace

std::vector<formats::GgufEntry> GgufEntries(const base::Config& config) {
  const Architecture& architecture = ArchitectureFor(config);
  const std::string prefix = std::string(architecture.name) + ".";
  std::vector<formats::GgufEntry> entries = {{"general.architecture", std::string(architecture.name)}};
  const auto put = [&](const std::string& key, int64_t value) {
    entries.push_back({prefix + key, static_cast<uint32_t>(value)});
  };
  const auto put_float = [&](const std::string& key, double value) {
    entries.push_back({prefix + key, static_cast<float>(value)});
  };
  const auto size = [&](const char* key) { return config.Require<int64_t>(key); };
  if (config.Has("bos_token_id"))
    entries.push_back({"tokenizer.ggml.bos_token_id", static_cast<uint32_t>(config.Require<int64_t>("bos_token_id"))});
  if (architecture.family == Family::kGpt2) {
    const auto dim = config.Get<int64_t>("n_embd", 768);
    put("context_length", config.Get<int64_t>("n_positions", 1024));
    put("embedding_length", dim);
    put("feed_forward_length", config.Get<int64_t>("n_inner", 4 * dim));
    put("block_count", config.Get<int64_t>("n_layer", 12));
    put("attention.head_count", config.Get<int64_t>("n_head", 12));
    put_float("attention.layer_norm_epsilon", config.Get<double>("layer_norm_epsilon", 1e-5));
    return entries;
  }
  for (const char* key : {"rope_scaling", "final_logit_softcapping"}) {
    if (config.Has(key))
      Fail(ErrorCode::kUnimplemented, "[gguf] a configuration with ", key, " is not written as GGUF");
  }
  const int64_t heads = size("num_attention_heads");
  const auto head_dim = config.Get<int64_t>("head_dim", size("hidden_size") / heads);
  put("context_length", size("max_position_embeddings"));
  put("embedding_length", size("hidden_size"));
  put("feed_forward_length", size("intermediate_size"));
  put("block_count", size("num_hidden_layers"));
  put("attention.head_count", heads);
  put("attention.head_count_kv", config.Get<int64_t>("num_key_value_heads", heads));
  put("attention.key_length", head_dim);
  put("attention.value_length", head_dim);
  put("rope.dimension_count", head_dim);
  put("vocab_size", size("vocab_size"));
  put_float("attention.layer_norm_rms_epsilon", config.Get<double>("rms_norm_eps", 1e-6));
  const bool is_gemma = architecture.family == Family::kGemma3;
  double theta = config.Get<double>("rope_theta", is_gemma ? 1e6 : 10000);
  if (config.Has("rope_parameters")) {
    base::Config rope = config.Object("rope_parameters");
    if (rope.Has("full_attention")) rope = rope.Object("full_attention");
    theta = rope.Get<double>("rope_theta", theta);
    if (rope.Get<std::string>("rope_type", "default") != "default")
      Fail(ErrorCode::kUnimplemented, "[gguf] a configuration with stretched positions is not written as GGUF");
  }
  put_float("rope.freq_base", theta);
  if (is_gemma && config.Has("sliding_window")) put("attention.sliding_window", size("sliding_window"));
  return entries;
}

Weight GgufWeightFor(const base::Config& config, const NamedTensor& tensor) {
  const Architecture& architecture = ArchitectureFor(config);
  Weight weight{.name = "", .tensor = tensor.tensor, .blocks = nullptr};
  const TensorRow* row = std::begin(kTensorRows);
  for (; row != std::end(kTensorRows); ++row) {
    weight.name = Translated(tensor.name, NameIn(*row, architecture.family), row->gguf);
    if (!weight.name.empty()) break;
  }
  if (weight.name.empty()) return weight;
  constexpr int kTurned[] = {1, 0};
  switch (ChangeOf(*row, architecture, weight.name)) {
    case Change::kNone: break;
    case Change::kPlusOne: weight.tensor = tensor.tensor.To(DType::kF32) + 1.0f; break;
    case Change::kTransposed: weight.tensor = tensor.tensor.Permuted(kTurned).Contiguous(); break;
    case Change::kPairs: {
      const auto heads = config.Require<int64_t>("num_attention_heads");
      const bool is_key = row->gguf == "blk.*.attn_k";
      const auto row_of = PairedRows(tensor.tensor.dim(0),
                                     is_key ? config.Get<int64_t>("num_key_value_heads", heads) : heads, tensor.name);
      std::vector<int64_t> inverse(row_of.size());
      for (size_t i = 0; i < row_of.size(); ++i) inverse[static_cast<size_t>(row_of[i])] = static_cast<int64_t>(i);
      weight.tensor = WithRows(tensor.tensor, inverse);
      break;
    }
  }
  return weight;
}

std::string GgufTensorName(std::string_view model_type, std::string_view name) {
  const Family family = model_type == "gemma3_text" ? Family::kGemma3
                        : model_type == "gpt2"      ? Family::kGpt2
                                                    : Family::kLlama;
  for (const TensorRow& row : kTensorRows) {
    std::string translated = Translated(name, NameIn(row, family), row.gguf);
    if (!translated.empty()) return translated;
  }
  return "";
}

}  // namespace fovea::runtime
