// Named points inside a forward, for proof: `h = Stage("block", i, h)` hands `h` to whoever watches on this thread,
// usually nobody.
//
// The parity tests and `fovea verify` compare each stage with the reference and so name the first one that differs.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "tensor/tensor.h"

namespace fovea::nn {

// Calls `watch(name, value)` for each stage passed on this thread while in scope.
class StageWatch {
 public:
  using Function = std::function<void(const std::string& name, const Tensor& value)>;
  explicit StageWatch(Function function);
  ~StageWatch();
  StageWatch(const StageWatch&) = delete;
  StageWatch& operator=(const StageWatch&) = delete;

  static const Function* Active();

 private:
  Function function_;
  const Function* outer_;
};

// Returns `value`.
inline Tensor Stage(std::string_view name, Tensor value) {
  if (const auto* watch = StageWatch::Active()) [[unlikely]]
    (*watch)(std::string(name), value);
  return value;
}
// The same for a numbered stage, "name.index".
inline Tensor Stage(std::string_view name, int64_t index, Tensor value) {
  if (const auto* watch = StageWatch::Active()) [[unlikely]]
    (*watch)(std::string(name) + "." + std::to_string(index), value);
  return value;
}

}  // namespace fovea::nn
