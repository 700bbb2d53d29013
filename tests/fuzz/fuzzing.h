// What the fuzz targets share. A clean `fovea::Error` is the expected answer to bad bytes; any other exception, a
// crash, a leak, a sanitizer report, too much time or too much memory is a finding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "fovea/error.h"
#include "tensor/tensor.h"

namespace fovea::fuzzing {

template <typename Action>
void Try(Action&& action) {
  try {
    action();
  } catch (const Error&) {
  }
}

// Reads every byte of a tensor, so that the sanitizers see one that leaves its storage.
inline void Touch(const Tensor& tensor) {
  const Tensor dense = tensor.Contiguous();
  volatile uint8_t last = 0;
  for (int64_t i = 0; i < dense.size_bytes(); ++i) last = dense.raw()[i];
  (void)last;
}

// Stands for the owner of the input, which outlives every tensor of a run, so that the zero-copy path is taken.
inline std::shared_ptr<const void> InputOwner() { return std::make_shared<int>(0); }

}  // namespace fovea::fuzzing
