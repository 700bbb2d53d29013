#include "ops/shape.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/embedding/embedding.h"
#include "ops/reduce.h"
#include "tensor/tape.h"

namespace fovea {
namespace {

constexpr int64_t kCopyGrainBytes = 1 << 17;

// x seen as [outer, size, inner] around one axis.
struct Around {
  int64_t outer = 1, size, inner = 1;
  Around(const Shape& shape, int axis) : size(shape[axis]) {
    for (int i = 0; i < axis; ++i) outer *= shape[i];
    for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  }
};

// Writes `part` into [begin, begin + part.dim(axis)) of `axis` of the contiguous `whole`.
void CopyInto(Tensor& whole, int axis, int64_t begin, const Tensor& part) {
  const Tensor dense = part.Contiguous();
  const Around to(whole.shape(), axis), from(part.shape(), axis);
  const int64_t run = from.size * from.inner * ItemSize(whole.dtype()),
                row = to.size * to.inner * ItemSize(whole.dtype());
  if (run == 0) return;
  uint8_t* target = whole.mutable_raw() + begin * to.inner * ItemSize(whole.dtype());
  base::ParallelFor(from.outer, std::max<int64_t>(1, kCopyGrainBytes / run), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i)
      std::memcpy(target + i * row, dense.raw() + i * run, static_cast<size_t>(run));
  });
}

// Record for any number of inputs.
Tensor RecordMany(const std::vector<Tensor>& inputs, const Tensor& output, Vjp vjp) {
  std::vector<const Tensor*> pointers;
  for (const Tensor& input : inputs) pointers.push_back(&input);
  Tape* tape = Tape::Active();
  if (tape != nullptr && tape->AnyTracked(pointers)) tape->Append(pointers, output, std::move(vjp));
  return output;
}

Tensor PermuteView(const Tensor& x, const std::vector<int>& order) {
  const Tensor y = x.Permuted(order);
  return Record({&x}, y, [order](const Tensor& dy, const Needs&) {
    std::vector<int> inverse(order.size());
    for (size_t i = 0; i < order.size(); ++i)
      inverse[order[i] < 0 ? order[i] + static_cast<int>(order.size()) : order[i]] = static_cast<int>(i);
    return InputGradients{dy.Permuted(inverse)};
  });
}

// x with another shape of as many elements; the gradient goes the same way back.
Tensor ViewAs(const Tensor& x, const Shape& shape) {
  const Shape from = x.shape();
  return Record({&x}, x.Contiguous().View(shape),
                [from](const Tensor& dy, const Needs&) { return InputGradients{dy.View(from)}; });
}

void CheckIndex(const Tensor& index, int64_t size, const char* who) {
  Require(index.dtype() == DType::kI64, "[", who, "] expected an index of type i64, got ", index.dtype());
  for (const int64_t at : index.values<int64_t>()) {
    Require(0 <= at && at < size, "[", who, "] expected an index in [0,", size, "), got ", at);
  }
}

}  // namespace

Tensor Reshape(const Tensor& x, std::initializer_list<int64_t> sizes) {
  return Reshape(x, std::span<const int64_t>(sizes.begin(), sizes.size()));
}

Tensor Reshape(const Tensor& x, std::span<const int64_t> sizes) {
  std::vector<int64_t> filled(sizes.begin(), sizes.end());
  const auto open = std::find(filled.begin(), filled.end(), -1);
  if (open != filled.end()) {
    *open = 1;
    // Where an axis has no elements (a batch of nothing) the others say what is left over.
    const auto product = [](const Shape& shape, int& zeros) {
      int64_t count = 1;
      for (int axis = 0; axis < shape.rank(); ++axis) {
        zeros += shape[axis] == 0;
        count *= std::max<int64_t>(1, shape[axis]);
      }
      return count;
    };
    int given_zeros = 0, known_zeros = 0;
    const int64_t given = product(x.shape(), given_zeros), known = product(Shape(filled), known_zeros);
    Require(given_zeros == known_zeros && given % known == 0, "[reshape] cannot fit ", x.shape(), " into sizes (",
            base::Join(sizes), ")");
    *open = given / known;
  }
  const Shape shape(filled);
  Require(shape.numel() == x.numel(), "[reshape] expected ", x.numel(), " elements as in ", x.shape(), ", got sizes (",
          base::Join(sizes), ")");
  return ViewAs(x, shape);
}

Tensor Permute(const Tensor& x, std::initializer_list<int> order) { return PermuteView(x, std::vector<int>(order)); }

Tensor Permute(const Tensor& x, std::span<const int> order) {
  return PermuteView(x, std::vector<int>(order.begin(), order.end()));
}

Tensor Transpose(const Tensor& x, int axis_a, int axis_b) {
  std::vector<int> order(x.rank());
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[x.shape().Axis(axis_a, "transpose")], order[x.shape().Axis(axis_b, "transpose")]);
  return PermuteView(x, order);
}

Tensor Squeeze(const Tensor& x, int axis) {
  const int at = x.shape().Axis(axis, "squeeze");
  Require(x.shape()[at] == 1, "[squeeze] expected axis ", axis, " of size 1, got shape ", x.shape());
  return ViewAs(x, x.shape().Without(at));
}

Tensor Unsqueeze(const Tensor& x, int axis) {
  const int at = axis < 0 ? axis + x.rank() + 1 : axis;
  Require(0 <= at && at <= x.rank(), "[unsqueeze] expected a position in [", -x.rank() - 1, ",", x.rank(), "], got ",
          axis);
  return ViewAs(x, x.shape().Inserted(at, 1));
}

Tensor Expand(const Tensor& x, const Shape& shape) {
  const Shape from = x.shape();
  return Record({&x}, x.Expanded(shape),
                [from](const Tensor& dy, const Needs&) { return InputGradients{SumTo(dy, from)}; });
}

Tensor Slice(const Tensor& x, int axis, int64_t begin, int64_t end) {
  const int at = x.shape().Axis(axis, "slice");
  const int64_t size = x.shape()[at];
  begin = begin < 0 ? begin + size : begin;
  end = end < 0 ? end + size : end;
  const Shape from = x.shape();
  return Record({&x}, x.Sliced(at, begin, end), [from, at, begin](const Tensor& dy, const Needs&) {
    Tensor dx = Tensor::Zeros(from, dy.dtype());
    CopyInto(dx, at, begin, dy);
    return InputGradients{dx};
  });
}

std::vector<Tensor> Split(const Tensor& x, int axis, std::span<const int64_t> sizes) {
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  Require(total == x.dim(axis), "[split] expected sizes that add up to ", x.dim(axis), " of axis ", axis, " of ",
          x.shape(), ", got (", base::Join(sizes), ")");
  std::vector<Tensor> parts;
  int64_t begin = 0;
  for (const int64_t size : sizes) {
    Require(size >= 0, "[split] expected sizes >= 0, got (", base::Join(sizes), ")");
    parts.push_back(Slice(x, axis, begin, begin + size));
    begin += size;
  }
  return parts;
}

std::vector<Tensor> Split(const Tensor& x, int axis, int equal_parts) {
  Require(equal_parts > 0 && x.dim(axis) % equal_parts == 0, "[split] expected axis ", axis, " of ", x.shape(),
          " to divide into ", equal_parts, " parts");
  return Split(x, axis, std::vector<int64_t>(equal_parts, x.dim(axis) / equal_parts));
}

Tensor Concat(std::initializer_list<Tensor> parts, int axis) {
  return Concat(std::span<const Tensor>(parts.begin(), parts.size()), axis);
}

Tensor Concat(std::span<const Tensor> parts, int axis) {
  Require(!parts.empty(), "[concat] expected at least one tensor, got none");
  const Tensor& first = parts[0];
  const int at = first.shape().Axis(axis, "concat");
  std::vector<int64_t> begins = {0};
  for (const Tensor& part : parts) {
    Require(part.rank() == first.rank() && part.shape().With(at, 0) == first.shape().With(at, 0) &&
                part.dtype() == first.dtype(),
            "[concat] expected tensors equal but for axis ", at, ", got ", first.dtype(), first.shape(), " and ",
            part.dtype(), part.shape());
    begins.push_back(begins.back() + part.shape()[at]);
  }
  Tensor whole = Tensor::Empty(first.shape().With(at, begins.back()), first.dtype(), first.device());
  for (size_t i = 0; i < parts.size(); ++i) CopyInto(whole, at, begins[i], parts[i]);
  return RecordMany({parts.begin(), parts.end()}, whole, [at, begins](const Tensor& dy, const Needs& needs) {
    InputGradients gradients(begins.size() - 1);
    for (size_t i = 0; i < gradients.size(); ++i) {
      if (needs[static_cast<int>(i)]) gradients[i] = dy.Sliced(at, begins[i], begins[i + 1]);
    }
    return gradients;
  });
}

Tensor Stack(std::span<const Tensor> parts, int axis) {
  std::vector<Tensor> raised;
  for (const Tensor& part : parts) raised.push_back(Unsqueeze(part, axis));
  return Concat(raised, axis);
}

Tensor IndexSelect(const Tensor& x, int axis, const Tensor& index) {
  const int at = x.shape().Axis(axis, "index_select");
  Require(index.rank() == 1, "[index_select] expected an index [N], got shape ", index.shape());
  const Tensor picks = index.Contiguous();
  CheckIndex(picks, x.shape()[at], "index_select");
  const Around a(x.shape(), at);
  const Shape from = x.shape(), to = from.With(at, picks.numel());
  Tensor y = Tensor::Empty(to, x.dtype());
  Tensor rows = y.View({a.outer, picks.numel(), a.inner});
  kernels::GatherRows(x.Contiguous().View({a.outer, a.size, a.inner}), picks, rows);
  return Record({&x}, y, [picks, a, from](const Tensor& dy, const Needs&) {
    Tensor dx = Tensor::Empty({a.outer, a.size, a.inner}, dy.dtype());
    kernels::ScatterAddRows(dy.View({a.outer, picks.numel(), a.inner}), picks, dx);
    return InputGradients{dx.View(from)};
  });
}

Tensor Gather(const Tensor& x, int axis, const Tensor& index) {
  const int at = x.shape().Axis(axis, "gather");
  Require(index.rank() == x.rank() && index.shape().With(at, 0) == x.shape().With(at, 0),
          "[gather] expected an index of the shape of x but for axis ", at, ", got shapes ", x.shape(), " and ",
          index.shape());
  const Tensor picks = index.Contiguous();
  CheckIndex(picks, x.shape()[at], "gather");
  const Around a(x.shape(), at);
  const Shape from = x.shape(), seen = {a.outer, a.size, a.inner}, picked = {a.outer, index.shape()[at], a.inner};
  Tensor y = Tensor::Empty(index.shape(), x.dtype());
  Tensor elements = y.View(picked);
  kernels::GatherElements(x.Contiguous().View(seen), picks.View(picked), elements);
  return Record({&x}, y, [picks, from, seen, picked](const Tensor& dy, const Needs&) {
    Tensor dx = Tensor::Empty(seen, dy.dtype());
    kernels::ScatterAddElements(dy.View(picked), picks.View(picked), dx);
    return InputGradients{dx.View(from)};
  });
}

Tensor Pad(const Tensor& x, const PadOptions& options) {
  const int at = x.shape().Axis(options.axis, "pad");
  Require(options.before >= 0 && options.after >= 0, "[pad] expected amounts >= 0, got ", options.before, " and ",
          options.after);
  const int64_t begin = options.before, end = begin + x.shape()[at];
  const Shape shape = x.shape().With(at, end + options.after);
  Tensor y = options.value == 0.0f ? Tensor::Zeros(shape, x.dtype()) : Tensor::Full(shape, options.value).To(x.dtype());
  CopyInto(y, at, begin, x);
  return Record({&x}, y,
                [at, begin, end](const Tensor& dy, const Needs&) { return InputGradients{dy.Sliced(at, begin, end)}; });
}

}  // namespace fovea
