// LXMERT: a sentence and the regions of a picture, each read by its own layers, then by layers in which each attends to
// the other.
//
// Paper: Tan and Bansal 2019, LXMERT: Learning Cross-Modality Encoder Representations from Transformers, arXiv
// 1908.07490.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/lxmert/modeling_lxmert.py
// The regions come from an object detector, which is no part of this file. Which heads there are follows
// architectures[0] of config.json. The losses of pre-training are cross-entropy of the words, of the match and of the
// answer, and for the regions visual_loss_normalizer x the mean over all of them of cross-entropy (obj, attr) or smooth
// L1 (feat) where they are masked; tools/golden/lxmert.py spells them out.
//
// Legend: B batch, T tokens, R regions, D model, F features of a region, V words, O objects, A attributes, N answers.
#include <numeric>

#include "nn/bert.h"
#include "nn/entry.h"
#include "nn/stage.h"
#include "nn/transformer.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"

namespace fovea::models {
namespace {

constexpr double kEps = 1e-12;  // of every norm
constexpr char kFixed[] = R"(, "pad_token_id": 0, "layer_norm_eps": 1e-12, "add_pooling_layer": true})";

// ---- config: the keys of config.json, defaults as in transformers
// BERT's keys; LXMERT counts its layers under other names, and norms and padding are not for config.json to change.
base::Config AsBert(const base::Config& c) {
  int64_t l_layers = 9;
  c.Read("l_layers", l_layers, 1, 1000);
  const std::string own = base::StrCat("{\"num_hidden_layers\": ", l_layers, kFixed);
  return base::Config::Parse(own, c.source()).MergedOver(c);
}

struct Config : nn::BertOptions {
  int64_t x_layers = 5, r_layers = 5, visual_feat_dim = 2048, visual_pos_dim = 4;
  int64_t num_qa_labels = 9500, num_object_labels = 1600, num_attr_labels = 400;
  bool task_obj_predict = true, task_qa = true, tie_word_embeddings = true;
  bool visual_obj_loss = true, visual_attr_loss = true, visual_feat_loss = true;
  bool is_pretraining = false, is_answering = false;  // of architectures

  explicit Config(const base::Config& c) : BertOptions(AsBert(c), "lxmert") {
    c.Read("x_layers", x_layers, 0, 1000);
    c.Read("r_layers", r_layers, 1, 1000);
    c.Read("visual_feat_dim", visual_feat_dim, 1, 1e6);
    c.Read("visual_pos_dim", visual_pos_dim, 1, 1024);
    c.Read("num_qa_labels", num_qa_labels, 1, 1e7);
    c.Read("num_object_labels", num_object_labels, 1, 1e7);
    c.Read("num_attr_labels", num_attr_labels, 1, 1e7);
    const std::pair<const char*, bool*> switches[] = {
        {"task_obj_predict", &task_obj_predict},       {"task_qa", &task_qa},
        {"tie_word_embeddings", &tie_word_embeddings}, {"visual_obj_loss", &visual_obj_loss},
        {"visual_attr_loss", &visual_attr_loss},       {"visual_feat_loss", &visual_feat_loss}};
    for (const auto& [key, field] : switches) c.Read(key, *field);
    const auto architecture = nn::ArchitectureOf(c, "LxmertModel");
    is_pretraining = architecture == "LxmertForPreTraining";
    is_answering = architecture == "LxmertForQuestionAnswering";
    if (!is_pretraining && !is_answering && architecture != "LxmertModel")
      Fail(ErrorCode::kUnimplemented, "[lxmert] no such architecture: ", base::PrintableUtf8(architecture),
           "; hint: LxmertModel, LxmertForPreTraining and LxmertForQuestionAnswering are");
  }

  nn::LinearOptions To(int64_t size) const { return {.in_features = hidden_size, .out_features = size}; }
  nn::EncoderBlockOptions Block() const {
    return {.dim = hidden_size,
            .heads = num_attention_heads,
            .ffn = intermediate_size,
            .act = hidden_act,
            .eps = layer_norm_eps,
            .is_pre_norm = false,
            .dropout = hidden_dropout_prob,
            .attention_dropout = attention_probs_dropout_prob};
  }
};

// ---- modules
// q, k, v, out, norm1, fc1, fc2, norm2
constexpr nn::EncoderBlockNames kBlock = {
    "attention.self.query",       "attention.self.key", "attention.self.value", "attention.output.dense",
    "attention.output.LayerNorm", "intermediate.dense", "output.dense",         "output.LayerNorm"};
constexpr nn::EncoderBlockNames kLanguage = {
    "lang_self_att.self.query",   "lang_self_att.self.key",         "lang_self_att.self.value",
    "lang_self_att.output.dense", "lang_self_att.output.LayerNorm", "lang_inter.dense",
    "lang_output.dense",          "lang_output.LayerNorm"};
constexpr nn::EncoderBlockNames kVision = {
    "visn_self_att.self.query",   "visn_self_att.self.key",         "visn_self_att.self.value",
    "visn_self_att.output.dense", "visn_self_att.output.LayerNorm", "visn_inter.dense",
    "visn_output.dense",          "visn_output.LayerNorm"};

// Words and regions look at each other through the same weights, then each at itself.
struct CrossLayer {
  nn::MultiHeadAttention cross;
  nn::LayerNorm norm;
  nn::EncoderBlock language, vision;
  double dropout;

  explicit CrossLayer(const Config& c)
      : cross({.dim = c.hidden_size, .heads = c.num_attention_heads, .dropout = c.attention_probs_dropout_prob}),
        norm(c.hidden_size, kEps),
        language(c.Block(), kLanguage),
        vision(c.Block(), kVision),
        dropout(c.hidden_dropout_prob) {}
  void Visit(nn::Visitor& v) {
    v("visual_attention.att.query", cross.q);
    v("visual_attention.att.key", cross.k);
    v("visual_attention.att.value", cross.v);
    v("visual_attention.output.dense", cross.out);
    v("visual_attention.output.LayerNorm", norm);
    v("", language);
    v("", vision);
  }

  Tensor Look(const Tensor& x, const Tensor& memory, const AttentionOptions& mask) const {
    return norm(x + Dropout(cross(x, memory, mask), dropout));
  }
};

// The regions' way into the model.
struct RegionEmbeddings {
  nn::Linear features, boxes;
  nn::LayerNorm features_norm, boxes_norm;
  double dropout;

  explicit RegionEmbeddings(const Config& c)
      : features({.in_features = c.visual_feat_dim, .out_features = c.hidden_size}),
        boxes({.in_features = c.visual_pos_dim, .out_features = c.hidden_size}),
        features_norm(c.hidden_size, kEps),
        boxes_norm(c.hidden_size, kEps),
        dropout(c.hidden_dropout_prob) {}
  void Visit(nn::Visitor& v) {
    v("visn_fc", features);
    v("visn_layer_norm", features_norm);
    v("box_fc", boxes);
    v("box_layer_norm", boxes_norm);
  }

  Tensor operator()(const Tensor& region, const Tensor& box) const {
    return Dropout((features_norm(features(region)) + boxes_norm(boxes(box))) * 0.5f, dropout);  // [B,R,D]
  }
};

// One linear layer for each property of a region that pre-training predicts.
struct RegionHeads {
  nn::Linear dense;
  nn::LayerNorm norm;
  std::vector<std::pair<std::string, nn::Linear>> scores;

  explicit RegionHeads(const Config& c) : dense(c.To(c.hidden_size)), norm(c.hidden_size, kEps) {
    if (c.visual_obj_loss) scores.emplace_back("obj", c.To(c.num_object_labels));
    if (c.visual_attr_loss) scores.emplace_back("attr", c.To(c.num_attr_labels));
    if (c.visual_feat_loss) scores.emplace_back("feat", c.To(c.visual_feat_dim));
  }
  void Visit(nn::Visitor& v) {
    v("transform.dense", dense);
    v("transform.LayerNorm", norm);
    for (auto& [name, linear] : scores) v("decoder_dict." + name, linear);
  }
};

struct AnswerHead {
  nn::Linear wide, scores;
  nn::LayerNorm norm;

  explicit AnswerHead(const Config& c)
      : wide(c.To(2 * c.hidden_size)),
        scores({.in_features = 2 * c.hidden_size, .out_features = c.num_qa_labels}),
        norm(2 * c.hidden_size, kEps) {}
  void Visit(nn::Visitor& v) {
    v("logit_fc.0", wide);
    v("logit_fc.2", norm);
    v("logit_fc.3", scores);
  }
  Tensor operator()(const Tensor& pooled) const { return scores(norm(wide(pooled, Act::kGelu))); }  // [B,D] -> [B,N]
};

struct Lxmert {
  Config config;
  nn::BertTrunk text_trunk;  // embeddings, language layers and pooler
  RegionEmbeddings region_embeddings;
  nn::List<nn::EncoderBlock> region_layers;
  nn::List<CrossLayer> cross_layers;
  nn::Optional<nn::MaskedWordHead> words_head;
  nn::Optional<nn::Linear> match_head;
  nn::Optional<RegionHeads> region_heads;
  nn::Optional<AnswerHead> answer_head;

  explicit Lxmert(const Config& c) : config(c), text_trunk(c), region_embeddings(c) {
    for (int64_t i = 0; i < c.r_layers; ++i) region_layers.emplace_back(c.Block(), kBlock);
    for (int64_t i = 0; i < c.x_layers; ++i) cross_layers.emplace_back(c);
    if (c.is_pretraining) {
      words_head.emplace(
          nn::MaskedWordHead::Options{c.hidden_size, c.vocab_size, c.hidden_act, kEps, c.tie_word_embeddings});
      match_head.emplace(c.To(2));
      if (c.task_obj_predict) region_heads.emplace(c);
    }
    if (c.is_answering || (c.is_pretraining && c.task_qa)) answer_head.emplace(c);
  }

  void Visit(nn::Visitor& v) {
    v("lxmert", text_trunk);
    v("lxmert.encoder.visn_fc", region_embeddings);
    v("lxmert.encoder.x_layers", cross_layers);
    v("lxmert.encoder.r_layers", region_layers);
    if (words_head) {
      v("cls.predictions.transform.dense", words_head->dense);
      v("cls.predictions.transform.LayerNorm", words_head->norm);
      v("cls.predictions.bias", words_head->bias);
      v("cls.predictions.decoder", words_head->decoder);
    }
    v("cls.seq_relationship", match_head);
    v("obj_predict_head", region_heads);
    v("answer_head", answer_head);
  }

  int64_t FeatureSize() const { return config.hidden_size; }

  // The first row of all three tables is padding that is not trained, also for position 0 and segment 0.
  Tensor EmbedText(const TextInputs& text) const {
    const auto& tables = text_trunk.embeddings;
    const auto [B, T] = text.ids.Dims<2>("lxmert");
    Require(T >= 1 && T <= config.MaxTokens(), "[lxmert] expected 1 to ", config.MaxTokens(), " tokens, got ", T);
    std::vector<int64_t> counted(T);
    std::iota(counted.begin(), counted.end(), 0);
    const Tensor places = Tensor::FromValues<int64_t>({T}, counted);
    const Tensor types = text.type_ids.defined() ? text.type_ids : Tensor::Zeros({B, T}, DType::kI64);
    const Tensor h = nn::LookUp(tables.word_embeddings, text.ids, 0) +    // [B,T,D]
                     nn::LookUp(tables.position_embeddings, places, 0) +  // [T,D]
                     nn::LookUp(tables.token_type_embeddings, types, 0);  // [B,T,D]
    return nn::Stage("embeddings", tables.Finish(h));
  }

  JointOutputs EncodeJointly(const JointInputs& inputs) const {
    const auto [B, R, F] = inputs.regions.Dims<3>("lxmert");
    Require(R >= 1 && F == config.visual_feat_dim, "[lxmert] expected one or more regions of ", config.visual_feat_dim,
            " features, got ", inputs.regions.shape());
    const Shape boxes{B, R, config.visual_pos_dim};
    Require(inputs.boxes.defined() && inputs.boxes.shape() == boxes, "[lxmert] expected boxes of shape ", boxes,
            ", got ", inputs.boxes.defined() ? inputs.boxes.shape().ToString() : "none");
    const auto [N, T] = inputs.text.ids.Dims<2>("lxmert");
    Require(N == B, "[lxmert] expected ", B, " texts, got ", N);
    const AttentionOptions to_text{.key_mask = inputs.text.mask}, to_regions{.key_mask = inputs.region_mask};
    Tensor text = text_trunk.Encode(EmbedText(inputs.text), inputs.text.mask);                         // [B,T,D]
    Tensor regions = nn::Stage("region_embeddings", region_embeddings(inputs.regions, inputs.boxes));  // [B,R,D]
    for (int64_t i = 0; i < config.r_layers; ++i)
      regions = nn::Stage("r_layers", i, region_layers[i](regions, to_regions));
    for (int64_t i = 0; i < config.x_layers; ++i) {
      const CrossLayer& layer = cross_layers[i];
      const Tensor seen = layer.Look(text, regions, to_regions);  // [B,T,D]
      const Tensor told = layer.Look(regions, text, to_text);     // [B,R,D]
      text = nn::Stage("x_layers.lang", i, layer.language(seen, to_text));
      regions = nn::Stage("x_layers.visn", i, layer.vision(told, to_regions));
    }
    const Tensor pooled = text_trunk.Pool(text);  // [B,D]
    return {.features = pooled, .text_tokens = text, .regions = regions, .heads = Heads(text, regions, pooled)};
  }

  std::vector<NamedTensor> Heads(const Tensor& text, const Tensor& regions, const Tensor& pooled) const {
    std::vector<NamedTensor> heads;
    if (words_head) {
      const Tensor& table = text_trunk.embeddings.word_embeddings.weight;
      heads.push_back({"prediction_logits", (*words_head)(text, table)});    // [B,T,V]
      heads.push_back({"cross_relationship_score", (*match_head)(pooled)});  // [B,2]
    }
    if (answer_head) heads.push_back({"question_answering_score", (*answer_head)(pooled)});  // [B,N]
    if (!region_heads) return heads;
    const Tensor h = region_heads->norm(region_heads->dense(regions, config.hidden_act));  // [B,R,D]
    for (const auto& [name, linear] : region_heads->scores)
      heads.push_back({name + "_scores", linear(h)});  // [B,R,O|A|F]
    return heads;
  }
};

// ---- names of the authors' checkpoints, and of those without the task's prefix
constexpr Rename kRenames[] = {{"^module.", ""},
                               {"^bert.", "lxmert."},
                               {"^embeddings.", "lxmert.embeddings."},
                               {"^encoder.", "lxmert.encoder."},
                               {"^pooler.", "lxmert.pooler."}};
// The tied copy of the words, and heads of pre-training that are not asked for.
constexpr std::string_view kUnused[] = {"cls.*", "obj_predict_head.*", "answer_head.*", "*.position_ids"};

}  // namespace

const Entry& lxmert_entry() {
  static const Entry entry{.model_type = "lxmert",
                           .card = {.title = "LXMERT",
                                    .paper = "Tan and Bansal 2019, arXiv 1908.07490",
                                    .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/"
                                                 "transformers/models/lxmert/modeling_lxmert.py",
                                    .tasks = "visual question answering, text and regions in one"},
                           .create = [](const base::Config& config) { return MakeModel(Lxmert(Config(config))); },
                           .input_spec = nullptr,
                           .renames = kRenames,
                           .unused = kUnused};
  return entry;
}

}  // namespace fovea::models
