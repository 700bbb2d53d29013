// Shape: the sizes of a tensor's dimensions, outermost first. At most 8 dimensions, held inline.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>
#include <string>

namespace fovea {

class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;  // a scalar: rank 0, one element
  // Throws kInvalidArgument for a negative size, more than 8 dimensions, or more than 2^48 elements.
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  int64_t numel() const { return numel_; }
  int64_t operator[](int axis) const { return dims_[axis]; }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }
  operator std::span<const int64_t>() const { return {begin(), static_cast<size_t>(rank_)}; }

  // `axis` counted from the end when negative; throws kInvalidArgument naming `who` when out of range.
  int Axis(int axis, const char* who) const;
  // This shape with the size of one axis replaced, or an axis added or taken away.
  Shape With(int axis, int64_t size) const;
  Shape Without(int axis) const;
  Shape Inserted(int axis, int64_t size) const;

  bool operator==(const Shape& other) const;
  std::string ToString() const;  // "[2,3,4]"

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
  int64_t numel_ = 1;
};

inline std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.ToString(); }

// The shape both broadcast to by NumPy's rule; throws kInvalidArgument naming `who` and both shapes.
Shape BroadcastShapes(const Shape& a, const Shape& b, const char* who);

}  // namespace fovea
