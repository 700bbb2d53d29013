// Normalisation by its definitions, in double precision.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/norm/norm.h"

namespace fovea::kernels::ref {
namespace {

std::vector<double> Doubles(const Tensor& x) {
  if (!x.defined()) return {};
  const Tensor wide = x.To(DType::kF64);
  return {wide.data<double>(), wide.data<double>() + wide.numel()};
}

void Store(const std::vector<double>& values, Tensor& out) {
  if (!out.defined()) return;
  Tensor narrow = Tensor::Empty(out.shape());
  for (size_t i = 0; i < values.size(); ++i) narrow.mutable_data<float>()[i] = static_cast<float>(values[i]);
  out.CopyFrom(narrow.To(out.dtype()));
}

double At(const std::vector<double>& values, int64_t i, double otherwise) {
  return values.empty() ? otherwise : values[static_cast<size_t>(i)];
}

// Gradients of y = (x - mean) rstd gamma + beta over sets of elements that share statistics: `set_of(i)` and
// `channel_of(i)` of element i; a set has `size` elements. `is_centred`: the mean depends on x; `is_scaled`: rstd does.
template <typename SetOf, typename ChannelOf>
void Backward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& gamma, const Tensor& dy,
              int64_t size, bool is_centred, bool is_scaled, SetOf&& set_of, ChannelOf&& channel_of, int64_t channels,
              Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
  const auto xs = Doubles(x), means = Doubles(mean), scales = Doubles(rstd), gammas = Doubles(gamma),
             above = Doubles(dy);
  std::vector<double> sum(scales.size()), dot(scales.size()), by_gamma(static_cast<size_t>(channels)),
      by_beta(by_gamma), out(xs.size());
  const int64_t count = x.numel();
  for (int64_t i = 0; i < count; ++i) {
    const auto s = static_cast<size_t>(set_of(i)), c = static_cast<size_t>(channel_of(i));
    const double normal = (xs[i] - At(means, set_of(i), 0.0)) * scales[s];
    const double weighted = above[i] * At(gammas, channel_of(i), 1.0);
    sum[s] += weighted;
    dot[s] += weighted * normal;
    by_gamma[c] += above[i] * normal;
    by_beta[c] += above[i];
  }
  for (int64_t i = 0; i < count; ++i) {
    const auto s = static_cast<size_t>(set_of(i));
    const double normal = (xs[i] - At(means, set_of(i), 0.0)) * scales[s];
    double value = above[i] * At(gammas, channel_of(i), 1.0);
    if (is_centred) value -= sum[s] / static_cast<double>(size);
    if (is_scaled) value -= normal * dot[s] / static_cast<double>(size);
    out[i] = value * scales[s];
  }
  Store(out, dx);
  Store(by_gamma, dgamma);
  Store(by_beta, dbeta);
}

}  // namespace

void LayerNorm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps, Tensor& y, Tensor& mean,
               Tensor& rstd) {
  const auto [R, D] = x.Dims<2>("layer_norm");
  const auto xs = Doubles(x), gammas = Doubles(gamma), betas = Doubles(beta);
  std::vector<double> out(xs.size()), means, scales;
  for (int64_t r = 0; r < R; ++r) {
    double sum = 0.0, square = 0.0;
    for (int64_t i = 0; i < D; ++i) sum += xs[r * D + i];
    const double m = sum / static_cast<double>(D);
    for (int64_t i = 0; i < D; ++i) square += (xs[r * D + i] - m) * (xs[r * D + i] - m);
    const double s = 1.0 / std::sqrt(square / static_cast<double>(D) + eps);
    for (int64_t i = 0; i < D; ++i) out[r * D + i] = (xs[r * D + i] - m) * s * At(gammas, i, 1.0) + At(betas, i, 0.0);
    means.push_back(m);
    scales.push_back(s);
  }
  Store(out, y);
  Store(means, mean);
  Store(scales, rstd);
}

void LayerNormBackward(const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& rstd, const Tensor& dy,
                       Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
  const int64_t D = x.shape()[1];
  Backward(
      x, mean, rstd, gamma, dy, D, true, true, [D](int64_t i) { return i / D; }, [D](int64_t i) { return i % D; }, D,
      dx, dgamma, dbeta);
}

void RmsNorm(const Tensor& x, const Tensor& gamma, float eps, Tensor& y, Tensor& rstd) {
  const auto [R, D] = x.Dims<2>("rms_norm");
  const auto xs = Doubles(x), gammas = Doubles(gamma);
  std::vector<double> out(xs.size()), scales;
  for (int64_t r = 0; r < R; ++r) {
    double square = 0.0;
    for (int64_t i = 0; i < D; ++i) square += xs[r * D + i] * xs[r * D + i];
    scales.push_back(1.0 / std::sqrt(square / static_cast<double>(D) + eps));
    for (int64_t i = 0; i < D; ++i) out[r * D + i] = xs[r * D + i] * scales.back() * At(gammas, i, 1.0);
  }
  Store(out, y);
  Store(scales, rstd);
}

void RmsNormBackward(const Tensor& x, const Tensor& gamma, const Tensor& rstd, const Tensor& dy, Tensor& dx,
                     Tensor& dgamma) {
  const int64_t D = x.shape()[1];
  Tensor none;
  Backward(
      x, none, rstd, gamma, dy, D, false, true, [D](int64_t i) { return i / D; }, [D](int64_t i) { return i % D; }, D,
      dx, dgamma, none);
}

void L2Normalize(const Tensor& x, float eps, Tensor& y, Tensor& scale) {
  const auto [R, D] = x.Dims<2>("l2_normalize");
  const auto xs = Doubles(x);
  std::vector<double> out(xs.size()), scales;
  for (int64_t r = 0; r < R; ++r) {
    double square = 0.0;
    for (int64_t i = 0; i < D; ++i) square += xs[r * D + i] * xs[r * D + i];
    scales.push_back(1.0 / std::max(std::sqrt(square), static_cast<double>(eps)));
    for (int64_t i = 0; i < D; ++i) out[r * D + i] = xs[r * D + i] * scales.back();
  }
  Store(out, y);
  Store(scales, scale);
}

void L2NormalizeBackward(const Tensor& y, const Tensor& scale, float eps, const Tensor& dy, Tensor& dx) {
  const auto [R, D] = y.Dims<2>("l2_normalize");
  const auto ys = Doubles(y), scales = Doubles(scale), above = Doubles(dy);
  std::vector<double> out(ys.size());
  for (int64_t r = 0; r < R; ++r) {
    double dot = 0.0;
    for (int64_t i = 0; i < D; ++i) dot += ys[r * D + i] * above[r * D + i];
    if (static_cast<float>(scales[r]) >= 1.0f / eps) dot = 0.0;
    for (int64_t i = 0; i < D; ++i) out[r * D + i] = (above[r * D + i] - ys[r * D + i] * dot) * scales[r];
  }
  Store(out, dx);
}

void GroupMoments(const Tensor& x, Tensor& mean, Tensor& variance) {
  const auto [B, P, C] = x.Dims<3>("group_norm");
  const int64_t G = mean.shape()[1], width = C / G;
  const auto xs = Doubles(x);
  std::vector<double> means, variances;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t g = 0; g < G; ++g) {
      const auto each = [&, b = b, P = P, C = C](auto&& visit) {
        for (int64_t p = 0; p < P; ++p) {
          for (int64_t c = g * width; c < (g + 1) * width; ++c) visit(xs[(b * P + p) * C + c]);
        }
      };
      double sum = 0.0, square = 0.0;
      each([&](double value) { sum += value; });
      const double m = sum / static_cast<double>(P * width);
      each([&](double value) { square += (value - m) * (value - m); });
      means.push_back(m);
      variances.push_back(square / static_cast<double>(P * width));
    }
  }
  Store(means, mean);
  Store(variances, variance);
}

void GroupNormApply(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& gamma, const Tensor& beta,
                    Tensor& y) {
  const auto [B, P, C] = x.Dims<3>("group_norm");
  const int64_t G = mean.shape()[1], width = C / G;
  const auto xs = Doubles(x), means = Doubles(mean), scales = Doubles(rstd), gammas = Doubles(gamma),
             betas = Doubles(beta);
  std::vector<double> out(xs.size());
  for (int64_t i = 0; i < B * P * C; ++i) {
    const int64_t c = i % C, s = i / (P * C) * G + c / width;
    out[i] = (xs[i] - means[s]) * scales[s] * At(gammas, c, 1.0) + At(betas, c, 0.0);
  }
  Store(out, y);
}

void GroupNormBackward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& gamma, const Tensor& dy,
                       bool through_moments, Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
  const int64_t P = x.shape()[1], C = x.shape()[2];
  const int64_t G = mean.shape()[1], width = C / G;
  Backward(
      x, mean, rstd, gamma, dy, P * width, through_moments, through_moments,
      [=](int64_t i) { return i / (P * C) * G + i % C / width; }, [=](int64_t i) { return i % C; }, C, dx, dgamma,
      dbeta);
}

}  // namespace fovea::kernels::ref
