// The pieces that attention's forward and backward are built from: operands packed for the registers, one small matrix
// product, and the scores of a tile. Compiled once per instruction set, see kernels/simd_io.h.
//
// Product computes c += a b for a few rows of a at a time. b is in panels: kPanelVectors vectors of one step side by
// side, then those of the next step, so that it is read in one stream whatever the stride of the original; a is read
// element by element with two free strides, so that it may be a transposed tile. Scalable vectors (SVE, RVV) cannot be
// held in arrays and are not supported here.
#if defined(FOVEA_KERNELS_ATTENTION_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_ATTENTION_TILES_INL_H_
#undef FOVEA_KERNELS_ATTENTION_TILES_INL_H_
#else
#define FOVEA_KERNELS_ATTENTION_TILES_INL_H_
#endif

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/parallel.h"
#include "hwy/highway.h"
#include "kernels/attention/attention.h"
#include "kernels/simd_io.h"
#include "kernels/simd_math.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

constexpr float kHidden = -std::numeric_limits<float>::infinity();

// Rows of c held in registers: kRows * kPanelVectors sums, beside one row of b and one element of a.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64  // 32 registers
constexpr int64_t kRows = 12;
#else
constexpr int64_t kRows = 6;
#endif
constexpr int64_t kPanelVectors = 2;
constexpr int64_t kQueryTile = 48;  // a multiple of kRows

HWY_INLINE int64_t PanelWidth() { return kPanelVectors * static_cast<int64_t>(hn::Lanes(TagF32())); }
HWY_INLINE int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

struct Sizes {
  int64_t B, H, T, E, K, S, V;
  bool is_causal;
  int64_t window, bidirectional;
  Sizes(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options)
      : B(q.dim(0)),
        H(q.dim(1)),
        T(q.dim(2)),
        E(q.dim(3)),
        K(k.dim(1)),
        S(k.dim(2)),
        V(v.dim(3)),
        is_causal(options.is_causal),
        window(options.window),
        bidirectional(options.bidirectional) {}
  int64_t KeyHead(int64_t h) const { return h / (H / K); }
  // Keys that queries before `t_end` may see.
  int64_t VisibleKeys(int64_t t_end) const {
    return is_causal ? std::clamp<int64_t>(std::max(t_end, bidirectional) + S - T, 0, S) : S;
  }
  // The first key that query t, or any after it, may see.
  int64_t FirstKey(int64_t t) const {
    return is_causal && window > 0 ? std::clamp<int64_t>(t + 1 + S - T - window, 0, S) : 0;
  }
};

// Row t of head h of picture b of x [B,H,T,E].
template <typename T>
HWY_INLINE T* Row(const Tensor& x, int64_t b, int64_t h, int64_t t) {
  using Bytes = std::conditional_t<std::is_const_v<T>, const uint8_t*, uint8_t*>;
  Bytes start;
  if constexpr (std::is_const_v<T>) {
    start = x.raw();
  } else {
    start = x.mutable_raw();
  }
  return reinterpret_cast<T*>(start) + b * x.strides()[0] + h * x.strides()[1] + t * x.strides()[2];
}

// Packed operands of all heads of x [B,H,N,D], in f32.
struct Panels {
  Tensor data;
  int64_t heads, head_stride, panel_stride;
  const float* At(int64_t b, int64_t h) const { return data.data<float>() + (b * heads + h) * head_stride; }
};

// Panels of x^T: steps run over D, columns over N. Columns past N are zero.
template <typename T>
Panels PackTransposed(const Tensor& x) {
  const auto [B, H, N, D] = x.Dims<4>("attention");
  const int64_t width = PanelWidth(), panels = (N + width - 1) / width, rows = N, depth = D, heads = H;
  Panels packed{Tensor::Empty({B, H, panels, D, width}), H, panels * D * width, D * width};
  base::ParallelFor(B * H, 1, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      const int64_t b = head / heads, h = head % heads;
      float* to = packed.data.mutable_data<float>() + head * packed.head_stride;
      for (int64_t n = 0; n < panels * width; ++n) {
        float* column = to + n / width * packed.panel_stride + n % width;
        const T* from = n < rows ? Row<const T>(x, b, h, n) : nullptr;
        for (int64_t d = 0; d < depth; ++d) column[d * width] = from != nullptr ? LoadScalar(from + d) : 0.0f;
      }
    }
  });
  return packed;
}

// Panels of x: steps run over N, columns over D. Columns past D are zero.
template <typename T>
Panels PackRows(const Tensor& x) {
  const auto [B, H, N, D] = x.Dims<4>("attention");
  const int64_t width = PanelWidth(), panels = (D + width - 1) / width, rows = N, depth = D, heads = H;
  Panels packed{Tensor::Empty({B, H, panels, N, width}), H, panels * N * width, N * width};
  base::ParallelFor(B * H, 1, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      const int64_t b = head / heads, h = head % heads;
      for (int64_t n = 0; n < rows; ++n) {
        const T* from = Row<const T>(x, b, h, n);
        float* to = packed.data.mutable_data<float>() + head * packed.head_stride + n * width;
        for (int64_t panel = 0; panel < panels; ++panel) {
          const int64_t first = panel * width, count = std::min(width, depth - first);
          float* out = to + panel * packed.panel_stride;
          ForEachVector(count, [&](auto io, int64_t at) { StoreF32(io.Load(from + first + at), TagF32(), out + at); });
          const int64_t written = RoundUp(count, static_cast<int64_t>(hn::Lanes(TagF32())));
          std::fill(out + written, out + width, 0.0f);
        }
      }
    }
  });
  return packed;
}

// Rows [t, t + count) of a head times `factor` as dense f32; zero rows up to the next multiple of kRows.
template <typename T>
void LoadTile(const Tensor& x, int64_t b, int64_t h, int64_t t, int64_t count, float factor, float* tile) {
  const int64_t depth = x.dim(3);
  const TagF32 d;
  for (int64_t r = 0; r < count; ++r) {
    const T* from = Row<const T>(x, b, h, t + r);
    ForEachVector(depth, [&](auto io, int64_t at) {
      io.Store(hn::Mul(io.Load(from + at), hn::Set(d, factor)), tile + r * depth + at);
    });
  }
  std::fill(tile + count * depth, tile + RoundUp(count, kRows) * depth, 0.0f);
}

// An operand read element by element: a(r, step) = data[r * row + step * step_stride].
struct Strided {
  const float* data;
  int64_t row, step;
};

// kRows rows of c, one panel wide.
template <bool kAdd>
HWY_INLINE void MultiplyPanel(Strided a, const float* HWY_RESTRICT b, int64_t steps, float* HWY_RESTRICT c,
                              int64_t c_row) {
  const TagF32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VecF32 left[kRows], right[kRows];
#pragma GCC unroll 12
  for (int64_t r = 0; r < kRows; ++r) {
    left[r] = kAdd ? hn::LoadU(d, c + r * c_row) : hn::Zero(d);
    right[r] = kAdd ? hn::LoadU(d, c + r * c_row + lanes) : hn::Zero(d);
  }
  for (int64_t step = 0; step < steps; ++step) {
    const VecF32 b_left = hn::LoadU(d, b), b_right = hn::LoadU(d, b + lanes);
#pragma GCC unroll 12
    for (int64_t r = 0; r < kRows; ++r) {
      const VecF32 factor = hn::Set(d, a.data[r * a.row]);
      left[r] = hn::MulAdd(factor, b_left, left[r]);
      right[r] = hn::MulAdd(factor, b_right, right[r]);
    }
    a.data += a.step;
    b += kPanelVectors * lanes;
  }
#pragma GCC unroll 12
  for (int64_t r = 0; r < kRows; ++r) {
    hn::StoreU(left[r], d, c + r * c_row);
    hn::StoreU(right[r], d, c + r * c_row + lanes);
  }
}

// c [rows, panels * width] = or += a [rows, steps] b. Writes whole groups of kRows rows and whole panels.
template <bool kAdd>
void Product(const Strided& a, int64_t rows, const float* b, int64_t panels, int64_t panel_stride, int64_t steps,
             float* c, int64_t c_row) {
  for (int64_t panel = 0; panel < panels; ++panel) {
    for (int64_t r = 0; r < rows; r += kRows) {
      MultiplyPanel<kAdd>({a.data + r * a.row, a.row, a.step}, b + panel * panel_stride, steps,
                          c + r * c_row + panel * PanelWidth(), c_row);
    }
  }
}

// What is added to raw scores: the bias, and -inf for keys hidden by the mask.
struct Masks {
  Tensor bias;
  Tensor hidden;  // f32 [B,S]: 0 or -inf

  Masks(const AttentionOptions& options) : bias(options.bias) {
    if (!options.key_mask.defined()) return;
    hidden = Tensor::Empty(options.key_mask.shape());
    for (int64_t i = 0; i < hidden.numel(); ++i)
      hidden.mutable_data<float>()[i] = options.key_mask.data<bool>()[i] ? 0.0f : kHidden;
  }

  // Completes the scores of keys [s, s + count) of query (b,h,t). Those that the query may not see, and those from
  // `count` up to `padded`, become -inf.
  void Apply(const Sizes& n, int64_t b, int64_t h, int64_t t, int64_t s, int64_t count, int64_t padded,
             float* scores) const {
    const int64_t visible = std::clamp<int64_t>(n.VisibleKeys(t + 1) - s, 0, count);
    if (bias.defined()) {
      const float* from = Row<const float>(bias, b, h, t) + s * bias.strides()[3];
      if (bias.strides()[3] == 1) {
        ForEachVector(visible, [&](auto io, int64_t at) {
          io.Store(hn::Add(io.Load(scores + at), io.Load(from + at)), scores + at);
        });
      } else {
        for (int64_t i = 0; i < visible; ++i) scores[i] += from[i * bias.strides()[3]];
      }
    }
    if (hidden.defined()) {
      const float* from = hidden.data<float>() + b * hidden.shape()[1] + s;
      ForEachVector(visible, [&](auto io, int64_t at) {
        io.Store(hn::Add(io.Load(scores + at), io.Load(from + at)), scores + at);
      });
    }
    std::fill(scores, scores + std::clamp<int64_t>(n.FirstKey(t) - s, 0, visible), kHidden);
    std::fill(scores + visible, scores + padded, kHidden);
  }
};

// The order in which tiles are handed out: first, last, second, last but one, ... With a causal mask late queries cost
// more than early ones; this way every run of tiles costs about the same.
HWY_INLINE int64_t BalancedTile(int64_t i, int64_t tiles) { return i % 2 == 0 ? i / 2 : tiles - 1 - i / 2; }

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
