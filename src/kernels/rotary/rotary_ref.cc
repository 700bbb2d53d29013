#include "kernels/rotary/rotary.h"

namespace fovea::kernels::ref {

void Rotary(const Tensor& x, const Tensor& cos, const Tensor& sin, bool is_inverse, Tensor& y) {
  const auto [B, H, T, E] = x.Dims<4>("rotary");
  const int64_t R = cos.dim(2), shared = cos.dim(0) == 1 ? 0 : 1;
  const Tensor wide = x.Contiguous().To(DType::kF32);
  Tensor turned = wide.Clone();
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t h = 0; h < H; ++h) {
      for (int64_t t = 0; t < T; ++t) {
        const float* from = wide.data<float>() + ((b * H + h) * T + t) * E;
        float* to = turned.mutable_data<float>() + ((b * H + h) * T + t) * E;
        for (int64_t i = 0; i < R; ++i) {
          const double c = cos.data<float>()[(b * shared * T + t) * R + i];
          const double s = (is_inverse ? -1.0 : 1.0) * sin.data<float>()[(b * shared * T + t) * R + i];
          to[i] = static_cast<float>(from[i] * c - from[R + i] * s);
          to[R + i] = static_cast<float>(from[R + i] * c + from[i] * s);
        }
      }
    }
  }
  const Tensor rounded = turned.To(y.dtype());
  for (int64_t b = 0; b < B; ++b) {  // y may be strided
    for (int64_t h = 0; h < H; ++h) {
      for (int64_t t = 0; t < T; ++t) {
        const auto row = [&](const Tensor& z) { return z.Sliced(0, b, b + 1).Sliced(1, h, h + 1).Sliced(2, t, t + 1); };
        Tensor target = row(y);
        target.CopyFrom(row(rounded));
      }
    }
  }
}

}  // namespace fovea::kernels::ref
