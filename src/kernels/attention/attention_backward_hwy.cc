// Attention's backward pass. With P = softmax(scores) and D = sum(dy * y) per query:
//   dV = P^T dy,   dS = P * (dy V^T - D),   dQ = scale dS K,   dK = scale dS^T Q.
// Two sweeps recompute the tiles of P and dS: one by tiles of queries sums up dQ, one by tiles of keys sums up dK and
// dV. That is two of seven products more than one sweep would need, but every sum has one owner: no atomics, the same
// bits for any number of threads, and parallel work also when a single key head serves all query heads.
#include <cmath>

#include "kernels/attention/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_backward_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/attention/attention_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

constexpr int64_t kBackwardKeyTile = 96;  // a multiple of kRows and of every panel width

// Everything one call works on.
template <typename T>
struct BackwardCall {
  const Tensor &q, &k, &v, &dy, &logsumexp;
  const AttentionOptions& options;
  Sizes n;
  Masks masks;
  Panels keys_transposed, values_transposed;  // for scores and dP
  Tensor along;                               // D, f32 [B,H,T]

  BackwardCall(const Tensor& q_in, const Tensor& k_in, const Tensor& v_in, const AttentionOptions& options_in,
               const Tensor& y, const Tensor& logsumexp_in, const Tensor& dy_in)
      : q(q_in),
        k(k_in),
        v(v_in),
        dy(dy_in),
        logsumexp(logsumexp_in),
        options(options_in),
        n(q, k, v, options),
        masks(options),
        keys_transposed(PackTransposed<T>(k)),
        values_transposed(PackTransposed<T>(v)),
        along(Tensor::Empty({n.B, n.H, n.T})) {
    base::ParallelFor(along.numel(), 64, [&](int64_t begin, int64_t end) {
      const TagF32 d;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / (n.H * n.T), h = i / n.T % n.H, t = i % n.T;
        const T *result = Row<const T>(y, b, h, t), *gradient = Row<const T>(dy, b, h, t);
        VecF32 sum = hn::Zero(d);
        ForEachVector(
            n.V, [&](auto io, int64_t at) { sum = hn::MulAdd(io.Load(result + at), io.Load(gradient + at), sum); });
        along.mutable_data<float>()[i] = hn::GetLane(hn::SumOfLanes(d, sum));
      }
    });
  }
};

// A tile of queries against a tile of keys.
struct BackwardScratch {
  Tensor queries, dresult, p, ds;
  explicit BackwardScratch(const Sizes& n)
      : queries(Tensor::Empty({kQueryTile, n.E})),
        dresult(Tensor::Empty({kQueryTile, n.V})),
        p(Tensor::Empty({kQueryTile, kBackwardKeyTile})),
        ds(Tensor::Empty({kQueryTile, kBackwardKeyTile})) {}
};

template <typename T>
void LoadQueries(const BackwardCall<T>& call, int64_t b, int64_t h, int64_t t, int64_t rows,
                 const BackwardScratch& scratch) {
  LoadTile<T>(call.q, b, h, t, rows, call.options.scale, scratch.queries.mutable_data<float>());
  LoadTile<T>(call.dy, b, h, t, rows, 1.0f, scratch.dresult.mutable_data<float>());
}

// Fills scratch.p and scratch.ds for the loaded queries and keys [s, s + count); zero where a key is hidden.
template <typename T>
void ComputeTile(const BackwardCall<T>& call, int64_t b, int64_t h, int64_t t, int64_t rows, int64_t s, int64_t count,
                 const BackwardScratch& scratch) {
  const Sizes& n = call.n;
  const TagF32 d;
  const int64_t width = PanelWidth(), panels = (count + width - 1) / width, lanes = static_cast<int64_t>(hn::Lanes(d));
  const Panels &keys = call.keys_transposed, &values = call.values_transposed;
  float *p = scratch.p.mutable_data<float>(), *ds = scratch.ds.mutable_data<float>();
  Product<false>({scratch.queries.data<float>(), n.E, 1}, rows,
                 keys.At(b, n.KeyHead(h)) + s / width * keys.panel_stride, panels, keys.panel_stride, n.E, p,
                 kBackwardKeyTile);
  Product<false>({scratch.dresult.data<float>(), n.V, 1}, rows,
                 values.At(b, n.KeyHead(h)) + s / width * values.panel_stride, panels, values.panel_stride, n.V, ds,
                 kBackwardKeyTile);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t query = (b * n.H + h) * n.T + t + r, padded = RoundUp(count, lanes);
    call.masks.Apply(n, b, h, t + r, s, count, padded, p + r * kBackwardKeyTile);
    const float total = call.logsumexp.template data<float>()[query];
    const VecF32 shift = hn::Set(d, total == kHidden ? -kHidden : total);  // exp(score - inf) = 0
    const VecF32 along = hn::Set(d, call.along.template data<float>()[query]);
    for (int64_t i = r * kBackwardKeyTile; i < r * kBackwardKeyTile + padded; i += lanes) {
      const VecF32 probability = Exp(d, hn::Sub(hn::LoadU(d, p + i), shift));
      hn::StoreU(probability, d, p + i);
      hn::StoreU(hn::Mul(probability, hn::Sub(hn::LoadU(d, ds + i), along)), d, ds + i);
    }
  }
}

template <typename T>
void StoreRows(const float* rows, int64_t row_size, int64_t count, int64_t size, float factor, T* to) {
  const TagF32 d;
  for (int64_t r = 0; r < count; ++r) {
    ForEachVector(size, [&](auto io, int64_t at) {
      io.Store(hn::Mul(io.Load(rows + r * row_size + at), hn::Set(d, factor)), to + r * size + at);
    });
  }
}

// dQ and dbias.
template <typename T>
void SweepQueries(const BackwardCall<T>& call, AttentionGradients& gradients) {
  const Sizes& n = call.n;
  const Panels keys = PackRows<T>(call.k);
  const int64_t tiles = (n.T + kQueryTile - 1) / kQueryTile, width = PanelWidth(), row_size = RoundUp(n.E, width);
  base::ParallelFor(n.B * n.H * tiles, 1, [&](int64_t begin, int64_t end) {
    const BackwardScratch scratch(n);
    const Tensor sum = Tensor::Empty({kQueryTile, row_size});
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / tiles / n.H, h = task / tiles % n.H, t = BalancedTile(task % tiles, tiles) * kQueryTile;
      const int64_t rows = std::min(kQueryTile, n.T - t), key_end = n.VisibleKeys(t + rows);
      LoadQueries(call, b, h, t, rows, scratch);
      std::memset(sum.mutable_raw(), 0, static_cast<size_t>(sum.size_bytes()));
      for (int64_t s = n.FirstKey(t) / kBackwardKeyTile * kBackwardKeyTile; s < key_end; s += kBackwardKeyTile) {
        const int64_t count = std::min(kBackwardKeyTile, key_end - s);
        ComputeTile(call, b, h, t, rows, s, count, scratch);
        if (gradients.dbias.defined()) {
          for (int64_t r = 0; r < rows; ++r) {
            std::copy_n(scratch.ds.data<float>() + r * kBackwardKeyTile, count,
                        Row<float>(gradients.dbias, b, h, t + r) + s);
          }
        }
        Product<true>({scratch.ds.data<float>(), kBackwardKeyTile, 1}, rows, keys.At(b, n.KeyHead(h)) + s * width,
                      row_size / width, keys.panel_stride, count, sum.mutable_data<float>(), row_size);
      }
      if (gradients.dq.defined())
        StoreRows(sum.data<float>(), row_size, rows, n.E, call.options.scale, Row<T>(gradients.dq, b, h, t));
    }
  });
}

// dK and dV.
template <typename T>
void SweepKeys(const BackwardCall<T>& call, AttentionGradients& gradients) {
  const Sizes& n = call.n;
  const Panels queries = PackRows<T>(call.q), dresults = PackRows<T>(call.dy);
  const int64_t tiles = (n.S + kBackwardKeyTile - 1) / kBackwardKeyTile, width = PanelWidth();
  const int64_t key_size = RoundUp(n.E, width), value_size = RoundUp(n.V, width), group = n.H / n.K;
  base::ParallelFor(n.B * n.K * tiles, 1, [&](int64_t begin, int64_t end) {
    const BackwardScratch scratch(n);
    const Tensor dk = Tensor::Empty({kBackwardKeyTile, key_size}), dv = Tensor::Empty({kBackwardKeyTile, value_size});
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / tiles / n.K, head = task / tiles % n.K,
                    s = BalancedTile(task % tiles, tiles) * kBackwardKeyTile;
      const int64_t count = std::min(kBackwardKeyTile, n.S - s);
      std::memset(dk.mutable_raw(), 0, static_cast<size_t>(dk.size_bytes()));
      std::memset(dv.mutable_raw(), 0, static_cast<size_t>(dv.size_bytes()));
      for (int64_t i = 0; i < group * n.T; i += i % n.T + kQueryTile < n.T ? kQueryTile : n.T - i % n.T) {
        const int64_t h = head * group + i / n.T, t = i % n.T, rows = std::min(kQueryTile, n.T - t);
        if (n.VisibleKeys(t + rows) <= s || n.FirstKey(t) >= s + count) continue;
        LoadQueries(call, b, h, t, rows, scratch);
        ComputeTile(call, b, h, t, rows, s, count, scratch);
        Product<true>({scratch.p.data<float>(), 1, kBackwardKeyTile}, count, dresults.At(b, h) + t * width,
                      value_size / width, dresults.panel_stride, rows, dv.mutable_data<float>(), value_size);
        Product<true>({scratch.ds.data<float>(), 1, kBackwardKeyTile}, count, queries.At(b, h) + t * width,
                      key_size / width, queries.panel_stride, rows, dk.mutable_data<float>(), key_size);
      }
      if (gradients.dk.defined())
        StoreRows(dk.data<float>(), key_size, count, n.E, call.options.scale, Row<T>(gradients.dk, b, head, s));
      if (gradients.dv.defined())
        StoreRows(dv.data<float>(), value_size, count, n.V, 1.0f, Row<T>(gradients.dv, b, head, s));
    }
  });
}

void AttentionBackwardPass(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                           const Tensor& y, const Tensor& logsumexp, const Tensor& dy, AttentionGradients& gradients) {
  // Keys that no query sees are never visited.
  if (gradients.dbias.defined())
    std::memset(gradients.dbias.mutable_raw(), 0, static_cast<size_t>(gradients.dbias.size_bytes()));
  WithElementType(q, [&](auto element) {
    using T = decltype(element);
    const BackwardCall<T> call(q, k, v, options, y, logsumexp, dy);
    if (gradients.dq.defined() || gradients.dbias.defined()) SweepQueries(call, gradients);
    if (gradients.dk.defined() || gradients.dv.defined()) SweepKeys(call, gradients);
  });
}

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(AttentionBackwardPass);

void AttentionBackward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                       const Tensor& y, const Tensor& logsumexp, const Tensor& dy, AttentionGradients& gradients) {
  FOVEA_DISPATCH(AttentionBackwardPass)(q, k, v, options, y, logsumexp, dy, gradients);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
