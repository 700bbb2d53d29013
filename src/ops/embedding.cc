#include "ops/embedding.h"

#include <vector>

#include "base/error.h"
#include "kernels/embedding/embedding.h"
#include "tensor/tape.h"

namespace fovea {

namespace {

// The ids, dense, each checked to be in [0, V).
Tensor CheckedIds(const Tensor& ids, int64_t V) {
  Require(ids.dtype() == DType::kI64, "[embedding] expected ids of type i64, got ", ids.dtype());
  Tensor picks = ids.Contiguous();
  for (const int64_t id : picks.values<int64_t>()) {
    Require(0 <= id && id < V, "[embedding] expected ids in [0,", V, "), got ", id,
            "; hint: the tokenizer and the model may not belong together");
  }
  return picks;
}

// The shape of the vectors of `ids`.
Shape VectorsOf(const Tensor& ids, int64_t D) {
  std::vector<int64_t> sizes(ids.shape().begin(), ids.shape().end());
  sizes.push_back(D);
  return Shape(sizes);
}

}  // namespace

Tensor Embedding(const Tensor& table, const Tensor& ids) {
  Require(table.rank() == 2, "[embedding] expected a table [V,D], got shape ", table.shape());
  const int64_t V = table.dim(0), D = table.dim(1);
  const Tensor picks = CheckedIds(ids, V);
  Tensor y = Tensor::Empty(VectorsOf(ids, D), table.dtype());
  Tensor rows = y.View({1, picks.numel(), D});
  kernels::GatherRows(table.Contiguous().View({1, V, D}), picks, rows);
  return Record({&table}, y, [picks, V, D](const Tensor& dy, const Needs&) {
    Tensor dtable = Tensor::Empty({1, V, D}, dy.dtype());
    kernels::ScatterAddRows(dy.View({1, picks.numel(), D}), picks, dtable);
    return InputGradients{dtable.View({V, D})};
  });
}

Tensor Embedding(const kernels::BlockMatrix& table, const Tensor& ids) {
  const Tensor picks = CheckedIds(ids, table.rows());
  Tensor y = Tensor::Empty(VectorsOf(ids, table.columns()));
  kernels::GatherBlockRows(table, picks, y);
  return y;
}

}  // namespace fovea
