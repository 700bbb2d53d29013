#include "ops/reduce.h"

#include <algorithm>
#include <array>

#include "kernels/elementwise/elementwise.h"
#include "kernels/reduce/reduce.h"
#include "ops/checks.h"
#include "tensor/tape.h"

namespace fovea {
namespace {

// How a set of axes maps to the kernels' [A,N,C].
struct Plan {
  std::vector<int> order;  // permutation that makes the reduced axes neighbours; empty when they already are
  Shape folded;            // [A,N,C] after the permutation
  Shape kept;              // result with reduced axes of size 1
  Shape result;            // result without them
};

int64_t Product(const Shape& shape, int begin, int end) {
  int64_t product = 1;
  for (int axis = begin; axis < end; ++axis) product *= shape[axis];
  return product;
}

Plan MakePlan(const Shape& shape, const std::vector<int>& axes, const char* who) {
  const int rank = shape.rank();
  std::array<bool, Shape::kMaxRank> is_reduced{};
  for (const int given : axes) {
    const int axis = shape.Axis(given, who);
    Require(!is_reduced[axis], "[", who, "] expected different axes, got axis ", axis, " of ", shape, " twice");
    is_reduced[axis] = true;
  }
  if (axes.empty()) std::fill_n(is_reduced.begin(), rank, true);
  Plan plan{.order = {}, .folded = {}, .kept = shape, .result = shape};
  int first = rank, last = -1;
  for (int axis = 0; axis < rank; ++axis) {
    if (!is_reduced[axis]) continue;
    plan.kept = plan.kept.With(axis, 1);
    if (shape[axis] == 1) continue;
    first = std::min(first, axis);
    last = axis;
  }
  for (int axis = rank - 1; axis >= 0; --axis) {
    if (is_reduced[axis]) plan.result = plan.result.Without(axis);
  }
  bool are_neighbours = true;
  for (int axis = first; axis <= last; ++axis) are_neighbours &= is_reduced[axis] || shape[axis] == 1;
  if (last < 0) {
    plan.folded = {shape.numel(), 1, 1};
  } else if (are_neighbours) {
    plan.folded = {Product(shape, 0, first), Product(shape, first, last + 1), Product(shape, last + 1, rank)};
  } else {
    for (const bool wanted : {false, true}) {
      for (int axis = 0; axis < rank; ++axis) {
        if (is_reduced[axis] == wanted) plan.order.push_back(axis);
      }
    }
    plan.folded = {plan.kept.numel(), shape.numel() / std::max<int64_t>(1, plan.kept.numel()), 1};
  }
  return plan;
}

Tensor Folded(const Tensor& x, const Plan& plan) {
  return (plan.order.empty() ? x : x.Permuted(plan.order)).Contiguous().View(plan.folded);
}

// scale * sum, not recorded.
Tensor ScaledSum(const Tensor& x, const Plan& plan, float scale) {
  Tensor y = Tensor::Empty({plan.folded[0], plan.folded[2]}, x.dtype());
  if (x.numel() == 0) return Tensor::Zeros(y.shape(), x.dtype());
  kernels::ReduceSum(Folded(x, plan), scale, y);
  return y;
}

Tensor SumOrMean(const Tensor& x, const Plan& plan, bool keep_dims, float scale) {
  const Tensor y = ScaledSum(x, plan, scale).View(keep_dims ? plan.kept : plan.result);
  return Record({&x}, y, [shape = x.shape(), kept = plan.kept, scale](const Tensor& dy, const Needs&) {
    Tensor scaled = dy;
    if (scale != 1.0f) {
      scaled = Tensor::Empty(dy.shape(), dy.dtype());
      kernels::Affine(dy, scale, 0.0f, scaled);
    }
    return InputGradients{scaled.View(kept).Expanded(shape).Contiguous()};
  });
}

}  // namespace

Tensor Sum(const Tensor& x, const std::vector<int>& axes, bool keep_dims) {
  ops::RequireFloat(x, "sum");
  return SumOrMean(x, MakePlan(x.shape(), axes, "sum"), keep_dims, 1.0f);
}

Tensor Mean(const Tensor& x, const std::vector<int>& axes, bool keep_dims) {
  ops::RequireFloat(x, "mean");
  const Plan plan = MakePlan(x.shape(), axes, "mean");
  Require(plan.folded[1] > 0, "[mean] expected at least one element to average, got ", x.shape());
  return SumOrMean(x, plan, keep_dims, 1.0f / static_cast<float>(plan.folded[1]));
}

Tensor Max(const Tensor& x, const std::vector<int>& axes, bool keep_dims) {
  ops::RequireFloat(x, "max");
  const Plan plan = MakePlan(x.shape(), axes, "max");
  Require(plan.folded[1] > 0, "[max] expected at least one element, got ", x.shape());
  const Tensor folded = Folded(x, plan);
  Tensor y = Tensor::Empty({plan.folded[0], plan.folded[2]}, x.dtype());
  if (x.numel() > 0) kernels::ReduceMax(folded, y);
  return Record({&x}, y.View(keep_dims ? plan.kept : plan.result),
                [folded, y, plan, shape = x.shape()](const Tensor& dy, const Needs&) {
                  Tensor dx = Tensor::Empty(plan.folded, dy.dtype());
                  if (dx.numel() > 0) kernels::ReduceMaxBackward(folded, y, dy.View(y.shape()), dx);
                  if (plan.order.empty()) return InputGradients{dx.View(shape)};
                  std::vector<int64_t> sizes;
                  std::vector<int> back(plan.order.size());
                  for (size_t i = 0; i < plan.order.size(); ++i) {
                    sizes.push_back(shape[plan.order[i]]);
                    back[plan.order[i]] = static_cast<int>(i);
                  }
                  return InputGradients{dx.View(Shape(sizes)).Permuted(back).Contiguous()};
                });
}

Tensor ArgMax(const Tensor& x, int axis) {
  ops::RequireFloat(x, "argmax");
  const Plan plan = MakePlan(x.shape(), {axis}, "argmax");
  Require(plan.folded[1] > 0, "[argmax] expected at least one element, got ", x.shape());
  Tensor y = Tensor::Empty({plan.folded[0], plan.folded[2]}, DType::kI64);
  if (x.numel() > 0) kernels::ArgMax(Folded(x, plan), y);
  return y.View(plan.result);
}

Tensor SumTo(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  Require(BroadcastShapes(shape, x.shape(), "sum_to") == x.shape(), "[sum_to] expected a shape that broadcasts to ",
          x.shape(), ", got ", shape);
  std::vector<int> axes;
  const int extra = x.rank() - shape.rank();
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (axis < extra || (shape[axis - extra] == 1 && x.shape()[axis] != 1)) axes.push_back(axis);
  }
  const Plan plan = MakePlan(x.shape(), axes, "sum_to");
  const Tensor y = ScaledSum(x, plan, 1.0f).View(shape);
  return Record({&x}, y, [x_shape = x.shape()](const Tensor& dy, const Needs&) {
    return InputGradients{dy.Expanded(x_shape).Contiguous()};
  });
}

}  // namespace fovea
