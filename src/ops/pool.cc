#include "ops/pool.h"

#include <algorithm>

#include "kernels/pool/pool.h"
#include "ops/checks.h"
#include "ops/reduce.h"
#include "tensor/tape.h"

namespace fovea {
namespace {

using kernels::PoolAxis;

void RequireImage(const Tensor& x, const char* who) {
  ops::RequireFloat(x, who);
  Require(x.rank() == 4 && x.dim(1) > 0 && x.dim(2) > 0 && x.dim(3) > 0, "[", who,
          "] expected x [B,Y,X,C] with pixels, got ", x.shape());
}

PoolAxis Windows(const PoolOptions& options, int which, int64_t length, bool count_padding, const char* who) {
  const int64_t size = options.kernel[which], padding = options.padding[which];
  const int64_t stride = options.stride[which] == 0 ? size : options.stride[which];
  Require(size > 0 && stride > 0 && padding >= 0 && padding <= size / 2, "[", who,
          "] expected kernel > 0, stride >= 0 and padding <= kernel / 2, got ", size, ", ", options.stride[which],
          " and ", padding);
  Require(length + 2 * padding >= size, "[", who, "] expected an axis of at least ", size - 2 * padding,
          " pixels for a kernel of ", size, ", got ", length);
  const int64_t slack = length + 2 * padding - size;
  int64_t count = (slack + (options.ceil_mode ? stride - 1 : 0)) / stride + 1;
  if (options.ceil_mode && (count - 1) * stride >= length + padding) --count;
  PoolAxis axis;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t start = i * stride - padding, end = std::min(start + size, length + padding);
    const int64_t inside_begin = std::max<int64_t>(0, start), inside_end = std::min(end, length);
    axis.push_back({inside_begin, inside_end, count_padding ? end - start : inside_end - inside_begin});
  }
  return axis;
}

PoolAxis EvenWindows(int64_t length, int64_t count) {
  Require(count > 0, "[adaptive_avg_pool2d] expected an output size > 0, got ", count);
  PoolAxis axis;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = i * length / count, end = ((i + 1) * length + count - 1) / count;
    axis.push_back({begin, end, end - begin});
  }
  return axis;
}

Shape Pooled(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns) {
  return {x.dim(0), static_cast<int64_t>(rows.size()), static_cast<int64_t>(columns.size()), x.dim(3)};
}

Tensor Average(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns) {
  Tensor y = Tensor::Empty(Pooled(x, rows, columns), x.dtype());
  if (y.numel() > 0) kernels::AvgPool(x.Contiguous(), rows, columns, y);
  return Record({&x}, y, [rows, columns, shape = x.shape()](const Tensor& dy, const Needs&) {
    Tensor dx = Tensor::Empty(shape, dy.dtype());
    kernels::AvgPoolBackward(rows, columns, dy, dx);
    return InputGradients{dx};
  });
}

}  // namespace

Tensor MaxPool2d(const Tensor& x, const PoolOptions& options) {
  RequireImage(x, "max_pool2d");
  const PoolAxis rows = Windows(options, 0, x.dim(1), false, "max_pool2d"),
                 columns = Windows(options, 1, x.dim(2), false, "max_pool2d");
  const Tensor image = x.Contiguous();
  Tensor y = Tensor::Empty(Pooled(x, rows, columns), x.dtype());
  if (y.numel() > 0) kernels::MaxPool(image, rows, columns, y);
  return Record({&x}, y, [image, rows, columns](const Tensor& dy, const Needs&) {
    Tensor dx = Tensor::Empty(image.shape(), image.dtype());
    kernels::MaxPoolBackward(image, rows, columns, dy, dx);
    return InputGradients{dx};
  });
}

Tensor AvgPool2d(const Tensor& x, const PoolOptions& options) {
  RequireImage(x, "avg_pool2d");
  const bool count_padding = options.count_include_pad;
  return Average(x, Windows(options, 0, x.dim(1), count_padding, "avg_pool2d"),
                 Windows(options, 1, x.dim(2), count_padding, "avg_pool2d"));
}

Tensor AdaptiveAvgPool2d(const Tensor& x, std::array<int64_t, 2> size) {
  RequireImage(x, "adaptive_avg_pool2d");
  return Average(x, EvenWindows(x.dim(1), size[0]), EvenWindows(x.dim(2), size[1]));
}

Tensor GlobalAvgPool(const Tensor& x) {
  RequireImage(x, "global_avg_pool");
  return Mean(x, {1, 2});
}

}  // namespace fovea
