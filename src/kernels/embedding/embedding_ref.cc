// Lookup and its transpose, an element at a time through f32.
#include "kernels/embedding/embedding.h"

namespace fovea::kernels::ref {

void GatherRows(const Tensor& x, const Tensor& index, Tensor& y) {
  const Tensor source = x.To(DType::kF32);
  Tensor picked = Tensor::Empty(y.shape());
  const int64_t N = index.numel(), V = x.dim(1), D = x.dim(2);
  for (int64_t i = 0; i < picked.numel(); ++i) {
    const int64_t a = i / (N * D), n = i / D % N, d = i % D;
    picked.mutable_data<float>()[i] = source.data<float>()[(a * V + index.data<int64_t>()[n]) * D + d];
  }
  y.CopyFrom(picked.To(y.dtype()));
}

void ScatterAddRows(const Tensor& dy, const Tensor& index, Tensor& dx) {
  const Tensor source = dy.To(DType::kF32);
  Tensor sum = Tensor::Zeros(dx.shape());
  const int64_t N = index.numel(), V = dx.dim(1), D = dx.dim(2);
  for (int64_t i = 0; i < source.numel(); ++i) {
    const int64_t a = i / (N * D), n = i / D % N, d = i % D;
    sum.mutable_data<float>()[(a * V + index.data<int64_t>()[n]) * D + d] += source.data<float>()[i];
  }
  dx.CopyFrom(sum.To(dx.dtype()));
}

}  // namespace fovea::kernels::ref
