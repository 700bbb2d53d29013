#include "tensor/tensor.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"
#include "tensor/convert.h"

namespace fovea {
namespace {

constexpr int64_t kCopyGrainBytes = 1 << 18;

uint64_t NextId() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

Tensor::Strides ContiguousStrides(const Shape& shape) {
  Tensor::Strides strides{};
  int64_t step = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[axis] = step;
    step *= shape[axis];
  }
  return strides;
}

// Axes of size 1 may have any stride.
bool IsContiguous(const Shape& shape, const Tensor::Strides& strides) {
  int64_t step = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    if (shape[axis] != 1 && strides[axis] != step) return false;
    step *= shape[axis];
  }
  return true;
}

// Copies a strided tensor into dense rows: `row(source, target, count)` is called for each run of the innermost axis.
template <typename T>
void CopyStrided(const T* source, const Shape& shape, const Tensor::Strides& strides, T* target) {
  const int rank = shape.rank();
  const int64_t inner = rank > 0 ? shape[rank - 1] : 1;
  const int64_t inner_stride = rank > 0 ? strides[rank - 1] : 1;
  const int64_t rows = inner > 0 ? shape.numel() / inner : 0;
  const int64_t grain =
      std::max<int64_t>(1, kCopyGrainBytes / std::max<int64_t>(1, inner * static_cast<int64_t>(sizeof(T))));
  base::ParallelFor(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t rest = row, at = 0;
      for (int axis = rank - 2; axis >= 0; --axis) {
        at += rest % shape[axis] * strides[axis];
        rest /= shape[axis];
      }
      T* out = target + row * inner;
      if (inner_stride == 1) {
        std::memcpy(out, source + at, static_cast<size_t>(inner) * sizeof(T));
      } else {
        for (int64_t i = 0; i < inner; ++i) out[i] = source[at + i * inner_stride];
      }
    }
  });
}

template <typename From, typename To>
void ConvertElements(const From* source, To* target, int64_t count) {
  base::ParallelFor(count, kCopyGrainBytes / 4, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<From, F16> && std::is_same_v<To, float>)
      return WidenF16(source + begin, target + begin, end - begin);
    for (int64_t i = begin; i < end; ++i) {
      if constexpr (std::is_same_v<From, BF16> || std::is_same_v<From, F16>) {
        target[i] = static_cast<To>(static_cast<float>(source[i]));
      } else if constexpr (std::is_same_v<To, BF16> || std::is_same_v<To, F16>) {
        target[i] = static_cast<To>(static_cast<float>(source[i]));
      } else {
        target[i] = static_cast<To>(source[i]);
      }
    }
  });
}

template <typename Function>
void WithType(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::kF32: return function(float{});
    case DType::kBF16: return function(BF16{});
    case DType::kF16: return function(F16{});
    case DType::kF64: return function(double{});
    case DType::kI64: return function(int64_t{});
    case DType::kI32: return function(int32_t{});
    case DType::kI16: return function(int16_t{});
    case DType::kI8: return function(int8_t{});
    case DType::kU8: return function(uint8_t{});
    case DType::kBool: return function(bool{});
  }
}

}  // namespace

Tensor::Tensor(std::shared_ptr<Storage> storage, const Shape& shape, const Strides& strides, int64_t offset,
               DType dtype)
    : storage_(std::move(storage)),
      shape_(shape),
      strides_(strides),
      offset_(offset),
      dtype_(dtype),
      is_contiguous_(IsContiguous(shape, strides)),
      id_(NextId()) {}

Tensor Tensor::Empty(const Shape& shape, DType dtype, Device device) {
  return Tensor(Storage::Allocate(shape.numel() * ItemSize(dtype), device), shape, ContiguousStrides(shape), 0, dtype);
}

Tensor Tensor::Zeros(const Shape& shape, DType dtype, Device device) {
  Tensor zeros = Empty(shape, dtype, device);
  std::memset(zeros.mutable_raw(), 0, static_cast<size_t>(zeros.size_bytes()));
  return zeros;
}

Tensor Tensor::Full(const Shape& shape, float value, DType dtype) {
  Tensor full = Empty(shape, dtype);
  if (dtype == DType::kBF16) {
    std::fill_n(full.mutable_data<BF16>(), full.numel(), BF16(value));
  } else {
    std::fill_n(full.mutable_data<float>(), full.numel(), value);
  }
  return full;
}

template <typename T>
Tensor Tensor::FromValues(const Shape& shape, std::span<const T> values) {
  Require(static_cast<int64_t>(values.size()) == shape.numel(), "[tensor] expected ", shape.numel(), " values for ",
          shape, ", got ", values.size());
  Tensor tensor = Empty(shape, DTypeOf<T>());
  std::copy(values.begin(), values.end(), tensor.mutable_data<T>());
  return tensor;
}
template Tensor Tensor::FromValues<float>(const Shape&, std::span<const float>);
template Tensor Tensor::FromValues<BF16>(const Shape&, std::span<const BF16>);
template Tensor Tensor::FromValues<int64_t>(const Shape&, std::span<const int64_t>);
template Tensor Tensor::FromValues<int32_t>(const Shape&, std::span<const int32_t>);
template Tensor Tensor::FromValues<uint8_t>(const Shape&, std::span<const uint8_t>);

Tensor Tensor::Borrow(const void* data, const Shape& shape, DType dtype, std::shared_ptr<const void> owner) {
  return Tensor(Storage::Borrow(data, shape.numel() * ItemSize(dtype), std::move(owner)), shape,
                ContiguousStrides(shape), 0, dtype);
}

uint8_t* Tensor::mutable_raw() const {
  if (!storage_) return nullptr;
  if (!storage_->is_writable()) Fail(ErrorCode::kInternal, "[tensor] write to borrowed storage of ", shape_);
  return storage_->mutable_data() + offset_ * ItemSize(dtype_);
}

float Tensor::item() const {
  Require(numel() == 1, "[tensor] expected one element, got ", shape_);
  return To(DType::kF32).data<float>()[0];
}

Tensor Tensor::View(const Shape& shape) const {
  CheckContiguous();
  Require(shape.numel() == numel(), "[view] expected ", numel(), " elements as in ", shape_, ", got ", shape);
  return Tensor(storage_, shape, ContiguousStrides(shape), offset_, dtype_);
}

Tensor Tensor::Permuted(std::span<const int> order) const {
  Require(static_cast<int>(order.size()) == rank(), "[permute] expected ", rank(), " axes for ", shape_, ", got ",
          order.size());
  std::array<int64_t, Shape::kMaxRank> dims{};
  Strides strides{};
  unsigned seen = 0;
  for (int axis = 0; axis < rank(); ++axis) {
    const int from = shape_.Axis(order[axis], "permute");
    seen |= 1u << from;
    dims[axis] = shape_[from];
    strides[axis] = strides_[from];
  }
  Require(seen == (1u << rank()) - 1u, "[permute] expected each axis of ", shape_, " once, got (", base::Join(order),
          ")");
  return Tensor(storage_, Shape(std::span<const int64_t>(dims.data(), order.size())), strides, offset_, dtype_);
}

Tensor Tensor::Sliced(int axis, int64_t begin, int64_t end) const {
  axis = shape_.Axis(axis, "slice");
  Require(0 <= begin && begin <= end && end <= shape_[axis], "[slice] expected a range in [0,", shape_[axis],
          "] of axis ", axis, " of ", shape_, ", got [", begin, ",", end, ")");
  return Tensor(storage_, shape_.With(axis, end - begin), strides_, offset_ + begin * strides_[axis], dtype_);
}

Tensor Tensor::Expanded(const Shape& shape) const {
  Require(BroadcastShapes(shape_, shape, "expand") == shape, "[expand] expected a shape that ", shape_,
          " broadcasts to, got ", shape);
  Strides strides{};
  for (int back = 1; back <= rank(); ++back) {
    const bool is_broadcast = shape_[rank() - back] == 1 && shape[shape.rank() - back] != 1;
    strides[shape.rank() - back] = is_broadcast ? 0 : strides_[rank() - back];
  }
  return Tensor(storage_, shape, strides, offset_, dtype_);
}

Tensor Tensor::Contiguous() const { return is_contiguous_ ? *this : Clone(); }

Tensor Tensor::Clone() const {
  Tensor copy = Empty(shape_, dtype_, device());
  copy.CopyFrom(*this);
  return copy;
}

void Tensor::CopyFrom(const Tensor& source) {
  Require(source.shape() == shape_ && source.dtype() == dtype_, "[copy] expected ", dtype_, shape_, ", got ",
          source.dtype(), source.shape());
  CheckContiguous();
  if (source.is_contiguous_) {
    if (numel() > 0) std::memcpy(mutable_raw(), source.raw(), static_cast<size_t>(size_bytes()));
    return;
  }
  switch (ItemSize(dtype_)) {
    case 1: return CopyStrided(source.raw(), shape_, source.strides_, mutable_raw());
    case 2:
      return CopyStrided(reinterpret_cast<const uint16_t*>(source.raw()), shape_, source.strides_,
                         reinterpret_cast<uint16_t*>(mutable_raw()));
    case 4:
      return CopyStrided(reinterpret_cast<const uint32_t*>(source.raw()), shape_, source.strides_,
                         reinterpret_cast<uint32_t*>(mutable_raw()));
    default:
      return CopyStrided(reinterpret_cast<const uint64_t*>(source.raw()), shape_, source.strides_,
                         reinterpret_cast<uint64_t*>(mutable_raw()));
  }
}

Tensor Tensor::To(DType dtype) const {
  if (dtype == dtype_) return *this;
  const Tensor source = Contiguous();
  Tensor target = Empty(shape_, dtype, device());
  WithType(dtype_, [&](auto from) {
    WithType(dtype, [&](auto to) {
      ConvertElements(source.data<decltype(from)>(), target.mutable_data<decltype(to)>(), numel());
    });
  });
  return target;
}

void Tensor::FailRank(int expected, std::string_view who) const {
  Fail(ErrorCode::kInvalidArgument, "[", who, "] expected ", expected, " dimensions, got ", shape_);
}

void Tensor::FailDType(DType dtype) const {
  Fail(ErrorCode::kInvalidArgument, "[tensor] expected elements of type ", dtype, ", got ", dtype_, shape_);
}

void Tensor::CheckContiguous() const {
  Require(is_contiguous_, "[tensor] expected a contiguous tensor, got a strided view of shape ", shape_);
}

}  // namespace fovea
