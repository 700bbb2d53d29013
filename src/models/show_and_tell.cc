// Show and Tell: a convolutional network makes one vector of a picture, an LSTM takes it for its first word and tells
// the rest. The baseline of captioning by networks.
//
// Paper: Vinyals et al. 2014, Show and Tell: A Neural Image Caption Generator, arXiv 1411.4555.
// Reference: https://github.com/yunjey/pytorch-tutorial/blob/0500d3df5a2a8080ccfccbc00aca0eacc21818db/tutorials/
// 03-advanced/image_captioning/model.py, whose keys and names it keeps: embed_size, hidden_size, num_layers;
// encoder.linear, encoder.bn, decoder.embed, decoder.lstm, decoder.linear. Its twin is tools/golden/show_and_tell.py.
//
// The convolutional network is a part of its own, vision_model, as config.json says in vision_config: model_type
// efficientnet, resnet or vgg without classes. Text begins with bos_token_id; unlike the reference, and as in the
// paper, nothing is learnt where the picture stands.
//
// Legend: B rows, T tokens, C channels of the network's features, E size of the vectors of words, H hidden size, V
// vocabulary, N = 1 vector of a picture.
#include "nn/cnn.h"
#include "nn/conv.h"
#include "nn/decoder.h"
#include "nn/embedding.h"
#include "nn/lstm.h"
#include "ops/dropout.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "show_and_tell";

// ---- config
struct Config {
  base::Config vision;
  int64_t vocab_size = 10000, embed_size = 256, hidden_size = 512, num_layers = 1;
  int64_t max_position_embeddings = 1 << 20;  // tokens; no limit of the network
  double dropout = 0;                         // of what the LSTM reads and puts out
  DecoderSpec spec;

  explicit Config(const base::Config& c) : vision(CnnConfig(c, kWho)) {
    constexpr double kMostSize = 1 << 18;
    c.Read("vocab_size", vocab_size, 1, 1 << 24);
    c.Read("embed_size", embed_size, 1, kMostSize);
    c.Read("hidden_size", hidden_size, 1, kMostSize);
    c.Read("num_layers", num_layers, 1, 1000);
    c.Read("max_position_embeddings", max_position_embeddings, 1, 1e9);
    c.Read("dropout", dropout, 0, 0.99);
    spec.hidden_size = embed_size;
    spec.vocab = vocab_size;
    spec.max_positions = max_position_embeddings;
    spec.pictures = PicturePlace::kBefore;
    spec.ReadSpecialTokens(c);
  }
};

// ---- modules
struct ShowAndTell {
  Config config;
  Part vision_model;
  nn::Linear encoder_linear;
  nn::BatchNorm2d bn;  // over [B,1,1,E]
  nn::Embedding embed;
  nn::Lstm lstm;
  nn::Linear linear;

  explicit ShowAndTell(const Config& c)
      : config(c),
        vision_model(c.vision, kWho, "vision."),
        encoder_linear({.in_features = vision_model.model().FeatureSize(), .out_features = c.embed_size}),
        bn({.channels = c.embed_size, .momentum = 0.01f}),
        embed(c.vocab_size, c.embed_size),
        lstm({.input_size = c.embed_size, .hidden_size = c.hidden_size, .layers = c.num_layers, .dropout = c.dropout}),
        linear({.in_features = c.hidden_size, .out_features = c.vocab_size}) {
    config.spec.states = lstm.CacheShapes();
  }

  void Visit(nn::Visitor& v) {
    v("vision_model", vision_model);
    v("encoder.linear", encoder_linear);
    v("encoder.bn", bn);
    v("decoder.embed", embed);
    v("decoder.lstm", lstm);
    v("decoder.linear", linear);
  }

  // ---- the picture: features [B,E], grid [B,1,1,E]
  int64_t FeatureSize() const { return config.embed_size; }
  int64_t TrunkBlocks() const { return vision_model.model().TrunkBlocks(); }
  Tensor EncodeTrunk(const Tensor& pixels, int64_t blocks) const {
    return vision_model.model().EncodeTrunk(pixels, blocks);
  }
  ImageOutputs EncodeFromTrunk(const Tensor& trunk, int64_t blocks) const {
    return AsWord(vision_model.model().EncodeFromTrunk(trunk, blocks).features);
  }
  ImageOutputs EncodeImages(const Tensor& pixels) const { return AsWord(vision_model.EncodeImages(pixels).features); }
  Tensor EmbedImages(const Tensor& pixels) const { return Squeeze(EncodeImages(pixels).grid, 1); }  // [B,N,E]

  ImageOutputs AsWord(const Tensor& seen) const {  // seen [B,C]
    const int64_t B = seen.dim(0);
    const Tensor word = bn(Reshape(encoder_linear(seen), {B, 1, 1, config.embed_size}));  // [B,1,1,E]
    return {.features = nn::Stage("picture", Reshape(word, {B, config.embed_size})), .grid = word, .logits = {}};
  }

  // ---- the text
  DecoderSpec Decoder() const { return config.spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return embed(ids); }  // [B,T,E]

  DecodeOutputs Decode(const DecodeInputs& inputs) const {
    const nn::DecodeCall call(inputs, config.spec, kWho);
    nn::Lstm::State state = lstm.Gather(inputs.caches);
    const Tensor words = inputs.ids.defined() ? embed(inputs.ids) : inputs.embeddings;             // [B,T,E]
    const Tensor h = nn::Stage("lstm", lstm(Dropout(words, config.dropout), inputs.mask, state));  // [B,T,H]
    nn::Lstm::Scatter(state, inputs.caches);
    call.Finish();
    return {.hidden = h, .logits = linear(Dropout(call.Asked(h), config.dropout))};  // [B,T,V] or [B,1,V]
  }
};

}  // namespace

const Entry& show_and_tell_entry() {
  static const Entry entry{
      .model_type = kWho,
      .card = {.title = "Show and Tell",
               .paper = "Vinyals et al. 2014, arXiv 1411.4555",
               .reference = "https://github.com/yunjey/pytorch-tutorial/blob/0500d3df5a2a8080ccfccbc00aca0eacc21818db/"
                            "tutorials/03-advanced/image_captioning/model.py",
               .tasks = "captions"},
      .create = [](const base::Config& config) { return MakeModel(ShowAndTell(Config(config))); },
      .input_spec = [](const base::Config& config) { return PartInputSpec(CnnConfig(config, kWho), kWho); },
      .adapt = [](std::vector<NamedTensor>& tensors,
                  const base::Config& config) { AdaptPart(tensors, "vision_model", CnnConfig(config, kWho)); }};
  return entry;
}

}  // namespace fovea::models
