#include "nn/lstm.h"

#include <string>

#include "base/error.h"
#include "ops/activation.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/matmul.h"
#include "ops/shape.h"

namespace fovea::nn {

Lstm::Lstm(const Options& o) : options_(o) {
  Require(o.input_size > 0 && o.hidden_size > 0 && o.layers > 0, "[lstm] expected positive sizes, got ", o.input_size,
          ", ", o.hidden_size, " and ", o.layers, " layers");
  const int64_t gates = 4 * o.hidden_size;
  for (int64_t i = 0; i < o.layers; ++i) {
    const int64_t input = i == 0 ? o.input_size : o.hidden_size;
    layers_.push_back({.weight_ih = Parameter({gates, input}),
                       .weight_hh = Parameter({gates, o.hidden_size}),
                       .bias_ih = Parameter(Shape{gates}),
                       .bias_hh = Parameter(Shape{gates})});
  }
}

void Lstm::Visit(Visitor& v) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const std::string end = "_l" + std::to_string(i);
    v("weight_ih" + end, layers_[i].weight_ih);
    v("weight_hh" + end, layers_[i].weight_hh);
    v("bias_ih" + end, layers_[i].bias_ih);
    v("bias_hh" + end, layers_[i].bias_hh);
  }
}

Tensor Lstm::Run(const Layer& layer, const Tensor& x, const Tensor& mask, Tensor& hidden, Tensor& cell) const {
  const int64_t T = x.dim(1);
  const Tensor inputs = Linear(x, layer.weight_ih, layer.bias_ih);  // [B,T,4H]
  std::vector<Tensor> outputs;
  for (int64_t t = 0; t < T; ++t) {
    const Tensor from_state = Linear(hidden, layer.weight_hh, layer.bias_hh);                 // [B,4H]
    const auto gates = Split(Squeeze(Slice(inputs, 1, t, t + 1), 1) + from_state, 1, 4);      // 4 x [B,H]
    const Tensor kept = Sigmoid(gates[1]) * cell;                                             // [B,H]
    const Tensor new_cell = kept + Sigmoid(gates[0]) * Tanh(gates[2]);                        // [B,H]
    const Tensor new_hidden = Sigmoid(gates[3]) * Tanh(new_cell);                             // [B,H]
    const Tensor exists = mask.defined() ? mask.Sliced(1, t, t + 1).Contiguous() : Tensor();  // [B,1]
    cell = exists.defined() ? Where(exists, new_cell, cell) : new_cell;
    hidden = exists.defined() ? Where(exists, new_hidden, hidden) : new_hidden;
    outputs.push_back(hidden);
  }
  return Stack(outputs, 1);  // [B,T,H]
}

Tensor Lstm::operator()(const Tensor& x, const Tensor& mask, State& state) const {
  const auto [B, T, I] = x.Dims<3>("lstm");
  Require(I == options_.input_size && T > 0, "[lstm] expected x [B,T,", options_.input_size, "] with T >= 1, got ",
          x.shape());
  if (state.hidden.empty()) {
    state.hidden.assign(layers_.size(), Tensor::Zeros({B, options_.hidden_size}, x.dtype()));
    state.cell = state.hidden;
  }
  Tensor h = x;  // [B,T,I], then [B,T,H]
  for (size_t i = 0; i < layers_.size(); ++i) {
    h = Run(layers_[i], i == 0 ? h : Dropout(h, options_.dropout), mask, state.hidden[i], state.cell[i]);
  }
  return h;  // [B,T,H]
}

}  // namespace fovea::nn
