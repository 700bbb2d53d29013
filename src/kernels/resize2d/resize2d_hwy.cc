// The banded product with Highway, the axis C in the lanes.
#include "kernels/resize2d/resize2d.h"

#include <algorithm>

#include "base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/resize2d/resize2d_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/simd_io.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

// Rows [begin, end) of the A * M rows of y.
void BandedProductRows(const BandedMatrix& matrix, const Tensor& x, Tensor& y, int64_t begin, int64_t end) {
  const int64_t N = x.shape()[1], C = x.shape()[2], M = matrix.outputs();
  for (int64_t row = begin; row < end; ++row) {
    const int64_t m = row % M;
    const float* from = x.data<float>() + (row / M * N + matrix.first[m]) * C;
    const float* weights = matrix.weights.data() + matrix.offset[m];
    const int64_t taps = matrix.offset[m + 1] - matrix.offset[m];
    float* to = y.mutable_data<float>() + row * C;
    ForEachVector(C, [&](auto io, int64_t c) {
      VecF32 sum = hn::Zero(io.d);
      for (int64_t tap = 0; tap < taps; ++tap)
        sum = hn::MulAdd(hn::Set(io.d, weights[tap]), io.Load(from + tap * C + c), sum);
      io.Store(sum, to + c);
    });
  }
}

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(BandedProductRows);

BandedMatrix Transposed(const BandedMatrix& matrix) {
  const int64_t M = matrix.outputs(), N = matrix.inputs;
  // The band of each column, from the first to the last row that touches it.
  std::vector<int64_t> last(static_cast<size_t>(N), -1);
  BandedMatrix transposed{
      .inputs = M, .first = std::vector<int64_t>(static_cast<size_t>(N), 0), .offset = {0}, .weights = {}};
  for (int64_t m = 0; m < M; ++m) {
    for (int64_t n = matrix.first[m]; n < matrix.first[m] + matrix.offset[m + 1] - matrix.offset[m]; ++n) {
      if (last[n] < 0) transposed.first[n] = m;
      last[n] = m;
    }
  }
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t m = transposed.first[n]; m <= last[n]; ++m) {
      const int64_t at = matrix.offset[m] + n - matrix.first[m];
      transposed.weights.push_back(n >= matrix.first[m] && at < matrix.offset[m + 1] ? matrix.weights[at] : 0.0f);
    }
    transposed.offset.push_back(static_cast<int64_t>(transposed.weights.size()));
  }
  return transposed;
}

void BandedProduct(const BandedMatrix& matrix, const Tensor& x, Tensor& y) {
  const int64_t rows = x.shape()[0] * matrix.outputs();
  const int64_t work = x.shape()[2] * std::max<int64_t>(1, static_cast<int64_t>(matrix.weights.size()) /
                                                               std::max<int64_t>(1, matrix.outputs()));
  const auto range = FOVEA_DISPATCH(BandedProductRows);
  base::ParallelFor(rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, work)),
                    [&](int64_t begin, int64_t end) { range(matrix, x, y, begin, end); });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
