#include "formats/pth.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "base/file.h"
#include "formats/bytes.h"
#include "formats/pickle.h"
#include "formats/zip.h"

namespace fovea::formats {
namespace {

constexpr int kMaxDepth = 64;
constexpr int64_t kMaxVisits = 1'000'000;      // values looked at while walking; shared values count each time
constexpr int64_t kMaxNameBytes = 64 << 20;    // of all names together
constexpr int64_t kMaxCopiedBytes = 64 << 20;  // of strided views, beyond four times the file
constexpr uint8_t kMagic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9,
                              0x20, 0x6a, 0xa8, 0x50, 0x19};  // first pickle of the old layout, LONG1
constexpr int64_t kProtocolVersion = 1001;                    // second pickle of the old layout

constexpr std::string_view kAllowed[] = {"collections.OrderedDict",
                                         "torch.Size",
                                         "torch.device",
                                         "torch._utils._rebuild_tensor",
                                         "torch._utils._rebuild_tensor_v2",
                                         "torch._utils._rebuild_tensor_v3",
                                         "torch._utils._rebuild_parameter",
                                         "torch._utils._rebuild_parameter_with_state",
                                         "torch.FloatStorage",
                                         "torch.HalfStorage",
                                         "torch.BFloat16Storage",
                                         "torch.DoubleStorage",
                                         "torch.LongStorage",
                                         "torch.IntStorage",
                                         "torch.ShortStorage",
                                         "torch.CharStorage",
                                         "torch.ByteStorage",
                                         "torch.BoolStorage",
                                         "torch.storage.UntypedStorage",
                                         "torch.cuda.FloatStorage",
                                         "torch.cuda.HalfStorage",
                                         "torch.cuda.BFloat16Storage",
                                         "torch.cuda.DoubleStorage",
                                         "torch.cuda.LongStorage",
                                         "torch.cuda.IntStorage",
                                         "torch.cuda.ShortStorage",
                                         "torch.cuda.CharStorage",
                                         "torch.cuda.ByteStorage",
                                         "torch.cuda.BoolStorage",
                                         "torch.float32",
                                         "torch.float16",
                                         "torch.bfloat16",
                                         "torch.float64",
                                         "torch.int64",
                                         "torch.int32",
                                         "torch.int16",
                                         "torch.int8",
                                         "torch.uint8",
                                         "torch.bool"};

struct TypeName {
  std::string_view storage, dtype;
  DType type;
};
constexpr TypeName kTypes[] = {{"FloatStorage", "float32", DType::kF32},
                               {"HalfStorage", "float16", DType::kF16},
                               {"BFloat16Storage", "bfloat16", DType::kBF16},
                               {"DoubleStorage", "float64", DType::kF64},
                               {"LongStorage", "int64", DType::kI64},
                               {"IntStorage", "int32", DType::kI32},
                               {"ShortStorage", "int16", DType::kI16},
                               {"CharStorage", "int8", DType::kI8},
                               {"ByteStorage", "uint8", DType::kU8},
                               {"BoolStorage", "bool", DType::kBool},
                               {"UntypedStorage", "", DType::kU8}};

std::string Shown(std::string_view name) { return base::PrintableUtf8(name.substr(0, 200)); }

// Copies the items of a strided view, which may be misaligned, into dense rows. T has the size of an item.
template <typename T>
void Gather(const uint8_t* from, const Shape& shape, std::span<const int64_t> strides, uint8_t* to) {
  const int inner_axis = shape.rank() - 1;
  const int64_t inner = shape[inner_axis], step = strides[inner_axis] * static_cast<int64_t>(sizeof(T));
  std::array<int64_t, Shape::kMaxRank> at{};
  int64_t row = 0;  // first item of the current row
  for (int64_t done = 0; done < shape.numel(); done += inner) {
    const uint8_t* item = from + row * static_cast<int64_t>(sizeof(T));
    for (int64_t i = 0; i < inner; ++i)
      std::memcpy(to + (done + i) * static_cast<int64_t>(sizeof(T)), item + i * step, sizeof(T));
    for (int axis = inner_axis - 1; axis >= 0; --axis) {
      row += strides[axis];
      if (++at[axis] < shape[axis]) break;
      row -= strides[axis] * shape[axis];
      at[axis] = 0;
    }
  }
}

// What a persistent identifier says about a storage.
struct StorageId {
  std::string_view key;
  DType dtype;
  int64_t numel;
  int64_t view_offset, view_numel;  // the part this identifier means (old layout); else 0 and numel
};

// A checkpoint whose pickle has been read and whose storages can be found; turns the values into tensors.
class Checkpoint {
 public:
  Checkpoint(std::span<const uint8_t> bytes, const std::string& source, std::shared_ptr<const void> owner)
      : bytes_(bytes),
        source_(source),
        owner_(std::move(owner)),
        copy_budget_(kMaxCopiedBytes + 4 * static_cast<int64_t>(bytes.size())) {}

  void OpenZip();
  void OpenLegacy();
  std::vector<NamedTensor> Collect(const std::string& select);

 private:
  using Kind = PickleValue::Kind;

  void Walk(PickleValue value, const std::string& name, int depth);
  PickleValue Select(const std::string& path) const;
  Tensor BuildTensor(PickleValue call, const std::string& what, int depth);
  Tensor Rebuild(std::string_view callee, std::span<const PickleValue> arguments, const std::string& what);
  Tensor CopyView(std::span<const uint8_t> storage, const Shape& shape, const std::vector<int64_t>& strides,
                  DType dtype, const std::string& what);

  StorageId ReadStorageId(PickleValue persistent) const;
  std::optional<DType> TypeOfGlobal(PickleValue value, bool is_storage) const;
  int64_t ReadInt(PickleValue value, const std::string& what) const;
  std::vector<int64_t> ReadInts(PickleValue value, const std::string& what) const;
  std::string KeyText(PickleValue key) const;
  void Check(bool condition, std::string_view problem) const {
    RequireData(condition, "[pth] ", source_, ": ", problem);
  }

  std::span<const uint8_t> bytes_;
  const std::string& source_;
  std::shared_ptr<const void> owner_;
  Pickle pickle_;
  std::unordered_map<std::string_view, std::span<const uint8_t>> storages_;  // by key
  std::unordered_map<uint32_t, Tensor> built_;  // by call, so that a shared tensor stays shared
  std::vector<NamedTensor> tensors_;
  std::unordered_set<std::string> names_;
  int64_t visits_ = 0, name_bytes_ = 0;
  int64_t copy_budget_;
};

void Checkpoint::OpenZip() {
  const ZipDirectory zip = ZipDirectory::Parse(bytes_, source_);
  const ZipMember* pickle = nullptr;
  for (const ZipMember& member : zip.members()) {
    const bool is_pickle =
        member.name.ends_with("/data.pkl") && std::count(member.name.begin(), member.name.end(), '/') == 1;
    if (!is_pickle) continue;
    Check(pickle == nullptr, "expected one data.pkl, got several");
    pickle = &member;
  }
  Check(pickle != nullptr, "expected a data.pkl as torch.save writes it, got none");
  const std::string prefix(pickle->name.substr(0, pickle->name.size() - std::string_view("data.pkl").size()));
  const ZipMember* order = zip.Find(prefix + "byteorder");
  if (order != nullptr && AsText(order->bytes) != "little") {
    Fail(ErrorCode::kUnimplemented, "[pth] ", source_, " was saved in byte order \"", Shown(AsText(order->bytes)),
         "\", only little is read");
  }
  pickle_ = Pickle::Parse(pickle->bytes, source_, kAllowed);
  Check(pickle_.size_bytes() == pickle->bytes.size(), "data follows the end of data.pkl");
  for (const PickleValue& persistent : pickle_.persistent()) {
    const StorageId id = ReadStorageId(persistent);
    const ZipMember* member = zip.Find(prefix + "data/" + std::string(id.key));
    RequireData(member != nullptr, "[pth] ", source_, ": expected a member ", Shown(prefix), "data/", Shown(id.key),
                ", got none");
    const auto declared_bytes = static_cast<uint64_t>(id.numel) * static_cast<uint64_t>(ItemSize(id.dtype));
    RequireData(member->bytes.size() == declared_bytes, "[pth] ", source_, ": expected ", declared_bytes,
                " bytes in storage ", Shown(id.key), ", got ", member->bytes.size());
    storages_.emplace(id.key, member->bytes);
  }
}

void Checkpoint::OpenLegacy() {
  size_t at = 0;
  const auto next = [&] {
    Pickle pickle = Pickle::Parse(bytes_.subspan(at), source_, kAllowed);
    at += pickle.size_bytes();
    return pickle;
  };
  const Pickle magic = next();
  const bool is_magic = magic.root().kind == Kind::kBigInt && magic.Text(magic.root()) == AsText(kMagic);
  Check(is_magic, "expected a checkpoint of torch.save (a zip archive or its magic number), got another pickle");
  const Pickle version = next();
  Check(version.root().kind == Kind::kInt && version.root().integer == kProtocolVersion,
        "expected protocol version 1001");
  const Pickle system = next();
  Check(system.root().kind == Kind::kDict, "expected a dictionary about the system that saved it");
  const auto facts = system.Items(system.root());
  for (size_t i = 0; i + 1 < facts.size(); i += 2) {
    const bool is_order = facts[i].kind == Kind::kString && system.Text(facts[i]) == "little_endian";
    if (is_order && facts[i + 1].integer == 0) {
      Fail(ErrorCode::kUnimplemented, "[pth] ", source_,
           " was saved on a big-endian machine, only little endian is read");
    }
  }
  pickle_ = next();
  std::unordered_map<std::string_view, StorageId> ids;
  for (const PickleValue& persistent : pickle_.persistent()) {
    const StorageId id = ReadStorageId(persistent);
    const StorageId& first = ids.emplace(id.key, id).first->second;
    Check(first.dtype == id.dtype && first.numel == id.numel, "a storage is described in two ways");
  }
  const Pickle keys = next();
  Check(keys.root().kind == Kind::kList, "expected a list of storages");
  ByteCursor cursor(bytes_, "pth", source_, at);
  for (const PickleValue& key : keys.Items(keys.root())) {
    const auto found = key.kind == Kind::kString ? ids.find(keys.Text(key)) : ids.end();
    Check(found != ids.end(), "the list of storages names one that no tensor uses");
    const StorageId& id = found->second;
    Check(cursor.Read<int64_t>() == id.numel, "a storage has another length than its tensors say");
    const auto storage = cursor.Take(static_cast<uint64_t>(id.numel) * static_cast<uint64_t>(ItemSize(id.dtype)));
    Check(storages_.emplace(id.key, storage).second, "a storage is listed twice");
  }
  Check(storages_.size() == ids.size(), "a storage that tensors use is missing");
  Check(cursor.remaining() == 0, "data follows the last storage");
}

// ('storage', type, key, location, numel), in the old layout with a sixth item: None or (view key, offset, numel).
StorageId Checkpoint::ReadStorageId(PickleValue persistent) const {
  const PickleValue value = pickle_.Items(persistent)[0];
  Check(value.kind == Kind::kTuple, "expected a tuple that describes a storage");
  const auto items = pickle_.Items(value);
  const bool is_storage = (items.size() == 5 || items.size() == 6) && items[0].kind == Kind::kString &&
                          pickle_.Text(items[0]) == "storage" && items[2].kind == Kind::kString;
  Check(is_storage, "expected ('storage', type, key, location, size) as the description of a storage");
  const std::optional<DType> dtype = TypeOfGlobal(items[1], /*is_storage=*/true);
  Check(dtype.has_value(), "expected the type of a storage");
  const int64_t numel = ReadInt(items[4], "the size of a storage");
  Check(numel >= 0 && numel <= INT64_MAX / 8, "expected a storage with a size that fits a file");
  StorageId id{pickle_.Text(items[2]), *dtype, numel, 0, numel};
  if (items.size() == 6 && items[5].kind != Kind::kNone) {
    Check(items[5].kind == Kind::kTuple && pickle_.Items(items[5]).size() == 3,
          "expected (key, offset, size) for a part of a storage");
    id.view_offset = ReadInt(pickle_.Items(items[5])[1], "the offset of a part");
    id.view_numel = ReadInt(pickle_.Items(items[5])[2], "the size of a part");
    const bool is_inside =
        id.view_offset >= 0 && id.view_offset <= numel && id.view_numel >= 0 && id.view_numel <= numel - id.view_offset;
    Check(is_inside, "expected a part of a storage inside it");
  }
  return id;
}

std::optional<DType> Checkpoint::TypeOfGlobal(PickleValue value, bool is_storage) const {
  if (value.kind != Kind::kGlobal) return std::nullopt;
  const std::string_view full = pickle_.GlobalName(value);
  const std::string_view name = full.substr(full.rfind('.') + 1);
  for (const TypeName& type : kTypes) {
    if (name == (is_storage ? type.storage : type.dtype)) return type.type;
  }
  return std::nullopt;
}

int64_t Checkpoint::ReadInt(PickleValue value, const std::string& what) const {
  RequireData(value.kind == Kind::kInt, "[pth] ", source_, ": expected an integer for ", what);
  return value.integer;
}

// A tuple of integers, or torch.Size of one.
std::vector<int64_t> Checkpoint::ReadInts(PickleValue value, const std::string& what) const {
  if (value.kind == Kind::kCall && pickle_.GlobalName(pickle_.Items(value)[0]) == "torch.Size") {
    const auto arguments = pickle_.Items(pickle_.Items(value)[1]);
    Check(arguments.size() == 1, "expected torch.Size of a tuple");
    value = arguments[0];
  }
  RequireData(value.kind == Kind::kTuple || value.kind == Kind::kList, "[pth] ", source_,
              ": expected a tuple of integers for ", what);
  const auto items = pickle_.Items(value);
  RequireData(items.size() <= Shape::kMaxRank, "[pth] ", source_, ": expected at most ", Shape::kMaxRank,
              " dimensions for ", what, ", got ", items.size());
  std::vector<int64_t> integers;
  for (const PickleValue& item : items) integers.push_back(ReadInt(item, what));
  return integers;
}

std::string Checkpoint::KeyText(PickleValue key) const {
  if (key.kind == Kind::kInt) return std::to_string(key.integer);
  Check(key.kind == Kind::kString, "expected texts or integers as keys of dictionaries");
  return std::string(pickle_.Text(key));
}

// Descends from the root along a dotted path of keys.
PickleValue Checkpoint::Select(const std::string& path) const {
  PickleValue value = pickle_.root();
  for (const std::string& part : base::Split(path, '.')) {
    std::optional<PickleValue> found;
    if (value.kind == Kind::kDict) {
      const auto items = pickle_.Items(value);
      for (size_t i = 0; i + 1 < items.size(); i += 2) {
        if (items[i].kind == Kind::kString && pickle_.Text(items[i]) == part) found = items[i + 1];
      }
    }
    if (!found) Fail(ErrorCode::kNotFound, "[pth] ", source_, " has no \"", Shown(path), "\"");
    value = *found;
  }
  return value;
}

std::vector<NamedTensor> Checkpoint::Collect(const std::string& select) {
  Walk(select.empty() ? pickle_.root() : Select(select), "", 0);
  return std::move(tensors_);
}

void Checkpoint::Walk(PickleValue value, const std::string& name, int depth) {
  name_bytes_ += static_cast<int64_t>(name.size());
  if (depth > kMaxDepth || ++visits_ > kMaxVisits || name_bytes_ > kMaxNameBytes) {
    Fail(ErrorCode::kResourceExhausted, "[pth] ", source_, " is nested deeper than ", kMaxDepth, ", holds more than ",
         kMaxVisits, " values or more than ", kMaxNameBytes, " bytes of names");
  }
  const std::string prefix = name.empty() ? "" : name + ".";
  switch (value.kind) {
    case Kind::kDict: {
      const auto items = pickle_.Items(value);
      for (size_t i = 0; i + 1 < items.size(); i += 2) {
        const bool may_hold_tensors = items[i + 1].kind >= Kind::kTuple;
        if (may_hold_tensors) Walk(items[i + 1], prefix + KeyText(items[i]), depth + 1);
      }
      return;
    }
    case Kind::kList:
    case Kind::kTuple: {
      const auto items = pickle_.Items(value);
      for (size_t i = 0; i < items.size(); ++i) Walk(items[i], prefix + std::to_string(i), depth + 1);
      return;
    }
    case Kind::kCall: {
      const std::string_view callee = pickle_.GlobalName(pickle_.Items(value)[0]);
      if (callee == "torch.Size" || callee == "torch.device") return;
      RequireData(names_.insert(name).second, "[pth] ", source_, " has two tensors named \"", Shown(name), "\"");
      tensors_.push_back({name, BuildTensor(value, source_ + ": tensor \"" + Shown(name) + "\"", 0)});
      return;
    }
    default: return;
  }
}

// `depth` counts parameters around tensors.
Tensor Checkpoint::BuildTensor(PickleValue call, const std::string& what, int depth) {
  const auto known = built_.find(call.index);
  if (known != built_.end()) return known->second;
  const std::string_view callee = pickle_.GlobalName(pickle_.Items(call)[0]);
  const auto arguments = pickle_.Items(pickle_.Items(call)[1]);
  Tensor tensor;
  if (callee.starts_with("torch._utils._rebuild_parameter")) {
    const bool holds_tensor = depth == 0 && !arguments.empty() && arguments[0].kind == Kind::kCall;
    RequireData(holds_tensor, "[pth] ", what, ": expected a parameter around a tensor");
    tensor = BuildTensor(arguments[0], what, depth + 1);
  } else {
    tensor = Rebuild(callee, arguments, what);
  }
  built_.emplace(call.index, tensor);
  return tensor;
}

// _rebuild_tensor(storage, offset, size, stride), _v2(..., requires_grad, hooks[, metadata]), _v3(..., requires_grad,
// hooks, dtype[, metadata]).
Tensor Checkpoint::Rebuild(std::string_view callee, std::span<const PickleValue> arguments, const std::string& what) {
  const bool is_v2 = callee == "torch._utils._rebuild_tensor_v2", is_v3 = callee == "torch._utils._rebuild_tensor_v3";
  RequireData(is_v2 || is_v3 || callee == "torch._utils._rebuild_tensor", "[pth] ", what,
              ": expected a tensor, got a call of ", callee);
  const size_t least = is_v3 ? 7 : is_v2 ? 6 : 4;
  const size_t most = is_v3 || is_v2 ? least + 1 : least;
  RequireData(arguments.size() >= least && arguments.size() <= most && arguments[0].kind == Kind::kPersistent, "[pth] ",
              what, ": expected a storage and ", least - 1, " more arguments for ", callee);
  if (arguments.size() > least) {
    const bool is_plain = arguments[least].kind == Kind::kNone ||
                          (arguments[least].kind == Kind::kDict && pickle_.Items(arguments[least]).empty());
    if (!is_plain) Fail(ErrorCode::kUnimplemented, "[pth] ", what, ": conjugated and negated views are not supported");
  }
  const StorageId id = ReadStorageId(arguments[0]);
  const std::optional<DType> dtype = is_v3 ? TypeOfGlobal(arguments[6], /*is_storage=*/false) : id.dtype;
  RequireData(dtype.has_value(), "[pth] ", what, ": expected an element type");
  const int64_t item_size = ItemSize(*dtype);
  const auto storage = storages_.at(id.key).subspan(static_cast<size_t>(id.view_offset * ItemSize(id.dtype)),
                                                    static_cast<size_t>(id.view_numel * ItemSize(id.dtype)));
  const int64_t offset = ReadInt(arguments[1], "the offset of a tensor");
  const Shape shape = CheckedShape(ReadInts(arguments[2], "the shape of a tensor"), "pth", what);
  std::vector<int64_t> strides = ReadInts(arguments[3], "the strides of a tensor");
  RequireData(static_cast<int>(strides.size()) == shape.rank(), "[pth] ", what,
              ": expected as many strides as dimensions, got ", strides.size(), " for ", shape);
  if (shape.numel() == 0) return Tensor::Empty(shape, *dtype);

  // The last element must lie inside the storage; the sum saturates instead of wrapping.
  const auto stored_items = static_cast<int64_t>(storage.size()) / item_size;
  int64_t last = offset, dense_step = 1;
  bool is_inside = offset >= 0, is_dense = true;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    if (shape[axis] == 1) strides[axis] = 0;  // never stepped over, so it may be anything
    int64_t reach = 0;
    is_inside = is_inside && strides[axis] >= 0 && !__builtin_mul_overflow(shape[axis] - 1, strides[axis], &reach) &&
                !__builtin_add_overflow(last, reach, &last);
    is_dense = is_dense && (shape[axis] == 1 || strides[axis] == dense_step);
    dense_step *= shape[axis];
  }
  RequireData(is_inside && last < stored_items, "[pth] ", what, ": shape ", shape, " with strides [",
              base::Join(strides, ","), "] from ", offset, " leaves its storage of ", stored_items, " elements");
  const auto from_offset = storage.subspan(static_cast<size_t>(offset * item_size));
  if (!is_dense) return CopyView(from_offset, shape, strides, *dtype, what);
  return TensorFromBytes(from_offset.first(static_cast<size_t>(shape.numel() * item_size)), shape, *dtype, owner_,
                         "pth", what);
}

// A dense copy of a strided view. Bounds were checked; the budget stops a small file that expands one element a billion
// times.
Tensor Checkpoint::CopyView(std::span<const uint8_t> storage, const Shape& shape, const std::vector<int64_t>& strides,
                            DType dtype, const std::string& what) {
  const int64_t item_size = ItemSize(dtype);
  if (shape.numel() > copy_budget_ / item_size) {
    Fail(ErrorCode::kResourceExhausted, "[pth] ", what, ": a view of shape ", shape,
         " is too large for the file it comes from");
  }
  copy_budget_ -= shape.numel() * item_size;
  const Tensor dense = Tensor::Empty(shape, dtype);
  switch (item_size) {
    case 1: Gather<uint8_t>(storage.data(), shape, strides, dense.mutable_raw()); break;
    case 2: Gather<uint16_t>(storage.data(), shape, strides, dense.mutable_raw()); break;
    case 4: Gather<uint32_t>(storage.data(), shape, strides, dense.mutable_raw()); break;
    default: Gather<uint64_t>(storage.data(), shape, strides, dense.mutable_raw()); break;
  }
  CheckBooleans({dense.raw(), static_cast<size_t>(dense.size_bytes())}, dtype, "pth", what);
  return dense;
}

}  // namespace

std::vector<NamedTensor> ReadPth(const std::string& path, const PthOptions& options) {
  const auto mapped = base::MappedFile::Open(path);
  return ParsePth(mapped->bytes(), base::PrintableUtf8(path), mapped, options);
}

std::vector<NamedTensor> ParsePth(std::span<const uint8_t> bytes, const std::string& source,
                                  std::shared_ptr<const void> owner, const PthOptions& options) {
  Checkpoint checkpoint(bytes, source, std::move(owner));
  const std::string_view start = AsText(bytes.first(std::min<size_t>(bytes.size(), 4)));
  if (start == std::string_view("PK\3\4", 4)) {
    checkpoint.OpenZip();
  } else {
    checkpoint.OpenLegacy();
  }
  return checkpoint.Collect(options.select);
}

}  // namespace fovea::formats
