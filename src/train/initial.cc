#include "train/initial.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/hash.h"
#include "train/data/random.h"

namespace fovea::train {
namespace {

using Kind = nn::Parameter::Kind;

// The constant that an architecture gives a parameter of this name.
std::optional<double> OwnStart(const std::string& path, const base::Config& config) {
  const auto is = [&](const char* name) { return path == name || path.ends_with(std::string(".") + name); };
  const auto read = [&](const char* key, double otherwise) { return config.Get<double>(key, otherwise); };
  const bool is_siglip = config.Get<std::string>("model_type", "").starts_with("siglip");
  if (is("layer_scale_parameter")) return read("layer_scale_init_value", 1e-6);  // ConvNeXt
  if (is("lambda1")) return read("layerscale_value", 1.0);                       // DINOv2
  if (is("temperature")) return read("temperature_init_value", 1.0);             // ALIGN
  if (is("logit_scale")) return is_siglip ? std::log(10.0) : read("logit_scale_init_value", 2.6592);
  if (is("logit_bias")) return -10.0;  // Zhai et al. 2023
  return std::nullopt;
}

// Whether `path` ends in the parameter `name` of an LSTM, of one cell or of the layer "_l<i>".
bool IsOfLstm(const std::string& path, const std::string& name) {
  const std::string last = path.substr(path.rfind('.') + 1);
  return last == name || last.starts_with(name + "_l");
}

// The biases [4H] of an LSTM: 0, and 1 for the forget gate, so that what it read first is not lost at once (Jozefowicz
// et al. 2015, An Empirical Exploration of Recurrent Network Architectures).
Tensor OpenForgetGate(const Shape& shape) {
  Tensor value = Tensor::Zeros(shape).Clone();
  const int64_t hidden = shape[0] / 4;
  std::fill_n(value.mutable_data<float>() + hidden, hidden, 1.0f);
  return value;
}

// Of the values of a matrix or a convolution.
double Deviation(const std::string& path, const Shape& shape, const base::Config& config) {
  const double rows = static_cast<double>(std::max<int64_t>(1, shape[0]));
  if (shape.rank() > 2) return std::sqrt(2.0 * rows / static_cast<double>(shape.numel()));  // 2 / fan-in
  if (IsOfLstm(path, "weight_ih") || IsOfLstm(path, "weight_hh")) return std::sqrt(4.0 / (3.0 * rows));
  // Show and Tell's authors draw from [-0.08,0.08]: with less the picture is overheard for long.
  return config.Get<std::string>("model_type", "").starts_with("show_") ? 0.08 / std::sqrt(3.0) : 0.02;
}

}  // namespace

Tensor InitialValue(const std::string& path, const nn::Parameter& parameter, const base::Config& config,
                    uint64_t seed) {
  const Shape& shape = parameter.shape();
  if (parameter.kind() == Kind::kCounter) return Tensor::Zeros(shape, DType::kI64);
  if (shape.rank() == 1 && IsOfLstm(path, "bias_ih")) return OpenForgetGate(shape);
  if (shape.rank() < 2) {
    const bool is_one = path.ends_with("weight") || path.ends_with("running_var");
    const double value = OwnStart(path, config).value_or(is_one ? 1.0 : 0.0);
    return Tensor::Full(shape, static_cast<float>(value)).Clone();
  }
  const uint64_t place = std::stoull(base::ContentHasher().Add(path).Hex().substr(0, 16), nullptr, 16);
  Random random(MixSeeds(seed, place));
  const double deviation = Deviation(path, shape, config);
  Tensor value = Tensor::Empty(shape);
  for (int64_t i = 0; i < shape.numel(); ++i) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - random.Uniform()));
    value.mutable_data<float>()[i] = static_cast<float>(deviation * radius * std::cos(2 * M_PI * random.Uniform()));
  }
  return value;
}

}  // namespace fovea::train
