// Attention's forward pass. Many queries: K^T and V are packed once per head, then each task takes a tile of queries
// over all tiles of keys. Few queries (a decoding step): packing would cost more than the product, so that keys and
// values are read in place, one row after another.
#include <cmath>

#include "kernels/attention/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/attention/attention_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

constexpr int64_t kKeyTile = 192;   // a multiple of every panel width
constexpr int64_t kFewQueries = 5;  // up to here packing does not pay

// Running softmax of one query.
struct Running {
  float largest = kHidden;
  float sum = 0.0f;
  float Inverse() const { return sum == 0.0f ? 0.0f : 1.0f / sum; }
  float LogSumExp() const { return sum == 0.0f ? kHidden : largest + std::log(sum); }
};

// Turns `count` scores (a multiple of the vector length) into exp(score - largest), and rescales what was summed up
// under a smaller maximum.
HWY_INLINE void SoftmaxStep(float* scores, int64_t count, Running& running, float* result, int64_t result_size) {
  const TagF32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VecF32 most = hn::Set(d, running.largest);
  for (int64_t i = 0; i < count; i += lanes) most = hn::Max(most, hn::LoadU(d, scores + i));
  const float largest = hn::GetLane(hn::MaxOfLanes(d, most));
  const VecF32 shift = hn::Set(d, largest == kHidden ? 0.0f : largest);
  VecF32 sum = hn::Zero(d);
  for (int64_t i = 0; i < count; i += lanes) {
    const VecF32 p = Exp(d, hn::Sub(hn::LoadU(d, scores + i), shift));
    hn::StoreU(p, d, scores + i);
    sum = hn::Add(sum, p);
  }
  if (largest != running.largest && running.sum != 0.0f) {
    const float factor = std::exp(running.largest - largest);
    running.sum *= factor;
    for (int64_t i = 0; i < result_size; i += lanes)
      hn::StoreU(hn::Mul(hn::LoadU(d, result + i), hn::Set(d, factor)), d, result + i);
  }
  running.largest = largest;
  running.sum += hn::GetLane(hn::SumOfLanes(d, sum));
}

template <typename T>
void StoreRow(const float* result, float factor, int64_t size, T* to) {
  const TagF32 d;
  ForEachVector(size,
                [&](auto io, int64_t at) { io.Store(hn::Mul(io.Load(result + at), hn::Set(d, factor)), to + at); });
}

// Everything one call works on.
struct Call {
  const Tensor &q, &k, &v;
  const AttentionOptions& options;
  const Tensor &y, &logsumexp;
  Sizes n;
  Masks masks;

  void StoreLogSumExp(int64_t b, int64_t h, int64_t t, const Running& running) const {
    if (logsumexp.defined()) logsumexp.mutable_data<float>()[(b * n.H + h) * n.T + t] = running.LogSumExp();
  }
};

// Memory of one thread.
struct TileScratch {
  Tensor queries, scores, result;
  explicit TileScratch(const Sizes& n)
      : queries(Tensor::Empty({kQueryTile, n.E})),
        scores(Tensor::Empty({kQueryTile, kKeyTile})),
        result(Tensor::Empty({kQueryTile, RoundUp(n.V, PanelWidth())})) {}
};

template <typename T, typename KV>
void AttendTile(const Call& call, const Panels& keys, const Panels& values, int64_t b, int64_t h, int64_t t,
                const TileScratch& scratch) {
  const Sizes& n = call.n;
  const int64_t rows = std::min(kQueryTile, n.T - t), width = PanelWidth(), result_size = scratch.result.dim(1);
  const int64_t key_end = n.VisibleKeys(t + rows), lanes = static_cast<int64_t>(hn::Lanes(TagF32()));
  float* queries = scratch.queries.template mutable_data<float>();
  float* scores = scratch.scores.template mutable_data<float>();
  float* result = scratch.result.template mutable_data<float>();
  Running running[kQueryTile];
  LoadTile<T>(call.q, b, h, t, rows, call.options.scale, queries);
  std::memset(result, 0, static_cast<size_t>(scratch.result.size_bytes()));
  for (int64_t s = n.FirstKey(t) / kKeyTile * kKeyTile; s < key_end; s += kKeyTile) {
    const int64_t count = std::min(kKeyTile, key_end - s), panels = (count + width - 1) / width;
    const float* key_panels = keys.At(b, n.KeyHead(h)) + s / width * keys.panel_stride;
    Product<false>({queries, n.E, 1}, rows, key_panels, panels, keys.panel_stride, n.E, scores, kKeyTile);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t padded = RoundUp(count, lanes);
      call.masks.Apply(n, b, h, t + r, s, count, padded, scores + r * kKeyTile);
      SoftmaxStep(scores + r * kKeyTile, padded, running[r], result + r * result_size, result_size);
    }
    const float* value_panels = values.At(b, n.KeyHead(h)) + s * width;
    Product<true>({scores, kKeyTile, 1}, rows, value_panels, result_size / width, values.panel_stride, count, result,
                  result_size);
  }
  for (int64_t r = 0; r < rows; ++r) {
    StoreRow(result + r * result_size, running[r].Inverse(), n.V, Row<T>(call.y, b, h, t + r));
    call.StoreLogSumExp(b, h, t + r, running[r]);
  }
}

template <typename T, typename KV>
void AttendManyQueries(const Call& call) {
  const Sizes& n = call.n;
  const Panels keys = PackTransposed<KV>(call.k), values = PackRows<KV>(call.v);
  const int64_t tiles = (n.T + kQueryTile - 1) / kQueryTile;
  base::ParallelFor(n.B * n.H * tiles, 1, [&](int64_t begin, int64_t end) {
    const TileScratch scratch(n);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t head = task / tiles, t = BalancedTile(task % tiles, tiles) * kQueryTile;
      AttendTile<T, KV>(call, keys, values, head / n.H, head % n.H, t, scratch);
    }
  });
}

// scores[i] = query . row i of `keys`, for `count` rows.
template <typename T>
void DotRows(const float* query, const T* keys, int64_t stride, int64_t count, int64_t size, float* scores) {
  const TagF32 d;
  for (int64_t i = 0; i < count; ++i) {
    VecF32 sum = hn::Zero(d);
    ForEachVector(size, [&](auto io, int64_t at) {
      sum = hn::MulAdd(io.Load(query + at), io.Load(keys + i * stride + at), sum);
    });
    scores[i] = hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

// result += sum of weights[i] * row i of `values`.
template <typename T>
void AddRows(const float* weights, const T* values, int64_t stride, int64_t count, int64_t size, float* result) {
  const TagF32 d;
  ForEachVector(size, [&](auto io, int64_t at) {
    VecF32 sum = io.Load(result + at);
    for (int64_t i = 0; i < count; ++i)
      sum = hn::MulAdd(hn::Set(d, weights[i]), io.Load(values + i * stride + at), sum);
    io.Store(sum, result + at);
  });
}

template <typename T, typename KV>
void AttendFewQueries(const Call& call) {
  const Sizes& n = call.n;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(TagF32()));
  const int64_t grain = std::max<int64_t>(1, (1 << 15) / std::max<int64_t>(1, n.S * (n.E + n.V)));
  base::ParallelFor(n.B * n.H * n.T, grain, [&](int64_t begin, int64_t end) {
    const TileScratch scratch(n);
    float* query = scratch.queries.mutable_data<float>();
    float* scores = scratch.scores.mutable_data<float>();
    float* result = scratch.result.mutable_data<float>();
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / (n.H * n.T), h = task / n.T % n.H, t = task % n.T, head = n.KeyHead(h);
      LoadTile<T>(call.q, b, h, t, 1, call.options.scale, query);
      std::fill(result, result + scratch.result.dim(1), 0.0f);
      Running running;
      const int64_t key_end = n.VisibleKeys(t + 1);
      for (int64_t s = n.FirstKey(t); s < key_end; s += kKeyTile) {
        const int64_t count = std::min(kKeyTile, key_end - s), padded = RoundUp(count, lanes);
        DotRows(query, Row<const KV>(call.k, b, head, s), call.k.strides()[2], count, n.E, scores);
        call.masks.Apply(n, b, h, t, s, count, padded, scores);
        SoftmaxStep(scores, padded, running, result, scratch.result.dim(1));
        AddRows(scores, Row<const KV>(call.v, b, head, s), call.v.strides()[2], count, n.V, result);
      }
      StoreRow(result, running.Inverse(), n.V, Row<T>(call.y, b, h, t));
      call.StoreLogSumExp(b, h, t, running);
    }
  });
}

void AttentionForward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, Tensor& y,
                      Tensor& logsumexp) {
  const Call call{q, k, v, options, y, logsumexp, Sizes(q, k, v, options), Masks(options)};
  WithElementType(q, [&](auto element) {
    WithElementType(k, [&](auto key_element) {
      using T = decltype(element);
      using KV = decltype(key_element);
      if (call.n.T <= kFewQueries) {
        AttendFewQueries<T, KV>(call);
      } else {
        AttendManyQueries<T, KV>(call);
      }
    });
  });
}

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(AttentionForward);

void Attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, Tensor& y,
               Tensor& logsumexp) {
  FOVEA_DISPATCH(AttentionForward)(q, k, v, options, y, logsumexp);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
