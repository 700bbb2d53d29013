// Convolution in seven plain loops, with double sums: the oracle of the fast kernel.
#include <vector>

#include "kernels/conv2d/conv2d.h"

namespace fovea::kernels {

Conv2dOutput Conv2dOutputSize(int64_t height, int64_t width, int64_t kernel_y, int64_t kernel_x,
                              const Conv2dGeometry& g) {
  const auto size = [](int64_t input, int64_t pad, int64_t kernel, int64_t stride, int64_t dilation) {
    const int64_t room = input + pad - (dilation * (kernel - 1) + 1);
    return room < 0 ? int64_t{0} : room / stride + 1;
  };
  return {size(height, g.pad_top + g.pad_bottom, kernel_y, g.stride_y, g.dilation_y),
          size(width, g.pad_left + g.pad_right, kernel_x, g.stride_x, g.dilation_x)};
}

namespace ref {
namespace {

// Calls visit(x index, weight index, y index) for every product of the convolution.
template <typename Visit>
void ForEachProduct(const Shape& x, const Shape& w, const Shape& y, const Conv2dGeometry& g, Visit&& visit) {
  const int64_t group_in = w[1], group_out = w[0] / g.groups;
  for (int64_t b = 0; b < y[0]; ++b)
    for (int64_t p = 0; p < y[1]; ++p)
      for (int64_t q = 0; q < y[2]; ++q)
        for (int64_t o = 0; o < y[3]; ++o)
          for (int64_t j = 0; j < w[2]; ++j)
            for (int64_t k = 0; k < w[3]; ++k) {
              const int64_t row = p * g.stride_y - g.pad_top + j * g.dilation_y;
              const int64_t column = q * g.stride_x - g.pad_left + k * g.dilation_x;
              if (row < 0 || row >= x[1] || column < 0 || column >= x[2]) continue;
              for (int64_t c = 0; c < group_in; ++c) {
                visit(((b * x[1] + row) * x[2] + column) * x[3] + o / group_out * group_in + c,
                      ((o * group_in + c) * w[2] + j) * w[3] + k, ((b * y[1] + p) * y[2] + q) * y[3] + o);
              }
            }
}

std::vector<double> Values(const Tensor& tensor) {
  const Tensor wide = tensor.To(DType::kF64);
  return {wide.data<double>(), wide.data<double>() + wide.numel()};
}

void Store(const std::vector<double>& values, Tensor& tensor) {
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    if (tensor.dtype() == DType::kBF16) {
      tensor.mutable_data<BF16>()[i] = BF16(static_cast<float>(values[i]));
    } else {
      tensor.mutable_data<float>()[i] = static_cast<float>(values[i]);
    }
  }
}

}  // namespace

void Conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dGeometry& geometry, Tensor& y) {
  const std::vector<double> xs = Values(x), ws = Values(weight);
  std::vector<double> ys(y.numel(), 0.0);
  if (bias.defined()) {
    const std::vector<double> bs = Values(bias);
    for (int64_t i = 0; i < y.numel(); ++i) ys[i] = bs[i % y.shape()[3]];
  }
  ForEachProduct(x.shape(), weight.shape(), y.shape(), geometry,
                 [&](int64_t i, int64_t w, int64_t o) { ys[o] += xs[i] * ws[w]; });
  Store(ys, y);
}

void Conv2dBackwardData(const Tensor& dy, const Tensor& weight, const Conv2dGeometry& geometry, Tensor& dx) {
  const std::vector<double> ds = Values(dy), ws = Values(weight);
  std::vector<double> out(dx.numel(), 0.0);
  ForEachProduct(dx.shape(), weight.shape(), dy.shape(), geometry,
                 [&](int64_t i, int64_t w, int64_t o) { out[i] += ds[o] * ws[w]; });
  Store(out, dx);
}

void Conv2dBackwardWeights(const Tensor& x, const Tensor& dy, const Conv2dGeometry& geometry, Tensor& dweight,
                           Tensor& dbias) {
  const std::vector<double> xs = Values(x), ds = Values(dy);
  std::vector<double> out(dweight.numel(), 0.0);
  ForEachProduct(x.shape(), dweight.shape(), dy.shape(), geometry,
                 [&](int64_t i, int64_t w, int64_t o) { out[w] += xs[i] * ds[o]; });
  Store(out, dweight);
  if (dbias.defined()) {
    std::vector<double> sums(dbias.numel(), 0.0);
    for (int64_t i = 0; i < dy.numel(); ++i) sums[i % dbias.numel()] += ds[i];
    Store(sums, dbias);
  }
}

}  // namespace ref
}  // namespace fovea::kernels
