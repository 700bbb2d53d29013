// Pooling with Highway, channels in the lanes. Forward passes run over output rows in parallel. Backward passes add
// into overlapping windows of an f32 image, so they run over images in parallel and convert at the end when the
// gradient is bf16.
#include "kernels/pool/pool.h"

#include <algorithm>

#include "base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool/pool_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/simd_reduce.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

// For every output pixel of output rows [begin, end) (of all images), every vector of channels: pixel(io, image,
// window_rows, window_columns, channel, output element).
template <typename Pixel>
HWY_INLINE void ForEachOutput(const Shape& y, const PoolAxis& rows, const PoolAxis& columns, int64_t begin, int64_t end,
                              const Pixel& pixel) {
  const int64_t C = y[3];
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t ox = 0; ox < y[2]; ++ox) {
      const int64_t out = (row * y[2] + ox) * C;
      ForEachVector(C, [&](auto io, int64_t c) { pixel(io, row / y[1], rows[row % y[1]], columns[ox], c, out + c); });
    }
  }
}

void MaxPoolRows(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, Tensor& y, int64_t begin,
                 int64_t end) {
  const int64_t Y = x.shape()[1], X = x.shape()[2], C = x.shape()[3];
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    const auto pixel = [&](auto io, int64_t b, const PoolWindow& tall, const PoolWindow& wide, int64_t c, int64_t out) {
      VecF32 best = io.Load(from + ((b * Y + tall.begin) * X + wide.begin) * C + c);
      for (int64_t iy = tall.begin; iy < tall.end; ++iy) {
        for (int64_t ix = wide.begin; ix < wide.end; ++ix)
          best = MaxOrNaN(best, io.Load(from + ((b * Y + iy) * X + ix) * C + c));
      }
      io.Store(best, to + out);
    };
    ForEachOutput(y.shape(), rows, columns, begin, end, pixel);
  });
}

void AvgPoolRows(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, Tensor& y, int64_t begin,
                 int64_t end) {
  const int64_t Y = x.shape()[1], X = x.shape()[2], C = x.shape()[3];
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    const auto pixel = [&](auto io, int64_t b, const PoolWindow& tall, const PoolWindow& wide, int64_t c, int64_t out) {
      VecF32 sum = hn::Zero(io.d);
      for (int64_t iy = tall.begin; iy < tall.end; ++iy) {
        VecF32 line = hn::Zero(io.d);
        for (int64_t ix = wide.begin; ix < wide.end; ++ix)
          line = hn::Add(line, io.Load(from + ((b * Y + iy) * X + ix) * C + c));
        sum = hn::Add(sum, line);
      }
      io.Store(hn::Div(sum, hn::Set(io.d, static_cast<float>(tall.count * wide.count))), to + out);
    };
    ForEachOutput(y.shape(), rows, columns, begin, end, pixel);
  });
}

// Image b alone; `dx` f32 and zeroed.
void AvgPoolBackwardImage(const PoolAxis& rows, const PoolAxis& columns, const Tensor& dy, Tensor& dx, int64_t image) {
  const int64_t Y = dx.shape()[1], X = dx.shape()[2], C = dx.shape()[3];
  float* to = dx.mutable_data<float>();
  WithElementType(dy, [&](auto element) {
    const auto* above = dy.data<decltype(element)>();
    const auto pixel = [&](auto io, int64_t b, const PoolWindow& tall, const PoolWindow& wide, int64_t c, int64_t out) {
      const VecF32 share = hn::Div(io.Load(above + out), hn::Set(io.d, static_cast<float>(tall.count * wide.count)));
      for (int64_t iy = tall.begin; iy < tall.end; ++iy) {
        for (int64_t ix = wide.begin; ix < wide.end; ++ix) {
          float* into = to + ((b * Y + iy) * X + ix) * C + c;
          io.Store(hn::Add(io.Load(into), share), into);
        }
      }
    };
    ForEachOutput(dy.shape(), rows, columns, image * dy.shape()[1], (image + 1) * dy.shape()[1], pixel);
  });
}

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(MaxPoolRows);
HWY_EXPORT(AvgPoolRows);
HWY_EXPORT(AvgPoolBackwardImage);

namespace {

constexpr int64_t kGrainElements = 16384;

// Calls body(begin, end) for ranges of the B * oY output rows.
template <typename Body>
void InRows(const Tensor& x, const Tensor& y, const Body& body) {
  const int64_t rows = y.shape()[0] * y.shape()[1];
  const int64_t work = x.numel() / std::max<int64_t>(1, rows) + y.shape()[2] * y.shape()[3];
  base::ParallelFor(rows, std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, work)), body);
}

// Calls add(dx in f32, image) for every image and stores the sum in `dx`.
template <typename AddImage>
void InImages(Tensor& dx, const AddImage& add) {
  Tensor sum = Tensor::Zeros(dx.shape());
  base::ParallelFor(dx.shape()[0], 1, [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) add(sum, image);
  });
  dx.CopyFrom(sum.To(dx.dtype()));
}

template <typename T>
void MaxPoolBackwardImage(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, const Tensor& dy, Tensor& dx,
                          int64_t b) {
  const int64_t X = x.shape()[2], C = x.shape()[3];
  const int64_t image = b * x.shape()[1] * X * C;
  const T* from = x.data<T>() + image;
  float* to = dx.mutable_data<float>() + image;
  const T* above = dy.data<T>() + b * dy.shape()[1] * dy.shape()[2] * C;
  for (const PoolWindow& tall : rows) {
    for (const PoolWindow& wide : columns) {
      for (int64_t c = 0; c < C; ++c) {
        int64_t where = (tall.begin * X + wide.begin) * C + c;
        float best = static_cast<float>(from[where]);
        for (int64_t iy = tall.begin; iy < tall.end; ++iy) {
          for (int64_t ix = wide.begin; ix < wide.end; ++ix) {
            const float value = static_cast<float>(from[(iy * X + ix) * C + c]);
            if (value > best || (value != value && best == best)) {
              best = value;
              where = (iy * X + ix) * C + c;
            }
          }
        }
        to[where] += static_cast<float>(*above++);
      }
    }
  }
}

}  // namespace

void MaxPool(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, Tensor& y) {
  const auto range = FOVEA_DISPATCH(MaxPoolRows);
  InRows(x, y, [&](int64_t begin, int64_t end) { range(x, rows, columns, y, begin, end); });
}

void AvgPool(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, Tensor& y) {
  const auto range = FOVEA_DISPATCH(AvgPoolRows);
  InRows(x, y, [&](int64_t begin, int64_t end) { range(x, rows, columns, y, begin, end); });
}

void MaxPoolBackward(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, const Tensor& dy, Tensor& dx) {
  InImages(dx, [&](Tensor& sum, int64_t image) {
    x.dtype() == DType::kBF16 ? MaxPoolBackwardImage<BF16>(x, rows, columns, dy, sum, image)
                              : MaxPoolBackwardImage<float>(x, rows, columns, dy, sum, image);
  });
}

void AvgPoolBackward(const PoolAxis& rows, const PoolAxis& columns, const Tensor& dy, Tensor& dx) {
  const auto add = FOVEA_DISPATCH(AvgPoolBackwardImage);
  InImages(dx, [&](Tensor& sum, int64_t image) { add(rows, columns, dy, sum, image); });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
