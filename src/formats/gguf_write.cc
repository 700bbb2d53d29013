#include <algorithm>
#include <set>

#include "base/file.h"
#include "formats/bytes.h"
#include "formats/gguf.h"

namespace fovea::formats {
namespace {

constexpr uint64_t kAlignment = 32;

void Put(std::string& out, const void* data, size_t size) { out.append(static_cast<const char*>(data), size); }
template <typename T>
void PutLittle(std::string& out, T value) {
  Put(out, &value, sizeof(value));
}
void PutString(std::string& out, std::string_view text) {
  PutLittle<uint64_t>(out, text.size());
  out += text;
}

// Type numbers of metadata.
void PutValue(std::string& out, bool value) {
  PutLittle<uint32_t>(out, 7);
  PutLittle<uint8_t>(out, value ? 1 : 0);
}
void PutValue(std::string& out, uint32_t value) {
  PutLittle<uint32_t>(out, 4);
  PutLittle(out, value);
}
void PutValue(std::string& out, int64_t value) {
  PutLittle<uint32_t>(out, 11);
  PutLittle(out, value);
}
void PutValue(std::string& out, float value) {
  PutLittle<uint32_t>(out, 6);
  PutLittle(out, value);
}
void PutValue(std::string& out, const std::string& value) {
  PutLittle<uint32_t>(out, 8);
  PutString(out, value);
}
template <typename T>
void PutValue(std::string& out, const std::vector<T>& values) {
  PutLittle<uint32_t>(out, 9);
  PutLittle<uint32_t>(out, std::is_same_v<T, std::string> ? 8 : std::is_same_v<T, float> ? 6 : 5);
  PutLittle<uint64_t>(out, values.size());
  for (const T& value : values) {
    if constexpr (std::is_same_v<T, std::string>) {
      PutString(out, value);
    } else {
      PutLittle(out, value);
    }
  }
}

// Takes one entry of metadata, which was checked when the file was opened, as it stands.
std::span<const uint8_t> TakeEntry(ByteCursor& cursor, std::string_view& key) {
  constexpr uint64_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  const ByteCursor begin = cursor;
  key = cursor.TakeText(cursor.Read<uint64_t>());
  const auto take = [&](uint32_t type) {
    if (type == 8) {
      cursor.Take(cursor.Read<uint64_t>());
    } else {
      cursor.Take(kBytes[type]);
    }
  };
  const auto type = cursor.Read<uint32_t>();
  if (type == 9) {
    const auto item_type = cursor.Read<uint32_t>();
    const auto count = cursor.Read<uint64_t>();
    for (uint64_t i = 0; i < count; ++i) take(item_type);
  } else {
    take(type);
  }
  ByteCursor whole = begin;
  return whole.Take(cursor.at() - begin.at());
}

uint32_t TypeNumber(const GgufTensor& tensor) {
  if (tensor.block) {
    constexpr uint32_t kNumbers[] = {2, 3, 6, 7, 8, 12, 13, 14};
    return kNumbers[static_cast<int>(*tensor.block)];
  }
  switch (tensor.dtype) {
    case DType::kF32: return 0;
    case DType::kF16: return 1;
    case DType::kBF16: return 30;
    case DType::kI8: return 24;
    case DType::kI16: return 25;
    case DType::kI32: return 26;
    case DType::kI64: return 27;
    case DType::kF64: return 28;
    default: Fail(ErrorCode::kUnimplemented, "[gguf] tensors of type ", tensor.dtype, " cannot be written");
  }
}

uint64_t SizeOf(const GgufTensor& tensor) {
  if (!tensor.block) return static_cast<uint64_t>(tensor.shape.numel() * ItemSize(tensor.dtype));
  const int64_t items = BlockItems(*tensor.block);
  Require(tensor.shape.rank() > 0 && tensor.shape[tensor.shape.rank() - 1] % items == 0,
          "[gguf] expected rows of a multiple of ", items, " items for ", *tensor.block, ", got ", tensor.shape);
  return static_cast<uint64_t>(tensor.shape.numel() / items * BlockBytes(*tensor.block));
}

uint64_t Aligned(uint64_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

std::string Metadata(std::span<const GgufEntry> entries, const GgufFile* kept, uint64_t& count) {
  std::string out;
  std::set<std::string, std::less<>> names = {"general.alignment"};
  for (const GgufEntry& entry : entries) {
    Require(!entry.key.empty() && entry.key.size() <= 65535 && names.insert(entry.key).second,
            "[gguf] expected keys of 1 to 65535 bytes, each once, got \"",
            base::PrintableUtf8(entry.key.substr(0, 200)), "\"");
    PutString(out, entry.key);
    std::visit([&](const auto& value) { PutValue(out, value); }, entry.value);
    ++count;
  }
  if (kept != nullptr) {
    ByteCursor cursor(kept->metadata_bytes(), "gguf", kept->metadata().source());
    while (cursor.remaining() > 0) {
      std::string_view key;
      const auto bytes = TakeEntry(cursor, key);
      if (names.contains(key)) continue;
      Put(out, bytes.data(), bytes.size());
      ++count;
    }
  }
  return out;
}

}  // namespace

void WriteGguf(const std::string& path, std::span<const GgufEntry> entries, const GgufFile* kept,
               std::span<const GgufTensor> tensors) {
  uint64_t value_count = 0, offset = 0;
  const std::string metadata = Metadata(entries, kept, value_count);
  std::string head = "GGUF";
  PutLittle<uint32_t>(head, 3);
  PutLittle<uint64_t>(head, tensors.size());
  PutLittle<uint64_t>(head, value_count);
  head += metadata;
  std::set<std::string_view> names;
  for (const GgufTensor& tensor : tensors) {
    Require(!tensor.name.empty() && tensor.name.size() <= 64 && names.insert(tensor.name).second,
            "[gguf] expected names of tensors of 1 to 64 bytes, each once, got \"",
            base::PrintableUtf8(tensor.name.substr(0, 200)), "\"");
    Require(tensor.shape.rank() <= 4 && tensor.bytes.size() == SizeOf(tensor), "[gguf] expected ", SizeOf(tensor),
            " bytes and at most 4 dimensions for \"", tensor.name, "\" ", tensor.shape, ", got ", tensor.bytes.size());
    PutString(head, tensor.name);
    PutLittle<uint32_t>(head, static_cast<uint32_t>(tensor.shape.rank()));
    for (int i = tensor.shape.rank() - 1; i >= 0; --i) PutLittle<int64_t>(head, tensor.shape[i]);
    PutLittle<uint32_t>(head, TypeNumber(tensor));
    PutLittle<uint64_t>(head, offset);
    offset += Aligned(tensor.bytes.size());
  }
  head.resize(Aligned(head.size()), '\0');
  static constexpr uint8_t kZeros[kAlignment] = {};
  std::vector<std::span<const uint8_t>> pieces = {{reinterpret_cast<const uint8_t*>(head.data()), head.size()}};
  for (const GgufTensor& tensor : tensors) {
    pieces.push_back(tensor.bytes);
    pieces.emplace_back(kZeros, Aligned(tensor.bytes.size()) - tensor.bytes.size());
  }
  base::WriteFileAtomically(path, pieces);
}

}  // namespace fovea::formats
