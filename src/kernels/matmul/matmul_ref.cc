// Matrix products as written on paper: three loops, sums in double.
#include <vector>

#include "kernels/matmul/matmul.h"

namespace fovea::kernels::ref {

void MatMul(const Tensor& a, const Tensor& b, Tensor& y) {
  const Tensor left = a.Contiguous().To(DType::kF32), right = b.Contiguous().To(DType::kF32);
  const int64_t rows = a.dim(-2), inner = a.dim(-1), columns = b.dim(-1);
  const int64_t batches = rows * columns == 0 ? 0 : y.numel() / (rows * columns);
  Tensor product = Tensor::Empty(y.shape());
  for (int64_t batch = 0; batch < batches; ++batch) {
    const float* p = left.data<float>() + batch * rows * inner;
    const float* q = right.data<float>() + batch * inner * columns;
    float* out = product.mutable_data<float>() + batch * rows * columns;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < inner; ++k) sum += static_cast<double>(p[i * inner + k]) * q[k * columns + j];
        out[i * columns + j] = static_cast<float>(sum);
      }
    }
  }
  y.CopyFrom(product.To(y.dtype()));
}

void Linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Act act, Tensor& y) {
  const int order[] = {1, 0};
  Tensor sum = Tensor::Empty(y.shape());
  MatMul(x.To(DType::kF32), weight.To(DType::kF32).Permuted(order), sum);
  if (bias.defined()) {
    const Tensor added = bias.To(DType::kF32);
    for (int64_t i = 0; i < sum.numel(); ++i) sum.mutable_data<float>()[i] += added.data<float>()[i % added.numel()];
  }
  ref::Activate(act, sum, sum);
  y.CopyFrom(sum.To(y.dtype()));
}

}  // namespace fovea::kernels::ref
