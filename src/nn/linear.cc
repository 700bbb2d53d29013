#include "nn/linear.h"

#include "tensor/tape.h"

namespace fovea::nn {

Linear::Linear(const LinearOptions& options)
    : weight(Parameter::Packed({options.out_features, options.in_features})),
      bias(Shape{options.out_features}),
      has_bias_(options.has_bias) {}

Tensor Linear::operator()(const Tensor& x, kernels::Act act) const {
  const Tensor bias_value = has_bias_ ? bias.value() : Tensor();
  if (Tape::Active() != nullptr) return fovea::Linear(x, weight, bias_value, act);
  const uint64_t version = weight.version() * 16 + static_cast<uint64_t>(x.dtype());
  const auto packed = packed_.Get(version, [&] {
    return std::make_shared<const kernels::PackedLinear>(weight.value().To(PackedType(weight, x.dtype())),
                                                         weight.rounds_inputs());
  });
  return fovea::Linear(x, *packed, bias_value, act);
}

void Linear::Visit(Visitor& v) {
  v("weight", weight);
  if (has_bias_) v("bias", bias);
}

}  // namespace fovea::nn
