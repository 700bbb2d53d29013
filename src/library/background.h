// What is ordinary: how well a picture fits texts that have nothing to do with it.
//
// The similarity of a text and a picture means little by itself: every model has its own range, some pictures are
// similar to every text, and so are some texts to every picture. What counts is how much better a query fits a picture
// than other texts do. For that a fixed list of some four hundred everyday texts is embedded once by each model; the
// query's similarity to a picture is then measured in standard deviations above the mean of theirs:
//
//   z = (<query, x> - mean_k <text_k, x>) / deviation_k <text_k, x>
//
// Most of the list does not fit a given picture, so z of an unrelated query is close to a standard normal variable,
// whatever the model and the picture, and already in a library of one picture. From there on it is statistics
// (relevance.h). No statistics of the library are needed, whose pictures may all be of one kind.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fovea/model.h"

namespace fovea::library {

// The list.
const std::vector<std::string>& BackgroundTexts();

class Background {
 public:
  // `texts` [K,dim]: vectors of the list, L2-normalised, K >= 2. Throws kInvalidArgument for other sizes.
  Background(std::vector<float> texts, int64_t dim);

  int64_t dim() const { return dim_; }
  // query - mean of the texts: its inner product with a picture is the numerator of z.
  std::vector<float> Centred(std::span<const float> query) const;
  // Standard deviation over the texts of their similarity to a picture [dim].
  double Deviation(std::span<const float> picture) const;
  // z of a query that Centred has made.
  double Z(std::span<const float> centred, std::span<const float> picture) const;

 private:
  const int64_t dim_;
  std::vector<float> texts_;  // [K,dim], minus their mean
  std::vector<float> mean_;   // [dim]
};

// What the model makes of the list; computed once and kept in the user's cache folder (DefaultLabelCache). Throws
// kUnimplemented when it compares no pictures with texts.
std::shared_ptr<const Background> BackgroundOf(const Model& model);

}  // namespace fovea::library
