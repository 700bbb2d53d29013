#include "nn/bert.h"

#include <algorithm>

#include "nn/stage.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "tensor/tape.h"

namespace fovea::nn {
namespace {

constexpr EncoderBlockNames kNames = {.q = "attention.self.query",
                                      .k = "attention.self.key",
                                      .v = "attention.self.value",
                                      .out = "attention.output.dense",
                                      .norm1 = "attention.output.LayerNorm",
                                      .fc1 = "intermediate.dense",
                                      .fc2 = "output.dense",
                                      .norm2 = "output.LayerNorm"};

void RefuseWhatIsMissing(const base::Config& c, std::string_view who) {
  for (const char* key : {"is_decoder", "add_cross_attention"}) {
    if (c.Get<bool>(key, false)) Fail(ErrorCode::kUnimplemented, "[", who, "] ", key, " is not implemented");
  }
  const auto type = c.Get<std::string>("position_embedding_type", "absolute");
  if (type != "absolute")
    Fail(ErrorCode::kUnimplemented, "[", who, "] position_embedding_type \"", base::PrintableUtf8(type),
         "\" is not implemented, only \"absolute\"");
  if (c.Has("pruned_heads") && !c.Object("pruned_heads").Keys().empty())
    Fail(ErrorCode::kUnimplemented, "[", who, "] pruned_heads are not implemented");
}

}  // namespace

BertOptions::BertOptions(const base::Config& c, std::string_view who, int64_t pad) : pad_token_id(PadTokenId(c, pad)) {
  c.Read("vocab_size", vocab_size, 1, 1e7);
  c.Read("hidden_size", hidden_size, 1, 65536);
  c.Read("num_hidden_layers", num_hidden_layers, 1, 1000);
  c.Read("num_attention_heads", num_attention_heads, 1, 65536);
  c.Read("intermediate_size", intermediate_size, 1, 1e6);
  c.Read("max_position_embeddings", max_position_embeddings, 1, 1e6);
  c.Read("type_vocab_size", type_vocab_size, 1, 65536);
  c.Read("hidden_dropout_prob", hidden_dropout_prob, 0, 0.99);
  c.Read("attention_probs_dropout_prob", attention_probs_dropout_prob, 0, 0.99);
  c.Read("layer_norm_eps", layer_norm_eps, 0, 1);
  c.Read("add_pooling_layer", add_pooling_layer);
  Require(pad_token_id < vocab_size, "[", who, "] expected a pad_token_id below vocab_size ", vocab_size, ", got ",
          pad_token_id);
  hidden_act = ActFromName(c.Get<std::string>("hidden_act", "gelu"), who);
  RefuseWhatIsMissing(c, who);
}

// ---- embeddings

BertEmbeddings::BertEmbeddings(const BertOptions& o)
    : word_embeddings(o.vocab_size, o.hidden_size),
      position_embeddings(o.max_position_embeddings, o.hidden_size),
      token_type_embeddings(o.type_vocab_size, o.hidden_size),
      norm(o.hidden_size, o.layer_norm_eps),
      options_(o) {}

void BertEmbeddings::Visit(Visitor& v) {
  v("word_embeddings", word_embeddings);
  v("position_embeddings", position_embeddings);
  v("token_type_embeddings", token_type_embeddings);
  v("LayerNorm", norm);
}

Tensor BertEmbeddings::Positions(const Tensor& ids) const {
  const auto [B, T] = ids.Dims<2>("embeddings");
  if (!options_.skips_padding_positions) return Slice(position_embeddings.weight, 0, 0, T);  // [T,D]
  const int64_t padding = options_.pad_token_id;
  const Tensor dense = ids.Contiguous();
  Tensor positions = Tensor::Empty({B, T}, DType::kI64);
  for (int64_t b = 0; b < B; ++b) {
    int64_t next = padding + 1;
    for (int64_t t = 0; t < T; ++t) {
      const bool is_padding = dense.data<int64_t>()[b * T + t] == padding;
      positions.mutable_data<int64_t>()[b * T + t] = is_padding ? padding : next++;
    }
  }
  return LookUp(position_embeddings, positions, padding);  // [B,T,D]
}

Tensor BertEmbeddings::Sum(const models::TextInputs& inputs) const {
  const auto [B, T] = inputs.ids.Dims<2>("embeddings");
  Require(T >= 1 && T <= options_.MaxTokens(), "[embeddings] expected 1 to ", options_.MaxTokens(),
          " tokens, got ids of shape ", inputs.ids.shape());
  for (const Tensor& other : {inputs.mask, inputs.type_ids}) {
    Require(!other.defined() || other.shape() == inputs.ids.shape(),
            "[embeddings] expected mask and type_ids of shape ", inputs.ids.shape(), ", got ", other.shape());
  }
  const Tensor words = LookUp(word_embeddings, inputs.ids, options_.pad_token_id);                // [B,T,D]
  const Tensor types = inputs.type_ids.defined() ? token_type_embeddings(inputs.type_ids)         // [B,T,D]
                                                 : Slice(token_type_embeddings.weight, 0, 0, 1);  // [1,D]
  return words + types + Positions(inputs.ids);                                                   // [B,T,D]
}

Tensor BertEmbeddings::Finish(const Tensor& sum) const { return Dropout(norm(sum), options_.hidden_dropout_prob); }

// ---- trunk

BertTrunk::BertTrunk(const BertOptions& o) : embeddings(o), options_(o) {
  const EncoderBlockOptions block{.dim = o.hidden_size,
                                  .heads = o.num_attention_heads,
                                  .ffn = o.intermediate_size,
                                  .act = o.hidden_act,
                                  .eps = o.layer_norm_eps,
                                  .is_pre_norm = false,
                                  .dropout = o.hidden_dropout_prob,
                                  .attention_dropout = o.attention_probs_dropout_prob};
  for (int64_t i = 0; i < o.num_hidden_layers; ++i) layers.emplace_back(block, kNames);
  if (o.add_pooling_layer) pooler.emplace(LinearOptions{.in_features = o.hidden_size, .out_features = o.hidden_size});
}

void BertTrunk::Visit(Visitor& v) {
  v("embeddings", embeddings);
  v("encoder.layer", layers);
  if (pooler) v("pooler.dense", *pooler);
}

Tensor BertTrunk::Encode(Tensor h, const Tensor& key_mask) const {
  const std::string stage = options_.stage_prefix + "layers";
  for (size_t i = 0; i < layers.size(); ++i)
    h = Stage(stage, static_cast<int64_t>(i), layers[i](h, {.key_mask = key_mask}));  // [B,T,D]
  return h;
}

Tensor BertTrunk::Pool(const Tensor& tokens) const {
  if (!pooler) Fail(ErrorCode::kUnimplemented, "[pooler] this model has none");
  const Tensor first = Squeeze(Slice(tokens, 1, 0, 1), 1);                       // [B,D]
  return Stage(options_.stage_prefix + "pooled", (*pooler)(first, Act::kTanh));  // [B,D]
}

models::TextOutputs BertTrunk::operator()(const models::TextInputs& inputs) const {
  const Tensor h = Stage(options_.stage_prefix + "embeddings", embeddings(inputs));  // [B,T,D]
  const Tensor tokens = Encode(h, inputs.mask);                                      // [B,T,D]
  return {.features = pooler ? Pool(tokens) : Tensor(), .tokens = tokens, .logits = {}};
}

// ---- head for masked words

MaskedWordHead::MaskedWordHead(const Options& o)
    : dense({.in_features = o.dim, .out_features = o.dim}), norm(o.dim, o.eps), bias(Shape{o.vocab}), act_(o.act) {
  if (!o.is_tied) decoder.emplace(LinearOptions{.in_features = o.dim, .out_features = o.vocab, .has_bias = false});
}

Tensor MaskedWordHead::operator()(const Tensor& tokens, const Tensor& words) const {
  const Tensor h = norm(dense(tokens, act_));                                             // [B,T,D]
  return decoder ? (*decoder)(h) + bias.value() : fovea::Linear(h, words, bias.value());  // [B,T,V]
}

void AdaptMaskedWordHead(std::vector<NamedTensor>& tensors, const MaskedWordNames& names, bool is_tied) {
  const auto has = [&](const std::string& name) {
    return std::ranges::any_of(tensors, [&](const NamedTensor& tensor) { return tensor.name == name; });
  };
  const auto move = [&](const std::string& from, const std::string& to) {
    if (from == to || !has(from)) return;
    std::erase_if(tensors, [&](const NamedTensor& tensor) { return tensor.name == to; });
    for (NamedTensor& tensor : tensors)
      if (tensor.name == from) tensor.name = to;
  };
  const std::string decoder(names.decoder), bias(names.bias), words(names.words);
  move(decoder + ".bias", bias);
  if (!is_tied) return;
  if (!has(words)) move(decoder + ".weight", words);
  std::erase_if(tensors, [&](const NamedTensor& tensor) { return tensor.name == decoder + ".weight"; });
}

// ---- helpers

base::Config PoolerAsInWeights(const base::Config& config, std::span<const NamedTensor> tensors) {
  const auto is_pooler = [](const NamedTensor& tensor) { return tensor.name.ends_with("pooler.dense.weight"); };
  if (std::ranges::any_of(tensors, is_pooler)) return config;
  return base::Config::Parse(R"({"add_pooling_layer": false})", config.source()).MergedOver(config);
}

Tensor LookUp(const Embedding& table, const Tensor& ids, int64_t padding) {
  const Tensor rows = table(ids);  // [...,D]
  if (padding < 0 || Tape::Active() == nullptr) return rows;
  std::vector<int64_t> sizes;
  for (int axis = 0; axis < ids.rank(); ++axis) sizes.push_back(ids.dim(axis));
  sizes.push_back(1);
  const Tensor dense = ids.Contiguous();
  Tensor is_padding = Tensor::Empty(Shape(std::span<const int64_t>(sizes)), DType::kBool);  // [...,1]
  for (int64_t i = 0; i < ids.numel(); ++i) is_padding.mutable_data<bool>()[i] = dense.data<int64_t>()[i] == padding;
  return Where(is_padding, rows.Clone(), rows);  // the clone is a constant to the tape
}

std::string ArchitectureOf(const base::Config& config, std::string_view fallback) {
  const auto architectures = config.Get<std::vector<std::string>>("architectures", {});
  return architectures.empty() ? std::string(fallback) : architectures[0];
}

int64_t PadTokenId(const base::Config& config, int64_t fallback) {
  const std::vector<std::string> keys = config.Keys();
  if (!config.Has("pad_token_id")) return std::ranges::count(keys, "pad_token_id") > 0 ? -1 : fallback;
  int64_t id = fallback;
  config.Read("pad_token_id", id, 0, 1e7);
  return id;
}

int64_t NumLabels(const base::Config& config) {
  int64_t count = 2;
  if (config.Has("id2label")) {
    count = static_cast<int64_t>(config.Object("id2label").Keys().size());
    Require(count >= 1, "[model] expected at least one class in id2label of ", config.source());
    return count;
  }
  config.Read("num_labels", count, 1, 1e6);
  return count;
}

}  // namespace fovea::nn
