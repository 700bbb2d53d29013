// Layer norm, RMS norm and L2 normalisation with Highway: a row stays in the first-level cache between its passes.
// Gradients of gamma and beta are column sums over a fixed number of ranges of rows, added up in order.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "kernels/norm/norm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm/norm_rows_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/simd_reduce.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

// Sum of (x - mean)^2.
template <typename T>
HWY_INLINE double SquaredDistance(const T* x, float mean, int64_t D) {
  const TagF32 d;
  const VecF32 center = hn::Set(d, mean);
  return RowSums<1>(D, [&](auto io, int64_t at) {
    const VecF32 delta = hn::Sub(io.Load(x + at), center);
    return std::array<VecF32, 1>{hn::Mul(delta, delta)};
  })[0];
}

void LayerNormRows(const Tensor& x, const float* gamma, const float* beta, float eps, Tensor& y, float* means,
                   float* rstds, int64_t begin, int64_t end) {
  const TagF32 d;
  const int64_t D = x.shape()[1];
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    for (int64_t row = begin; row < end; ++row) {
      const T* from = x.data<T>() + row * D;
      T* to = y.mutable_data<T>() + row * D;
      means[row] = static_cast<float>(RowSum(from, D) / static_cast<double>(D));
      rstds[row] =
          static_cast<float>(1.0 / std::sqrt(SquaredDistance(from, means[row], D) / static_cast<double>(D) + eps));
      const VecF32 mean = hn::Set(d, means[row]), rstd = hn::Set(d, rstds[row]);
      ForEachVector(D, [&](auto io, int64_t at) {
        const VecF32 normal = hn::Mul(hn::Sub(io.Load(from + at), mean), rstd);
        io.Store(hn::MulAdd(normal, io.Load(gamma + at), io.Load(beta + at)), to + at);
      });
    }
  });
}

void RmsNormRows(const Tensor& x, const float* gamma, float eps, Tensor& y, float* rstds, int64_t begin, int64_t end) {
  const TagF32 d;
  const int64_t D = x.shape()[1];
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    for (int64_t row = begin; row < end; ++row) {
      const T* from = x.data<T>() + row * D;
      T* to = y.mutable_data<T>() + row * D;
      rstds[row] = static_cast<float>(1.0 / std::sqrt(SquaredDistance(from, 0.0f, D) / static_cast<double>(D) + eps));
      const VecF32 rstd = hn::Set(d, rstds[row]);
      ForEachVector(D, [&](auto io, int64_t at) {
        io.Store(hn::Mul(hn::Mul(io.Load(from + at), rstd), io.Load(gamma + at)), to + at);
      });
    }
  });
}

// dx = rstd (gamma dy - [mean(gamma dy)] - xhat mean(gamma dy xhat)); the bracket only when `means` is given.
void NormBackwardRows(const Tensor& x, const float* gamma, const float* means, const float* rstds, const Tensor& dy,
                      Tensor& dx, int64_t begin, int64_t end) {
  const TagF32 d;
  const int64_t D = x.shape()[1];
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    for (int64_t row = begin; row < end; ++row) {
      const T* from = x.data<T>() + row * D;
      const T* above = dy.data<T>() + row * D;
      T* to = dx.mutable_data<T>() + row * D;
      const VecF32 mean = hn::Set(d, means != nullptr ? means[row] : 0.0f), rstd = hn::Set(d, rstds[row]);
      const auto [sum, dot] = RowSums<2>(D, [&](auto io, int64_t at) {
        const VecF32 weighted = hn::Mul(io.Load(above + at), io.Load(gamma + at));
        const VecF32 normal = hn::Mul(hn::Sub(io.Load(from + at), mean), rstd);
        return std::array<VecF32, 2>{weighted, hn::Mul(weighted, normal)};
      });
      const VecF32 mean_sum = hn::Set(d, means != nullptr ? static_cast<float>(sum / static_cast<double>(D)) : 0.0f);
      const VecF32 mean_dot = hn::Set(d, static_cast<float>(dot / static_cast<double>(D)));
      ForEachVector(D, [&](auto io, int64_t at) {
        const VecF32 weighted = hn::Mul(io.Load(above + at), io.Load(gamma + at));
        const VecF32 normal = hn::Mul(hn::Sub(io.Load(from + at), mean), rstd);
        io.Store(hn::Mul(rstd, hn::Sub(hn::Sub(weighted, mean_sum), hn::Mul(normal, mean_dot))), to + at);
      });
    }
  });
}

// sums[0..D) += dy xhat, sums[D..2D) += dy over rows [begin, end).
void NormParameterSums(const Tensor& x, const float* means, const float* rstds, const Tensor& dy, double* sums,
                       int64_t begin, int64_t end) {
  const int64_t D = x.shape()[1];
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    ColumnSums<2>(end - begin, D, sums, [&](auto io, int64_t row, int64_t column) {
      const int64_t at = (begin + row) * D + column;
      const VecF32 mean = hn::Set(io.d, means != nullptr ? means[begin + row] : 0.0f),
                   rstd = hn::Set(io.d, rstds[begin + row]);
      const VecF32 above = io.Load(dy.data<T>() + at);
      return std::array<VecF32, 2>{hn::Mul(above, hn::Mul(hn::Sub(io.Load(x.data<T>() + at), mean), rstd)), above};
    });
  });
}

void L2NormalizeRows(const Tensor& x, float eps, Tensor& y, float* scales, int64_t begin, int64_t end) {
  const TagF32 d;
  const int64_t D = x.shape()[1];
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    for (int64_t row = begin; row < end; ++row) {
      const T* from = x.data<T>() + row * D;
      T* to = y.mutable_data<T>() + row * D;
      const double length = std::sqrt(SquaredDistance(from, 0.0f, D));
      scales[row] = static_cast<float>(1.0 / (length < static_cast<double>(eps) ? static_cast<double>(eps) : length));
      const VecF32 scale = hn::Set(d, scales[row]);
      ForEachVector(D, [&](auto io, int64_t at) { io.Store(hn::Mul(io.Load(from + at), scale), to + at); });
    }
  });
}

void L2NormalizeBackwardRows(const Tensor& y, const float* scales, float eps, const Tensor& dy, Tensor& dx,
                             int64_t begin, int64_t end) {
  const TagF32 d;
  const int64_t D = y.shape()[1];
  WithElementType(y, [&](auto element) {
    using T = decltype(element);
    for (int64_t row = begin; row < end; ++row) {
      const T* unit = y.data<T>() + row * D;
      const T* above = dy.data<T>() + row * D;
      T* to = dx.mutable_data<T>() + row * D;
      const bool is_clamped = scales[row] >= 1.0f / eps;
      const double projection = RowSums<1>(D, [&](auto io, int64_t at) {
        return std::array<VecF32, 1>{hn::Mul(io.Load(unit + at), io.Load(above + at))};
      })[0];
      const VecF32 dot = hn::Set(d, is_clamped ? 0.0f : static_cast<float>(projection)),
                   scale = hn::Set(d, scales[row]);
      ForEachVector(D, [&](auto io, int64_t at) {
        io.Store(hn::Mul(scale, hn::NegMulAdd(io.Load(unit + at), dot, io.Load(above + at))), to + at);
      });
    }
  });
}

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(LayerNormRows);
HWY_EXPORT(RmsNormRows);
HWY_EXPORT(NormBackwardRows);
HWY_EXPORT(NormParameterSums);
HWY_EXPORT(L2NormalizeRows);
HWY_EXPORT(L2NormalizeBackwardRows);

namespace {

constexpr int64_t kGrainElements = 16384;
constexpr int64_t kParameterRanges = 16;

template <typename Body>
void InRows(const Tensor& x, Body&& body) {
  base::ParallelFor(x.shape()[0], std::max<int64_t>(1, kGrainElements / x.shape()[1]), body);
}

Tensor OrFull(const Tensor& parameter, int64_t size, float value) {
  return parameter.defined() ? parameter : Tensor::Full({size}, value);
}

void ParameterGradients(const Tensor& x, const float* means, const float* rstds, const Tensor& dy, Tensor& dgamma,
                        Tensor& dbeta) {
  if (!dgamma.defined() && !dbeta.defined()) return;
  const auto [R, D] = x.Dims<2>("norm");
  const int64_t ranges = std::min(R, kParameterRanges);
  std::vector<double> sums(static_cast<size_t>(std::max<int64_t>(1, ranges) * 2 * D));
  const auto add = FOVEA_DISPATCH(NormParameterSums);
  base::ParallelFor(ranges, std::max<int64_t>(1, kGrainElements * ranges / (R * D + 1)),
                    [&, R = R, D = D](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i)
                        add(x, means, rstds, dy, sums.data() + i * 2 * D, R * i / ranges, R * (i + 1) / ranges);
                    });
  for (int64_t i = 1; i < ranges; ++i) {
    for (int64_t at = 0; at < 2 * D; ++at) sums[at] += sums[i * 2 * D + at];
  }
  if (dgamma.defined()) std::copy_n(sums.data(), D, dgamma.mutable_data<float>());
  if (dbeta.defined()) std::copy_n(sums.data() + D, D, dbeta.mutable_data<float>());
}

}  // namespace

void LayerNorm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps, Tensor& y, Tensor& mean,
               Tensor& rstd) {
  const Tensor scale = OrFull(gamma, x.shape()[1], 1.0f), shift = OrFull(beta, x.shape()[1], 0.0f);
  const auto rows = FOVEA_DISPATCH(LayerNormRows);
  InRows(x, [&](int64_t begin, int64_t end) {
    rows(x, scale.data<float>(), shift.data<float>(), eps, y, mean.mutable_data<float>(), rstd.mutable_data<float>(),
         begin, end);
  });
}

void LayerNormBackward(const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& rstd, const Tensor& dy,
                       Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
  if (dx.defined()) {
    const Tensor scale = OrFull(gamma, x.shape()[1], 1.0f);
    const auto rows = FOVEA_DISPATCH(NormBackwardRows);
    InRows(x, [&](int64_t begin, int64_t end) {
      rows(x, scale.data<float>(), mean.data<float>(), rstd.data<float>(), dy, dx, begin, end);
    });
  }
  ParameterGradients(x, mean.data<float>(), rstd.data<float>(), dy, dgamma, dbeta);
}

void RmsNorm(const Tensor& x, const Tensor& gamma, float eps, Tensor& y, Tensor& rstd) {
  const Tensor scale = OrFull(gamma, x.shape()[1], 1.0f);
  const auto rows = FOVEA_DISPATCH(RmsNormRows);
  InRows(x, [&](int64_t begin, int64_t end) {
    rows(x, scale.data<float>(), eps, y, rstd.mutable_data<float>(), begin, end);
  });
}

void RmsNormBackward(const Tensor& x, const Tensor& gamma, const Tensor& rstd, const Tensor& dy, Tensor& dx,
                     Tensor& dgamma) {
  if (dx.defined()) {
    const Tensor scale = OrFull(gamma, x.shape()[1], 1.0f);
    const auto rows = FOVEA_DISPATCH(NormBackwardRows);
    InRows(x, [&](int64_t begin, int64_t end) {
      rows(x, scale.data<float>(), nullptr, rstd.data<float>(), dy, dx, begin, end);
    });
  }
  Tensor none;
  ParameterGradients(x, nullptr, rstd.data<float>(), dy, dgamma, none);
}

void L2Normalize(const Tensor& x, float eps, Tensor& y, Tensor& scale) {
  const auto rows = FOVEA_DISPATCH(L2NormalizeRows);
  InRows(x, [&](int64_t begin, int64_t end) { rows(x, eps, y, scale.mutable_data<float>(), begin, end); });
}

void L2NormalizeBackward(const Tensor& y, const Tensor& scale, float eps, const Tensor& dy, Tensor& dx) {
  const auto rows = FOVEA_DISPATCH(L2NormalizeBackwardRows);
  InRows(y, [&](int64_t begin, int64_t end) { rows(y, scale.data<float>(), eps, dy, dx, begin, end); });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
