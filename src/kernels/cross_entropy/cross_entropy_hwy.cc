// Cross-entropy with Highway: one pass for the maximum, one for the exponentials.
#include "kernels/cross_entropy/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy/cross_entropy_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/simd_reduce.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

void CrossEntropyRows(const Tensor& logits, const int64_t* labels, const CrossEntropyOptions& options, float* losses,
                      float* log_sums, int64_t begin, int64_t end) {
  const int64_t V = logits.shape()[1];
  const double smoothing = options.label_smoothing;
  WithElementType(logits, [&](auto element) {
    for (int64_t n = begin; n < end; ++n) {
      const auto* row = logits.data<decltype(element)>() + n * V;
      const float shift = SoftmaxShift(row, V);
      // Kept relative to the maximum: for large logits the loss is a small difference.
      const double log_sum = std::log(RowSumExp(row, V, shift));
      log_sums[n] = static_cast<float>(shift + log_sum);
      double loss = 0.0;
      if (labels[n] != options.ignore_index) {
        loss = (1.0 - smoothing) * (log_sum - (static_cast<double>(LoadScalar(row + labels[n])) - shift));
        if (smoothing != 0.0) loss += smoothing * (log_sum - (RowSum(row, V) / static_cast<double>(V) - shift));
      }
      losses[n] = static_cast<float>(loss);
    }
  });
}

void CrossEntropyBackwardRows(const Tensor& logits, const int64_t* labels, const CrossEntropyOptions& options,
                              const float* log_sums, float scale, Tensor& dlogits, int64_t begin, int64_t end) {
  const TagF32 d;
  const int64_t V = logits.shape()[1];
  const float everywhere = options.label_smoothing / static_cast<float>(V);
  WithElementType(logits, [&](auto element) {
    using T = decltype(element);
    for (int64_t n = begin; n < end; ++n) {
      const T* row = logits.data<T>() + n * V;
      T* to = dlogits.mutable_data<T>() + n * V;
      if (labels[n] == options.ignore_index) {
        std::fill_n(to, V, T(0.0f));
        continue;
      }
      const VecF32 log_sum = hn::Set(d, log_sums[n]), factor = hn::Set(d, scale), uniform = hn::Set(d, everywhere);
      ForEachVector(V, [&](auto io, int64_t v) {
        const VecF32 share = Exp(io.d, hn::Sub(io.Load(row + v), log_sum));
        io.Store(hn::Mul(factor, hn::Sub(share, uniform)), to + v);
      });
      const float share = std::exp(LoadScalar(row + labels[n]) - log_sums[n]);
      StoreScalar(scale * (share - everywhere - (1.0f - options.label_smoothing)), to + labels[n]);
    }
  });
}

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(CrossEntropyRows);
HWY_EXPORT(CrossEntropyBackwardRows);

namespace {

template <typename Body>
void InRows(const Tensor& logits, Body&& body) {
  base::ParallelFor(logits.shape()[0], std::max<int64_t>(1, 16384 / logits.shape()[1]), body);
}

}  // namespace

void CrossEntropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options, Tensor& losses,
                  Tensor& log_sums) {
  const auto rows = FOVEA_DISPATCH(CrossEntropyRows);
  InRows(logits, [&](int64_t begin, int64_t end) {
    rows(logits, labels.data<int64_t>(), options, losses.mutable_data<float>(), log_sums.mutable_data<float>(), begin,
         end);
  });
}

void CrossEntropyBackward(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options,
                          const Tensor& log_sums, float scale, Tensor& dlogits) {
  const auto rows = FOVEA_DISPATCH(CrossEntropyBackwardRows);
  InRows(logits, [&](int64_t begin, int64_t end) {
    rows(logits, labels.data<int64_t>(), options, log_sums.data<float>(), scale, dlogits, begin, end);
  });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
