#include "nn/entry.h"

namespace fovea::models {

// A network without the capability that was asked for.

ImageOutputs Model::EncodeImages(const Tensor&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not encode pictures");
}

ImageOutputs Model::EncodePatches(const PatchInputs&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not encode pictures cut into patches");
}

TextOutputs Model::EncodeTexts(const TextInputs&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not encode texts");
}

JointOutputs Model::EncodeJointly(const JointInputs&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not encode text and regions together");
}

Tensor Model::MatchLogits(const Tensor&, const Tensor&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not compare pictures with texts");
}

}  // namespace fovea::models
