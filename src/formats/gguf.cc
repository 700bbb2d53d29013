#include "formats/gguf.h"

#include <algorithm>
#include <unordered_set>

#include "base/file.h"
#include "formats/bytes.h"

namespace fovea::formats {
namespace {

constexpr uint64_t kMaxNameBytes = 65535, kMaxTensorNameBytes = 1024;
constexpr int64_t kMaxDims = 4;
constexpr int64_t kDefaultAlignment = 32;

// Types of metadata.
enum : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64, kTypes };
constexpr const char* kTypeNames[] = {"u8",   "i8",     "u16",  "i16", "u32", "i32", "f32",
                                      "bool", "string", "list", "u64", "i64", "f64"};
constexpr uint64_t kTypeBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};  // at least, for strings and lists

// Types of tensors, by number. Those we do not read are known by name, for the error.
struct TensorType {
  uint32_t number;
  const char* name;
  std::optional<BlockType> block;
  std::optional<DType> dtype;
};
constexpr TensorType kTensorTypes[] = {
    {0, "F32", {}, DType::kF32},
    {1, "F16", {}, DType::kF16},
    {2, "Q4_0", BlockType::kQ4_0, {}},
    {3, "Q4_1", BlockType::kQ4_1, {}},
    {6, "Q5_0", BlockType::kQ5_0, {}},
    {7, "Q5_1", BlockType::kQ5_1, {}},
    {8, "Q8_0", BlockType::kQ8_0, {}},
    {9, "Q8_1", {}, {}},
    {10, "Q2_K", {}, {}},
    {11, "Q3_K", {}, {}},
    {12, "Q4_K", BlockType::kQ4_K, {}},
    {13, "Q5_K", BlockType::kQ5_K, {}},
    {14, "Q6_K", BlockType::kQ6_K, {}},
    {15, "Q8_K", {}, {}},
    {16, "IQ2_XXS", {}, {}},
    {17, "IQ2_XS", {}, {}},
    {18, "IQ3_XXS", {}, {}},
    {19, "IQ1_S", {}, {}},
    {20, "IQ4_NL", {}, {}},
    {21, "IQ3_S", {}, {}},
    {22, "IQ2_S", {}, {}},
    {23, "IQ4_XS", {}, {}},
    {24, "I8", {}, DType::kI8},
    {25, "I16", {}, DType::kI16},
    {26, "I32", {}, DType::kI32},
    {27, "I64", {}, DType::kI64},
    {28, "F64", {}, DType::kF64},
    {29, "IQ1_M", {}, {}},
    {30, "BF16", {}, DType::kBF16},
    {34, "TQ1_0", {}, {}},
    {35, "TQ2_0", {}, {}},
    {39, "MXFP4", {}, {}},
};

std::string Shown(std::string_view name) { return base::PrintableUtf8(name.substr(0, 200)); }

std::string_view TakeString(ByteCursor& cursor) { return cursor.TakeText(cursor.Read<uint64_t>()); }

std::string_view TakeName(ByteCursor& cursor, uint64_t most, const char* what, const std::string& source) {
  const auto size = cursor.Read<uint64_t>();
  RequireData(size > 0 && size <= most, "[gguf] ", source, ": expected the name of ", what, " to have 1 to ", most,
              " bytes, got ", size, " at byte ", cursor.at() - 8);
  return cursor.TakeText(size);
}

// An integer or a float of `type` at `data`.
std::variant<int64_t, double> NumberAt(const uint8_t* data, uint32_t type) {
  switch (type) {
    case kU8: return int64_t{*data};
    case kI8: return int64_t{LoadLittle<int8_t>(data)};
    case kU16: return int64_t{LoadLittle<uint16_t>(data)};
    case kI16: return int64_t{LoadLittle<int16_t>(data)};
    case kU32: return int64_t{LoadLittle<uint32_t>(data)};
    case kI32: return int64_t{LoadLittle<int32_t>(data)};
    case kU64: return static_cast<int64_t>(std::min<uint64_t>(LoadLittle<uint64_t>(data), INT64_MAX));
    case kI64: return LoadLittle<int64_t>(data);
    case kF32: return static_cast<double>(LoadLittle<float>(data));
    default: return LoadLittle<double>(data);
  }
}

GgufMetadata::Value TakeValue(ByteCursor& cursor, const std::string& what) {
  const auto type = cursor.Read<uint32_t>();
  RequireData(type < kTypes, "[gguf] ", what, ": expected a type of metadata below ", int{kTypes}, ", got ", type);
  if (type == kString) return TakeString(cursor);
  if (type == kBool) {
    const auto value = cursor.Read<uint8_t>();
    RequireData(value <= 1, "[gguf] ", what, ": expected true (1) or false (0), got ", int{value});
    return value == 1;
  }
  if (type != kArray) {
    const auto number = NumberAt(cursor.Take(kTypeBytes[type]).data(), type);
    if (const auto* integer = std::get_if<int64_t>(&number)) return *integer;
    return std::get<double>(number);
  }
  GgufMetadata::Array array{cursor.Read<uint32_t>(), cursor.Read<uint64_t>(), {}};
  RequireData(array.item_type < kTypes, "[gguf] ", what, ": expected a type of items below ", int{kTypes}, ", got ",
              array.item_type);
  if (array.item_type == kArray) Fail(ErrorCode::kUnimplemented, "[gguf] ", what, ": lists of lists are not read");
  RequireData(array.count <= cursor.remaining() / kTypeBytes[array.item_type], "[gguf] ", what, ": a list of ",
              array.count, " x ", kTypeNames[array.item_type], " does not fit into the ", cursor.remaining(),
              " bytes that are left");
  if (array.item_type == kString) {
    ByteCursor end = cursor;
    for (uint64_t i = 0; i < array.count; ++i) TakeString(end);
    array.bytes = cursor.Take(end.at() - cursor.at());
  } else {
    array.bytes = cursor.Take(array.count * kTypeBytes[array.item_type]);
  }
  if (array.item_type == kBool) {
    const bool is_clean = std::ranges::all_of(array.bytes, [](uint8_t byte) { return byte <= 1; });
    RequireData(is_clean, "[gguf] ", what, ": expected booleans to be 0 or 1");
  }
  return array;
}

std::string FoundType(const GgufMetadata::Value& value) {
  constexpr const char* kNames[] = {"true or false", "an integer", "a fraction", "a text"};
  if (const auto* array = std::get_if<GgufMetadata::Array>(&value))
    return base::StrCat("a list of ", array->count, " x ", kTypeNames[array->item_type]);
  return kNames[value.index()];
}

// How a value becomes T; false when it is of another type.
bool Convert(const GgufMetadata::Value& value, bool& out) {
  const auto* found = std::get_if<bool>(&value);
  if (found != nullptr) out = *found;
  return found != nullptr;
}
bool Convert(const GgufMetadata::Value& value, int64_t& out) {
  const auto* found = std::get_if<int64_t>(&value);
  if (found != nullptr) out = *found;
  return found != nullptr;
}
bool Convert(const GgufMetadata::Value& value, double& out) {
  if (const auto* integer = std::get_if<int64_t>(&value)) {
    out = static_cast<double>(*integer);
    return true;
  }
  const auto* found = std::get_if<double>(&value);
  if (found != nullptr) out = *found;
  return found != nullptr;
}
bool Convert(const GgufMetadata::Value& value, std::string& out) {
  const auto* found = std::get_if<std::string_view>(&value);
  if (found != nullptr) out = *found;
  return found != nullptr;
}
bool Convert(const GgufMetadata::Value& value, std::vector<std::string>& out) {
  const auto* array = std::get_if<GgufMetadata::Array>(&value);
  if (array == nullptr || (array->item_type != kString && array->count > 0)) return false;
  out.clear();
  out.reserve(array->count);
  const std::string source;
  ByteCursor cursor(array->bytes, "gguf", source);
  for (uint64_t i = 0; i < array->count; ++i) out.emplace_back(TakeString(cursor));
  return true;
}
bool Convert(const GgufMetadata::Value& value, std::vector<bool>& out) {
  const auto* array = std::get_if<GgufMetadata::Array>(&value);
  if (array == nullptr || (array->item_type != kBool && array->count > 0)) return false;
  out.assign(array->bytes.begin(), array->bytes.end());
  return true;
}
template <typename Number>
bool Convert(const GgufMetadata::Value& value, std::vector<Number>& out) {
  const auto* array = std::get_if<GgufMetadata::Array>(&value);
  if (array == nullptr || array->item_type == kString || array->item_type == kBool) return false;
  const bool is_float = array->item_type == kF32 || array->item_type == kF64;
  if (std::is_same_v<Number, int64_t> && is_float) return false;
  out.resize(array->count);
  for (uint64_t i = 0; i < array->count; ++i) {
    const auto number = NumberAt(array->bytes.data() + i * kTypeBytes[array->item_type], array->item_type);
    out[i] = std::visit([](auto n) { return static_cast<Number>(n); }, number);
  }
  return true;
}

template <typename T>
constexpr const char* kWanted = "";
template <>
constexpr const char* kWanted<bool> = "true or false";
template <>
constexpr const char* kWanted<int64_t> = "an integer";
template <>
constexpr const char* kWanted<double> = "a number";
template <>
constexpr const char* kWanted<std::string> = "a text";
template <>
constexpr const char* kWanted<std::vector<bool>> = "a list of true and false";
template <>
constexpr const char* kWanted<std::vector<int64_t>> = "a list of integers";
template <>
constexpr const char* kWanted<std::vector<double>> = "a list of numbers";
template <>
constexpr const char* kWanted<std::vector<std::string>> = "a list of texts";

// One entry of the table of tensors, its offset still relative to the data.
struct Entry {
  GgufTensor tensor;
  uint64_t offset, size;
};

Entry TakeTensor(ByteCursor& cursor, const std::string& source, uint64_t alignment) {
  Entry entry;
  entry.tensor.name = TakeName(cursor, kMaxTensorNameBytes, "a tensor", source);
  const std::string what = source + ": tensor \"" + Shown(entry.tensor.name) + "\"";
  const auto rank = cursor.Read<uint32_t>();
  RequireData(rank <= kMaxDims, "[gguf] ", what, ": expected at most ", kMaxDims, " dimensions, got ", rank);
  std::vector<int64_t> dims(rank);
  for (uint32_t i = 0; i < rank; ++i) dims[rank - 1 - i] = cursor.Read<int64_t>();
  entry.tensor.shape = CheckedShape(dims, "gguf", what);
  const auto number = cursor.Read<uint32_t>();
  const auto* type = std::ranges::find(kTensorTypes, number, &TensorType::number);
  if (type == std::end(kTensorTypes))
    Fail(ErrorCode::kUnimplemented, "[gguf] ", what, " has element type number ", number, ", which is not known");
  if (!type->block && !type->dtype) {
    Fail(ErrorCode::kUnimplemented, "[gguf] ", what, " has element type ", type->name,
         ", which is not read; hint: take a file in Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, F16, BF16 or F32");
  }
  entry.tensor.block = type->block;
  if (type->dtype) {
    entry.tensor.dtype = *type->dtype;
    entry.size = static_cast<uint64_t>(entry.tensor.shape.numel() * ItemSize(*type->dtype));
  } else {
    const int64_t items = BlockItems(*type->block);
    RequireData(rank > 0 && dims.back() % items == 0, "[gguf] ", what, ": expected rows of a multiple of ", items,
                " items for ", type->name, ", got ", entry.tensor.shape);
    entry.size = static_cast<uint64_t>(entry.tensor.shape.numel() / items * BlockBytes(*type->block));
  }
  entry.offset = cursor.Read<uint64_t>();
  RequireData(entry.offset % alignment == 0, "[gguf] ", what, ": expected data at a multiple of ", alignment,
              " bytes, got ", entry.offset);
  return entry;
}

// Gives every tensor its bytes of `data`, which must not overlap.
void PlaceTensors(std::vector<Entry>& entries, std::span<const uint8_t> data, const std::string& source) {
  std::vector<Entry*> ordered;
  for (Entry& entry : entries) {
    const auto [tensor, offset, size] = entry;
    RequireData(offset <= data.size() && size <= data.size() - offset, "[gguf] ", source, ": tensor \"",
                Shown(tensor.name), "\" needs ", size, " bytes at ", offset, " of the data, which has only ",
                data.size(), "; hint: the file may be cut short");
    entry.tensor.bytes = data.subspan(offset, size);
    if (size > 0) ordered.push_back(&entry);
  }
  std::ranges::sort(ordered, {}, [](const Entry* entry) { return entry->offset; });
  for (size_t i = 1; i < ordered.size(); ++i) {
    RequireData(ordered[i - 1]->offset + ordered[i - 1]->size <= ordered[i]->offset, "[gguf] ", source,
                ": the data of tensors \"", Shown(ordered[i - 1]->tensor.name), "\" and \"",
                Shown(ordered[i]->tensor.name), "\" overlaps");
  }
}

}  // namespace

const GgufMetadata::Value& GgufMetadata::Find(std::string_view key) const {
  const auto found = values_.find(std::string(key));
  if (found == values_.end())
    Fail(ErrorCode::kInvalidArgument, "[gguf] ", source_, " lacks the metadata \"", Shown(key), "\"");
  return found->second;
}

template <typename T>
T GgufMetadata::Require(std::string_view key) const {
  const Value& value = Find(key);
  T converted{};
  if (!Convert(value, converted)) {
    Fail(ErrorCode::kInvalidArgument, "[gguf] expected ", kWanted<T>, " for \"", Shown(key), "\" in ", source_,
         ", got ", FoundType(value));
  }
  return converted;
}

template <typename T>
T GgufMetadata::Get(std::string_view key, const T& fallback) const {
  return Has(key) ? Require<T>(key) : fallback;
}

#define FOVEA_INSTANTIATE(T)                                   \
  template T GgufMetadata::Require<T>(std::string_view) const; \
  template T GgufMetadata::Get<T>(std::string_view, const T&) const;
FOVEA_INSTANTIATE(bool)
FOVEA_INSTANTIATE(int64_t)
FOVEA_INSTANTIATE(double)
FOVEA_INSTANTIATE(std::string)
FOVEA_INSTANTIATE(std::vector<bool>)
FOVEA_INSTANTIATE(std::vector<int64_t>)
FOVEA_INSTANTIATE(std::vector<double>)
FOVEA_INSTANTIATE(std::vector<std::string>)
#undef FOVEA_INSTANTIATE

GgufMetadata GgufMetadata::Detached() const {
  const auto copy = std::make_shared<const std::vector<uint8_t>>(bytes_.begin(), bytes_.end());
  GgufMetadata detached = *this;
  detached.bytes_ = *copy;
  detached.owner_ = copy;
  for (auto& [key, value] : detached.values_) {
    if (auto* text = std::get_if<std::string_view>(&value)) {
      const auto at = reinterpret_cast<const uint8_t*>(text->data()) - bytes_.data();
      *text = AsText(detached.bytes_.subspan(static_cast<size_t>(at), text->size()));
    } else if (auto* array = std::get_if<Array>(&value)) {
      const auto at = static_cast<size_t>(array->bytes.data() - bytes_.data());
      array->bytes = detached.bytes_.subspan(at, array->bytes.size());
    }
  }
  return detached;
}

int64_t GgufMetadata::Count(std::string_view key) const {
  if (!Has(key)) return 0;
  const Value& value = Find(key);
  const auto* array = std::get_if<Array>(&value);
  fovea::Require(array != nullptr, "[gguf] expected a list for \"", Shown(key), "\" in ", source_, ", got ",
                 FoundType(value));
  return static_cast<int64_t>(array->count);
}

GgufFile GgufFile::Open(const std::string& path) {
  const auto mapped = base::MappedFile::Open(path);
  return Parse(mapped->bytes(), base::PrintableUtf8(path), mapped);
}

GgufFile GgufFile::Parse(std::span<const uint8_t> bytes, const std::string& source, std::shared_ptr<const void> owner) {
  RequireData(IsGguf(bytes), "[gguf] expected ", source, " to start with \"GGUF\"; hint: probably not a GGUF file");
  ByteCursor cursor(bytes, "gguf", source, 4);
  GgufFile file;
  file.version_ = cursor.Read<uint32_t>();
  if ((file.version_ & 0xFFFF) == 0 && file.version_ != 0)
    Fail(ErrorCode::kUnimplemented, "[gguf] ", source, " is big endian; only little-endian files are read");
  if (file.version_ != 2 && file.version_ != 3)
    Fail(ErrorCode::kUnimplemented, "[gguf] ", source, " is of version ", file.version_, "; versions 2 and 3 are read");
  const auto tensor_count = cursor.Read<uint64_t>(), value_count = cursor.Read<uint64_t>();
  // The shortest entries: a name of one byte, a type and one byte; a name of one byte, no dimensions, type, offset.
  RequireData(value_count <= cursor.remaining() / 14 && tensor_count <= cursor.remaining() / 25, "[gguf] ", source,
              " declares ", value_count, " entries of metadata and ", tensor_count, " tensors, more than its ",
              bytes.size(), " bytes can hold");
  file.metadata_.source_ = source;
  file.metadata_.owner_ = std::move(owner);
  const size_t begin = cursor.at();
  for (uint64_t i = 0; i < value_count; ++i) {
    const std::string key(TakeName(cursor, kMaxNameBytes, "an entry", source));
    const auto value = TakeValue(cursor, source + ": \"" + Shown(key) + "\"");
    RequireData(file.metadata_.values_.emplace(key, value).second, "[gguf] ", source, " has the entry \"", Shown(key),
                "\" twice");
    file.metadata_.keys_.push_back(key);
  }
  file.metadata_.bytes_ = bytes.subspan(begin, cursor.at() - begin);
  const auto alignment = file.metadata_.Get<int64_t>("general.alignment", kDefaultAlignment);
  RequireData(alignment > 0 && alignment <= (1 << 20) && (alignment & (alignment - 1)) == 0, "[gguf] ", source,
              ": expected general.alignment to be a power of two up to 2^20, got ", alignment);
  std::vector<Entry> entries;
  std::unordered_set<std::string> names;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    entries.push_back(TakeTensor(cursor, source, static_cast<uint64_t>(alignment)));
    RequireData(names.insert(entries.back().tensor.name).second, "[gguf] ", source, " has the tensor \"",
                Shown(entries.back().tensor.name), "\" twice");
  }
  const size_t data_begin = (cursor.at() + static_cast<size_t>(alignment) - 1) / static_cast<size_t>(alignment) *
                            static_cast<size_t>(alignment);
  PlaceTensors(entries, bytes.subspan(std::min(data_begin, bytes.size())), source);
  for (Entry& entry : entries) file.tensors_.push_back(std::move(entry.tensor));
  return file;
}

Tensor GgufFile::Plain(const GgufTensor& tensor) const {
  FOVEA_DCHECK(!tensor.block);
  return TensorFromBytes(tensor.bytes, tensor.shape, tensor.dtype, metadata_.owner_, "gguf",
                         metadata_.source_ + ": tensor \"" + Shown(tensor.name) + "\"");
}

}  // namespace fovea::formats
