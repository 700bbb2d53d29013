// A table of vectors, looked up by number: words, positions, segments.
#pragma once

#include "nn/parameter.h"
#include "ops/embedding.h"

namespace fovea::nn {

// weight [V,D].
class Embedding {
 public:
  Embedding(int64_t count, int64_t size) : weight(Shape{count, size}) {}

  Tensor operator()(const Tensor& ids) const {  // i64 [...] -> [...,D]
    return weight.blocks() != nullptr ? fovea::Embedding(*weight.blocks(), ids) : fovea::Embedding(weight, ids);
  }
  void Visit(Visitor& v) { v("weight", weight); }

  Parameter weight;
};

}  // namespace fovea::nn
