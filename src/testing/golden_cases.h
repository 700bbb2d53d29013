// Reading reference values from tests/golden/ops/NAME.json: a list of cases with inputs, output y, weight w, and the
// gradients of sum(y * w), as written by the scripts in tools/.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "tensor/tape.h"
#include "testing/testing.h"

namespace fovea::testing {

inline std::vector<nlohmann::json> GoldenCases(const std::string& name) {
  const std::string path = SourcePath("tests/golden/ops/" + name + ".json");
  return base::ParseJson(base::ReadTextFile(path), path);
}

inline Tensor GoldenTensor(const nlohmann::json& stored) {
  std::vector<float> values;
  for (const nlohmann::json& value : stored["values"]) {
    const bool is_negative = value.is_string() && value == "-inf";
    values.push_back(value.is_string() ? (is_negative ? -1 : 1) * std::numeric_limits<float>::infinity()
                                       : value.get<float>());
  }
  return Tensor::FromValues<float>(Shape(stored["shape"].get<std::vector<int64_t>>()), std::span<const float>(values));
}

// Runs `f` on the inputs of `keys` (undefined where a case has no such input) and compares y and all gradients.
inline void ExpectMatchesGolden(const nlohmann::json& stored, const std::vector<std::string>& keys,
                                const std::function<Tensor(const std::vector<Tensor>&)>& f, float tolerance) {
  const std::string name = stored["name"].get<std::string>();
  std::vector<Tensor> inputs;
  for (const std::string& key : keys)
    inputs.push_back(stored["inputs"].contains(key) ? GoldenTensor(stored["inputs"][key]) : Tensor());
  ExpectClose(f(inputs), GoldenTensor(stored["y"]), tolerance, name);  // without a tape: the fused path
  Tape tape;
  for (const Tensor& input : inputs) {
    if (input.defined()) tape.Watch(input);
  }
  const Tensor y = f(inputs);
  ExpectClose(y, GoldenTensor(stored["y"]), tolerance, name + ", recorded");
  const Gradients gradients = tape.Backward(y, GoldenTensor(stored["w"]));
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!inputs[i].defined()) continue;
    ASSERT_TRUE(gradients[inputs[i]].defined()) << name << ": no gradient of " << keys[i];
    ExpectClose(gradients[inputs[i]], GoldenTensor(stored["gradients"][keys[i]]), tolerance,
                name + ": gradient of " + keys[i]);
  }
}

}  // namespace fovea::testing
