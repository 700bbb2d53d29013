// Replays the cases that tools/dump_ops_golden.py stored: runs an operator on their inputs under a tape and compares
// the output and the gradient of every floating-point input with PyTorch's. Not part of the library.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "fovea/error.h"
#include "tensor/tape.h"
#include "testing/testing.h"

namespace fovea::testing {

using NamedTensors = std::map<std::string, Tensor>;

inline NamedTensors TensorsFromJson(const nlohmann::json& stored) {
  NamedTensors tensors;
  for (const auto& [name, value] : stored.items()) {
    const Shape shape(std::span<const int64_t>(value["shape"].get<std::vector<int64_t>>()));
    const auto& values = value["values"];
    if (!values.empty() && values[0].is_number_integer()) {
      tensors[name] = Tensor::FromValues<int64_t>(shape, values.get<std::vector<int64_t>>());
    } else {
      tensors[name] = Tensor::FromValues<float>(shape, values.get<std::vector<float>>());
    }
  }
  return tensors;
}

// `run(attributes, inputs)` computes the output "y". Repeated with bf16 inputs when `bf16_tolerance` > 0.
inline void ExpectGolden(const std::string& name, float tolerance, float bf16_tolerance,
                         const std::function<Tensor(const nlohmann::json&, const NamedTensors&)>& run) {
  const std::string path = SourcePath("tests/golden/ops/" + name + ".json");
  const nlohmann::json cases = base::ParseJson(base::ReadTextFile(path), path);
  ASSERT_FALSE(cases.empty());
  for (const auto& stored : cases) {
    const std::string what = name + stored["attributes"].dump();
    const NamedTensors outputs = TensorsFromJson(stored["outputs"]);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const float limit = dtype == DType::kF32 ? tolerance : bf16_tolerance;
      if (limit <= 0.0f) continue;
      NamedTensors inputs = TensorsFromJson(stored["inputs"]);
      Tape tape(Tape::Options{.is_training = stored["attributes"].value("training", false)});
      for (auto& [key, tensor] : inputs) {
        if (tensor.dtype() != DType::kF32 || key.starts_with("running")) continue;
        tensor = tensor.To(dtype);
        tape.Watch(tensor);
      }
      const Tensor y = run(stored["attributes"], inputs);
      ExpectClose(y, outputs.at("y"), limit, what);
      const Gradients gradients = tape.Backward(y, outputs.at("dy").To(y.dtype()));
      for (const auto& [key, tensor] : inputs) {
        if (outputs.contains("d" + key)) {
          ASSERT_TRUE(gradients[tensor].defined()) << what << " " << key;
          EXPECT_EQ(gradients[tensor].dtype(), tensor.dtype());
          ExpectClose(gradients[tensor], outputs.at("d" + key), limit, what + " d" + key);
        } else if (key.starts_with("running")) {
          ExpectClose(tensor, outputs.at(key), limit, what + " " + key);
        }
      }
    }
  }
}

// Runs `body` and expects an Error whose message contains `part`.
template <typename Body>
void ExpectError(Body&& body, const std::string& part) {
  try {
    body();
    ADD_FAILURE() << "no error; expected one about " << part;
  } catch (const Error& error) {
    EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
  }
}

}  // namespace fovea::testing
