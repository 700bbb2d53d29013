// BLIP: a ViT and BERT's blocks with cross-attention to its vectors. Three checkpoints of one family: captions (a
// decoder reads the picture), answers (an encoder reads question and picture, a decoder what that makes of them), and
// retrieval (features of each, and a score of the pair by an encoder that reads both).
//
// Paper: Li et al. 2022, BLIP: Bootstrapping Language-Image Pre-training, arXiv 2201.12086.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/blip/modeling_blip.py,
// modeling_blip_text.py
//
// Not covered: BlipModel, which the reference is about to remove.
//
// Legend: B rows, T tokens, N vectors of a picture, W their width, D width of the text, E of retrieval, V vocabulary.
#include "nn/bert_decoder.h"
#include "nn/blip_vision.h"
#include "nn/entry.h"
#include "nn/stage.h"

namespace fovea::models {
namespace {

enum class Task : uint8_t { kCaption, kAnswer, kRetrieve };

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  Task task = Task::kCaption;
  BlipVisionConfig vision;
  nn::BertDecoderOptions text;
  int64_t image_text_hidden_size = 256;
  DecoderSpec spec, text_alone;  // text_alone: the encoder without a picture

  explicit Config(const base::Config& c) {
    const std::string architecture = nn::ArchitectureOf(c, "BlipForConditionalGeneration");
    if (architecture == "BlipForQuestionAnswering") {
      task = Task::kAnswer;
    } else if (architecture == "BlipForImageTextRetrieval") {
      task = Task::kRetrieve;
    } else if (architecture != "BlipForConditionalGeneration") {
      Fail(ErrorCode::kUnimplemented, "[blip] the architecture \"", base::PrintableUtf8(architecture),
           "\" is not implemented; there are BlipForConditionalGeneration, BlipForQuestionAnswering and "
           "BlipForImageTextRetrieval");
    }
    const auto part = [&](const char* key) {
      return c.Has(key) ? c.Object(key) : base::Config::Parse("{}", c.source());
    };
    vision.Read(part("vision_config"), "blip");
    const base::Config keys = part("text_config");
    text.vocab_size = 30524;
    text.num_attention_heads = 8;
    text.hidden_dropout_prob = text.attention_probs_dropout_prob = 0;
    text.pad_token_id = 0;
    text.memory_size = vision.hidden_size;
    text.Read(keys, "blip");
    c.Read("image_text_hidden_size", image_text_hidden_size, 1, 65536);
    if (!keys.Get<bool>("is_decoder", true) || !keys.Get<bool>("tie_word_embeddings", true))
      Fail(ErrorCode::kUnimplemented, "[blip] texts without cross-attention and untied words are not implemented");
    Require(task != Task::kAnswer || text.hidden_size == vision.hidden_size,
            "[blip] expected text as wide as the picture's vectors ", vision.hidden_size, " for answers, got ",
            text.hidden_size);
    spec = text_alone = text.Spec();
    text_alone.memory_size = 0;
    spec.pictures = task == Task::kAnswer ? PicturePlace::kEncoder : PicturePlace::kMemory;
    spec.bos = 30522;
    keys.Read("bos_token_id", spec.bos, -1, 1e8);
    int64_t sep_token_id = 102;  // ends a text, whatever eos_token_id says
    keys.Read("sep_token_id", sep_token_id, 0, 1e8);
    spec.eos = {sep_token_id};
    spec.decoder_start_token_id = spec.bos;
  }
};

// ---- modules
struct TextDecoder {
  nn::BertDecoder bert;
  nn::MaskedWordHead head;

  explicit TextDecoder(const Config& c)
      : bert(c.text),
        head({.dim = c.text.hidden_size,
              .vocab = c.text.vocab_size,
              .act = ActFromName(c.text.hidden_act, "blip"),
              .eps = c.text.layer_norm_eps,
              .is_tied = true}) {}
  void Visit(nn::Visitor& v) {
    v("bert", bert);
    v("cls.predictions.transform.dense", head.dense);
    v("cls.predictions.transform.LayerNorm", head.norm);
    v("cls.predictions.bias", head.bias);
  }
};

struct Blip {
  Config config;
  BlipVisionTower vision_model;
  nn::Optional<nn::BertDecoder> text_encoder;
  nn::Optional<TextDecoder> text_decoder;
  nn::Optional<nn::Linear> vision_proj, text_proj, itm_head;

  explicit Blip(const Config& c) : config(c), vision_model(c.vision) {
    if (c.task != Task::kCaption) text_encoder.emplace(c.text);
    if (c.task != Task::kRetrieve) text_decoder.emplace(c);
    if (c.task != Task::kRetrieve) return;
    vision_proj.emplace(
        nn::LinearOptions{.in_features = c.vision.hidden_size, .out_features = c.image_text_hidden_size});
    text_proj.emplace(nn::LinearOptions{.in_features = c.text.hidden_size, .out_features = c.image_text_hidden_size});
    itm_head.emplace(nn::LinearOptions{.in_features = c.text.hidden_size, .out_features = 2});
  }

  void Visit(nn::Visitor& v) {
    v("vision_model", vision_model);
    v("text_encoder", text_encoder);
    v("text_decoder", text_decoder);
    v("vision_proj", vision_proj);
    v("text_proj", text_proj);
    v("itm_head", itm_head);
  }

  bool CanDecode() const { return text_decoder.has_value(); }
  bool CanEncodeImages() const { return vision_proj.has_value(); }
  bool CanEncodeTexts() const { return text_encoder.has_value(); }
  Matching HowItMatches() const { return vision_proj ? Matching::kSoftmax : Matching::kNone; }
  int64_t FeatureSize() const { return vision_proj ? config.image_text_hidden_size : config.text.hidden_size; }
  TextSpec Texts() const { return {.max_tokens = config.text.max_position_embeddings}; }
  DecoderSpec Decoder() const { return config.spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return text_decoder->bert.EmbedTokens(ids); }  // [B,T,D]

  Tensor EmbedImages(const Tensor& pixels) const { return nn::Stage("pictures", vision_model(pixels)); }  // [B,N,W]

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    if (!vision_proj) Fail(ErrorCode::kUnimplemented, "[blip] this checkpoint has no features of pictures alone");
    const Tensor h = vision_model(pixels);  // [B,N,W]
    const int64_t B = h.dim(0), P = pixels.dim(1) / vision_model.patch_size();
    return {.features = (*vision_proj)(Squeeze(Slice(h, 1, 0, 1), 1)),        // [B,E]
            .grid = Reshape(Slice(h, 1, 1, h.dim(1)), {B, P, -1, h.dim(2)}),  // [B,P,Q,W]
            .logits = {}};
  }

  // With pictures: what the encoder makes of both, and whether they match (logits of no and yes, [B,2]). Without: the
  // text's own features.
  TextOutputs EncodeTexts(const TextInputs& inputs) const {
    if (!text_encoder) Fail(ErrorCode::kUnimplemented, "[blip] this checkpoint has no encoder of texts");
    const bool reads_both = inputs.pictures.defined();
    const DecodeInputs given{.ids = inputs.ids, .mask = inputs.mask, .memory = inputs.pictures};
    nn::DecodeCall call(given, reads_both ? config.spec : config.text_alone, "blip");
    call.is_causal = false;
    const Tensor tokens = (*text_encoder)(call, reads_both ? "encoder." : "text.");  // [B,T,D]
    if (!vision_proj) return {.features = {}, .tokens = tokens, .logits = {}};
    const Tensor first = Squeeze(Slice(tokens, 1, 0, 1), 1);  // [B,D]
    return {.features = reads_both ? Tensor() : (*text_proj)(first),
            .tokens = tokens,
            .logits = reads_both ? (*itm_head)(first) : Tensor()};
  }

  DecodeOutputs Decode(const DecodeInputs& inputs) const {
    if (!text_decoder) Fail(ErrorCode::kUnimplemented, "[blip] this checkpoint has no decoder");
    const nn::DecodeCall call(inputs, config.spec, "blip");
    const Tensor h = text_decoder->bert(call, "decoder.");                                          // [B,T,D]
    return {.hidden = h, .logits = text_decoder->head(call.Asked(h), text_decoder->bert.words())};  // [B,T,V]
  }

  Tensor MatchLogits(const Tensor& image_features, const Tensor& text_features) const {
    return CosineLogits(image_features, text_features);  // [N,M]
  }
};

media::PreprocessSpec InputSpec(const base::Config& config) {
  const int64_t side = Config(config).vision.image_size;
  media::PreprocessSpec spec = ClipPreprocess(side);
  spec.size = {.height = side, .width = side};  // stretched
  spec.do_center_crop = false;
  return spec;
}

constexpr std::string_view kUnused[] = {"*.position_ids", "text_encoder.cls.*", "text_encoder.pooler.*"};

}  // namespace

const Entry& blip_entry() {
  static const Entry entry{
      .model_type = "blip",
      .card = {.title = "BLIP",
               .paper = "Li et al. 2022, arXiv 2201.12086",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/blip/"
                            "modeling_blip.py",
               .tasks = "captions, answers about pictures, image and text features, image-text matching"},
      .create = [](const base::Config& config) { return MakeModel(Blip(Config(config))); },
      .input_spec = InputSpec,
      .unused = kUnused,
      .adapt =
          [](std::vector<NamedTensor>& tensors, const base::Config&) {
            nn::AdaptMaskedWordHead(tensors,
                                    {.decoder = "text_decoder.cls.predictions.decoder",
                                     .bias = "text_decoder.cls.predictions.bias",
                                     .words = "text_decoder.bert.embeddings.word_embeddings.weight"},
                                    /*is_tied=*/true);
          }};
  return entry;
}

}  // namespace fovea::models
