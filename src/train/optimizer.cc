#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"

namespace fovea::train {
namespace {

constexpr int64_t kGrain = 1 << 14;

struct Arrays {
  float* value;
  const float* gradient;
  float *moment1, *moment2;
};

void StepAdamW(const OptimizerOptions& o, double rate, const Slot& slot, const Arrays& a) {
  const double correction1 = 1.0 - std::pow(o.beta1, static_cast<double>(slot.updates));
  const double correction2 = 1.0 - std::pow(o.beta2, static_cast<double>(slot.updates));
  const auto keep = static_cast<float>(1.0 - rate * slot.weight_decay);
  const auto weight1 = static_cast<float>(1.0 - o.beta1);
  const auto beta2 = static_cast<float>(o.beta2), weight2 = static_cast<float>(1.0 - o.beta2);
  const auto root2 = static_cast<float>(std::sqrt(correction2)), eps = static_cast<float>(o.eps);
  const auto step = static_cast<float>(rate / correction1);
  base::ParallelFor(slot.value.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float g = a.gradient[i];
      a.moment1[i] += weight1 * (g - a.moment1[i]);
      a.moment2[i] = a.moment2[i] * beta2 + weight2 * g * g;
      const float root = std::sqrt(a.moment2[i]) / root2 + eps;
      a.value[i] = a.value[i] * keep - step * (a.moment1[i] / root);
    }
  });
}

void StepSgd(const OptimizerOptions& o, double rate, const Slot& slot, const Arrays& a) {
  const auto decay = static_cast<float>(slot.weight_decay), momentum = static_cast<float>(o.momentum);
  const auto step = static_cast<float>(rate);
  const bool is_first = slot.updates == 1;
  base::ParallelFor(slot.value.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float g = a.gradient[i] + decay * a.value[i];
      if (a.moment1 != nullptr) {
        a.moment1[i] = is_first ? g : a.moment1[i] * momentum + g;
        g = o.is_nesterov ? g + momentum * a.moment1[i] : a.moment1[i];
      }
      a.value[i] -= step * g;
    }
  });
}

// Chen et al. 2023, arXiv 2302.06675.
void StepLion(const OptimizerOptions& o, double rate, const Slot& slot, const Arrays& a) {
  const auto keep = static_cast<float>(1.0 - rate * slot.weight_decay), step = static_cast<float>(rate);
  const auto beta1 = static_cast<float>(o.beta1), weight1 = static_cast<float>(1.0 - o.beta1);
  const auto beta2 = static_cast<float>(o.beta2), weight2 = static_cast<float>(1.0 - o.beta2);
  base::ParallelFor(slot.value.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float g = a.gradient[i];
      const float update = a.moment1[i] * beta1 + g * weight1;
      const float sign = update > 0.0f ? 1.0f : update < 0.0f ? -1.0f : 0.0f;
      a.value[i] = a.value[i] * keep - step * sign;
      a.moment1[i] = a.moment1[i] * beta2 + g * weight2;
    }
  });
}

}  // namespace

void OptimizerStep(const OptimizerOptions& options, double learning_rate, std::vector<Slot>& slots) {
  using Type = OptimizerOptions::Type;
  for (Slot& slot : slots) {
    if (!slot.gradient.defined()) continue;
    Require(slot.gradient.shape() == slot.value.shape() && slot.gradient.is_contiguous(),
            "[optimizer] expected a gradient of shape ", slot.value.shape(), " for ", slot.name, ", got ",
            slot.gradient.shape());
    const bool has_first = options.type != Type::kSgd || options.momentum != 0.0;
    if (has_first && !slot.moment1.defined()) slot.moment1 = Tensor::Zeros(slot.value.shape());
    if (options.type == Type::kAdamW && !slot.moment2.defined()) slot.moment2 = Tensor::Zeros(slot.value.shape());
    ++slot.updates;
    const Arrays arrays{.value = slot.value.mutable_data<float>(),
                        .gradient = slot.gradient.data<float>(),
                        .moment1 = slot.moment1.defined() ? slot.moment1.mutable_data<float>() : nullptr,
                        .moment2 = slot.moment2.defined() ? slot.moment2.mutable_data<float>() : nullptr};
    const double rate = learning_rate * slot.rate_scale;
    switch (options.type) {
      case Type::kAdamW: StepAdamW(options, rate, slot, arrays); break;
      case Type::kSgd: StepSgd(options, rate, slot, arrays); break;
      case Type::kLion: StepLion(options, rate, slot, arrays); break;
    }
  }
}

double GradientNorm(const std::vector<Slot>& slots) {
  // Pieces of a fixed size, added up in order: the same bits with any number of threads.
  double sum = 0;
  for (const Slot& slot : slots) {
    if (!slot.gradient.defined()) continue;
    const auto values = slot.gradient.values<float>();
    const auto count = static_cast<int64_t>(values.size()), pieces = (count + kGrain - 1) / kGrain;
    std::vector<double> sums(static_cast<size_t>(pieces));
    base::ParallelFor(pieces, 1, [&](int64_t begin, int64_t end) {
      for (int64_t piece = begin; piece < end; ++piece) {
        double squares = 0;
        for (int64_t i = piece * kGrain; i < std::min(count, (piece + 1) * kGrain); ++i) {
          const double value = values[static_cast<size_t>(i)];
          squares += value * value;
        }
        sums[static_cast<size_t>(piece)] = squares;
      }
    });
    for (const double part : sums) sum += part;
  }
  return std::sqrt(sum);
}

double ClipGradients(double max_norm, std::vector<Slot>& slots) {
  const double norm = GradientNorm(slots);
  const double factor = max_norm / (norm + 1e-6);
  if (!(factor < 1.0) || !std::isfinite(norm)) return norm;
  const auto scale = static_cast<float>(factor);
  for (Slot& slot : slots) {
    if (!slot.gradient.defined()) continue;
    if (!slot.gradient.is_sole_owner()) slot.gradient = slot.gradient.Clone();
    float* values = slot.gradient.mutable_data<float>();
    for (int64_t i = 0; i < slot.gradient.numel(); ++i) values[i] *= scale;
  }
  return norm;
}

void MoveAverage(const Tensor& value, double decay, Tensor& average) {
  const float* from = value.data<float>();
  float* to = average.mutable_data<float>();
  const auto weight = static_cast<float>(1.0 - decay);
  base::ParallelFor(value.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] += weight * (from[i] - to[i]);
  });
}

}  // namespace fovea::train
