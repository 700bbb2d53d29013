// Element types of tensors, and the two 16-bit floating formats with their conversions (round to nearest even).
#pragma once

#include <bit>
#include <cstdint>
#include <ostream>
#include <string_view>

namespace fovea {

enum class DType : uint8_t { kF32, kBF16, kF16, kF64, kI64, kI32, kI16, kI8, kU8, kBool };

int64_t ItemSize(DType dtype);            // bytes of one element
std::string_view DTypeName(DType dtype);  // "f32", "bf16", "i64", ...
inline std::ostream& operator<<(std::ostream& out, DType dtype) { return out << DTypeName(dtype); }

// The upper half of an f32: same range, 8 bits of precision. Trains and serves.
struct BF16 {
  uint16_t bits;

  BF16() = default;
  explicit BF16(float value) {
    const uint32_t wide = std::bit_cast<uint32_t>(value);
    const bool is_nan = (wide & 0x7FFFFFFFu) > 0x7F800000u;
    bits = static_cast<uint16_t>(is_nan ? (wide >> 16) | 0x40u : (wide + 0x7FFFu + ((wide >> 16) & 1u)) >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

// IEEE half precision: a storage format for weights. No kernel computes in it.
struct F16 {
  uint16_t bits;

  F16() = default;
  explicit F16(float value);
  explicit operator float() const;
};

template <typename T>
constexpr DType DTypeOf();
template <>
constexpr DType DTypeOf<float>() {
  return DType::kF32;
}
template <>
constexpr DType DTypeOf<BF16>() {
  return DType::kBF16;
}
template <>
constexpr DType DTypeOf<F16>() {
  return DType::kF16;
}
template <>
constexpr DType DTypeOf<double>() {
  return DType::kF64;
}
template <>
constexpr DType DTypeOf<int64_t>() {
  return DType::kI64;
}
template <>
constexpr DType DTypeOf<int32_t>() {
  return DType::kI32;
}
template <>
constexpr DType DTypeOf<int16_t>() {
  return DType::kI16;
}
template <>
constexpr DType DTypeOf<int8_t>() {
  return DType::kI8;
}
template <>
constexpr DType DTypeOf<uint8_t>() {
  return DType::kU8;
}
template <>
constexpr DType DTypeOf<bool>() {
  return DType::kBool;
}

}  // namespace fovea
