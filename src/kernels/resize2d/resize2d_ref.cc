// The banded product in double precision.
#include "kernels/resize2d/resize2d.h"

namespace fovea::kernels::ref {

void BandedProduct(const BandedMatrix& matrix, const Tensor& x, Tensor& y) {
  const auto [A, N, C] = x.Dims<3>("resize");
  for (int64_t a = 0; a < A; ++a) {
    for (int64_t m = 0; m < matrix.outputs(); ++m) {
      for (int64_t c = 0; c < C; ++c) {
        double sum = 0.0;
        for (int64_t at = matrix.offset[m]; at < matrix.offset[m + 1]; ++at) {
          const int64_t n = matrix.first[m] + at - matrix.offset[m];
          sum += static_cast<double>(matrix.weights[at]) * x.data<float>()[(a * N + n) * C + c];
        }
        y.mutable_data<float>()[(a * matrix.outputs() + m) * C + c] = static_cast<float>(sum);
      }
    }
  }
}

}  // namespace fovea::kernels::ref
