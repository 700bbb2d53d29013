#include "testing/testing.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"

namespace fovea::testing {
namespace {

// SplitMix64 (Steele et al. 2014): small, seedable, identical everywhere, unlike the standard distributions.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  double Normal() { return std::sqrt(-2.0 * std::log(1.0 - Uniform())) * std::cos(2.0 * M_PI * Uniform()); }

 private:
  uint64_t state_;
};

template <typename Draw>
Tensor Filled(const Shape& shape, DType dtype, Draw&& draw) {
  Tensor tensor = Tensor::Empty(shape);
  for (float& value : std::span<float>(tensor.mutable_data<float>(), static_cast<size_t>(tensor.numel())))
    value = static_cast<float>(draw());
  return tensor.To(dtype);
}

double WeightedSum(const Tensor& values, const Tensor& weights) {
  const Tensor dense = values.Contiguous();
  double sum = 0;
  for (int64_t i = 0; i < dense.numel(); ++i)
    sum += static_cast<double>(dense.data<float>()[i]) * weights.data<float>()[i];
  return sum;
}

}  // namespace

std::string SourcePath(const std::string& relative) { return std::string(FOVEA_SOURCE_DIR) + "/" + relative; }

std::string FoveaBinary() { return FOVEA_BINARY; }
std::string MpiLauncher() { return FOVEA_MPIRUN; }

std::string ShardPath(const std::string& name) {
  const std::string path = SourcePath("../shared/data/" + name);
  return std::filesystem::exists(path) ? path : "";
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "fovea-test-XXXXXX").string();
  Require(::mkdtemp(pattern.data()) != nullptr, "[testing] cannot create ", pattern);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Tensor RandomNormal(const Shape& shape, uint64_t seed, float scale, DType dtype) {
  Random random(seed);
  return Filled(shape, dtype, [&] { return scale * random.Normal(); });
}

Tensor RandomUniform(const Shape& shape, uint64_t seed, float low, float high, DType dtype) {
  Random random(seed);
  return Filled(shape, dtype, [&] { return low + (high - low) * random.Uniform(); });
}

Tensor RandomIntegers(const Shape& shape, uint64_t seed, int64_t low, int64_t high) {
  Random random(seed);
  Tensor tensor = Tensor::Empty(shape, DType::kI64);
  for (int64_t i = 0; i < tensor.numel(); ++i)
    tensor.mutable_data<int64_t>()[i] = low + static_cast<int64_t>(random.Next() % static_cast<uint64_t>(high - low));
  return tensor;
}

float Tolerance(DType dtype, int64_t terms, float scale) {
  const float epsilon = dtype == DType::kBF16 ? 0x1p-8f : dtype == DType::kF16 ? 0x1p-11f : 0x1p-24f;
  // Errors of a sum grow like the square root of its length; 8 covers the tails.
  return 8.0f * epsilon * scale * std::sqrt(static_cast<float>(std::max<int64_t>(terms, 1)));
}

void ExpectClose(const Tensor& actual, const Tensor& expected, float tolerance, const std::string& what) {
  ASSERT_EQ(actual.shape(), expected.shape()) << what;
  const Tensor a = actual.To(DType::kF32).Contiguous();
  const Tensor e = expected.To(DType::kF32).Contiguous();
  int64_t worst = -1;
  float worst_error = tolerance;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const float x = a.data<float>()[i], y = e.data<float>()[i];
    const bool same = x == y || (std::isnan(x) && std::isnan(y));
    const float error = same ? 0.0f : std::isfinite(x - y) ? std::fabs(x - y) : INFINITY;
    if (error > worst_error) {
      worst = i;
      worst_error = error;
    }
  }
  if (worst >= 0) {
    ADD_FAILURE() << what << " " << a.shape() << ": element " << worst << " is " << a.data<float>()[worst]
                  << ", expected " << e.data<float>()[worst] << ", error " << worst_error << " > " << tolerance;
  }
}

void ExpectGradientsMatch(const std::function<Tensor(const std::vector<Tensor>&)>& f, const std::vector<Tensor>& inputs,
                          float step, float tolerance, int max_probes) {
  std::vector<Tensor> leaves;
  for (const Tensor& input : inputs) leaves.push_back(input.defined() ? input.Clone() : input);
  Tape tape(Tape::Options{.is_training = false});
  for (const Tensor& leaf : leaves) {
    if (leaf.defined() && leaf.dtype() == DType::kF32) tape.Watch(leaf);
  }
  const Tensor output = f(leaves);
  const Tensor weights = RandomUniform(output.shape(), 7, 0.5f, 1.5f);
  const Gradients gradients = tape.Backward(output, weights);
  const Tape::Pause pause;
  for (size_t which = 0; which < leaves.size(); ++which) {
    const Tensor& leaf = leaves[which];
    if (!leaf.defined() || leaf.dtype() != DType::kF32) continue;
    const Tensor gradient = gradients[leaf];
    ASSERT_TRUE(gradient.defined()) << "input " << which << " got no gradient";
    ASSERT_EQ(gradient.shape(), leaf.shape()) << "input " << which;
    const Tensor dense = gradient.Contiguous();
    float scale = 1.0f;
    for (const float value : dense.values<float>()) scale = std::max(scale, std::fabs(value));
    const int64_t stride = std::max<int64_t>(1, leaf.numel() / max_probes);
    for (int64_t at = 0; at < leaf.numel(); at += stride) {
      float* element = leaf.mutable_data<float>() + at;
      const float kept = *element;
      *element = kept + step;
      const double above = WeightedSum(f(leaves), weights);
      *element = kept - step;
      const double below = WeightedSum(f(leaves), weights);
      *element = kept;
      const double numeric = (above - below) / (2.0 * step);
      EXPECT_NEAR(dense.data<float>()[at], numeric, tolerance * scale)
          << "input " << which << " " << leaf.shape() << " element " << at;
    }
  }
}

}  // namespace fovea::testing
