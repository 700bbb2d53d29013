// Rows by memcpy, elements one by one. The scatter gives each thread a range of target rows and lets it read the whole
// index: no two threads write one row, and the order of additions does not depend on their number.
#include "kernels/embedding/embedding.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"

namespace fovea::kernels {
namespace {

constexpr int64_t kGrainElements = 1 << 14;

int64_t GrainOfRows(int64_t row_elements) {
  return std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, row_elements));
}

template <typename T>
void GatherElementsAs(const Tensor& x, const Tensor& index, Tensor& y) {
  const auto [A, N, D] = index.Dims<3>("gather");
  const int64_t V = x.dim(1);
  const T* from = reinterpret_cast<const T*>(x.raw());
  const int64_t* picks = index.data<int64_t>();
  T* to = reinterpret_cast<T*>(y.mutable_raw());
  for (int64_t a = 0; a < A; ++a) {
    for (int64_t n = 0; n < N; ++n) {
      for (int64_t d = 0; d < D; ++d) to[(a * N + n) * D + d] = from[(a * V + picks[(a * N + n) * D + d]) * D + d];
    }
  }
}

// Runs `scatter(dy, dx)` on f32 tensors, dx zeroed.
template <typename Scatter>
void ScatterInF32(const Tensor& dy, Tensor& dx, const Scatter& scatter) {
  Tensor sum = dx.dtype() == DType::kF32 ? dx : Tensor::Empty(dx.shape());
  std::memset(sum.mutable_raw(), 0, static_cast<size_t>(sum.size_bytes()));
  scatter(dy.To(DType::kF32).data<float>(), sum.mutable_data<float>());
  if (dx.dtype() != DType::kF32) dx.CopyFrom(sum.To(dx.dtype()));
}

}  // namespace

void GatherRows(const Tensor& x, const Tensor& index, Tensor& y) {
  const auto [A, V, D] = x.Dims<3>("gather_rows");
  const int64_t N = index.numel(), rows = V, row_bytes = D * ItemSize(x.dtype());
  const int64_t* picks = index.data<int64_t>();
  const uint8_t* from = x.raw();
  uint8_t* to = y.mutable_raw();
  base::ParallelFor(A * N, GrainOfRows(D), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(to + i * row_bytes, from + (i / N * rows + picks[i % N]) * row_bytes, static_cast<size_t>(row_bytes));
    }
  });
}

void ScatterAddRows(const Tensor& dy, const Tensor& index, Tensor& dx) {
  const auto [A, V, D] = dx.Dims<3>("scatter_rows");
  const int64_t N = index.numel(), rows = V, batches = A, width = D;
  const int64_t* picks = index.data<int64_t>();
  ScatterInF32(dy, dx, [&](const float* from, float* to) {
    const int64_t grain = std::max<int64_t>(1, rows * kGrainElements / std::max<int64_t>(1, batches * N * width));
    base::ParallelFor(rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t a = 0; a < batches; ++a) {
        for (int64_t n = 0; n < N; ++n) {
          if (picks[n] < begin || picks[n] >= end) continue;
          const float* source = from + (a * N + n) * width;
          float* target = to + (a * rows + picks[n]) * width;
          for (int64_t d = 0; d < width; ++d) target[d] += source[d];
        }
      }
    });
  });
}

void GatherElements(const Tensor& x, const Tensor& index, Tensor& y) {
  switch (ItemSize(x.dtype())) {
    case 1: return GatherElementsAs<uint8_t>(x, index, y);
    case 2: return GatherElementsAs<uint16_t>(x, index, y);
    case 4: return GatherElementsAs<uint32_t>(x, index, y);
    default: return GatherElementsAs<uint64_t>(x, index, y);
  }
}

void ScatterAddElements(const Tensor& dy, const Tensor& index, Tensor& dx) {
  const auto [A, N, D] = index.Dims<3>("scatter");
  const int64_t V = dx.dim(1), batches = A, picked = N, width = D;
  const int64_t* picks = index.data<int64_t>();
  ScatterInF32(dy, dx, [&](const float* from, float* to) {
    for (int64_t i = 0; i < batches * picked * width; ++i)
      to[(i / (picked * width) * V + picks[i]) * width + i % width] += from[i];
  });
}

}  // namespace fovea::kernels
