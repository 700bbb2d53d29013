// Long short-term memory (Hochreiter and Schmidhuber 1997), one direction, layers one above the other; equations and
// names of parameters as torch.nn.LSTM: weight_ih_l0 [4H,I], weight_hh_l0 [4H,H], bias_ih_l0, bias_hh_l0 [4H], with the
// gates in the order input, forget, cell, output.
//
// Legend: B rows, T tokens, I input size, H hidden size, L layers.
#pragma once

#include <vector>

#include "nn/parameter.h"

namespace fovea::nn {

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

 private:
  struct Layer {
    Parameter weight_ih, weight_hh, bias_ih, bias_hh;
  };
  Tensor Run(const Layer& layer, const Tensor& x, const Tensor& mask, Tensor& hidden, Tensor& cell) const;

  Options options_;
  std::vector<Layer> layers_;
};

}  // namespace fovea::nn
