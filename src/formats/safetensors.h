// Safetensors: named tensors behind a JSON header (https://github.com/huggingface/safetensors). The format of all
// weights that Fovea writes.
//
//   const auto file = SafetensorsFile::Open("model.safetensors");
//   Tensor weight = file.Get("conv_stem.weight");        // points into the mapped file, no copy
//
// The header is read by a streaming parser, so that a name given twice is seen (a DOM keeps the last silently) and a
// hostile header builds no tree. Everything is checked on opening: header at most 100 MB and inside the file, known
// types, sizes equal to shape times item size, and data ranges that tile the rest of the file without gap, overlap or
// trailing bytes. Opening touches only the header's pages. A file that another process shortens while it is mapped is
// not guarded against.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "tensor/named_tensor.h"

namespace fovea::formats {

// Where one tensor lies in a file.
struct TensorInfo {
  std::string name;
  DType dtype;
  Shape shape;
  int64_t offset_bytes;  // from the start of the file
  int64_t size_bytes;
};

using Metadata = std::map<std::string, std::string>;

class SafetensorsFile {
 public:
  // Maps `path`. Throws kNotFound, kIo, kCorruptData, kResourceExhausted (header over the limit) or kUnimplemented (an
  // element type that Fovea does not have, by name). Every message names the file.
  static SafetensorsFile Open(const std::string& path);
  // Bytes in memory, called `source` in errors. Tensors point into `bytes` and keep `owner` alive; without an owner
  // they are copies.
  static SafetensorsFile Parse(std::span<const uint8_t> bytes, const std::string& source,
                               std::shared_ptr<const void> owner = nullptr);

  // In the order of their data in the file.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const Metadata& metadata() const { return metadata_; }
  bool Has(const std::string& name) const { return index_.contains(name); }
  // Throws kNotFound. Borrowed from the file when its place suits the element type, else a copy.
  Tensor Get(const std::string& name) const;
  std::vector<NamedTensor> GetAll() const;

 private:
  Tensor Read(const TensorInfo& info) const;

  std::span<const uint8_t> bytes_;
  std::string source_;
  std::shared_ptr<const void> owner_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> index_;
  Metadata metadata_;
};

// Writes a file that replaces `path` whole or not at all. Data starts at a multiple of 64 bytes and tensors are ordered
// by item size, largest first (otherwise as given), so that each is aligned for its type. Strided views are written
// contiguously. Throws kInvalidArgument for a name that is empty, repeated, reserved or not UTF-8 and for an undefined
// tensor; kIo.
void WriteSafetensors(const std::string& path, std::span<const NamedTensor> tensors, const Metadata& metadata = {});

}  // namespace fovea::formats
