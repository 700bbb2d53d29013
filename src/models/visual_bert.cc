// VisualBERT: BERT over one sequence of words and regions of a picture, which attend to each other in every layer.
//
// Paper: Li et al. 2019, VisualBERT: A Simple and Performant Baseline for Vision and Language, arXiv 1908.03557.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/visual_bert/modeling_visual_bert.py
// The regions come from an object detector, which is no part of this file. They stand behind the words, all at position
// 0 and in segment 1 of tables of their own; aligning them with words (image_text_alignment) is not offered. Which head
// there is follows architectures[0] of config.json; the alignment of regions with phrases is refused.
//
// Legend: B batch, T tokens, R regions, D model, F features of a region, V vocabulary, N answers.
#include "nn/bert.h"
#include "nn/entry.h"
#include "nn/stage.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

// What the classifier looks at.
enum class Task : uint8_t {
  kNone,         // no head: VisualBertModel
  kPretraining,  // masked words, and whether the text belongs to the picture
  kPooled,       // classes of the pooled first token: VisualReasoning; MultipleChoice, where each choice is a row
  kAnswer,       // classes of the last word before [SEP]: QuestionAnswering
};

// ---- config: the keys of config.json, defaults as in transformers
struct Config : nn::BertOptions {
  int64_t visual_embedding_dim = 512, num_labels = 2;
  bool tie_word_embeddings = true;
  Task task = Task::kNone;  // of architectures

  explicit Config(const base::Config& c) : BertOptions(c, "visual_bert", /*pad=*/1), num_labels(nn::NumLabels(c)) {
    c.Read("visual_embedding_dim", visual_embedding_dim, 1, 1e6);
    c.Read("tie_word_embeddings", tie_word_embeddings);
    Require(type_vocab_size >= 2, "[visual_bert] expected type_vocab_size >= 2, as regions are in segment 1, got ",
            type_vocab_size);
    Require(add_pooling_layer, "[visual_bert] expected a model with a pooling layer");
    if (c.Get<bool>("bypass_transformer", false))
      Fail(ErrorCode::kUnimplemented, "[visual_bert] bypass_transformer is not implemented");
    const std::string architecture = nn::ArchitectureOf(c, "VisualBertModel");
    if (architecture == "VisualBertForPreTraining") {
      task = Task::kPretraining;
    } else if (architecture == "VisualBertForVisualReasoning" || architecture == "VisualBertForMultipleChoice") {
      task = Task::kPooled;
      if (architecture == "VisualBertForMultipleChoice") num_labels = 1;
    } else if (architecture == "VisualBertForQuestionAnswering") {
      task = Task::kAnswer;
    } else if (architecture != "VisualBertModel") {
      Fail(ErrorCode::kUnimplemented, "[visual_bert] the architecture ", base::PrintableUtf8(architecture),
           " is not implemented; hint: VisualBertModel, VisualBertForPreTraining, VisualBertForQuestionAnswering, "
           "VisualBertForVisualReasoning and VisualBertForMultipleChoice are");
    }
  }

  nn::LinearOptions To(int64_t size) const { return {.in_features = hidden_size, .out_features = size}; }
};

// ---- modules
struct VisualBert {
  Config config;
  nn::BertTrunk trunk;
  nn::Embedding region_types, region_positions;
  nn::Linear region_projection;
  nn::Optional<nn::MaskedWordHead> words_head;
  nn::Optional<nn::Linear> match_head, classifier;

  explicit VisualBert(const Config& c)
      : config(c),
        trunk(c),
        region_types(c.type_vocab_size, c.hidden_size),
        region_positions(c.max_position_embeddings, c.hidden_size),
        region_projection({.in_features = c.visual_embedding_dim, .out_features = c.hidden_size}) {
    if (c.task == Task::kPretraining) {
      words_head.emplace(nn::MaskedWordHead::Options{.dim = c.hidden_size,
                                                     .vocab = c.vocab_size,
                                                     .act = c.hidden_act,
                                                     .eps = c.layer_norm_eps,
                                                     .is_tied = c.tie_word_embeddings});
      match_head.emplace(c.To(2));
    } else if (c.task != Task::kNone) {
      classifier.emplace(c.To(c.num_labels));
    }
  }

  void Visit(nn::Visitor& v) {
    v("visual_bert", trunk);
    v("visual_bert.embeddings.visual_token_type_embeddings", region_types);
    v("visual_bert.embeddings.visual_position_embeddings", region_positions);
    v("visual_bert.embeddings.visual_projection", region_projection);
    if (words_head) {
      v("cls.predictions.transform.dense", words_head->dense);
      v("cls.predictions.transform.LayerNorm", words_head->norm);
      v("cls.predictions.bias", words_head->bias);
      v("cls.predictions.decoder", words_head->decoder);
    }
    v("cls.seq_relationship", match_head);
    v("cls", classifier);
  }

  int64_t FeatureSize() const { return config.hidden_size; }

  JointOutputs EncodeJointly(const JointInputs& inputs) const {
    const auto [B, R, F] = inputs.regions.Dims<3>("visual_bert");
    const auto [N, T] = inputs.text.ids.Dims<2>("visual_bert");
    Require(N == B, "[visual_bert] expected ", B, " texts for ", B, " pictures, got ", N);
    Require(F == config.visual_embedding_dim, "[visual_bert] expected regions of ", config.visual_embedding_dim,
            " features, got ", F);
    const Tensor words = trunk.embeddings.Sum(inputs.text);                      // [B,T,D]
    const Tensor regions = region_projection(inputs.regions) +                   // [B,R,D]
                           Slice(region_positions.weight, 0, 0, 1) +             // [1,D]
                           Slice(region_types.weight, 0, 1, 2);                  // [1,D]
    const Tensor joined = trunk.embeddings.Finish(Concat({words, regions}, 1));  // [B,T+R,D]
    const Tensor h = trunk.Encode(nn::Stage("embeddings", joined), JointMask(inputs, Shape{B, T}, Shape{B, R}));
    const Tensor pooled = trunk.Pool(h);  // [B,D]
    return {.features = pooled,
            .text_tokens = Slice(h, 1, 0, T),
            .regions = Slice(h, 1, T, T + R),
            .heads = Heads(h, pooled, inputs.text)};
  }

 private:
  // bool [B,T+R]; undefined when everything exists.
  static Tensor JointMask(const JointInputs& inputs, const Shape& text, const Shape& regions) {
    if (!inputs.text.mask.defined() && !inputs.region_mask.defined()) return {};
    const auto or_all = [](const Tensor& mask, const Shape& shape) {
      if (!mask.defined()) return Tensor::Full(shape, 1.0f).To(DType::kBool);
      Require(mask.shape() == shape, "[visual_bert] expected a mask of shape ", shape, ", got ", mask.shape());
      return mask;
    };
    return Concat({or_all(inputs.text.mask, text), or_all(inputs.region_mask, regions)}, 1);
  }

  // tokens [B,T+R,D], pooled [B,D].
  std::vector<NamedTensor> Heads(const Tensor& tokens, const Tensor& pooled, const TextInputs& text) const {
    if (words_head) {
      const Tensor& table = trunk.embeddings.word_embeddings.weight;  // [V,D]
      return {{"prediction_logits", (*words_head)(tokens, table)}, {"seq_relationship_logits", (*match_head)(pooled)}};
    }
    if (!classifier) return {};
    const Tensor seen = config.task == Task::kAnswer ? LastWords(tokens, text) : pooled;  // [B,D]
    return {{"logits", (*classifier)(Dropout(seen, config.hidden_dropout_prob))}};        // [B,N]
  }

  // The token before the last of each text, [SEP]: tokens [B,T+R,D] -> [B,D].
  static Tensor LastWords(const Tensor& tokens, const TextInputs& text) {
    const auto [B, T] = text.ids.Dims<2>("visual_bert");
    const int64_t D = tokens.dim(2);
    const Tensor mask = text.mask.defined() ? text.mask.Contiguous() : Tensor();
    Tensor index = Tensor::Empty({B, 1, D}, DType::kI64);
    for (int64_t b = 0; b < B; ++b) {
      int64_t count = mask.defined() ? 0 : T;
      for (int64_t t = 0; mask.defined() && t < T; ++t) count += mask.data<bool>()[b * T + t];
      Require(count >= 2, "[visual_bert] expected questions of at least 2 tokens, got ", count);
      std::fill_n(index.mutable_data<int64_t>() + b * D, D, count - 2);
    }
    return Squeeze(Gather(tokens, 1, index), 1);
  }
};

// ---- names of checkpoints without the task's prefix
constexpr Rename kRenames[] = {{"^embeddings.", "visual_bert.embeddings."},
                               {"^encoder.", "visual_bert.encoder."},
                               {"^pooler.", "visual_bert.pooler."}};
constexpr nn::MaskedWordNames kWordNames = {.decoder = "cls.predictions.decoder",
                                            .bias = "cls.predictions.bias",
                                            .words = "visual_bert.embeddings.word_embeddings.weight"};
// The heads of pre-training where they are not asked for.
constexpr std::string_view kUnused[] = {"cls.predictions.*", "cls.seq_relationship.*", "*.position_ids"};

}  // namespace

const Entry& visual_bert_entry() {
  static const Entry entry{.model_type = "visual_bert",
                           .card = {.title = "VisualBERT",
                                    .paper = "Li et al. 2019, arXiv 1908.03557",
                                    .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/"
                                                 "transformers/models/visual_bert/modeling_visual_bert.py",
                                    .tasks = "visual question answering, visual reasoning, text and regions in one"},
                           .create = [](const base::Config& config) { return MakeModel(VisualBert(Config(config))); },
                           .input_spec = nullptr,
                           .renames = kRenames,
                           .unused = kUnused,
                           .adapt =
                               [](std::vector<NamedTensor>& tensors, const base::Config& c) {
                                 nn::AdaptMaskedWordHead(tensors, kWordNames, c.Get<bool>("tie_word_embeddings", true));
                               }};
  return entry;
}

}  // namespace fovea::models
