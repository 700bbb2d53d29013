// A language model of LSTM layers: word vectors, torch.nn.LSTM, a linear head. The captioning networks before
// transformers (Show and Tell) are this one after a vector of the picture, given in place of the first word.
//
// Papers: Hochreiter and Schmidhuber 1997, Long Short-Term Memory; Zaremba et al. 2014, Recurrent Neural Network
// Regularization, arXiv 1409.2329; Vinyals et al. 2014, Show and Tell, arXiv 1411.4555.
// Reference: https://github.com/pytorch/examples/blob/1.0.0/word_language_model/model.py, whose names it keeps:
// encoder, rnn, decoder.
//
// Not covered: other recurrent cells, projections (proj_size), two directions. A token that does not exist leaves the
// state as it is.
//
// Legend: B rows, T tokens, I size of the vectors of words, H hidden size, V vocabulary, L layers.
#include "nn/decoder.h"
#include "nn/embedding.h"
#include "nn/entry.h"
#include "nn/lstm.h"
#include "nn/stage.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"

namespace fovea::models {
namespace {

// ---- config
struct Config {
  int64_t vocab_size = 10000, embedding_size = 200, hidden_size = 200, num_hidden_layers = 2;
  int64_t max_position_embeddings = 1 << 20;  // tokens; no limit of the network
  double dropout = 0;
  bool tie_word_embeddings = false;
  DecoderSpec spec;

  explicit Config(const base::Config& c) {
    constexpr double kMostSize = 1 << 18;
    c.Read("vocab_size", vocab_size, 1, 1 << 24);
    c.Read("embedding_size", embedding_size, 1, kMostSize);
    c.Read("hidden_size", hidden_size, 1, kMostSize);
    c.Read("num_hidden_layers", num_hidden_layers, 1, 1000);
    c.Read("max_position_embeddings", max_position_embeddings, 1, 1e9);
    c.Read("dropout", dropout, 0, 0.99);
    c.Read("tie_word_embeddings", tie_word_embeddings);
    Require(!tie_word_embeddings || embedding_size == hidden_size,
            "[lstm_lm] expected vectors of words as long as the state where they are tied, got ", embedding_size,
            " and ", hidden_size);
    spec.hidden_size = embedding_size;
    spec.vocab = vocab_size;
    spec.max_positions = max_position_embeddings;
    spec.ReadSpecialTokens(c);
  }
};

// ---- modules
struct LstmLm {
  Config config;
  nn::Embedding encoder;
  nn::Lstm rnn;
  nn::Optional<nn::Linear> decoder;
  nn::Parameter tied_bias;
  nn::TiedLinear tied_head;

  explicit LstmLm(const Config& c)
      : config(c),
        encoder(c.vocab_size, c.embedding_size),
        rnn({.input_size = c.embedding_size,
             .hidden_size = c.hidden_size,
             .layers = c.num_hidden_layers,
             .dropout = c.dropout}),
        tied_bias(Shape{c.vocab_size}) {
    config.spec.states = rnn.CacheShapes();
    if (!c.tie_word_embeddings)
      decoder.emplace(nn::LinearOptions{.in_features = c.hidden_size, .out_features = c.vocab_size});
  }

  void Visit(nn::Visitor& v) {
    v("encoder", encoder);
    v("rnn", rnn);
    if (decoder) {
      v("decoder", *decoder);
    } else {
      v("decoder.bias", tied_bias);
    }
  }

  DecoderSpec Decoder() const { return config.spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return encoder(ids); }  // [B,T,I]

  DecodeOutputs Decode(const DecodeInputs& inputs) const {
    const nn::DecodeCall call(inputs, config.spec, "lstm_lm");
    nn::Lstm::State state = rnn.Gather(inputs.caches);
    const Tensor words = inputs.ids.defined() ? encoder(inputs.ids) : inputs.embeddings;         // [B,T,I]
    const Tensor h = nn::Stage("rnn", rnn(Dropout(words, config.dropout), inputs.mask, state));  // [B,T,H]
    nn::Lstm::Scatter(state, inputs.caches);
    call.Finish();
    const Tensor asked = Dropout(call.Asked(h), config.dropout);  // [B,T,H] or [B,1,H]
    return {.hidden = h,
            .logits = decoder ? (*decoder)(asked) : tied_head(asked, encoder.weight) + tied_bias};  // [B,T,V], [B,1,V]
  }
};

constexpr std::string_view kUnused[] = {"decoder.weight"};  // tied

}  // namespace

const Entry& lstm_lm_entry() {
  static const Entry entry{
      .model_type = "lstm_lm",
      .card = {.title = "LSTM language model",
               .paper = "Zaremba et al. 2014, arXiv 1409.2329",
               .reference = "https://github.com/pytorch/examples/blob/1.0.0/word_language_model/model.py",
               .tasks = "text generation"},
      .create = [](const base::Config& config) { return MakeModel(LstmLm(Config(config))); },
      .input_spec = nullptr,
      .unused = kUnused};
  return entry;
}

}  // namespace fovea::models
