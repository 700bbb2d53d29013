// Linear resampling along one axis: every output is a weighted sum of a few neighbouring inputs. Bilinear, bicubic,
// antialiased or not differ only in the weights, which src/ops computes; the gradient is the same product with the
// transposed weights.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace fovea::kernels {

// A banded matrix [outputs, inputs]: row i holds weights[offset[i] .. offset[i+1]) for inputs first[i], first[i] + 1,
// ...
struct BandedMatrix {
  int64_t inputs = 0;
  std::vector<int64_t> first;
  std::vector<int64_t> offset;
  std::vector<float> weights;

  int64_t outputs() const { return static_cast<int64_t>(first.size()); }
};

// The transpose, [inputs, outputs].
BandedMatrix Transposed(const BandedMatrix& matrix);

// y[a,m,c] = sum over n of matrix[m,n] x[a,n,c]. x [A,N,C], y [A,M,C] f32, contiguous.
void BandedProduct(const BandedMatrix& matrix, const Tensor& x, Tensor& y);

namespace ref {
void BandedProduct(const BandedMatrix& matrix, const Tensor& x, Tensor& y);
}  // namespace ref

}  // namespace fovea::kernels
