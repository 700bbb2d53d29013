// Group norm and batch norm with Highway. Sums are taken per channel, because channels lie side by side, and folded
// into groups afterwards. Every image is cut into ranges of pixels whose partial sums are added in order.
#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "kernels/norm/norm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm/norm_groups_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/simd_reduce.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

// The functions below work on pixels [begin, end) of image b of x [B,P,C]; arguments of size C hold one value per
// channel.

// sums[C] += x - center.
void CenteredSums(const Tensor& x, int64_t b, const float* center, double* sums, int64_t begin, int64_t end) {
  const int64_t P = x.shape()[1], C = x.shape()[2];
  WithElementType(x, [&](auto element) {
    const auto* from = x.data<decltype(element)>() + (b * P + begin) * C;
    ColumnSums<1>(end - begin, C, sums, [&](auto io, int64_t row, int64_t column) {
      return std::array<VecF32, 1>{hn::Sub(io.Load(from + row * C + column), io.Load(center + column))};
    });
  });
}

// sums[C] += (x - center)^2.
void SquaredSums(const Tensor& x, int64_t b, const float* center, double* sums, int64_t begin, int64_t end) {
  const int64_t P = x.shape()[1], C = x.shape()[2];
  WithElementType(x, [&](auto element) {
    const auto* from = x.data<decltype(element)>() + (b * P + begin) * C;
    ColumnSums<1>(end - begin, C, sums, [&](auto io, int64_t row, int64_t column) {
      const VecF32 delta = hn::Sub(io.Load(from + row * C + column), io.Load(center + column));
      return std::array<VecF32, 1>{hn::Mul(delta, delta)};
    });
  });
}

// y = (x - center) scale + shift.
void ScalePixels(const Tensor& x, int64_t b, const float* center, const float* scale, const float* shift, Tensor& y,
                 int64_t begin, int64_t end) {
  const int64_t P = x.shape()[1], C = x.shape()[2];
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    for (int64_t pixel = b * P + begin; pixel < b * P + end; ++pixel) {
      const T* from = x.data<T>() + pixel * C;
      T* to = y.mutable_data<T>() + pixel * C;
      ForEachVector(C, [&](auto io, int64_t at) {
        io.Store(
            hn::MulAdd(hn::Sub(io.Load(from + at), io.Load(center + at)), io.Load(scale + at), io.Load(shift + at)),
            to + at);
      });
    }
  });
}

// sums[0..C) += dy, sums[C..2C) += dy (x - center).
void GradientSums(const Tensor& x, const Tensor& dy, int64_t b, const float* center, double* sums, int64_t begin,
                  int64_t end) {
  const int64_t P = x.shape()[1], C = x.shape()[2];
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    const T* from = x.data<T>() + (b * P + begin) * C;
    const T* gradient = dy.data<T>() + (b * P + begin) * C;
    ColumnSums<2>(end - begin, C, sums, [&](auto io, int64_t row, int64_t column) {
      const VecF32 above = io.Load(gradient + row * C + column);
      const VecF32 delta = hn::Sub(io.Load(from + row * C + column), io.Load(center + column));
      return std::array<VecF32, 2>{above, hn::Mul(above, delta)};
    });
  });
}

// dx = dy scale - (x - center) slope - offset.
void InputGradientPixels(const Tensor& x, const Tensor& dy, int64_t b, const float* center, const float* scale,
                         const float* slope, const float* offset, Tensor& dx, int64_t begin, int64_t end) {
  const int64_t P = x.shape()[1], C = x.shape()[2];
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    for (int64_t pixel = b * P + begin; pixel < b * P + end; ++pixel) {
      const T* from = x.data<T>() + pixel * C;
      const T* above = dy.data<T>() + pixel * C;
      T* to = dx.mutable_data<T>() + pixel * C;
      ForEachVector(C, [&](auto io, int64_t at) {
        const VecF32 delta = hn::Sub(io.Load(from + at), io.Load(center + at));
        const VecF32 rest = hn::MulAdd(delta, io.Load(slope + at), io.Load(offset + at));
        io.Store(hn::MulSub(io.Load(above + at), io.Load(scale + at), rest), to + at);
      });
    }
  });
}

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(CenteredSums);
HWY_EXPORT(SquaredSums);
HWY_EXPORT(ScalePixels);
HWY_EXPORT(GradientSums);
HWY_EXPORT(InputGradientPixels);

namespace {

constexpr int64_t kRangeElements = 32768;

// body(b, begin, end, item) for ranges of pixels of all images; `item` counts them image by image.
struct PixelRanges {
  int64_t images, pixels, length, per_image;

  explicit PixelRanges(const Tensor& x)
      : images(x.shape()[0]),
        pixels(x.shape()[1]),
        length(std::max<int64_t>(1, kRangeElements / x.shape()[2])),
        per_image((pixels + length - 1) / length) {}

  template <typename Body>
  void ForEach(const Body& body) const {
    base::ParallelFor(images * per_image, 1, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t first = item % per_image * length;
        body(item / per_image, first, std::min(pixels, first + length), item);
      }
    });
  }

  // Sums of `width` values per image: add(b, begin, end, sums) over its ranges, in order. [B, width]
  template <typename Add>
  std::vector<double> Sums(int64_t width, const Add& add) const {
    std::vector<double> partial(static_cast<size_t>(images * per_image * width));
    ForEach([&](int64_t b, int64_t begin, int64_t end, int64_t item) {
      add(b, begin, end, partial.data() + item * width);
    });
    std::vector<double> sums(static_cast<size_t>(images * width));
    for (int64_t item = 0; item < images * per_image; ++item) {
      for (int64_t i = 0; i < width; ++i) sums[item / per_image * width + i] += partial[item * width + i];
    }
    return sums;
  }
};

// Statistics [B,G] spread to one value per channel [B,C].
std::vector<float> PerChannel(const Tensor& statistics, int64_t C) {
  const auto [B, G] = statistics.Dims<2>("group_norm");
  std::vector<float> spread(static_cast<size_t>(B * C));
  for (int64_t i = 0; i < B * C; ++i) spread[i] = statistics.data<float>()[i / C * G + i % C / (C / G)];
  return spread;
}

// Per-channel sums [B,C] folded into groups and divided by `count`, to [B,G].
void FoldGroups(const std::vector<double>& sums, int64_t C, double count, Tensor& folded) {
  const auto [B, G] = folded.Dims<2>("group_norm");
  const int64_t width = C / G;
  for (int64_t i = 0; i < B * G; ++i) {
    double sum = 0.0;
    for (int64_t c = 0; c < width; ++c) sum += sums[i / G * C + i % G * width + c];
    folded.mutable_data<float>()[i] = static_cast<float>(sum / count);
  }
}

float Parameter(const Tensor& parameter, int64_t channel, float otherwise) {
  return parameter.defined() ? parameter.data<float>()[channel] : otherwise;
}

}  // namespace

void GroupMoments(const Tensor& x, Tensor& mean, Tensor& variance) {
  const int64_t C = x.shape()[2];
  const double count = static_cast<double>(x.shape()[1] * (C / mean.shape()[1]));
  const PixelRanges ranges(x);
  const std::vector<float> zeros(static_cast<size_t>(C));
  const auto add = FOVEA_DISPATCH(CenteredSums);
  FoldGroups(ranges.Sums(C, [&](int64_t b, int64_t begin, int64_t end,
                                double* sums) { add(x, b, zeros.data(), sums, begin, end); }),
             C, count, mean);
  const std::vector<float> center = PerChannel(mean, C);
  const auto square = FOVEA_DISPATCH(SquaredSums);
  FoldGroups(ranges.Sums(C, [&](int64_t b, int64_t begin, int64_t end,
                                double* sums) { square(x, b, center.data() + b * C, sums, begin, end); }),
             C, count, variance);
}

void GroupNormApply(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& gamma, const Tensor& beta,
                    Tensor& y) {
  const int64_t C = x.shape()[2];
  const std::vector<float> center = PerChannel(mean, C);
  std::vector<float> scale = PerChannel(rstd, C), shift(static_cast<size_t>(C));
  for (int64_t i = 0; i < static_cast<int64_t>(scale.size()); ++i) scale[i] *= Parameter(gamma, i % C, 1.0f);
  for (int64_t c = 0; c < C; ++c) shift[c] = Parameter(beta, c, 0.0f);
  const auto apply = FOVEA_DISPATCH(ScalePixels);
  PixelRanges(x).ForEach([&](int64_t b, int64_t begin, int64_t end, int64_t) {
    apply(x, b, center.data() + b * C, scale.data() + b * C, shift.data(), y, begin, end);
  });
}

void GroupNormBackward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& gamma, const Tensor& dy,
                       bool through_moments, Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
  const int64_t B = x.shape()[0], C = x.shape()[2], G = mean.shape()[1], width = C / G;
  const PixelRanges ranges(x);
  const std::vector<float> center = PerChannel(mean, C), inverse = PerChannel(rstd, C);
  const auto add = FOVEA_DISPATCH(GradientSums);
  // [B,2C]: sums of dy and of dy (x - mean)
  const std::vector<double> sums = ranges.Sums(2 * C, [&](int64_t b, int64_t begin, int64_t end, double* into) {
    add(x, dy, b, center.data() + b * C, into, begin, end);
  });
  for (int64_t c = 0; c < C; ++c) {
    double by_gamma = 0.0, by_beta = 0.0;
    for (int64_t b = 0; b < B; ++b) {
      by_gamma += sums[(2 * b + 1) * C + c] * static_cast<double>(inverse[b * C + c]);
      by_beta += sums[2 * b * C + c];
    }
    if (dgamma.defined()) dgamma.mutable_data<float>()[c] = static_cast<float>(by_gamma);
    if (dbeta.defined()) dbeta.mutable_data<float>()[c] = static_cast<float>(by_beta);
  }
  if (!dx.defined()) return;
  // dx = rstd (gamma dy - mean(gamma dy) - xhat mean(gamma dy xhat)), means over the group.
  std::vector<float> scale(inverse), slope(inverse.size()), offset(inverse.size());
  const double count = static_cast<double>(x.shape()[1] * width);
  for (int64_t i = 0; i < B * C; ++i) scale[i] *= Parameter(gamma, i % C, 1.0f);
  for (int64_t set = 0; set < B * G && through_moments; ++set) {
    const int64_t b = set / G, first = set % G * width;
    double sum = 0.0, dot = 0.0;
    for (int64_t c = first; c < first + width; ++c) {
      sum += static_cast<double>(Parameter(gamma, c, 1.0f)) * sums[2 * b * C + c];
      dot += static_cast<double>(Parameter(gamma, c, 1.0f)) * sums[(2 * b + 1) * C + c];
    }
    const double r = rstd.data<float>()[set];
    std::fill_n(offset.begin() + b * C + first, width, static_cast<float>(r * sum / count));
    std::fill_n(slope.begin() + b * C + first, width, static_cast<float>(r * r * r * dot / count));
  }
  const auto apply = FOVEA_DISPATCH(InputGradientPixels);
  ranges.ForEach([&](int64_t b, int64_t begin, int64_t end, int64_t) {
    const int64_t at = b * C;
    apply(x, dy, b, center.data() + at, scale.data() + at, slope.data() + at, offset.data() + at, dx, begin, end);
  });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
