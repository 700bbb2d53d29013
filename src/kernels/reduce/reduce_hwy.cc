// Reductions with Highway. Work is cut into pieces of one `a` and a range of N; each piece leaves its partial results
// in double (or f32 for maxima) and a short serial pass combines them in order, so threads change nothing.
#include "kernels/reduce/reduce.h"

#include <algorithm>
#include <vector>

#include "base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduce/reduce_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/simd_reduce.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

// sums[C] += over elements [begin, end) of the axis N of x[a].
void SumPiece(const Tensor& x, int64_t a, int64_t begin, int64_t end, double* sums) {
  const int64_t N = x.shape()[1], C = x.shape()[2];
  WithElementType(x, [&](auto element) {
    const auto* from = x.data<decltype(element)>() + (a * N + begin) * C;
    if (C == 1) {
      sums[0] += RowSum(from, end - begin);
    } else {
      ColumnSums<1>(end - begin, C, sums, [&](auto io, int64_t row, int64_t column) {
        return std::array<VecF32, 1>{io.Load(from + row * C + column)};
      });
    }
  });
}

// best[C] = maxima over elements [begin, end) of the axis N of x[a].
void MaxPiece(const Tensor& x, int64_t a, int64_t begin, int64_t end, float* best) {
  const int64_t N = x.shape()[1], C = x.shape()[2];
  WithElementType(x, [&](auto element) {
    const auto* from = x.data<decltype(element)>() + (a * N + begin) * C;
    if (C == 1) {
      best[0] = RowMax(from, end - begin);
      return;
    }
    ForEachVector(C, [&](auto io, int64_t column) {
      VecF32 value = io.Load(from + column);
      for (int64_t row = 1; row < end - begin; ++row) value = MaxOrNaN(value, io.Load(from + row * C + column));
      io.Store(value, best + column);
    });
  });
}

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(SumPiece);
HWY_EXPORT(MaxPiece);

namespace {

constexpr int64_t kPieceElements = 65536;
constexpr int64_t kGrainElements = 16384;

// How the axis N is cut: `pieces` of `length` (the last shorter).
struct Cut {
  int64_t length;
  int64_t pieces;
  Cut(int64_t N, int64_t C) : length(std::max<int64_t>(1, kPieceElements / C)), pieces((N + length - 1) / length) {}
};

// Runs piece(a, begin, end, partial + C * (a * pieces + index)) for all pieces; then combine(a, partials of a).
template <typename Value, typename Piece, typename Combine>
void InPieces(const Tensor& x, Value start, const Piece& piece, const Combine& combine) {
  const auto [A, N, C] = x.Dims<3>("reduce");
  const Cut cut(N, C);
  std::vector<Value> partial(static_cast<size_t>(A * cut.pieces * C), start);
  const int64_t work = std::min(N, cut.length) * C;
  base::ParallelFor(A * cut.pieces, std::max<int64_t>(1, kGrainElements / work), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item % cut.pieces * cut.length;
      piece(item / cut.pieces, first, std::min(N, first + cut.length), partial.data() + item * C);
    }
  });
  for (int64_t a = 0; a < A; ++a) {
    Value* into = partial.data() + a * cut.pieces * C;
    for (int64_t p = 1; p < cut.pieces; ++p) {
      for (int64_t c = 0; c < C; ++c) into[c] = combine(into[c], into[p * C + c]);
    }
  }
  // Results to the front: [A,C].
  for (int64_t a = 1; a < A && cut.pieces > 1; ++a) {
    std::copy_n(partial.data() + a * cut.pieces * C, C, partial.data() + a * C);
  }
  combine.Finish(partial.data(), A * C);
}

template <typename T>
void MaxBackward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) {
  const auto [A, N, C] = x.Dims<3>("reduce");
  const T* best = y.data<T>();
  const T* above = dy.data<T>();
  base::ParallelFor(A, std::max<int64_t>(1, kGrainElements / (N * C)), [&](int64_t begin, int64_t end) {
    for (int64_t a = begin; a < end; ++a) {
      const T* from = x.data<T>() + a * N * C;
      T* to = dx.mutable_data<T>() + a * N * C;
      for (int64_t c = 0; c < C; ++c) {
        const float value = static_cast<float>(best[a * C + c]);
        int64_t ties = 0;
        for (int64_t n = 0; n < N; ++n) ties += static_cast<float>(from[n * C + c]) == value;
        const float share = static_cast<float>(above[a * C + c]) / static_cast<float>(std::max<int64_t>(1, ties));
        for (int64_t n = 0; n < N; ++n) to[n * C + c] = T(static_cast<float>(from[n * C + c]) == value ? share : 0.0f);
      }
    }
  });
}

template <typename T>
void ArgMaxOf(const Tensor& x, Tensor& y) {
  const auto [A, N, C] = x.Dims<3>("argmax");
  int64_t* out = y.mutable_data<int64_t>();
  base::ParallelFor(A, std::max<int64_t>(1, kGrainElements / (N * C)), [&](int64_t begin, int64_t end) {
    for (int64_t a = begin; a < end; ++a) {
      const T* from = x.data<T>() + a * N * C;
      for (int64_t c = 0; c < C; ++c) {
        float best = static_cast<float>(from[c]);
        int64_t where = 0;
        for (int64_t n = 1; n < N && best == best; ++n) {
          const float value = static_cast<float>(from[n * C + c]);
          if (value > best || value != value) {
            best = value;
            where = n;
          }
        }
        out[a * C + c] = where;
      }
    }
  });
}

template <typename Value>
void StoreScaled(const Value* values, int64_t count, float scale, Tensor& y) {
  for (int64_t i = 0; i < count; ++i) {
    const float value = static_cast<float>(scale * values[i]);
    if (y.dtype() == DType::kBF16) {
      y.mutable_data<BF16>()[i] = BF16(value);
    } else {
      y.mutable_data<float>()[i] = value;
    }
  }
}

struct AddInto {
  Tensor& y;
  float scale;
  double operator()(double a, double b) const { return a + b; }
  void Finish(const double* sums, int64_t count) const { StoreScaled(sums, count, scale, y); }
};

struct KeepLarger {
  Tensor& y;
  float operator()(float a, float b) const { return a > b || a != a ? a : b; }
  void Finish(const float* best, int64_t count) const { StoreScaled(best, count, 1.0f, y); }
};

}  // namespace

void ReduceSum(const Tensor& x, float scale, Tensor& y) {
  const auto sum = FOVEA_DISPATCH(SumPiece);
  const auto piece = [&](int64_t a, int64_t begin, int64_t end, double* sums) { sum(x, a, begin, end, sums); };
  InPieces(x, 0.0, piece, AddInto{y, scale});
}

void ReduceMax(const Tensor& x, Tensor& y) {
  const auto max = FOVEA_DISPATCH(MaxPiece);
  const auto piece = [&](int64_t a, int64_t begin, int64_t end, float* best) { max(x, a, begin, end, best); };
  InPieces(x, 0.0f, piece, KeepLarger{y});
}

void ReduceMaxBackward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) {
  x.dtype() == DType::kBF16 ? MaxBackward<BF16>(x, y, dy, dx) : MaxBackward<float>(x, y, dy, dx);
}

void ArgMax(const Tensor& x, Tensor& y) { x.dtype() == DType::kBF16 ? ArgMaxOf<BF16>(x, y) : ArgMaxOf<float>(x, y); }

}  // namespace fovea::kernels
#endif  // HWY_ONCE
