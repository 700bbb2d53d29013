// Batched products on oneDNN's sgemm: it takes transposed operands and any row stride, so that no view is copied, and
// needs no compiled primitive per shape. Many small products run beside each other, each on one core; few large ones
// one after another, each on all cores.
#include <oneapi/dnnl/dnnl.h>
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/matmul/matmul.h"
#include "kernels/onednn.h"

namespace fovea::kernels {
namespace {

// Multiplications below which a product is not worth spreading over cores.
constexpr int64_t kSmallProduct = 1 << 20;

// How sgemm sees the last two axes.
struct Layout {
  char transposed = 'N';
  int64_t leading = 0;  // distance between stored rows
};

// False when sgemm cannot take the elements as they lie. An axis of size 1 may have any stride.
bool FindLayout(const Tensor& t, Layout& layout) {
  const int rank = t.rank();
  const int64_t rows = t.shape()[rank - 2], columns = t.shape()[rank - 1];
  const int64_t row_stride = rows == 1 ? columns : t.strides()[rank - 2];
  const int64_t column_stride = columns == 1 ? rows : t.strides()[rank - 1];
  if ((column_stride == 1 || columns == 1) && row_stride >= columns) {
    layout = {'N', row_stride};
  } else if ((row_stride == 1 || rows == 1) && column_stride >= rows) {
    layout = {'T', column_stride};
  } else {
    return false;
  }
  return true;
}

Tensor PrepareOperand(const Tensor& t, Layout& layout) {
  if (FindLayout(t, layout)) return t;
  const Tensor copy = t.Contiguous();
  FindLayout(copy, layout);
  return copy;
}

// Start of matrix number `batch` in elements.
int64_t BatchOffset(const Tensor& t, int64_t batch) {
  int64_t offset = 0;
  for (int axis = t.rank() - 3; axis >= 0; --axis) {
    offset += batch % t.shape()[axis] * t.strides()[axis];
    batch /= t.shape()[axis];
  }
  return offset;
}

bool IsSameMatrixInAllBatches(const Tensor& t) {
  for (int axis = 0; axis < t.rank() - 2; ++axis) {
    if (t.shape()[axis] != 1 && t.strides()[axis] != 0) return false;
  }
  return true;
}

void CheckStatus(dnnl_status_t status) {
  if (status != dnnl_success) FailOneDnn("matmul", dnnl::error(status, "sgemm failed"));
}

void MatMulF32(const Tensor& a_in, const Tensor& b_in, Tensor& y) {
  Layout a_layout, b_layout;
  const Tensor a = PrepareOperand(a_in, a_layout), b = PrepareOperand(b_in, b_layout);
  int64_t rows = a.dim(-2);
  const int64_t inner = a.dim(-1), columns = b.dim(-1);
  int64_t batches = y.numel() / (rows * columns);
  if (batches > 1 && a.is_contiguous() && IsSameMatrixInAllBatches(b)) {  // one tall product
    rows *= batches;
    batches = 1;
  }
  const auto multiply = [&](int64_t batch) {
    CheckStatus(dnnl_sgemm(a_layout.transposed, b_layout.transposed, rows, columns, inner, 1.0f,
                           a.data<float>() + BatchOffset(a, batch), a_layout.leading,
                           b.data<float>() + BatchOffset(b, batch), b_layout.leading, 0.0f,
                           y.mutable_data<float>() + batch * rows * columns, columns));
  };
  const int64_t work = rows * columns * inner;
  if (batches > 1 && (work < kSmallProduct || batches >= 4 * base::MaxThreads())) {
    base::ParallelFor(batches, std::max<int64_t>(1, (kSmallProduct / 16) / std::max<int64_t>(1, work)),
                      [&](int64_t begin, int64_t end) {
                        for (int64_t batch = begin; batch < end; ++batch) multiply(batch);
                      });
  } else {
    for (int64_t batch = 0; batch < batches; ++batch) multiply(batch);
  }
}

}  // namespace

void MatMul(const Tensor& a, const Tensor& b, Tensor& y) {
  FOVEA_DCHECK(a.rank() == b.rank() && a.rank() == y.rank() && a.rank() >= 2 && a.dim(-1) == b.dim(-2) &&
               y.is_contiguous());
  if (y.numel() == 0) return;
  if (a.dim(-1) == 0) {
    std::memset(y.mutable_raw(), 0, static_cast<size_t>(y.size_bytes()));
    return;
  }
  Engine();  // base::IsaLimit() holds for sgemm too once the engine was made
  if (y.dtype() == DType::kF32) return MatMulF32(a, b, y);
  Tensor product = Tensor::Empty(y.shape());
  MatMulF32(a.To(DType::kF32), b.To(DType::kF32), product);
  y.CopyFrom(product.To(y.dtype()));
}

}  // namespace fovea::kernels
