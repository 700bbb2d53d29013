// Sums over a few hundred texts for each candidate of a search: a thousand candidates cost a few hundred million
// multiplications, so nothing is stored for the pictures.
#include "library/background.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "library/dot.h"

namespace fovea::library {

Background::Background(std::vector<float> texts, int64_t dim) : dim_(dim), texts_(std::move(texts)) {
  const auto size = static_cast<int64_t>(texts_.size());
  Require(dim > 0 && size % dim == 0 && size / dim >= 2, "[background] expected at least 2 vectors of ", dim,
          " values, got ", size, " values");
  mean_.resize(static_cast<size_t>(dim));
  std::vector<double> sum(static_cast<size_t>(dim));
  for (size_t i = 0; i < texts_.size(); ++i) sum[i % sum.size()] += texts_[i];
  const double count = static_cast<double>(size / dim);
  for (size_t d = 0; d < mean_.size(); ++d) mean_[d] = static_cast<float>(sum[d] / count);
  for (size_t i = 0; i < texts_.size(); ++i) texts_[i] -= mean_[i % mean_.size()];
}

std::vector<float> Background::Centred(std::span<const float> query) const {
  Require(static_cast<int64_t>(query.size()) == dim_, "[background] expected a query of ", dim_, " values, got ",
          query.size());
  std::vector<float> centred(query.begin(), query.end());
  for (size_t d = 0; d < centred.size(); ++d) centred[d] -= mean_[d];
  return centred;
}

double Background::Deviation(std::span<const float> picture) const {
  const int64_t count = static_cast<int64_t>(texts_.size()) / dim_;
  std::vector<float> scores(static_cast<size_t>(count));
  DotRows(picture.data(), texts_.data(), count, dim_, scores.data());
  double squares = 0;
  for (const float score : scores) squares += static_cast<double>(score) * score;
  return std::max(1e-6, std::sqrt(squares / static_cast<double>(count)));
}

double Background::Z(std::span<const float> centred, std::span<const float> picture) const {
  float score = 0;
  DotRows(centred.data(), picture.data(), 1, dim_, &score);
  return score / Deviation(picture);
}

}  // namespace fovea::library
