#include "tensor/shape.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace fovea {
namespace {
constexpr int64_t kMaxElements = int64_t{1} << 48;
}

Shape::Shape(std::span<const int64_t> dims) {
  Require(dims.size() <= kMaxRank, "[shape] expected at most 8 dimensions, got ", dims.size());
  rank_ = static_cast<int>(dims.size());
  bool is_empty = false;
  for (int axis = 0; axis < rank_; ++axis) {
    const int64_t size = dims[axis];
    Require(size >= 0, "[shape] expected sizes >= 0, got [", base::Join(dims, ","), "]");
    dims_[axis] = size;
    is_empty = is_empty || size == 0;
    if (size > 0) {
      Require(numel_ <= kMaxElements / size, "[shape] [", base::Join(dims, ","), "] has more than 2^48 elements");
      numel_ *= size;
    }
  }
  if (is_empty) numel_ = 0;
}

int Shape::Axis(int axis, const char* who) const {
  const int resolved = axis < 0 ? axis + rank_ : axis;
  Require(resolved >= 0 && resolved < rank_, "[", who, "] expected an axis of ", *this, ", got ", axis);
  return resolved;
}

Shape Shape::With(int axis, int64_t size) const {
  std::vector<int64_t> dims(begin(), end());
  dims[axis] = size;
  return Shape(dims);
}

Shape Shape::Without(int axis) const {
  std::vector<int64_t> dims(begin(), end());
  dims.erase(dims.begin() + axis);
  return Shape(dims);
}

Shape Shape::Inserted(int axis, int64_t size) const {
  std::vector<int64_t> dims(begin(), end());
  dims.insert(dims.begin() + axis, size);
  return Shape(dims);
}

bool Shape::operator==(const Shape& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

std::string Shape::ToString() const { return "[" + base::Join(*this, ",") + "]"; }

Shape BroadcastShapes(const Shape& a, const Shape& b, const char* who) {
  const int rank = std::max(a.rank(), b.rank());
  std::vector<int64_t> dims(rank);
  for (int back = 1; back <= rank; ++back) {
    const int64_t m = back <= a.rank() ? a[a.rank() - back] : 1;
    const int64_t n = back <= b.rank() ? b[b.rank() - back] : 1;
    Require(m == n || m == 1 || n == 1, "[", who, "] expected shapes that broadcast, got ", a, " and ", b);
    dims[rank - back] = m == 1 ? n : m;
  }
  return Shape(dims);
}

}  // namespace fovea
