#include "ops/matmul.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "kernels/block_linear/block_linear.h"
#include "ops/checks.h"
#include "ops/reduce.h"
#include "tensor/tape.h"

namespace fovea {
namespace {

Tensor SwapLastTwo(const Tensor& x) {
  std::vector<int> order(x.rank());
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[x.rank() - 2], order[x.rank() - 1]);
  return x.Permuted(order);
}

Shape WithLastTwo(const Shape& leading, int64_t rows, int64_t columns) {
  std::vector<int64_t> sizes(leading.begin(), leading.end());
  sizes.push_back(rows);
  sizes.push_back(columns);
  return Shape(sizes);
}

Shape Leading(const Shape& shape) { return Shape(std::span<const int64_t>(shape.begin(), shape.rank() - 2)); }

// a b with broadcasting, not recorded. Shapes were checked.
Tensor Product(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b) {
  const Tensor left = transpose_a ? SwapLastTwo(a) : a, right = transpose_b ? SwapLastTwo(b) : b;
  const Shape batch = BroadcastShapes(Leading(left.shape()), Leading(right.shape()), "matmul");
  Tensor y = Tensor::Empty(WithLastTwo(batch, left.dim(-2), right.dim(-1)), a.dtype());
  kernels::MatMul(left.Expanded(WithLastTwo(batch, left.dim(-2), left.dim(-1))),
                  right.Expanded(WithLastTwo(batch, right.dim(-2), right.dim(-1))), y);
  return y;
}

// Gradient of b where one matrix b meets a whole batch of a: a single product, not a batch of them and a sum.
Tensor SharedMatrixGradient(const Tensor& a, const Tensor& b, bool transpose_b, const Tensor& dy) {
  const Tensor x = a.Contiguous().View({a.numel() / a.dim(-1), a.dim(-1)});  // x [M,K]
  const Tensor dz = dy.View({dy.numel() / dy.dim(-1), dy.dim(-1)});          // dz [M,N]
  const Tensor db = transpose_b ? Product(dz, true, x, false) : Product(x, true, dz, false);
  return db.View(b.shape());
}

InputGradients MatMulVjp(const Tensor& a, const Tensor& b, const MatMulOptions& options, const Tensor& dy,
                         const Needs& needs) {
  const auto [ta, tb] = options;
  InputGradients gradients(2);
  if (needs[0]) {
    const Tensor da = ta ? Product(b, tb, dy, true) : Product(dy, false, b, !tb);
    gradients[0] = SumTo(da, a.shape());
  }
  if (needs[1]) {
    const bool is_shared = b.numel() == b.dim(-1) * b.dim(-2) && Leading(a.shape()) == Leading(dy.shape());
    if (is_shared && !ta && a.numel() > 0 && dy.numel() > 0) {
      gradients[1] = SharedMatrixGradient(a, b, tb, dy);
    } else {
      const Tensor db = tb ? Product(dy, true, a, ta) : Product(a, !ta, dy, false);
      gradients[1] = SumTo(db, b.shape());
    }
  }
  return gradients;
}

InputGradients LinearVjp(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& dz,
                         const Needs& needs) {
  const int64_t out_features = weight.dim(0), in_features = weight.dim(1);
  const int64_t rows = x.numel() / std::max<int64_t>(1, in_features);
  const Tensor dz_rows = dz.View({rows, out_features});  // dz [M,O]
  InputGradients gradients(3);
  if (needs[0]) gradients[0] = Product(dz_rows, false, weight, false).View(x.shape());         // dx [...,I]
  if (needs[1]) gradients[1] = Product(dz_rows, true, x.View({rows, in_features}), false);     // dweight [O,I]
  if (needs[2]) gradients[2] = SumTo(dz_rows.To(DType::kF32), bias.shape()).To(bias.dtype());  // dbias [O]
  return gradients;
}

// The same with x and the weight already in bf16: dz is rounded once and met by both.
InputGradients LinearBf16Vjp(const Tensor& x, const Tensor& weight, const Shape& x_shape, const Tensor& dz,
                             const Needs& needs) {
  const int64_t M = x.dim(0), I = weight.dim(1), O = weight.dim(0);
  const Tensor dz_rows = dz.View({M, O}), narrow = dz_rows.To(DType::kBF16);  // dz [M,O]
  InputGradients gradients(3);
  if (needs[0]) {
    Tensor dx = Tensor::Empty({M, I});
    kernels::MatMulBf16(narrow, weight, Tensor(), dx);
    gradients[0] = dx.View(x_shape);
  }
  if (needs[1]) {
    gradients[1] = Tensor::Empty({O, I});
    kernels::MatMulBf16(SwapLastTwo(narrow), x, Tensor(), gradients[1]);
  }
  if (needs[2]) gradients[2] = SumTo(dz_rows, {O});  // dbias [O]
  return gradients;
}

// Linear with operands rounded to bf16; x f32.
Tensor LinearBf16(const Tensor& x, const Tensor& weight, const Tensor& bias, Act act) {
  const Tensor rows = x.Contiguous().View({x.numel() / weight.dim(1), weight.dim(1)}).To(DType::kBF16);  // [M,I]
  const Tensor narrow = weight.Contiguous().To(DType::kBF16);                                            // [O,I]
  const Shape shape = x.shape().With(x.rank() - 1, weight.dim(0));
  Tensor z = Tensor::Empty({rows.dim(0), weight.dim(0)});
  kernels::MatMulBf16(rows, SwapLastTwo(narrow), bias.defined() ? bias.To(DType::kF32) : bias, z);
  z = z.View(shape);
  if (act == Act::kIdentity) {
    return Record({&x, &weight, &bias}, z, [rows, narrow, shape = x.shape()](const Tensor& dy, const Needs& needs) {
      return LinearBf16Vjp(rows, narrow, shape, dy, needs);
    });
  }
  Tensor y = Tensor::Empty(shape);
  kernels::Activate(act, z, y);
  return Record({&x, &weight, &bias}, y,
                [rows, narrow, shape = x.shape(), act, z](const Tensor& dy, const Needs& needs) {
                  Tensor dz = Tensor::Empty(z.shape());
                  kernels::ActivateBackward(act, z, dy, dz);
                  return LinearBf16Vjp(rows, narrow, shape, dz, needs);
                });
}

bool IsRecording(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Tape* tape = Tape::Active();
  const Tensor* const inputs[] = {&x, &weight, &bias};
  return tape != nullptr && tape->AnyTracked(inputs);
}

// Linear for both forms of weight; `multiply(x [M,I], act, y [M,O])` runs the kernel.
template <typename Multiply>
Tensor LinearWith(const Tensor& x, const Tensor& weight, const Tensor& bias, Act act, const Multiply& multiply) {
  Require(weight.rank() == 2 && x.rank() >= 1 && x.shape()[x.rank() - 1] == weight.shape()[1] && weight.dim(1) > 0,
          "[linear] expected x [...,I] and weight [O,I], got shapes ", x.shape(), " and ", weight.shape());
  if (bias.defined()) {
    ops::RequireFloat(bias, "linear");
    Require(bias.shape() == Shape{weight.dim(0)}, "[linear] expected a bias of shape [", weight.dim(0), "], got ",
            bias.shape());
  }
  if (Tape::ComputesBf16() && x.dtype() == DType::kF32 && x.numel() > 0 && weight.numel() > 0)
    return LinearBf16(x, weight, bias, act);
  const Tensor dense = x.Contiguous();
  const Tensor rows = dense.View({x.numel() / weight.dim(1), weight.dim(1)});
  const Shape shape = x.shape().With(x.rank() - 1, weight.dim(0));
  const bool keeps_sum = act != Act::kIdentity && IsRecording(x, weight, bias);
  Tensor z = Tensor::Empty({rows.dim(0), weight.dim(0)}, x.dtype());
  multiply(rows, keeps_sum ? Act::kIdentity : act, z);
  z = z.View(shape);
  if (!keeps_sum) {
    return Record({&x, &weight, &bias}, z, [dense, weight, bias](const Tensor& dy, const Needs& needs) {
      return LinearVjp(dense, weight, bias, dy, needs);
    });
  }
  Tensor y = Tensor::Empty(shape, x.dtype());
  kernels::Activate(act, z, y);
  return Record({&x, &weight, &bias}, y, [dense, weight, bias, act, z](const Tensor& dy, const Needs& needs) {
    Tensor dz = Tensor::Empty(z.shape(), z.dtype());
    kernels::ActivateBackward(act, z, dy, dz);
    return LinearVjp(dense, weight, bias, dz, needs);
  });
}

}  // namespace

Tensor MatMul(const Tensor& a, const Tensor& b, const MatMulOptions& options) {
  Require(a.rank() >= 2 && b.rank() >= 2, "[matmul] expected a [...,M,K] and b [...,K,N], got shapes ", a.shape(),
          " and ", b.shape());
  Require(a.dim(options.transpose_a ? -2 : -1) == b.dim(options.transpose_b ? -1 : -2),
          "[matmul] expected equal inner sizes, got shapes ", a.shape(), options.transpose_a ? " (transposed)" : "",
          " and ", b.shape(), options.transpose_b ? " (transposed)" : "");
  ops::RequireSameFloat(a, b, "matmul");
  return Record({&a, &b}, Product(a, options.transpose_a, b, options.transpose_b),
                [a, b, options](const Tensor& dy, const Needs& needs) { return MatMulVjp(a, b, options, dy, needs); });
}

Tensor Linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Act act) {
  ops::RequireSameFloat(x, weight, "linear");
  const Tensor dense = weight.Contiguous();
  return LinearWith(x, weight, bias, act,
                    [&](const Tensor& rows, Act fused, Tensor& y) { kernels::Linear(rows, dense, bias, fused, y); });
}

Tensor Linear(const Tensor& x, const kernels::PackedLinear& weight, const Tensor& bias, Act act) {
  ops::RequireFloat(x, "linear");
  Require(weight.weight().dtype() == x.dtype() || weight.weight().dtype() == DType::kBF16,
          "[linear] expected a weight of type ", x.dtype(), " or bf16, got ", weight.weight().dtype());
  return LinearWith(x, weight.weight(), bias, act,
                    [&](const Tensor& rows, Act fused, Tensor& y) { kernels::Linear(rows, weight, bias, fused, y); });
}

Tensor Linear(const Tensor& x, std::span<const kernels::BlockMatrix* const> weights, const Tensor& bias, Act act) {
  ops::RequireFloat(x, "linear");
  Require(!weights.empty(), "[linear] expected at least one matrix");
  const int64_t in_features = weights[0]->columns();
  int64_t out_features = 0;
  for (const kernels::BlockMatrix* weight : weights) {
    Require(x.rank() >= 1 && x.shape()[x.rank() - 1] == in_features && weight->columns() == in_features,
            "[linear] expected x [...,I] and weight [O,I], got shapes ", x.shape(), " and ", weight->shape());
    out_features += weight->rows();
  }
  if (bias.defined()) {
    Require(bias.shape() == Shape{out_features}, "[linear] expected a bias of shape [", out_features, "], got ",
            bias.shape());
  }
  if (IsRecording(x, bias.defined() ? bias : x, x))
    Fail(ErrorCode::kUnimplemented, "[linear] weights in ", weights[0]->type(),
         " blocks have no gradient; hint: train a model in f32 or bf16");
  const Tensor rows = x.Contiguous().To(DType::kF32).View({x.numel() / in_features, in_features});
  Tensor y = Tensor::Empty({rows.dim(0), out_features});
  kernels::BlockLinear(rows, weights, bias.defined() ? bias.To(DType::kF32) : bias, act, y);
  return y.View(x.shape().With(x.rank() - 1, out_features)).To(x.dtype());
}

}  // namespace fovea
