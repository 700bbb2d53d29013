// Long short-term memory (Hochreiter and Schmidhuber 1997), one direction, layers one above the other; equations and
// names of parameters as torch.nn.LSTM: weight_ih_l0 [4H,I], weight_hh_l0 [4H,H], bias_ih_l0, bias_hh_l0 [4H], with the
// gates in the order input, forget, cell, output.
//
// Legend: B rows, T tokens, I input size, H hidden size, L layers.
#pragma once

#include <span>
#include <vector>

#include "nn/decode_cache.h"
#include "nn/parameter.h"

namespace fovea::nn {

// One step of a layer, from the sums that its gates get [B,4H] and the cell before it [B,H].
struct LstmStep {
  Tensor hidden, cell;  // [B,H]

  LstmStep(const Tensor& gates, const Tensor& cell_before);
};

class Lstm {
 public:
  struct Options {
    int64_t input_size, hidden_size, layers;  // I, H, L
    double dropout = 0;                       // of what all layers but the last put out, while training
  };
  explicit Lstm(const Options& options);

  struct State {
    std::vector<Tensor> hidden, cell;  // of each layer, [B,H]; empty: zeros
  };
  // x [B,T,I] -> [B,T,H]; `state` goes in as it is before the first token and comes out as it is after the last. `mask`
  // bool [B,T]: a token that does not exist leaves the state as it is; undefined: all exist.
  Tensor operator()(const Tensor& x, const Tensor& mask, State& state) const;
  void Visit(Visitor& v);

  // What a decoder keeps of each sequence (DecoderSpec::states): hidden and cell, [L,1,H] each. Gather makes the state
  // of a batch from one cache a row, Scatter puts it back; without caches the state is empty, and nothing is kept.
  std::vector<Shape> CacheShapes() const;
  State Gather(std::span<DecodeCache* const> caches) const;
  static void Scatter(const State& state, std::span<DecodeCache* const> caches);

 private:
  struct Layer {
    Parameter weight_ih, weight_hh, bias_ih, bias_hh;
  };
  Tensor Run(const Layer& layer, const Tensor& x, const Tensor& mask, Tensor& hidden, Tensor& cell) const;

  Options options_;
  std::vector<Layer> layers_;
};

}  // namespace fovea::nn
