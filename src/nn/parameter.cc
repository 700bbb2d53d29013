#include "nn/parameter.h"

#include "base/error.h"

namespace fovea::nn {

const Tensor& Parameter::value() const {
  if (blocks_ != nullptr) [[unlikely]]
    Fail(ErrorCode::kUnimplemented, "[parameter] ", shape_, " is kept in ", blocks_->type(),
         " blocks, which only linear layers and tables of vectors read; hint: train and save models in f32 or bf16");
  if (!value_.defined()) [[unlikely]]
    Fail(ErrorCode::kInternal, "[parameter] ", shape_, " was used before it got a value");
  return value_;
}

void Parameter::Assign(Tensor value) {
  Require(value.shape() == shape_, "[parameter] expected ", shape_, ", got ", value.shape());
  value_ = std::move(value);
  blocks_ = nullptr;
  MarkChanged();
}

void Parameter::AssignBlocks(std::shared_ptr<const kernels::BlockMatrix> blocks, bool is_transposed) {
  const Shape shape = is_transposed ? Shape{blocks->columns(), blocks->rows()} : blocks->shape();
  Require(shape == shape_, "[parameter] expected ", shape_, ", got ", shape, " in ", blocks->type());
  blocks_ = std::move(blocks);
  is_transposed_ = is_transposed;
  value_ = Tensor();
  MarkChanged();
}

Tensor Parameter::Dense() const {
  if (blocks_ == nullptr) return value();
  const Tensor rows = kernels::Dequantize(*blocks_);
  constexpr int kTurned[] = {1, 0};
  return is_transposed_ ? rows.Permuted(kTurned).Contiguous() : rows;
}

}  // namespace fovea::nn
