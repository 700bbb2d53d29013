// NumPy's .npy: one array in one file. Used for reference values in tests and for exchanging embeddings.
//
// Reads versions 1, 2 and 3, C and Fortran order, for f4 f8 f2 i8 i4 i2 i1 u1 b1 in little endian; other types (big
// endian, objects, texts, unsigned above 8 bits, complex) are refused by name. Writes version 1. Not .npz.
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "tensor/tensor.h"

namespace fovea::formats {

// Throws kNotFound, kIo, kCorruptData or kUnimplemented. The tensor points into the mapped file unless it is in Fortran
// order.
Tensor ReadNpy(const std::string& path);

// The same from bytes in memory, called `source` in errors; without an owner the tensor is a copy.
Tensor ParseNpy(std::span<const uint8_t> bytes, const std::string& source, std::shared_ptr<const void> owner = nullptr);

// Writes `tensor` in C order; the file is replaced whole or not at all. Throws kInvalidArgument for bf16, which NumPy
// does not have; kIo.
void WriteNpy(const std::string& path, const Tensor& tensor);

}  // namespace fovea::formats
