#include "formats/bytes.h"

namespace fovea::formats {

Tensor TensorFromBytes(std::span<const uint8_t> bytes, const Shape& shape, DType dtype,
                       const std::shared_ptr<const void>& owner, const char* who, std::string_view what) {
  const int64_t item_size = ItemSize(dtype);
  RequireData(static_cast<int64_t>(bytes.size()) == shape.numel() * item_size, "[", who, "] ", what, ": expected ",
              shape.numel() * item_size, " bytes for ", dtype, shape, ", got ", bytes.size());
  CheckBooleans(bytes, dtype, who, what);
  const bool is_aligned = reinterpret_cast<uintptr_t>(bytes.data()) % static_cast<uintptr_t>(item_size) == 0;
  if (owner != nullptr && is_aligned && !bytes.empty()) return Tensor::Borrow(bytes.data(), shape, dtype, owner);
  Tensor copy = Tensor::Empty(shape, dtype);
  if (!bytes.empty()) std::memcpy(copy.mutable_raw(), bytes.data(), bytes.size());
  return copy;
}

void CheckBooleans(std::span<const uint8_t> bytes, DType dtype, const char* who, std::string_view what) {
  const bool is_clean =
      dtype != DType::kBool || std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte <= 1; });
  RequireData(is_clean, "[", who, "] ", what, ": expected booleans to be 0 or 1, got another value");
}

Shape CheckedShape(std::span<const int64_t> dims, const char* who, std::string_view what) {
  constexpr int64_t kMaxElements = int64_t{1} << 48;
  RequireData(dims.size() <= Shape::kMaxRank, "[", who, "] ", what, ": expected at most ", Shape::kMaxRank,
              " dimensions, got ", dims.size());
  int64_t elements = 1;
  for (const int64_t size : dims) {
    RequireData(size >= 0, "[", who, "] ", what, ": expected sizes >= 0, got [", base::Join(dims, ","), "]");
    RequireData(size == 0 || elements <= kMaxElements / size, "[", who, "] ", what, ": [", base::Join(dims, ","),
                "] has more than 2^48 elements");
    elements *= std::max<int64_t>(size, 1);
  }
  return Shape(dims);
}

}  // namespace fovea::formats
