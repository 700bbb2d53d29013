// Tensor: an n-dimensional array. A small value (shape, strides, offset) that shares its storage; copying copies no
// data.
//
// Views (View, Permuted, Sliced, Expanded) share storage too. They belong to kernels and to code that moves bytes;
// models use the recorded operators of src/ops, which call these and put themselves on the tape.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/allocator.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace fovea {

class Tensor {
 public:
  using Strides = std::array<int64_t, Shape::kMaxRank>;  // in elements

  Tensor() = default;  // undefined: no storage; the "none" of optional arguments

  // Uninitialised, contiguous.
  static Tensor Empty(const Shape& shape, DType dtype = DType::kF32, Device device = {});
  static Tensor Zeros(const Shape& shape, DType dtype = DType::kF32, Device device = {});
  static Tensor Full(const Shape& shape, float value, DType dtype = DType::kF32);  // f32 or bf16
  static Tensor Scalar(float value) { return Full({}, value); }
  // Copies `values` (size must equal shape.numel()).
  template <typename T>
  static Tensor FromValues(const Shape& shape, std::span<const T> values);
  template <typename T>
  static Tensor FromValues(const Shape& shape, std::initializer_list<T> values) {
    return FromValues<T>(shape, std::span<const T>(values.begin(), values.size()));
  }
  // Reads from memory that lives as long as `owner`; contiguous, read-only.
  static Tensor Borrow(const void* data, const Shape& shape, DType dtype, std::shared_ptr<const void> owner);

  bool defined() const { return storage_ != nullptr; }
  explicit operator bool() const { return defined(); }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  int64_t dim(int axis) const { return shape_[shape_.Axis(axis, "tensor")]; }
  int64_t numel() const { return shape_.numel(); }
  int64_t size_bytes() const { return numel() * ItemSize(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device() : Device{}; }
  const Strides& strides() const { return strides_; }
  bool is_contiguous() const { return is_contiguous_; }
  // True when a write through this tensor can be seen by nobody else.
  bool is_sole_owner() const { return storage_ && storage_.use_count() == 1 && storage_->is_writable(); }

  // All sizes at once: `auto [B, T, D] = x.Dims<3>("hidden");`. Throws kInvalidArgument naming `who` when the rank
  // differs.
  template <int N>
  std::array<int64_t, N> Dims(std::string_view who) const {
    if (rank() != N) FailRank(N, who);
    std::array<int64_t, N> dims;
    for (int axis = 0; axis < N; ++axis) dims[axis] = shape_[axis];
    return dims;
  }

  // Elements as T, checked against dtype(); the first element of a view. Not checked for contiguity.
  template <typename T>
  const T* data() const {
    CheckDType(DTypeOf<T>());
    return reinterpret_cast<const T*>(raw());
  }
  // As data(), for writing; throws kInternal on borrowed storage.
  template <typename T>
  T* mutable_data() const {
    CheckDType(DTypeOf<T>());
    return reinterpret_cast<T*>(mutable_raw());
  }
  const uint8_t* raw() const { return storage_ ? storage_->data() + offset_ * ItemSize(dtype_) : nullptr; }
  uint8_t* mutable_raw() const;

  // Elements of a contiguous tensor.
  template <typename T>
  std::span<const T> values() const {
    CheckContiguous();
    return {data<T>(), static_cast<size_t>(numel())};
  }
  float item() const;  // the only element, as f32; f32, bf16 or f16

  // ---- views: same storage, no copy, not recorded
  Tensor View(const Shape& shape) const;  // contiguous tensors only; same number of elements
  Tensor Permuted(std::span<const int> order) const;
  Tensor Sliced(int axis, int64_t begin, int64_t end) const;  // elements [begin, end) of one axis
  Tensor Expanded(const Shape& shape) const;                  // broadcast by stride 0

  // ---- copies, not recorded
  Tensor Contiguous() const;            // itself when already contiguous
  Tensor Clone() const;                 // always new storage
  Tensor To(DType dtype) const;         // converts between f32, bf16, f16, f64 and integers; itself when equal
  void CopyFrom(const Tensor& source);  // same shape and dtype, into this storage

  // Identity on the tape: copies of a Tensor share it, every newly made one has its own, never reused.
  uint64_t id() const { return id_; }

 private:
  Tensor(std::shared_ptr<Storage> storage, const Shape& shape, const Strides& strides, int64_t offset, DType dtype);
  [[noreturn]] void FailRank(int expected, std::string_view who) const;
  void CheckDType(DType dtype) const {
    if (dtype != dtype_) [[unlikely]]
      FailDType(dtype);
  }
  [[noreturn]] void FailDType(DType dtype) const;
  void CheckContiguous() const;

  std::shared_ptr<Storage> storage_;
  Shape shape_;
  Strides strides_{};
  int64_t offset_ = 0;  // in elements
  DType dtype_ = DType::kF32;
  bool is_contiguous_ = true;
  uint64_t id_ = 0;
};

}  // namespace fovea
