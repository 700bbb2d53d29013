#include "ops/norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "kernels/norm/norm.h"
#include "ops/checks.h"
#include "tensor/tape.h"

namespace fovea {
namespace {

// x [...,D] as rows [R,D].
Tensor Rows(const Tensor& x, const char* who) {
  ops::RequireFloat(x, who);
  Require(x.rank() >= 1 && x.dim(-1) > 0, "[", who, "] expected at least one element along the last axis, got ",
          x.shape());
  return x.Contiguous().View({x.numel() / x.dim(-1), x.dim(-1)});
}

// A parameter of `size` elements as f32, or undefined.
Tensor Wide(const Tensor& parameter, int64_t size, const char* name, const char* who) {
  if (!parameter.defined()) return parameter;
  ops::RequireFloat(parameter, who);
  Require(parameter.shape() == Shape{size}, "[", who, "] expected ", name, " [", size, "], got ", parameter.shape());
  return parameter.Contiguous().To(DType::kF32);
}

// Room for the gradient of a parameter, undefined when nobody needs it.
Tensor Room(bool is_needed, const Shape& shape, DType dtype = DType::kF32) {
  return is_needed ? Tensor::Empty(shape, dtype) : Tensor();
}

// A gradient computed in f32, in the type of its parameter.
Tensor Narrow(const Tensor& gradient, DType dtype) { return gradient.defined() ? gradient.To(dtype) : gradient; }

Tensor InverseRoots(const Tensor& variance, float eps) {
  Tensor rstd = Tensor::Empty(variance.shape());
  for (int64_t i = 0; i < variance.numel(); ++i)
    rstd.mutable_data<float>()[i] = 1.0f / std::sqrt(variance.data<float>()[i] + eps);
  return rstd;
}

// Group norm of pixels [B,P,C] with the given statistics [B,G], recorded for x, gamma and beta.
Tensor Normalize(const Tensor& x, const Tensor& pixels, const Tensor& mean, const Tensor& rstd, const Tensor& gamma,
                 const Tensor& beta, bool through_moments, const char* who) {
  const int64_t C = pixels.shape()[2];
  const Tensor scale = Wide(gamma, C, "gamma", who), shift = Wide(beta, C, "beta", who);
  Tensor y = Tensor::Empty(pixels.shape(), x.dtype());
  kernels::GroupNormApply(pixels, mean, rstd, scale, shift, y);
  return Record(
      {&x, &gamma, &beta}, y.View(x.shape()),
      [=, shape = x.shape(), gamma_type = gamma.dtype(), beta_type = beta.dtype()](const Tensor& dy,
                                                                                   const Needs& needs) {
        Tensor dx = Room(needs[0], pixels.shape(), pixels.dtype()), dgamma = Room(needs[1], {C}),
               dbeta = Room(needs[2], {C});
        kernels::GroupNormBackward(pixels, mean, rstd, scale, dy.View(pixels.shape()), through_moments, dx, dgamma,
                                   dbeta);
        return InputGradients{needs[0] ? dx.View(shape) : dx, Narrow(dgamma, gamma_type), Narrow(dbeta, beta_type)};
      });
}

void Move(const Tensor& running, const Tensor& batch, float momentum, double correction) {
  float* value = running.mutable_data<float>();
  for (int64_t c = 0; c < running.numel(); ++c) {
    const double target = batch.data<float>()[c] * correction;
    value[c] = static_cast<float>((1.0 - momentum) * static_cast<double>(value[c]) + momentum * target);
  }
}

// ---- batch norm over the rows of several processes

// Moments [1,C] of N rows here become those of the rows of all processes; returns how many these are.
double JoinMoments(int64_t N, const Tensor& mean, const Tensor& variance) {
  const auto& sum_across = *Tape::SumAcross();
  const int64_t C = mean.numel();
  float *m = mean.mutable_data<float>(), *v = variance.mutable_data<float>();
  const auto rows = static_cast<double>(N);
  std::vector<double> sums(static_cast<size_t>(C) + 1), squares(static_cast<size_t>(C));
  for (int64_t c = 0; c < C; ++c) sums[static_cast<size_t>(c)] = rows * m[c];
  sums.back() = rows;
  sum_across(sums);
  const double total = sums.back();
  for (int64_t c = 0; c < C; ++c) {
    const double joint = sums[static_cast<size_t>(c)] / total;
    squares[static_cast<size_t>(c)] = rows * (v[c] + (m[c] - joint) * (m[c] - joint));
    m[c] = static_cast<float>(joint);
  }
  sum_across(squares);
  for (int64_t c = 0; c < C; ++c) v[c] = static_cast<float>(squares[static_cast<size_t>(c)] / total);
  return total;
}

// Where the statistics depend on the rows of all processes, so do the gradients: the two sums of a batch norm's
// backward pass are added up across processes, too. Gradients of gamma and beta stay those of the rows here.
Tensor NormalizeAcross(const Tensor& x, const Tensor& pixels, const Tensor& mean, const Tensor& variance, double total,
                       const BatchNormParameters& parameters, float eps) {
  const int64_t C = pixels.shape()[2];
  const Tensor rstd = InverseRoots(variance, eps);
  const Tensor scale = parameters.gamma.defined() ? Wide(parameters.gamma, C, "gamma", "batch_norm")
                                                  : Tensor::Full({C}, 1.0f),
               shift = Wide(parameters.beta, C, "beta", "batch_norm");
  Tensor y = Tensor::Empty(pixels.shape(), x.dtype());
  kernels::GroupNormApply(pixels, mean, rstd, scale, shift, y);
  return Record(
      {&x, &parameters.gamma, &parameters.beta}, y.View(x.shape()),
      [=, shape = x.shape(), sum_across = Tape::SumAcross(), gamma_type = parameters.gamma.dtype(),
       beta_type = parameters.beta.dtype()](const Tensor& dy, const Needs&) {
        Tensor wide = Tensor::Empty(pixels.shape()), dgamma = Tensor::Empty({C}), dbeta = Tensor::Empty({C});
        const Tensor values = pixels.To(DType::kF32);
        kernels::GroupNormBackward(values, mean, rstd, scale, dy.View(pixels.shape()).To(DType::kF32),
                                   /*through_moments=*/false, wide, dgamma, dbeta);
        std::vector<double> sums(dgamma.values<float>().begin(), dgamma.values<float>().end());
        sums.insert(sums.end(), dbeta.values<float>().begin(), dbeta.values<float>().end());
        (*sum_across)(sums);
        // dx = gamma rstd (dy - mean(dy) - xhat mean(dy xhat)); the kernel gave the first term.
        std::vector<float> slope(static_cast<size_t>(C)), offset(static_cast<size_t>(C));
        for (int64_t c = 0; c < C; ++c) {
          const double r = rstd.data<float>()[c], factor = scale.data<float>()[c] * r / total;
          const double by_value = factor * r * sums[static_cast<size_t>(c)];
          slope[static_cast<size_t>(c)] = static_cast<float>(by_value);
          offset[static_cast<size_t>(c)] =
              static_cast<float>(factor * sums[static_cast<size_t>(C + c)] - by_value * mean.data<float>()[c]);
        }
        float* dx = wide.mutable_data<float>();
        const float* value = values.data<float>();
        base::ParallelFor(values.numel() / C, std::max<int64_t>(1, (1 << 14) / C), [&](int64_t begin, int64_t end) {
          for (int64_t i = begin * C; i < end * C; i += C) {
            for (int64_t c = 0; c < C; ++c)
              dx[i + c] -= slope[static_cast<size_t>(c)] * value[i + c] + offset[static_cast<size_t>(c)];
          }
        });
        return InputGradients{wide.To(pixels.dtype()).View(shape), Narrow(dgamma, gamma_type),
                              Narrow(dbeta, beta_type)};
      });
}

}  // namespace

Tensor LayerNorm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps) {
  const Tensor rows = Rows(x, "layer_norm");
  const int64_t R = rows.shape()[0], D = rows.shape()[1];
  const Tensor scale = Wide(gamma, D, "gamma", "layer_norm"), shift = Wide(beta, D, "beta", "layer_norm");
  Tensor y = Tensor::Empty(rows.shape(), x.dtype()), mean = Tensor::Empty({R}), rstd = Tensor::Empty({R});
  kernels::LayerNorm(rows, scale, shift, eps, y, mean, rstd);
  return Record(
      {&x, &gamma, &beta}, y.View(x.shape()),
      [=, shape = x.shape(), gamma_type = gamma.dtype(), beta_type = beta.dtype()](const Tensor& dy,
                                                                                   const Needs& needs) {
        Tensor dx = Room(needs[0], rows.shape(), rows.dtype()), dgamma = Room(needs[1], {D}),
               dbeta = Room(needs[2], {D});
        kernels::LayerNormBackward(rows, scale, mean, rstd, dy.View(rows.shape()), dx, dgamma, dbeta);
        return InputGradients{needs[0] ? dx.View(shape) : dx, Narrow(dgamma, gamma_type), Narrow(dbeta, beta_type)};
      });
}

Tensor RmsNorm(const Tensor& x, const Tensor& gamma, float eps) {
  const Tensor rows = Rows(x, "rms_norm");
  const int64_t R = rows.shape()[0], D = rows.shape()[1];
  const Tensor scale = Wide(gamma, D, "gamma", "rms_norm");
  Tensor y = Tensor::Empty(rows.shape(), x.dtype()), rstd = Tensor::Empty({R});
  kernels::RmsNorm(rows, scale, eps, y, rstd);
  return Record({&x, &gamma}, y.View(x.shape()),
                [=, shape = x.shape(), gamma_type = gamma.dtype()](const Tensor& dy, const Needs& needs) {
                  Tensor dx = Room(needs[0], rows.shape(), rows.dtype()), dgamma = Room(needs[1], {D});
                  kernels::RmsNormBackward(rows, scale, rstd, dy.View(rows.shape()), dx, dgamma);
                  return InputGradients{needs[0] ? dx.View(shape) : dx, Narrow(dgamma, gamma_type)};
                });
}

Tensor L2Normalize(const Tensor& x, float eps) {
  Require(eps > 0.0f, "[l2_normalize] expected eps > 0, got ", eps);
  const Tensor rows = Rows(x, "l2_normalize");
  Tensor y = Tensor::Empty(rows.shape(), x.dtype()), scale = Tensor::Empty({rows.shape()[0]});
  kernels::L2Normalize(rows, eps, y, scale);
  return Record({&x}, y.View(x.shape()), [=, shape = x.shape()](const Tensor& dy, const Needs&) {
    Tensor dx = Tensor::Empty(y.shape(), y.dtype());
    kernels::L2NormalizeBackward(y, scale, eps, dy.View(y.shape()), dx);
    return InputGradients{dx.View(shape)};
  });
}

Tensor GroupNorm(const Tensor& x, int64_t groups, const Tensor& gamma, const Tensor& beta, float eps) {
  ops::RequireFloat(x, "group_norm");
  Require(x.rank() >= 2, "[group_norm] expected x [B,...,C], got ", x.shape());
  if (x.dim(0) == 0) return x;  // nothing to normalise
  Require(x.numel() > 0, "[group_norm] expected x [B,...,C] with elements, got ", x.shape());
  const int64_t B = x.dim(0), C = x.dim(-1);
  Require(groups > 0 && C % groups == 0, "[group_norm] expected a number of groups that divides ", C, " channels, got ",
          groups);
  const Tensor pixels = x.Contiguous().View({B, x.numel() / (B * C), C});
  Tensor mean = Tensor::Empty({B, groups}), variance = Tensor::Empty({B, groups});
  kernels::GroupMoments(pixels, mean, variance);
  return Normalize(x, pixels, mean, InverseRoots(variance, eps), gamma, beta, /*through_moments=*/true, "group_norm");
}

Tensor BatchNorm(const Tensor& x, const BatchNormParameters& parameters, const BatchNormOptions& options) {
  ops::RequireFloat(x, "batch_norm");
  Require(x.rank() >= 1, "[batch_norm] expected x [...,C], got ", x.shape());
  if (x.dim(0) == 0 && !Tape::IsTraining()) return x;  // nothing to normalise
  Require(x.numel() > 0, "[batch_norm] expected x [...,C] with elements, got ", x.shape());
  const int64_t C = x.dim(-1), N = x.numel() / C;
  for (const Tensor* running : {&parameters.running_mean, &parameters.running_variance}) {
    Require(running->defined() && running->shape() == Shape{C} && running->dtype() == DType::kF32 &&
                running->is_contiguous(),
            "[batch_norm] expected running statistics f32[", C, "] for x ", x.shape(), ", got ", running->dtype(),
            running->shape());
  }
  const Tensor pixels = x.Contiguous().View({1, N, C});
  const bool is_training = Tape::IsTraining();
  Tensor mean = Tensor::Empty({1, C}), variance = Tensor::Empty({1, C});
  if (is_training) {
    Require(N > 1, "[batch_norm] expected more than one value per channel while training, got ", x.shape());
    kernels::GroupMoments(pixels, mean, variance);
    const double total = Tape::SumAcross() == nullptr ? static_cast<double>(N) : JoinMoments(N, mean, variance);
    if (!Tape::IsRecomputing()) {
      Move(parameters.running_mean, mean, options.momentum, 1.0);
      Move(parameters.running_variance, variance, options.momentum, total / (total - 1));
    }
    if (Tape::SumAcross() != nullptr) return NormalizeAcross(x, pixels, mean, variance, total, parameters, options.eps);
  } else {  // copies: training may move the running statistics before the backward pass
    mean.CopyFrom(parameters.running_mean.View({1, C}));
    variance.CopyFrom(parameters.running_variance.View({1, C}));
  }
  return Normalize(x, pixels, mean, InverseRoots(variance, options.eps), parameters.gamma, parameters.beta, is_training,
                   "batch_norm");
}

}  // namespace fovea
