#include "ops/loss.h"

#include "ops/activation.h"
#include "ops/arithmetic.h"
#include "ops/checks.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/softmax.h"
#include "tensor/tape.h"

namespace fovea {
namespace {

// x as f32; the gradient goes back in the type of x.
Tensor InF32(const Tensor& x, const char* who) {
  ops::RequireFloat(x, who);
  if (x.dtype() == DType::kF32) return x;
  return Record({&x}, x.To(DType::kF32),
                [dtype = x.dtype()](const Tensor& dy, const Needs&) { return InputGradients{dy.To(dtype)}; });
}

// log(1 + exp(x)) without overflow. One record instead of its parts, whose kinks would give a wrong gradient at 0.
Tensor Softplus(const Tensor& x) {
  Tensor y;
  {
    const Tape::Pause pause;
    const Tensor positive = Relu(x);
    y = positive + Log(Exp(Neg(positive + Relu(Neg(x)))) + 1.0f);
  }
  return Record({&x}, y, [x](const Tensor& dy, const Needs&) { return InputGradients{dy * Sigmoid(x)}; });
}

Tensor Abs(const Tensor& x) { return Relu(x) + Relu(Neg(x)); }

int64_t RequireSquare(const Tensor& x, const char* who) {
  ops::RequireFloat(x, who);
  Require(x.rank() == 2 && x.dim(0) == x.dim(1) && x.dim(0) > 0, "[", who, "] expected similarities [N,N], got ",
          x.shape());
  return x.dim(0);
}

void RequireEqualShapes(const Tensor& a, const Tensor& b, const char* who) {
  ops::RequireFloat(a, who);
  ops::RequireFloat(b, who);
  Require(a.shape() == b.shape() && a.numel() > 0, "[", who, "] expected two equal shapes with elements, got ",
          a.shape(), " and ", b.shape());
}

// `on` on the diagonal, `off` elsewhere. [N,N]
Tensor Diagonal(int64_t N, float on, float off) {
  Tensor matrix = Tensor::Full({N, N}, off);
  for (int64_t i = 0; i < N; ++i) matrix.mutable_data<float>()[i * (N + 1)] = on;
  return matrix;
}

Tensor Counting(int64_t N) {
  Tensor index = Tensor::Empty({N}, DType::kI64);
  for (int64_t i = 0; i < N; ++i) index.mutable_data<int64_t>()[i] = i;
  return index;
}

}  // namespace

Tensor CrossEntropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options) {
  ops::RequireFloat(logits, "cross_entropy");
  const auto [N, V] = logits.Dims<2>("cross_entropy");
  Require(labels.defined() && labels.dtype() == DType::kI64 && labels.shape() == Shape{N} && V > 0,
          "[cross_entropy] expected logits [N,V] and labels i64[N], got ", logits.shape(), " and ", labels.dtype(),
          labels.shape());
  Require(options.label_smoothing >= 0.0f && options.label_smoothing <= 1.0f,
          "[cross_entropy] expected label_smoothing in [0,1], got ", options.label_smoothing);
  const Tensor rows = logits.Contiguous(), targets = labels.Contiguous();
  int64_t counted = 0;
  for (int64_t n = 0; n < N; ++n) {
    const int64_t label = targets.data<int64_t>()[n];
    if (label == options.ignore_index) continue;
    Require(label >= 0 && label < V, "[cross_entropy] expected labels in [0,", V, "), got ", label, " in row ", n);
    ++counted;
  }
  Tensor losses = Tensor::Empty({N}), log_sums = Tensor::Empty({N});
  kernels::CrossEntropy(rows, targets, options, losses, log_sums);
  const float share = counted > 0 ? 1.0f / static_cast<float>(counted) : 0.0f;
  float mean = 0.0f;
  {
    const Tape::Pause pause;
    mean = Sum(losses).item() * share;
  }
  return Record({&logits}, Tensor::Scalar(mean),
                [rows, targets, options, log_sums, share](const Tensor& dy, const Needs&) {
                  Tensor dlogits = Tensor::Empty(rows.shape(), rows.dtype());
                  kernels::CrossEntropyBackward(rows, targets, options, log_sums, dy.item() * share, dlogits);
                  return InputGradients{dlogits};
                });
}

Tensor ContrastiveLoss(const Tensor& logits, float label_smoothing) {
  const int64_t N = RequireSquare(logits, "contrastive_loss");
  const Tensor labels = Counting(N);
  const CrossEntropyOptions options{.label_smoothing = label_smoothing};
  return (CrossEntropy(logits, labels, options) + CrossEntropy(Transpose(logits, 0, 1), labels, options)) * 0.5f;
}

Tensor SigmoidContrastiveLoss(const Tensor& logits) {
  const int64_t N = RequireSquare(logits, "sigmoid_contrastive_loss");
  // -log sigmoid(z x) = softplus(-z x)
  const Tensor losses = Softplus(InF32(logits, "sigmoid_contrastive_loss") * Diagonal(N, -1.0f, 1.0f));  // [N,N]
  return Sum(losses) / static_cast<float>(N);
}

Tensor MaxOfHinges(const Tensor& scores, const MaxOfHingesOptions& options) {
  const int64_t N = RequireSquare(scores, "max_of_hinges");
  Require(options.margin >= 0.0f, "[max_of_hinges] expected a margin of 0 or more, got ", options.margin);
  const Tensor all = InF32(scores, "max_of_hinges");                                        // [N,N]
  const Tensor true_pairs = Sum(all * Diagonal(N, 1.0f, 0.0f), {1}, true);                  // [N,1]
  const Tensor wrong = Diagonal(N, 0.0f, 1.0f);                                             // [N,N]
  const Tensor rows = Relu(all - true_pairs + options.margin) * wrong;                      // [N,N]
  const Tensor columns = Relu(all - Transpose(true_pairs, 0, 1) + options.margin) * wrong;  // [N,N]
  if (!options.is_hardest_only) return Sum(rows) + Sum(columns);
  return Sum(Max(rows, {1})) + Sum(Max(columns, {0}));
}

Tensor MseLoss(const Tensor& x, const Tensor& target) {
  RequireEqualShapes(x, target, "mse_loss");
  return Mean(Square(InF32(x, "mse_loss") - InF32(target, "mse_loss")));
}

Tensor SmoothL1Loss(const Tensor& x, const Tensor& target, float beta) {
  RequireEqualShapes(x, target, "smooth_l1_loss");
  Require(beta > 0.0f, "[smooth_l1_loss] expected beta above 0, got ", beta);
  const Tensor distance = Abs(InF32(x, "smooth_l1_loss") - InF32(target, "smooth_l1_loss"));
  const Tensor inner = distance - Relu(distance - beta);  // at most beta
  return Mean(inner * (distance - inner * 0.5f)) / beta;
}

Tensor BinaryCrossEntropyWithLogits(const Tensor& logits, const Tensor& targets) {
  RequireEqualShapes(logits, targets, "binary_cross_entropy");
  const Tensor x = InF32(logits, "binary_cross_entropy");
  return Mean(Softplus(x) - x * InF32(targets, "binary_cross_entropy"));
}

Tensor DistillationLoss(const Tensor& student, const Tensor& teacher, float temperature) {
  RequireEqualShapes(student, teacher, "distillation_loss");
  const auto [N, V] = student.Dims<2>("distillation_loss");
  Require(temperature > 0.0f, "[distillation_loss] expected a temperature above 0, got ", temperature);
  const Tensor log_wanted = LogSoftmax(InF32(teacher, "distillation_loss") / temperature);  // [N,V]
  const Tensor log_found = LogSoftmax(InF32(student, "distillation_loss") / temperature);   // [N,V]
  return Sum(Exp(log_wanted) * (log_wanted - log_found)) * (temperature * temperature / static_cast<float>(N));
}

Tensor AffinityDistillationLoss(const Tensor& student, const Tensor& teacher, float temperature) {
  RequireSquare(student, "affinity_distillation_loss");
  const Tensor rows = DistillationLoss(student, teacher, temperature);
  const Tensor columns = DistillationLoss(Transpose(student, 0, 1), Transpose(teacher, 0, 1), temperature);
  return (rows + columns) * 0.5f;
}

}  // namespace fovea
