// Attention as in the paper: all scores of one query, softmax, weighted sum; in double. Holds a whole row of scores,
// never tiles.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention/attention.h"

namespace fovea::kernels::ref {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

struct Sizes {
  int64_t B, H, T, E, K, S, V;
  Sizes(const Tensor& q, const Tensor& k, const Tensor& v)
      : B(q.dim(0)), H(q.dim(1)), T(q.dim(2)), E(q.dim(3)), K(k.dim(1)), S(k.dim(2)), V(v.dim(3)) {}
};

Tensor Dense(const Tensor& x) { return x.Contiguous().To(DType::kF32); }

// Scores of query (b,h,t) with dense f32 q and k.
std::vector<double> Scores(const Sizes& n, const Tensor& q, const Tensor& k, const AttentionOptions& options, int64_t b,
                           int64_t h, int64_t t) {
  const float* query = q.data<float>() + ((b * n.H + h) * n.T + t) * n.E;
  const float* keys = k.data<float>() + (b * n.K + h / (n.H / n.K)) * n.S * n.E;
  const Tensor bias = options.bias.defined() ? options.bias.Contiguous() : Tensor();
  std::vector<double> scores(n.S);
  for (int64_t s = 0; s < n.S; ++s) {
    double sum = 0;
    for (int64_t e = 0; e < n.E; ++e) sum += static_cast<double>(query[e]) * keys[s * n.E + e];
    scores[s] = sum * options.scale;
    if (bias.defined()) scores[s] += bias.data<float>()[((b * n.H + h) * n.T + t) * n.S + s];
    if (options.is_causal) {
      if (s >= std::max(t + 1, options.bidirectional) + n.S - n.T) scores[s] = kHidden;
      if (options.window > 0 && s <= t + n.S - n.T - options.window) scores[s] = kHidden;
    }
    if (options.key_mask.defined() && !options.key_mask.data<bool>()[b * n.S + s]) scores[s] = kHidden;
  }
  return scores;
}

double LogSumExp(const std::vector<double>& scores) {
  double largest = kHidden, sum = 0;
  for (const double score : scores) largest = std::max(largest, score);
  if (largest == kHidden) return kHidden;
  for (const double score : scores) sum += std::exp(score - largest);
  return largest + std::log(sum);
}

double Probability(double score, double logsumexp) { return logsumexp == kHidden ? 0.0 : std::exp(score - logsumexp); }

}  // namespace

void Attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, Tensor& y,
               Tensor& logsumexp) {
  const Sizes n(q, k, v);
  const Tensor queries = Dense(q), keys = Dense(k), values = Dense(v);
  Tensor result = Tensor::Zeros({n.B, n.H, n.T, n.V});
  for (int64_t i = 0; i < n.B * n.H * n.T; ++i) {
    const int64_t b = i / (n.H * n.T), h = i / n.T % n.H;
    const std::vector<double> scores = Scores(n, queries, keys, options, b, h, i % n.T);
    const double total = LogSumExp(scores);
    if (logsumexp.defined()) logsumexp.mutable_data<float>()[i] = static_cast<float>(total);
    for (int64_t e = 0; e < n.V; ++e) {
      double sum = 0;
      for (int64_t s = 0; s < n.S; ++s) {
        sum += Probability(scores[s], total) * values.data<float>()[((b * n.K + h / (n.H / n.K)) * n.S + s) * n.V + e];
      }
      result.mutable_data<float>()[i * n.V + e] = static_cast<float>(sum);
    }
  }
  const Tensor rounded = result.To(y.dtype());
  for (int64_t b = 0; b < n.B; ++b) {  // y may be strided, CopyFrom wants dense targets: a row at a time
    for (int64_t h = 0; h < n.H; ++h) {
      for (int64_t t = 0; t < n.T; ++t) {
        const auto row = [&](const Tensor& x) { return x.Sliced(0, b, b + 1).Sliced(1, h, h + 1).Sliced(2, t, t + 1); };
        Tensor target = row(y);
        target.CopyFrom(row(rounded));
      }
    }
  }
}

void AttentionBackward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                       const Tensor& y, const Tensor& logsumexp, const Tensor& dy, AttentionGradients& gradients) {
  const Sizes n(q, k, v);
  const Tensor queries = Dense(q), keys = Dense(k), values = Dense(v), result = Dense(y), dresult = Dense(dy);
  std::vector<double> dq(queries.numel()), dk(keys.numel()), dv(values.numel());
  for (int64_t i = 0; i < n.B * n.H * n.T; ++i) {
    const int64_t b = i / (n.H * n.T), h = i / n.T % n.H, first = (b * n.K + h / (n.H / n.K)) * n.S;
    const std::vector<double> scores = Scores(n, queries, keys, options, b, h, i % n.T);
    const float* dout = dresult.data<float>() + i * n.V;
    double along = 0;  // dy . y
    for (int64_t e = 0; e < n.V; ++e) along += static_cast<double>(dout[e]) * result.data<float>()[i * n.V + e];
    for (int64_t s = 0; s < n.S; ++s) {
      const double p = Probability(scores[s], logsumexp.data<float>()[i]);
      double dp = 0;
      for (int64_t e = 0; e < n.V; ++e) {
        dp += static_cast<double>(dout[e]) * values.data<float>()[(first + s) * n.V + e];
        dv[(first + s) * n.V + e] += p * dout[e];
      }
      const double ds = p * (dp - along);
      if (gradients.dbias.defined()) gradients.dbias.mutable_data<float>()[i * n.S + s] = static_cast<float>(ds);
      for (int64_t e = 0; e < n.E; ++e) {
        dq[i * n.E + e] += options.scale * ds * keys.data<float>()[(first + s) * n.E + e];
        dk[(first + s) * n.E + e] += options.scale * ds * queries.data<float>()[i * n.E + e];
      }
    }
  }
  const auto store = [](const std::vector<double>& from, Tensor& to) {
    if (!to.defined()) return;
    Tensor wide = Tensor::Empty(to.shape());
    for (int64_t i = 0; i < to.numel(); ++i) wide.mutable_data<float>()[i] = static_cast<float>(from[i]);
    to.CopyFrom(wide.To(to.dtype()));
  };
  store(dq, gradients.dq);
  store(dk, gradients.dk);
  store(dv, gradients.dv);
}

}  // namespace fovea::kernels::ref
