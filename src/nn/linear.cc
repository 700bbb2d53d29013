#include "nn/linear.h"

#include <algorithm>
#include <vector>

#include "ops/shape.h"
#include "tensor/tape.h"

namespace fovea::nn {
namespace {

// Changes whenever one of the weights or the type of the input does.
uint64_t VersionFor(uint64_t weights, const Tensor& x) { return weights * 16 + static_cast<uint64_t>(x.dtype()); }

std::shared_ptr<const kernels::PackedLinear> Packed(const Tensor& weight) {
  return std::make_shared<const kernels::PackedLinear>(weight);
}

}  // namespace

Linear::Linear(const LinearOptions& o)
    : weight(Parameter::Packed(o.is_transposed ? Shape{o.in_features, o.out_features}
                                               : Shape{o.out_features, o.in_features})),
      bias(Shape{o.out_features}),
      has_bias_(o.has_bias),
      is_transposed_(o.is_transposed) {}

Tensor Linear::operator()(const Tensor& x, kernels::Act act) const {
  const Tensor bias_value = has_bias_ ? bias.value() : Tensor();
  const auto in_order = [&](const Tensor& value) { return is_transposed_ ? Transpose(value, 0, 1) : value; };
  if (Tape::Active() != nullptr) return fovea::Linear(x, in_order(weight), bias_value, act);
  const auto packed = packed_.Get(VersionFor(weight.version(), x),
                                  [&] { return Packed(in_order(weight.value().To(x.dtype())).Contiguous()); });
  return fovea::Linear(x, *packed, bias_value, act);
}

void Linear::Visit(Visitor& v) {
  v("weight", weight);
  if (has_bias_) v("bias", bias);
}

Tensor JoinedLinear::operator()(const Tensor& x, std::initializer_list<const Linear*> parts) const {
  uint64_t version = 0, bias_version = 0;
  for (const Linear* part : parts) {
    version += part->weight.version();
    bias_version += part->bias.version();
  }
  const auto packed = packed_.Get(VersionFor(version, x), [&] {
    std::vector<Tensor> weights;
    for (const Linear* part : parts) weights.push_back(part->weight.value().To(x.dtype()));
    return Packed(Concat(weights, 0));
  });
  if (!std::ranges::any_of(parts, [](const Linear* part) { return part->has_bias(); }))
    return fovea::Linear(x, *packed);
  const auto bias = bias_.Get(bias_version, [&] {
    std::vector<Tensor> values;
    for (const Linear* part : parts) {
      values.push_back(part->has_bias() ? part->bias.value().To(DType::kF32) : Tensor::Zeros(part->bias.shape()));
    }
    return std::make_shared<const Tensor>(Concat(values, 0));
  });
  return fovea::Linear(x, *packed, *bias);
}

Tensor TiedLinear::operator()(const Tensor& x, const Parameter& weight) const {
  if (Tape::Active() != nullptr) return fovea::Linear(x, weight);
  const auto packed =
      packed_.Get(VersionFor(weight.version(), x), [&] { return Packed(weight.value().To(x.dtype())); });
  return fovea::Linear(x, *packed);
}

}  // namespace fovea::nn
