// Show, Attend and Tell: captions by an LSTM that before each word looks at the places of a convolutional network's last
// grid, with soft attention.
//
// Paper: Xu et al. 2015, Show, Attend and Tell: Neural Image Caption Generation with Visual Attention, arXiv 1502.03044.
// Reference: https://github.com/sgrvinod/a-PyTorch-Tutorial-to-Image-Captioning/blob/master/models.py, whose names the
// decoder keeps; tools/golden/show_attend_and_tell.py.
//
// config.json has an "encoder" (ResNet or EfficientNet, as the config.json of its own model_type) and the sizes of the
// decoder. Not covered: hard attention, the paper's deep output layer, the pooling of the grid to 14 x 14.
//
// Legend: B rows, T tokens, N = P Q places, A features of a place, K of the attention, I size of the vectors of words,
// H hidden size, V vocabulary.
#include "nn/decoder.h"
#include "nn/embedding.h"
#include "nn/lstm.h"
#include "nn/part.h"
#include "ops/activation.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/softmax.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "show_attend_and_tell";

base::Config EncoderConfig(const base::Config& c) {
  const base::Config encoder = PartConfig(c, "encoder", "resnet", kWho, {"resnet", "efficientnet"});
  return base::Config::Parse(R"({"architectures": null, "id2label": null})", c.source()).MergedOver(encoder);
}

// ---- config
struct Config {
  base::Config encoder;
  int64_t vocab_size = 10000, embedding_size = 512, hidden_size = 512, attention_size = 512;
  int64_t max_position_embeddings = 1 << 20;  // tokens; no limit of the network
  double dropout = 0.5;
  DecoderSpec spec;

  explicit Config(const base::Config& c) : encoder(EncoderConfig(c)) {
    constexpr double kMostSize = 1 << 18;
    c.Read("vocab_size", vocab_size, 1, 1 << 24);
    c.Read("embedding_size", embedding_size, 1, kMostSize);
    c.Read("hidden_size", hidden_size, 1, kMostSize);
    c.Read("attention_size", attention_size, 1, kMostSize);
    c.Read("max_position_embeddings", max_position_embeddings, 1, 1e9);
    c.Read("dropout", dropout, 0, 0.99);
    spec.states = {Shape{1, hidden_size}, Shape{1, hidden_size}};
    spec.hidden_size = embedding_size;
    spec.vocab = vocab_size;
    spec.max_positions = max_position_embeddings;
    spec.pictures = PicturePlace::kMemory;
    spec.ReadSpecialTokens(c);
    spec.decoder_start_token_id = spec.bos;
  }
};

// ---- modules
struct ShowAttendAndTell {
  Config config;
  Part encoder;
  int64_t A;
  nn::Linear encoder_att, decoder_att, full_att;
  nn::Embedding embedding;
  nn::Lstm rnn;
  nn::Linear init_h, init_c, f_beta, fc;

  explicit ShowAttendAndTell(const Config& c)
      : config(c),
        encoder(c.encoder, kWho, "encoder."),
        A(encoder.model().FeatureSize()),
        encoder_att({.in_features = A, .out_features = c.attention_size}),
        decoder_att({.in_features = c.hidden_size, .out_features = c.attention_size}),
        full_att({.in_features = c.attention_size, .out_features = 1}),
        embedding(c.vocab_size, c.embedding_size),
        rnn({.input_size = c.embedding_size + A, .hidden_size = c.hidden_size, .layers = 1}),
        init_h({.in_features = A, .out_features = c.hidden_size}),
        init_c({.in_features = A, .out_features = c.hidden_size}),
        f_beta({.in_features = c.hidden_size, .out_features = A}),
        fc({.in_features = c.hidden_size, .out_features = c.vocab_size}) {
    config.spec.memory_size = A;
  }

  void Visit(nn::Visitor& v) {
    v("encoder", encoder);
    v("decoder.attention.encoder_att", encoder_att);
    v("decoder.attention.decoder_att", decoder_att);
    v("decoder.attention.full_att", full_att);
    v("decoder.embedding", embedding);
    v("decoder.rnn", rnn);
    v("decoder.init_h", init_h);
    v("decoder.init_c", init_c);
    v("decoder.f_beta", f_beta);
    v("decoder.fc", fc);
  }

  DecoderSpec Decoder() const { return config.spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return embedding(ids); }  // [B,T,I]

  Tensor EmbedImages(const Tensor& pixels) const {
    const Tensor grid = encoder.EncodeImages(pixels).grid;  // [B,P,Q,A]
    return nn::Stage("pictures", Reshape(grid, {grid.dim(0), -1, A}));  // [B,N,A]
  }

  // What the state `hidden` [B,H] looks at in the places [B,N,A], whose part in the attention is `keys` [B,N,K]. [B,A]
  Tensor Look(const Tensor& hidden, const Tensor& places, const Tensor& keys, const Tensor& mask) const {
    const Tensor query = Unsqueeze(decoder_att(hidden), 1);                            // [B,1,K]
    Tensor scores = Squeeze(full_att(Activate(keys + query, Act::kRelu)), 2);          // [B,N]
    if (mask.defined()) scores = Where(mask, scores, Tensor::Full({1}, -1e30f));       // [B,N]
    const Tensor seen = Sum(places * Unsqueeze(Softmax(scores), 2), {1});          // [B,A]
    return Activate(f_beta(hidden), Act::kSigmoid) * seen;                             // [B,A]
  }

  nn::Lstm::State Begin(const Tensor& places) const {
    const Tensor mean = Mean(places, {1});  // [B,A]
    return {.hidden = {init_h(mean)}, .cell = {init_c(mean)}};
  }

  // words [B,T,I] -> [B,T,H]; `state` moves on.
  Tensor Run(const Tensor& words, const Tensor& mask, const DecodeInputs& memory, const Tensor& keys,
             nn::Lstm::State& state) const {
    std::vector<Tensor> outputs;
    for (int64_t t = 0; t < words.dim(1); ++t) {
      const Tensor seen = Unsqueeze(Look(state.hidden[0], memory.memory, keys, memory.memory_mask), 1);  // [B,1,A]
      const Tensor input = Concat({Slice(words, 1, t, t + 1), seen}, 2);                                 // [B,1,I+A]
      const Tensor exists = mask.defined() ? Slice(mask, 1, t, t + 1).Contiguous() : Tensor();           // [B,1]
      outputs.push_back(rnn(input, exists, state));                                                      // [B,1,H]
    }
    return outputs.size() == 1 ? outputs[0] : Concat(outputs, 1);
  }

  // The same for one row whose state and places its cache keeps. [1,T,H]
  Tensor RunCached(const Tensor& words, const DecodeInputs& inputs, int64_t row) const {
    nn::DecodeCache& cache = *inputs.caches[static_cast<size_t>(row)];
    if (inputs.memory.defined()) {
      const Tensor places = Slice(inputs.memory, 0, row, row + 1).Contiguous();  // [1,N,A]
      cache.SetMemory(0, {Unsqueeze(places, 1), Unsqueeze(encoder_att(places), 1)});
      cache.SetMemoryMask(inputs.memory_mask.defined() ? Slice(inputs.memory_mask, 0, row, row + 1).Contiguous()
                                                       : Tensor());
    }
    const DecodeInputs kept{.memory = Squeeze(cache.memory(0).keys, 1), .memory_mask = cache.memory_mask()};
    nn::Lstm::State state = Begin(kept.memory);
    if (cache.length() > 0) state = {.hidden = {cache.state(0)}, .cell = {cache.state(1)}};
    const Tensor h = Run(words, {}, kept, Squeeze(cache.memory(0).values, 1), state);
    cache.SetState(0, state.hidden[0].Contiguous());
    cache.SetState(1, state.cell[0].Contiguous());
    return h;
  }

  DecodeOutputs Decode(const DecodeInputs& inputs) const {
    const nn::DecodeCall call(inputs, config.spec, kWho);
    const Tensor words = inputs.ids.defined() ? embedding(inputs.ids) : inputs.embeddings;  // [B,T,I]
    Tensor h;                                                                               // [B,T,H]
    if (call.HasCaches()) {
      std::vector<Tensor> rows;
      for (int64_t b = 0; b < call.B; ++b) rows.push_back(RunCached(Slice(words, 0, b, b + 1), inputs, b));
      h = rows.size() == 1 ? rows[0] : Concat(rows, 0);
    } else {
      nn::Lstm::State state = Begin(inputs.memory);
      h = Run(words, inputs.mask, inputs, encoder_att(inputs.memory), state);
    }
    call.Finish();
    return {.hidden = h, .logits = fc(Dropout(call.Asked(h), config.dropout))};  // [B,T,V] or [B,1,V]
  }
};

// ---- names of the tutorial's LSTMCell
constexpr Rename kRenames[] = {{"decoder.decode_step.weight_ih", "decoder.rnn.weight_ih_l0"},
                               {"decoder.decode_step.weight_hh", "decoder.rnn.weight_hh_l0"},
                               {"decoder.decode_step.bias_ih", "decoder.rnn.bias_ih_l0"},
                               {"decoder.decode_step.bias_hh", "decoder.rnn.bias_hh_l0"}};

}  // namespace

const Entry& show_attend_and_tell_entry() {
  static const Entry entry{
      .model_type = kWho,
      .card = {.title = "Show, Attend and Tell",
               .paper = "Xu et al. 2015, arXiv 1502.03044",
               .reference = "https://github.com/sgrvinod/a-PyTorch-Tutorial-to-Image-Captioning/blob/master/models.py",
               .tasks = "captions"},
      .create = [](const base::Config& config) { return MakeModel(ShowAttendAndTell(Config(config))); },
      .input_spec = [](const base::Config& config) { return media::PreprocessSpec::OfModel(EncoderConfig(config)); },
      .renames = kRenames,
      .adapt = [](std::vector<NamedTensor>& tensors,
                  const base::Config& config) { AdaptPart(tensors, "encoder", EncoderConfig(config)); }};
  return entry;
}

}  // namespace fovea::models
