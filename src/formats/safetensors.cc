#include "formats/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/file.h"
#include "formats/bytes.h"

namespace fovea::formats {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation
constexpr size_t kAlignment = 64;
constexpr const char* kMetadataKey = "__metadata__";

struct TypeCode {
  const char* code;
  DType dtype;
};
constexpr TypeCode kTypes[] = {{"F32", DType::kF32}, {"BF16", DType::kBF16}, {"F16", DType::kF16}, {"F64", DType::kF64},
                               {"I64", DType::kI64}, {"I32", DType::kI32},   {"I16", DType::kI16}, {"I8", DType::kI8},
                               {"U8", DType::kU8},   {"BOOL", DType::kBool}};

std::string Shown(std::string_view name) { return base::PrintableUtf8(name.substr(0, 200)); }

DType TypeOfCode(std::string_view code, const std::string& source, const std::string& name) {
  for (const TypeCode& type : kTypes) {
    if (code == type.code) return type.dtype;
  }
  Fail(ErrorCode::kUnimplemented, "[safetensors] ", source, ": tensor \"", Shown(name), "\" has element type \"",
       Shown(code), "\", which is not supported; hint: F32, BF16, F16, F64, I64, I32, I16, I8, U8 and BOOL are");
}

const char* CodeOfType(DType dtype) {
  return std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeCode& type) { return type.dtype == dtype; })
      ->code;
}

// One entry of the header as written, before it is checked against the file.
struct Entry {
  std::string name;
  std::string type;
  std::vector<int64_t> shape;
  std::vector<uint64_t> offsets;
  bool has_type = false, has_shape = false, has_offsets = false;
};

// Receives the events of nlohmann's parser. The header has a fixed form, so five states say all about where we are.
class HeaderHandler {
 public:
  explicit HeaderHandler(const std::string& source) : source_(source) {}

  std::vector<Entry> entries;
  Metadata metadata;

  bool start_object(size_t) {
    if (state_ == State::kStart) {
      state_ = State::kTop;
    } else {
      Check(state_ == State::kTop, "an object");
      state_ = key_ == kMetadataKey ? State::kMetadata : State::kTensor;
      if (state_ == State::kTensor) entries.push_back(Entry{.name = key_});
      key_.clear();
    }
    return true;
  }

  bool end_object() {
    if (state_ == State::kTensor) {
      const Entry& entry = entries.back();
      RequireData(entry.has_type && entry.has_shape && entry.has_offsets && entry.offsets.size() == 2, "[safetensors] ",
                  source_, ": expected dtype, shape and two data_offsets for \"", Shown(entry.name), "\", got less");
    }
    state_ = state_ == State::kTop ? State::kEnd : State::kTop;
    return true;
  }

  bool key(std::string& key) {
    if (state_ == State::kTop)
      RequireData(names_.insert(key).second, "[safetensors] ", source_, " lists \"", Shown(key), "\" twice");
    if (state_ == State::kTensor) {
      Entry& entry = entries.back();
      bool& has = key == "dtype" ? entry.has_type : key == "shape" ? entry.has_shape : entry.has_offsets;
      const bool is_known = key == "dtype" || key == "shape" || key == "data_offsets";
      RequireData(is_known && !has, "[safetensors] ", source_, ": expected dtype, shape and data_offsets once for \"",
                  Shown(entry.name), "\", got \"", Shown(key), is_known ? "\" twice" : "\"");
      has = true;
    }
    key_ = key;
    return true;
  }

  bool string(std::string& value) {
    if (state_ == State::kMetadata) {
      RequireData(metadata.emplace(key_, value).second, "[safetensors] ", source_, " lists the metadata \"",
                  Shown(key_), "\" twice");
    } else {
      Check(state_ == State::kTensor && key_ == "dtype", "a string");
      entries.back().type = value;
    }
    return true;
  }

  bool start_array(size_t) {
    Check(state_ == State::kTensor && key_ != "dtype", "a list");
    state_ = key_ == "shape" ? State::kShape : State::kOffsets;
    return true;
  }

  bool end_array() {
    state_ = State::kTensor;
    return true;
  }

  bool number_unsigned(uint64_t value) {
    Check(state_ == State::kShape || state_ == State::kOffsets, "a number");
    Entry& entry = entries.back();
    if (state_ == State::kShape) {
      Check(value <= static_cast<uint64_t>(INT64_MAX) && entry.shape.size() < Shape::kMaxRank,
            "a size too large or one of too many");
      entry.shape.push_back(static_cast<int64_t>(value));
    } else {
      Check(entry.offsets.size() < 2, "a third data offset");
      entry.offsets.push_back(value);
    }
    return true;
  }

  bool number_integer(int64_t) { return Unexpected("a negative number"); }
  bool number_float(double, const std::string&) { return Unexpected("a fraction"); }
  bool null() { return Unexpected("null"); }
  bool boolean(bool) { return Unexpected("true or false"); }
  bool binary(std::vector<uint8_t>&) { return Unexpected("binary data"); }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) {
    Fail(ErrorCode::kCorruptData, "[safetensors] the header of ", source_,
         " is not valid JSON: ", base::PrintableUtf8(error.what()));
  }

 private:
  enum class State { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kEnd };

  bool Unexpected(const char* what) {
    Check(false, what);
    return false;
  }
  void Check(bool condition, const char* what) const {
    const std::string& where = state_ == State::kTop || entries.empty() ? key_ : entries.back().name;
    RequireData(condition, "[safetensors] expected the header of ", source_,
                " to map names to {dtype, shape, data_offsets}, got ", what, " at \"", Shown(where), "\"");
  }

  const std::string& source_;
  State state_ = State::kStart;
  std::string key_;
  std::unordered_set<std::string> names_;
};

// Turns header entries into places in the file, in file order, and checks that they tile [data_begin, file_bytes).
std::vector<TensorInfo> PlaceTensors(const std::vector<Entry>& entries, uint64_t data_begin, uint64_t file_bytes,
                                     const std::string& source) {
  const uint64_t data_bytes = file_bytes - data_begin;
  std::vector<const Entry*> ordered;
  for (const Entry& entry : entries) ordered.push_back(&entry);
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const Entry* a, const Entry* b) { return a->offsets < b->offsets; });
  std::vector<TensorInfo> tensors;
  tensors.reserve(ordered.size());
  uint64_t expected_begin = 0;
  for (const Entry* entry : ordered) {
    const uint64_t begin = entry->offsets[0], end = entry->offsets[1];
    const std::string what = source + ": tensor \"" + Shown(entry->name) + "\"";
    RequireData(begin <= end && end <= data_bytes, "[safetensors] ", what, ": expected data offsets in [0,", data_bytes,
                "], got [", begin, ",", end, ")");
    RequireData(begin == expected_begin, "[safetensors] ", what, ": expected its data at ", expected_begin, ", got ",
                begin, begin < expected_begin ? " (overlaps the one before)" : " (leaves a gap)");
    const DType dtype = TypeOfCode(entry->type, source, entry->name);
    const Shape shape = CheckedShape(entry->shape, "safetensors", what);
    const auto size_bytes = static_cast<uint64_t>(shape.numel() * ItemSize(dtype));
    RequireData(end - begin == size_bytes, "[safetensors] ", what, ": expected ", size_bytes, " bytes for ", dtype,
                shape, ", got ", end - begin);
    tensors.push_back(
        {entry->name, dtype, shape, static_cast<int64_t>(data_begin + begin), static_cast<int64_t>(size_bytes)});
    expected_begin = end;
  }
  RequireData(expected_begin == data_bytes, "[safetensors] ", source, ": expected the tensors to fill ", data_bytes,
              " bytes, got ", expected_begin, "; hint: bytes after the last tensor are refused");
  return tensors;
}

}  // namespace

SafetensorsFile SafetensorsFile::Open(const std::string& path) {
  const auto mapped = base::MappedFile::Open(path);
  return Parse(mapped->bytes(), base::PrintableUtf8(path), mapped);
}

SafetensorsFile SafetensorsFile::Parse(std::span<const uint8_t> bytes, const std::string& source,
                                       std::shared_ptr<const void> owner) {
  ByteCursor cursor(bytes, "safetensors", source);
  const auto header_bytes = cursor.Read<uint64_t>();
  if (header_bytes > kMaxHeaderBytes) {
    Fail(ErrorCode::kResourceExhausted, "[safetensors] ", source, " declares a header of ", header_bytes,
         " bytes, the limit is ", kMaxHeaderBytes, "; hint: probably not a safetensors file");
  }
  const std::string_view header = cursor.TakeText(header_bytes);
  HeaderHandler handler(source);
  RequireData(header.starts_with('{'), "[safetensors] expected the header of ", source, " to start with '{'");
  nlohmann::json::sax_parse(header, &handler);

  SafetensorsFile file;
  file.bytes_ = bytes;
  file.source_ = source;
  file.owner_ = std::move(owner);
  file.tensors_ = PlaceTensors(handler.entries, cursor.at(), bytes.size(), source);
  file.metadata_ = std::move(handler.metadata);
  for (size_t i = 0; i < file.tensors_.size(); ++i) file.index_.emplace(file.tensors_[i].name, i);
  return file;
}

Tensor SafetensorsFile::Get(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end())
    Fail(ErrorCode::kNotFound, "[safetensors] ", source_, " has no tensor \"", Shown(name), "\"");
  return Read(tensors_[found->second]);
}

std::vector<NamedTensor> SafetensorsFile::GetAll() const {
  std::vector<NamedTensor> all;
  all.reserve(tensors_.size());
  for (const TensorInfo& info : tensors_) all.push_back({info.name, Read(info)});
  return all;
}

Tensor SafetensorsFile::Read(const TensorInfo& info) const {
  const auto bytes = bytes_.subspan(static_cast<size_t>(info.offset_bytes), static_cast<size_t>(info.size_bytes));
  return TensorFromBytes(bytes, info.shape, info.dtype, owner_, "safetensors",
                         source_ + ": tensor \"" + Shown(info.name) + "\"");
}

void WriteSafetensors(const std::string& path, std::span<const NamedTensor> tensors, const Metadata& metadata) {
  std::vector<NamedTensor> ordered(tensors.begin(), tensors.end());
  std::stable_sort(ordered.begin(), ordered.end(), [](const NamedTensor& a, const NamedTensor& b) {
    return ItemSize(a.tensor.dtype()) > ItemSize(b.tensor.dtype());
  });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  std::unordered_set<std::string_view> names;
  int64_t offset = 0;
  for (NamedTensor& named : ordered) {
    Require(named.tensor.defined(), "[safetensors] expected a tensor for \"", Shown(named.name),
            "\", got an undefined one");
    Require(!named.name.empty() && named.name != kMetadataKey && names.insert(named.name).second,
            "[safetensors] expected names that are unique, not empty and not ", kMetadataKey, ", got \"",
            Shown(named.name), "\"");
    named.tensor = named.tensor.Contiguous();
    const int64_t end = offset + named.tensor.size_bytes();
    const std::vector<int64_t> shape(named.tensor.shape().begin(), named.tensor.shape().end());
    header.push_back(
        {named.name, {{"dtype", CodeOfType(named.tensor.dtype())}, {"shape", shape}, {"data_offsets", {offset, end}}}});
    offset = end;
  }
  std::string start(sizeof(uint64_t), '\0');
  try {
    start += header.dump();
  } catch (const nlohmann::json::exception&) {
    Fail(ErrorCode::kInvalidArgument, "[safetensors] expected names and metadata in UTF-8 for ",
         base::PrintableUtf8(path));
  }
  start.resize((start.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  const uint64_t header_bytes = start.size() - sizeof(uint64_t);
  std::memcpy(start.data(), &header_bytes, sizeof(header_bytes));

  std::vector<std::span<const uint8_t>> pieces;
  pieces.emplace_back(reinterpret_cast<const uint8_t*>(start.data()), start.size());
  for (const NamedTensor& named : ordered)
    pieces.emplace_back(named.tensor.raw(), static_cast<size_t>(named.tensor.size_bytes()));
  base::WriteFileAtomically(path, pieces);
}

}  // namespace fovea::formats
