// GGUF: one file with a model's weights in blocks, its configuration, its tokenizer and its chat template
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Versions 2 and 3, little endian.
//
//   const auto file = GgufFile::Open("model.gguf");
//   const auto architecture = file.metadata().Require<std::string>("general.architecture");
//   const GgufTensor& words = file.tensors()[0];      // bytes of the mapped file, no copy
//
// Everything is checked on opening and nothing is allocated by a count that the bytes could not hold: keys and tensors
// are named once, strings and arrays end inside the file, sizes are whole blocks, and the data of tensors lies inside
// the file, aligned, without overlap. Arrays (a vocabulary of 262,144 words) are decoded when somebody asks for them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "tensor/block_type.h"
#include "tensor/tensor.h"

namespace fovea::formats {

// The metadata of a file: names with typed values. Cheap to copy; keeps the mapped file.
class GgufMetadata {
 public:
  // A list as it lies in the file.
  struct Array {
    uint32_t item_type;
    uint64_t count;
    std::span<const uint8_t> bytes;
  };
  using Value = std::variant<bool, int64_t, double, std::string_view, Array>;

  bool Has(std::string_view key) const { return values_.contains(std::string(key)); }
  // The value of `key`, or `fallback` when there is none. T: bool, int64_t, double, std::string, and vectors of the
  // last three and of bool. Integers are taken for double. Another type throws kInvalidArgument naming file, key, and
  // what was found.
  template <typename T>
  T Get(std::string_view key, const T& fallback) const;
  template <typename T>
  T Require(std::string_view key) const;
  // Number of items of a list; 0 when there is no such key. Throws when it is no list.
  int64_t Count(std::string_view key) const;

  // The same with a copy of its bytes, so that the file need not stay mapped.
  GgufMetadata Detached() const;

  std::vector<std::string> Keys() const { return keys_; }  // in the order of the file
  const std::string& source() const { return source_; }

 private:
  friend class GgufFile;
  const Value& Find(std::string_view key) const;

  std::string source_;
  std::vector<std::string> keys_;
  std::unordered_map<std::string, Value> values_;
  std::span<const uint8_t> bytes_;     // that strings and arrays point into
  std::shared_ptr<const void> owner_;  // of them
};

// The weights of one tensor as they lie in the file.
struct GgufTensor {
  std::string name;
  Shape shape;                     // row-major: the last axis is GGUF's first
  std::optional<BlockType> block;  // blocks, or
  DType dtype = DType::kF32;       // else: plain elements
  std::span<const uint8_t> bytes;
};

class GgufFile {
 public:
  // Maps `path`. Throws kNotFound, kIo, kCorruptData, kResourceExhausted, or kUnimplemented (a version, a byte order or
  // an element type that Fovea does not read, by name). Every message names the file.
  static GgufFile Open(const std::string& path);
  // Bytes in memory, called `source` in errors, which live as long as `owner`.
  static GgufFile Parse(std::span<const uint8_t> bytes, const std::string& source, std::shared_ptr<const void> owner);

  const GgufMetadata& metadata() const { return metadata_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  // The plain elements of a tensor without blocks; borrowed from the file.
  Tensor Plain(const GgufTensor& tensor) const;
  uint32_t version() const { return version_; }
  // The bytes of the metadata's entries as they stand in the file, for writing them again.
  std::span<const uint8_t> metadata_bytes() const { return metadata_.bytes_; }

 private:
  std::vector<GgufTensor> tensors_;
  GgufMetadata metadata_;
  uint32_t version_ = 0;
};

// Whether these first bytes of a file are those of GGUF.
inline bool IsGguf(std::span<const uint8_t> bytes) {
  return bytes.size() >= 4 && bytes[0] == 'G' && bytes[1] == 'G' && bytes[2] == 'U' && bytes[3] == 'F';
}

// What a written file says of itself. Lists are of one type.
using GgufSetting = std::variant<bool, uint32_t, int64_t, float, std::string, std::vector<std::string>,
                                 std::vector<float>, std::vector<int32_t>>;
struct GgufEntry {
  std::string key;
  GgufSetting value;
};

// Writes version 3; the file replaces `path` whole or not at all. `kept`: entries of another file, taken over but for
// the keys that `entries` names (and general.alignment). Throws kInvalidArgument for names that are empty, repeated or
// longer than 64 bytes (of tensors) or 65,535 (of keys), and for bytes that do not fit a tensor's shape; kIo.
void WriteGguf(const std::string& path, std::span<const GgufEntry> entries, const GgufFile* kept,
               std::span<const GgufTensor> tensors);

}  // namespace fovea::formats
