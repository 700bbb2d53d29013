#include "nn/lstm.h"

#include <string>

#include "base/error.h"
#include "ops/activation.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/matmul.h"
#include "ops/shape.h"

namespace fovea::nn {

LstmStep::LstmStep(const Tensor& gates, const Tensor& cell_before) {
  const auto parts = Split(gates, 1, 4);                                        // 4 x [B,H]
  cell = Sigmoid(parts[1]) * cell_before + Sigmoid(parts[0]) * Tanh(parts[2]);  // [B,H]
  hidden = Sigmoid(parts[3]) * Tanh(cell);                                      // [B,H]
}

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
    const Tensor from_state = Linear(hidden, layer.weight_hh, layer.bias_hh);  // [B,4H]
    const LstmStep next(Squeeze(Slice(inputs, 1, t, t + 1), 1) + from_state, cell);
    const Tensor exists = mask.defined() ? mask.Sliced(1, t, t + 1).Contiguous() : Tensor();  // [B,1]
    cell = exists.defined() ? Where(exists, next.cell, cell) : next.cell;
    hidden = exists.defined() ? Where(exists, next.hidden, hidden) : next.hidden;
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

std::vector<Shape> Lstm::CacheShapes() const {
  const auto layers = static_cast<int64_t>(layers_.size());
  return {Shape{layers, 1, options_.hidden_size}, Shape{layers, 1, options_.hidden_size}};
}

Lstm::State Lstm::Gather(std::span<DecodeCache* const> caches) const {
  State state;
  if (caches.empty()) return state;
  std::vector<Tensor> hidden, cell;
  for (const DecodeCache* cache : caches) {
    hidden.push_back(cache->state(0));
    cell.push_back(cache->state(1));
  }
  const Tensor all_hidden = Concat(hidden, 1), all_cell = Concat(cell, 1);  // [L,B,H]
  for (int64_t i = 0; i < all_hidden.dim(0); ++i) {
    state.hidden.push_back(Squeeze(Slice(all_hidden, 0, i, i + 1), 0));  // [B,H]
    state.cell.push_back(Squeeze(Slice(all_cell, 0, i, i + 1), 0));      // [B,H]
  }
  return state;
}

void Lstm::Scatter(const State& state, std::span<DecodeCache* const> caches) {
  if (caches.empty()) return;
  const Tensor hidden = Stack(state.hidden, 0), cell = Stack(state.cell, 0);  // [L,B,H]
  for (size_t b = 0; b < caches.size(); ++b) {
    const auto row = static_cast<int64_t>(b);
    caches[b]->SetState(0, Slice(hidden, 1, row, row + 1).Contiguous());  // [L,1,H]
    caches[b]->SetState(1, Slice(cell, 1, row, row + 1).Contiguous());
  }
}

}  // namespace fovea::nn
