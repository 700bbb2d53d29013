// Show, Attend and Tell: an LSTM tells what it sees in a picture and looks, before each word, at the places of the
// picture's grid that its state asks for (soft attention). What it sees is gated by its state as well.
//
// Paper: Xu et al. 2015, Show, Attend and Tell: Neural Image Caption Generation with Visual Attention, arXiv
// 1502.03044. Reference: https://github.com/sgrvinod/a-PyTorch-Tutorial-to-Image-Captioning/blob/
// cc9c7e2f4017938d414178d3781fed8dbe442852/models.py, whose keys and names it keeps: attention_dim, embed_dim,
// decoder_dim; attention.encoder_att, attention.decoder_att, attention.full_att, embedding, decode_step, init_h,
// init_c, f_beta, fc, each after "decoder.". Its twin is tools/golden/show_attend_and_tell.py.
//
// The convolutional network is a part of its own, vision_model, as config.json says in vision_config: model_type
// efficientnet, resnet or vgg without classes. encoded_image_size is the side that its grid is pooled to, 14 in the
// reference; without that key the grid stays as it is. Not covered: hard attention; the reference's second loss, which
// asks that attention be spread over all places.
//
// Legend: B rows, T tokens, P Q grid, N = P Q places, C its channels, A size of the attention, E of the vectors of
// words, H of the state, V vocabulary.
#include "nn/cnn.h"
#include "nn/decoder.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "nn/lstm.h"
#include "ops/activation.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/softmax.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "show_attend_and_tell";

// ---- config
struct Config {
  base::Config vision;
  int64_t vocab_size = 10000, attention_dim = 512, embed_dim = 512, decoder_dim = 512;
  int64_t encoded_image_size = 0;             // 0: the grid as it is
  int64_t max_position_embeddings = 1 << 20;  // tokens; no limit of the network
  double dropout = 0.5;                       // of what the LSTM puts out
  DecoderSpec spec;

  explicit Config(const base::Config& c) : vision(CnnConfig(c, kWho)) {
    constexpr double kMostSize = 1 << 18;
    c.Read("vocab_size", vocab_size, 1, 1 << 24);
    c.Read("attention_dim", attention_dim, 1, kMostSize);
    c.Read("embed_dim", embed_dim, 1, kMostSize);
    c.Read("decoder_dim", decoder_dim, 1, kMostSize);
    if (c.Has("encoded_image_size")) c.Read("encoded_image_size", encoded_image_size, 1, 1024);
    c.Read("max_position_embeddings", max_position_embeddings, 1, 1e9);
    c.Read("dropout", dropout, 0, 0.99);
    spec.states = {Shape{1, decoder_dim}, Shape{1, decoder_dim}};
    spec.hidden_size = embed_dim;
    spec.vocab = vocab_size;
    spec.max_positions = max_position_embeddings;
    spec.pictures = PicturePlace::kMemory;
    spec.ReadSpecialTokens(c);
  }
};

nn::LinearOptions Between(int64_t in, int64_t out) { return {.in_features = in, .out_features = out}; }

// ---- modules
struct ShowAttendAndTell {
  Config config;
  Part vision_model;
  nn::Linear encoder_att, decoder_att, full_att;
  nn::Embedding embedding;
  nn::Linear step_input, step_state;  // decode_step, an LSTM cell
  nn::Linear init_h, init_c, f_beta, fc;

  explicit ShowAttendAndTell(const Config& c)
      : config(c),
        vision_model(c.vision, kWho, "vision."),
        encoder_att(Between(Channels(), c.attention_dim)),
        decoder_att(Between(c.decoder_dim, c.attention_dim)),
        full_att(Between(c.attention_dim, 1)),
        embedding(c.vocab_size, c.embed_dim),
        step_input(Between(c.embed_dim + Channels(), 4 * c.decoder_dim)),
        step_state(Between(c.decoder_dim, 4 * c.decoder_dim)),
        init_h(Between(Channels(), c.decoder_dim)),
        init_c(Between(Channels(), c.decoder_dim)),
        f_beta(Between(c.decoder_dim, Channels())),
        fc(Between(c.decoder_dim, c.vocab_size)) {
    config.spec.memory_size = Channels();
  }

  void Visit(nn::Visitor& v) {
    v("vision_model", vision_model);
    v("decoder.attention.encoder_att", encoder_att);
    v("decoder.attention.decoder_att", decoder_att);
    v("decoder.attention.full_att", full_att);
    v("decoder.embedding", embedding);
    v("decoder.decode_step.weight_ih", step_input.weight);
    v("decoder.decode_step.bias_ih", step_input.bias);
    v("decoder.decode_step.weight_hh", step_state.weight);
    v("decoder.decode_step.bias_hh", step_state.bias);
    v("decoder.init_h", init_h);
    v("decoder.init_c", init_c);
    v("decoder.f_beta", f_beta);
    v("decoder.fc", fc);
  }

  int64_t Channels() const { return vision_model.model().FeatureSize(); }  // C

  // ---- the picture: features [B,C], grid [B,P,Q,C]
  int64_t FeatureSize() const { return Channels(); }
  int64_t TrunkBlocks() const { return vision_model.model().TrunkBlocks(); }
  Tensor EncodeTrunk(const Tensor& pixels, int64_t blocks) const {
    return vision_model.model().EncodeTrunk(pixels, blocks);
  }
  ImageOutputs EncodeFromTrunk(const Tensor& trunk, int64_t blocks) const {
    return Pooled(vision_model.model().EncodeFromTrunk(trunk, blocks));
  }
  ImageOutputs EncodeImages(const Tensor& pixels) const { return Pooled(vision_model.EncodeImages(pixels)); }
  Tensor EmbedImages(const Tensor& pixels) const {  // [B,N,C]
    const Tensor grid = EncodeImages(pixels).grid;
    return Reshape(grid, {grid.dim(0), grid.dim(1) * grid.dim(2), grid.dim(3)});
  }

  ImageOutputs Pooled(const ImageOutputs& seen) const {
    const int64_t side = config.encoded_image_size;
    const Tensor grid = side == 0 ? seen.grid : AdaptiveAvgPool2d(seen.grid, {side, side});  // [B,P,Q,C]
    return {.features = seen.features, .grid = nn::Stage("grid", grid), .logits = {}};
  }

  // ---- the text
  DecoderSpec Decoder() const { return config.spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return embedding(ids); }  // [B,T,E]

  struct Places {
    Tensor keys, values;  // [R,N,A], [R,N,C] of R rows
  };
  struct State {
    Tensor hidden, cell;  // [B,H]
  };

  // The places that each row looks at: those of the whole batch together, or with caches row by row, as grids may
  // differ.
  std::vector<Places> Recall(const DecodeInputs& inputs) const {
    const Tensor& memory = inputs.memory;                                 // [B,N,C]
    const Tensor keys = memory.defined() ? encoder_att(memory) : memory;  // [B,N,A]
    if (inputs.caches.empty()) return {{.keys = keys, .values = memory}};
    std::vector<Places> rows;
    for (size_t b = 0; b < inputs.caches.size(); ++b) {
      nn::DecodeCache& cache = *inputs.caches[b];
      const auto row = static_cast<int64_t>(b);
      const auto of_row = [&](const Tensor& all) { return Unsqueeze(Slice(all, 0, row, row + 1), 1).Contiguous(); };
      if (memory.defined())
        cache.SetMemory(0, {.keys = of_row(keys), .values = of_row(memory)});  // [1,1,N,A], [1,1,N,C]
      rows.push_back({.keys = Squeeze(cache.memory(0).keys, 1), .values = Squeeze(cache.memory(0).values, 1)});
    }
    return rows;
  }

  // What the text begins with, made of the mean of all places; with caches where each row has got to.
  State Begin(const DecodeInputs& inputs, const std::vector<Places>& places) const {
    std::vector<Tensor> hidden, cell;
    for (size_t i = 0; i < places.size(); ++i) {
      const bool goes_on = !inputs.caches.empty() && inputs.caches[i]->length() > 0;
      const Tensor mean = Mean(places[i].values, {1});  // [R,C]
      hidden.push_back(goes_on ? inputs.caches[i]->state(0) : init_h(mean));
      cell.push_back(goes_on ? inputs.caches[i]->state(1) : init_c(mean));
    }
    return {.hidden = Concat(hidden, 0), .cell = Concat(cell, 0)};
  }

  // What states [B,H] see: [B,C].
  Tensor Look(const Tensor& hidden, const std::vector<Places>& places) const {
    const Tensor asked = Unsqueeze(decoder_att(hidden), 1);  // [B,1,A]
    std::vector<Tensor> seen;
    int64_t row = 0;
    for (const auto& [keys, values] : places) {
      const Tensor mine = Slice(asked, 0, row, row + keys.dim(0));              // [R,1,A]
      const Tensor weights = Softmax(Squeeze(full_att(Relu(keys + mine)), 2));  // [R,N]
      seen.push_back(Squeeze(MatMul(Unsqueeze(weights, 1), values), 1));        // [R,C]
      row += keys.dim(0);
    }
    return Sigmoid(f_beta(hidden)) * Concat(seen, 0);  // [B,C]
  }

  DecodeOutputs Decode(const DecodeInputs& inputs) const {
    const nn::DecodeCall call(inputs, config.spec, kWho);
    if (inputs.memory_mask.defined())
      Fail(ErrorCode::kUnimplemented, "[", kWho, "] places of a picture that do not exist are not implemented");
    const std::vector<Places> places = Recall(inputs);
    State state = Begin(inputs, places);
    const Tensor words = inputs.ids.defined() ? embedding(inputs.ids) : inputs.embeddings;  // [B,T,E]
    std::vector<Tensor> told;
    for (int64_t t = 0; t < call.T; ++t) {
      const Tensor word = Squeeze(Slice(words, 1, t, t + 1), 1);          // [B,E]
      const Tensor read = Concat({word, Look(state.hidden, places)}, 1);  // [B,E+C]
      const nn::LstmStep next(step_input(read) + step_state(state.hidden), state.cell);
      const Tensor exists = inputs.mask.defined() ? inputs.mask.Sliced(1, t, t + 1).Contiguous() : Tensor();  // [B,1]
      state.hidden = exists.defined() ? Where(exists, next.hidden, state.hidden) : next.hidden;
      state.cell = exists.defined() ? Where(exists, next.cell, state.cell) : next.cell;
      told.push_back(state.hidden);
    }
    for (size_t b = 0; b < inputs.caches.size(); ++b) {
      const auto row = static_cast<int64_t>(b);
      inputs.caches[b]->SetState(0, Slice(state.hidden, 0, row, row + 1).Contiguous());  // [1,H]
      inputs.caches[b]->SetState(1, Slice(state.cell, 0, row, row + 1).Contiguous());
    }
    call.Finish();
    const Tensor h = nn::Stage("decode_step", Stack(told, 1));                   // [B,T,H]
    return {.hidden = h, .logits = fc(Dropout(call.Asked(h), config.dropout))};  // [B,T,V] or [B,1,V]
  }
};

}  // namespace

const Entry& show_attend_and_tell_entry() {
  static const Entry entry{
      .model_type = kWho,
      .card = {.title = "Show, Attend and Tell",
               .paper = "Xu et al. 2015, arXiv 1502.03044",
               .reference = "https://github.com/sgrvinod/a-PyTorch-Tutorial-to-Image-Captioning/blob/"
                            "cc9c7e2f4017938d414178d3781fed8dbe442852/models.py",
               .tasks = "captions"},
      .create = [](const base::Config& config) { return MakeModel(ShowAttendAndTell(Config(config))); },
      .input_spec = [](const base::Config& config) { return PartInputSpec(CnnConfig(config, kWho), kWho); },
      .adapt = [](std::vector<NamedTensor>& tensors,
                  const base::Config& config) { AdaptPart(tensors, "vision_model", CnnConfig(config, kWho)); }};
  return entry;
}

}  // namespace fovea::models
