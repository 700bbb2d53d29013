// The activation functions as their definitions read, in double precision.
#include <algorithm>
#include <cmath>

#include "kernels/activation/activation.h"

namespace fovea::kernels::ref {
namespace {

constexpr double kSqrtHalf = 0.70710678118654752440;
constexpr double kSqrtTwoOverPi = 0.79788456080286535588;
constexpr double kInverseSqrtTwoPi = 0.39894228040143267794;
constexpr double kGeluCubic = 0.044715;
constexpr double kQuickSlope = 1.702;

double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// Zero times infinity is what the formulas below give at x = -inf, where the limit is zero.
double TimesGate(double x, double gate) { return gate == 0.0 ? 0.0 : x * gate; }

double Value(Act act, double x) {
  switch (act) {
    case Act::kIdentity: return x;
    case Act::kRelu: return std::isnan(x) ? x : std::max(x, 0.0);
    case Act::kRelu6: return std::isnan(x) ? x : std::clamp(x, 0.0, 6.0);
    case Act::kSilu: return TimesGate(x, Sigmoid(x));
    case Act::kGelu: return TimesGate(x, 0.5 * std::erfc(-x * kSqrtHalf));
    case Act::kGeluTanh: return TimesGate(x, 0.5 * (1.0 + std::tanh(kSqrtTwoOverPi * (x + kGeluCubic * x * x * x))));
    case Act::kQuickGelu: return TimesGate(x, Sigmoid(kQuickSlope * x));
    case Act::kSigmoid: return Sigmoid(x);
    case Act::kTanh: return std::tanh(x);
  }
  return x;
}

double Derivative(Act act, double x) {
  switch (act) {
    case Act::kIdentity: return 1.0;
    case Act::kRelu: return x > 0.0 ? 1.0 : 0.0;
    case Act::kRelu6: return x > 0.0 && x < 6.0 ? 1.0 : 0.0;
    case Act::kSilu: return Sigmoid(x) * (1.0 + x * (1.0 - Sigmoid(x)));
    case Act::kGelu: return 0.5 * std::erfc(-x * kSqrtHalf) + x * kInverseSqrtTwoPi * std::exp(-0.5 * x * x);
    case Act::kGeluTanh: {
      const double t = std::tanh(kSqrtTwoOverPi * (x + kGeluCubic * x * x * x));
      return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * kSqrtTwoOverPi * (1.0 + 3.0 * kGeluCubic * x * x);
    }
    case Act::kQuickGelu: {
      const double gate = Sigmoid(kQuickSlope * x);
      return gate * (1.0 + kQuickSlope * x * (1.0 - gate));
    }
    case Act::kSigmoid: return Sigmoid(x) * (1.0 - Sigmoid(x));
    case Act::kTanh: return 1.0 - std::tanh(x) * std::tanh(x);
  }
  return 1.0;
}

template <typename T>
void Apply(Act act, const Tensor& x, Tensor& y) {
  for (int64_t i = 0; i < x.numel(); ++i) {
    y.mutable_data<T>()[i] = T(static_cast<float>(Value(act, static_cast<float>(x.data<T>()[i]))));
  }
}

template <typename T>
void ApplyBackward(Act act, const Tensor& x, const Tensor& dy, Tensor& dx) {
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double slope = Derivative(act, static_cast<float>(x.data<T>()[i]));
    dx.mutable_data<T>()[i] = T(static_cast<float>(slope * static_cast<float>(dy.data<T>()[i])));
  }
}

}  // namespace

void Activate(Act act, const Tensor& x, Tensor& y) {
  x.dtype() == DType::kBF16 ? Apply<BF16>(act, x, y) : Apply<float>(act, x, y);
}

void ActivateBackward(Act act, const Tensor& x, const Tensor& dy, Tensor& dx) {
  x.dtype() == DType::kBF16 ? ApplyBackward<BF16>(act, x, dy, dx) : ApplyBackward<float>(act, x, dy, dx);
}

}  // namespace fovea::kernels::ref
