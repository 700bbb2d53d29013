#include "nn/parameter.h"

#include "base/error.h"

namespace fovea::nn {

const Tensor& Parameter::value() const {
  if (!value_.defined()) [[unlikely]]
    Fail(ErrorCode::kInternal, "[parameter] ", shape_, " was used before it got a value");
  return value_;
}

void Parameter::Assign(Tensor value) {
  Require(value.shape() == shape_, "[parameter] expected ", shape_, ", got ", value.shape());
  value_ = std::move(value);
  MarkChanged();
}

}  // namespace fovea::nn
