#include "nn/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>

#include "base/error.h"

namespace fovea::nn {
namespace {

constexpr double kPi = std::numbers::pi;

// Longer waves than the text was in training are stretched, short ones stay, and those between are blended.
double Llama3(double frequency, const RopeOptions& o) {
  const double wave = 2 * kPi / frequency, length = o.original_max_position_embeddings;
  if (wave < length / o.high_freq_factor) return frequency;
  if (wave > length / o.low_freq_factor) return frequency / o.factor;
  const double smooth = (length / wave - o.low_freq_factor) / (o.high_freq_factor - o.low_freq_factor);
  return (1 - smooth) * frequency / o.factor + smooth * frequency;
}

// Which share of angle i keeps its frequency: all of the fast ones, none of the slow ones.
double YarnKept(int64_t i, const RopeOptions& o) {
  const auto dim = static_cast<double>(o.rotated);
  const auto element = [&](double turns) {  // that turns so often within the original length
    return dim * std::log(o.original_max_position_embeddings / (turns * 2 * kPi)) / (2 * std::log(o.theta));
  };
  double low = element(o.beta_fast), high = element(o.beta_slow);
  if (o.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  return 1 - std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
}

double Frequency(int64_t i, const RopeOptions& o) {
  // The reference computes these in f32; it is what the models were trained with.
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(o.rotated);
  const double plain = 1.0f / std::pow(static_cast<float>(o.theta), exponent);
  switch (o.scaling) {
    case RopeScaling::kNone: return plain;
    case RopeScaling::kLinear: return plain / o.factor;
    case RopeScaling::kLlama3: return Llama3(plain, o);
    case RopeScaling::kYarn: {
      const double kept = YarnKept(i, o);
      return plain / o.factor * (1 - kept) + plain * kept;
    }
  }
  return plain;
}

double YarnScale(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

void ReadYarn(const base::Config& keys, RopeOptions& o) {
  double mscale = 0, mscale_all_dim = 0;
  keys.Read("mscale", mscale, 0, 1000);
  keys.Read("mscale_all_dim", mscale_all_dim, 0, 1000);
  o.attention_factor = mscale > 0 && mscale_all_dim > 0
                           ? YarnScale(o.factor, mscale) / YarnScale(o.factor, mscale_all_dim)
                           : YarnScale(o.factor, 1);
  keys.Read("attention_factor", o.attention_factor, 1e-6, 1e6);
  keys.Read("beta_fast", o.beta_fast, 1e-6, 1e6);
  keys.Read("beta_slow", o.beta_slow, 1e-6, 1e6);
  keys.Read("truncate", o.truncate);
}

void ReadSections(const base::Config& keys, std::string_view who, RopeOptions& o) {
  if (!keys.Has("mrope_section")) return;
  std::vector<int64_t> sections;
  keys.Read("mrope_section", sections, 0, 65536);
  Require(sections.size() == 3 && std::accumulate(sections.begin(), sections.end(), int64_t{0}) * 2 == o.rotated, "[",
          who, "] expected mrope_section to be three numbers that add up to half of ", o.rotated);
  std::copy(sections.begin(), sections.end(), o.sections.begin());
  keys.Read("mrope_interleaved", o.is_interleaved);
}

RopeScaling ScalingFromName(const std::string& name, std::string_view who) {
  if (name == "default" || name == "mrope") return RopeScaling::kNone;
  if (name == "linear") return RopeScaling::kLinear;
  if (name == "llama3") return RopeScaling::kLlama3;
  if (name == "yarn") return RopeScaling::kYarn;
  Fail(ErrorCode::kUnimplemented, "[", who, "] the rotary embedding \"", base::PrintableUtf8(name),
       "\" is not implemented; there are default, linear, llama3 and yarn");
}

}  // namespace

RopeOptions ReadRope(const base::Config& config, std::string_view who, const RopeDefaults& defaults) {
  RopeOptions o{.theta = defaults.theta};
  double partial = 1;
  config.Read("rope_theta", o.theta, 1.0001, 1e12);
  config.Read("partial_rotary_factor", partial, 0, 1);
  config.Read("max_position_embeddings", o.original_max_position_embeddings, 1, 1e9);
  const std::string name = config.Has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  std::string kind = "default";
  const std::string layer_type(defaults.layer_type);
  base::Config keys = config.Has(name) ? config.Object(name) : base::Config::Parse("{}", config.source());
  if (!layer_type.empty() && keys.Has(layer_type)) keys = keys.Object(layer_type);
  keys.Read("type", kind);
  keys.Read("rope_type", kind);
  keys.Read("rope_theta", o.theta, 1.0001, 1e12);
  keys.Read("partial_rotary_factor", partial, 0, 1);
  keys.Read("original_max_position_embeddings", o.original_max_position_embeddings, 1, 1e9);
  config.Read("original_max_position_embeddings", o.original_max_position_embeddings, 1, 1e9);
  o.rotated = static_cast<int64_t>(static_cast<double>(defaults.head_dim) * partial);
  Require(o.rotated % 2 == 0 && o.rotated > 0, "[", who, "] expected an even number of rotated elements, got ",
          o.rotated, " of a head of ", defaults.head_dim);
  o.scaling = ScalingFromName(kind, who);
  if (o.scaling != RopeScaling::kNone) {
    Require(keys.Has("factor"), "[", who, "] expected a factor beside the rotary embedding \"", kind, "\"");
    keys.Read("factor", o.factor, 1e-6, 1e6);
  }
  keys.Read("low_freq_factor", o.low_freq_factor, 1e-6, 1e6);
  keys.Read("high_freq_factor", o.high_freq_factor, 1e-6, 1e6);
  Require(o.scaling != RopeScaling::kLlama3 || o.high_freq_factor > o.low_freq_factor, "[", who,
          "] expected high_freq_factor above low_freq_factor, got ", o.high_freq_factor, " and ", o.low_freq_factor);
  if (o.scaling == RopeScaling::kYarn) ReadYarn(keys, o);
  ReadSections(keys, who, o);
  return o;
}

Rotary::Rotary(const RopeOptions& o) : scale_(static_cast<float>(o.attention_factor)) {
  const int64_t R = o.rotated / 2;
  for (int64_t i = 0; i < R; ++i) frequencies_.push_back(static_cast<float>(Frequency(i, o)));
  if (o.sections[0] + o.sections[1] + o.sections[2] == 0) return;
  for (int64_t i = 0; i < R; ++i) {
    // Interleaved, each section ends where its share of the triples does; the rest belongs to time.
    const int64_t axis = o.is_interleaved                    ? (i < 3 * o.sections[i % 3] ? i % 3 : 0)
                         : i < o.sections[0]                 ? 0
                         : i < o.sections[0] + o.sections[1] ? 1
                                                             : 2;
    axes_.push_back(static_cast<int8_t>(axis));
  }
}

Rotary::Angles Rotary::At(const Tensor& positions) const {
  Require(positions.defined() && positions.dtype() == DType::kI64 &&
              (positions.rank() == 2 || (positions.rank() == 3 && positions.dim(0) == 3 && !axes_.empty())),
          "[rotary] expected positions i64 [B,T]", axes_.empty() ? "" : " or [3,B,T]", ", got ", positions.dtype(),
          positions.shape());
  const Tensor dense = positions.Contiguous();
  const int64_t B = dense.dim(-2), T = dense.dim(-1), R = static_cast<int64_t>(frequencies_.size());
  const int64_t stride = dense.rank() == 3 ? B * T : 0;
  Angles angles{Tensor::Empty({B, T, R}), Tensor::Empty({B, T, R})};
  float *cos = angles.cos.mutable_data<float>(), *sin = angles.sin.mutable_data<float>();
  for (int64_t i = 0; i < B * T * R; ++i) {
    const auto at = static_cast<size_t>(i % R);
    const int64_t axis = stride > 0 ? axes_[at] : 0;
    const double angle = static_cast<float>(dense.data<int64_t>()[axis * stride + i / R]) * frequencies_[at];
    cos[i] = static_cast<float>(std::cos(angle)) * scale_;
    sin[i] = static_cast<float>(std::sin(angle)) * scale_;
  }
  return angles;
}

}  // namespace fovea::nn
