// Reads a stored file of named tensors (safetensors, as tools/ writes them) in tests of rooms that do not know the
// readers of src/formats. No checks beyond what a damaged checkout needs. Not part of the library.
#pragma once

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "base/json.h"
#include "testing/golden.h"
#include "testing/testing.h"

namespace fovea::testing {

inline NamedTensors ReadStored(const std::string& relative) {
  const auto mapped = base::MappedFile::Open(SourcePath(relative));
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, mapped->bytes().data(), sizeof(header_bytes));
  const auto text = mapped->bytes().subspan(8, header_bytes);
  const auto header = base::ParseJson({reinterpret_cast<const char*>(text.data()), text.size()}, relative);
  NamedTensors tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const auto shape = entry["shape"].get<std::vector<int64_t>>();
    const auto begin = entry["data_offsets"][0].get<size_t>(), end = entry["data_offsets"][1].get<size_t>();
    const std::string type = entry["dtype"];
    const DType dtype = type == "F32" ? DType::kF32 : type == "U8" ? DType::kU8 : DType::kI64;
    Tensor tensor = Tensor::Empty(Shape(std::span<const int64_t>(shape)), dtype);
    EXPECT_EQ(static_cast<size_t>(tensor.size_bytes()), end - begin) << relative << " " << name;
    std::memcpy(tensor.mutable_raw(), mapped->bytes().data() + 8 + header_bytes + begin, end - begin);
    tensors[name] = tensor;
  }
  return tensors;
}

}  // namespace fovea::testing
