#include "formats/pickle.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

#include "formats/bytes.h"

namespace fovea::formats {
namespace {

constexpr int64_t kMaxOpcodes = 4'000'000;  // about 100,000 tensors; bounds memory to a few hundred MB

// https://github.com/python/cpython/blob/v3.11.0/Lib/pickle.py#L107
enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kDict = 'd',
  kEmptyDict = '}',
  kAppends = 'e',
  kBinGet = 'h',
  kInst = 'i',
  kLongBinGet = 'j',
  kList = 'l',
  kEmptyList = ']',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kEmptyTuple = ')',
  kSetItems = 'u',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8A,
  kShortBinUnicode = 0x8C,
  kBinUnicode8 = 0x8D,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

struct OpcodeName {
  uint8_t opcode;
  const char* name;
};
// Opcodes that are refused and worth a name in the error: they call, import or make instances.
constexpr OpcodeName kRefused[] = {
    {'o', "OBJ"},         {'P', "PERSID"},       {0x81, "NEWOBJ"},  {0x82, "EXT1"},          {0x83, "EXT2"},
    {0x84, "EXT4"},       {0x92, "NEWOBJ_EX"},   {'B', "BINBYTES"}, {'C', "SHORT_BINBYTES"}, {0x8F, "EMPTY_SET"},
    {0x96, "BYTEARRAY8"}, {0x97, "NEXT_BUFFER"}, {'I', "INT"},      {'L', "LONG"},           {'S', "STRING"},
    {'V', "UNICODE"},     {'F', "FLOAT"}};

}  // namespace

// Runs one pickle. Each opcode adds at most one value to the arena and one to the stack, so both stay below
// kMaxOpcodes.
class PickleMachine {
 public:
  PickleMachine(std::span<const uint8_t> bytes, const std::string& source, std::span<const std::string_view> allowed)
      : cursor_(bytes, "pth", source), source_(source), allowed_(allowed) {}

  Pickle Run() {
    RequireData(cursor_.remaining() >= 2 && cursor_.Read<uint8_t>() == kProto, "[pth] ", source_,
                ": expected a binary pickle at its start");
    const int protocol = cursor_.Read<uint8_t>();
    if (protocol < 2 || protocol > 5)
      Fail(ErrorCode::kUnimplemented, "[pth] ", source_, ": expected pickle protocol 2 to 5, got ", protocol);
    for (int64_t step = 0;; ++step) {
      if (step >= kMaxOpcodes)
        Fail(ErrorCode::kResourceExhausted, "[pth] ", source_, " has a pickle of more than ", kMaxOpcodes, " opcodes");
      const uint8_t opcode = cursor_.Read<uint8_t>();
      if (opcode == kStop) break;
      if (!RunScalar(opcode) && !RunContainer(opcode) && !RunMemoOrCall(opcode)) FailOpcode(opcode);
    }
    out_.root_ = Pop();
    RequireData(stack_.empty() && marks_.empty(), "[pth] ", source_, ": the pickle leaves ", stack_.size(),
                " values behind");
    out_.size_bytes_ = cursor_.at();
    return std::move(out_);
  }

 private:
  using Kind = PickleValue::Kind;

  bool RunScalar(uint8_t opcode) {
    switch (opcode) {
      case kNone: return Push({});
      case kNewTrue: return Push({.kind = Kind::kBool, .integer = 1});
      case kNewFalse: return Push({.kind = Kind::kBool, .integer = 0});
      case kBinInt: return Push({.kind = Kind::kInt, .integer = cursor_.Read<int32_t>()});
      case kBinInt1: return Push({.kind = Kind::kInt, .integer = cursor_.Read<uint8_t>()});
      case kBinInt2: return Push({.kind = Kind::kInt, .integer = cursor_.Read<uint16_t>()});
      case kLong1: return PushLong(cursor_.TakeText(cursor_.Read<uint8_t>()));
      case kBinFloat:
        return Push({.kind = Kind::kFloat, .real = std::bit_cast<double>(__builtin_bswap64(cursor_.Read<uint64_t>()))});
      case kShortBinString:
      case kShortBinUnicode: return PushString(cursor_.Read<uint8_t>());
      case kBinString:
      case kBinUnicode: return PushString(cursor_.Read<uint32_t>());
      case kBinUnicode8: return PushString(cursor_.Read<uint64_t>());
      default: return false;
    }
  }

  bool RunContainer(uint8_t opcode) {
    switch (opcode) {
      case kMark: marks_.push_back(stack_.size()); return true;
      case kPop:
        // As in Python, POP on an empty frame takes the mark away.
        if (!marks_.empty() && marks_.back() == stack_.size())
          marks_.pop_back();
        else
          Pop();
        return true;
      case kPopMark: PopToMark(); return true;
      case kDup: return Push(Top());
      case kEmptyTuple: return PushContainer(Kind::kTuple, {});
      case kEmptyList: return PushContainer(Kind::kList, {});
      case kEmptyDict: return PushContainer(Kind::kDict, {});
      case kTuple1: return PushContainer(Kind::kTuple, PopLast(1));
      case kTuple2: return PushContainer(Kind::kTuple, PopLast(2));
      case kTuple3: return PushContainer(Kind::kTuple, PopLast(3));
      case kTuple: return PushContainer(Kind::kTuple, PopToMark());
      case kList: return PushContainer(Kind::kList, PopToMark());
      case kDict: return PushContainer(Kind::kDict, CheckPairs(PopToMark()));
      case kAppend: return Extend(Kind::kList, PopLast(1));
      case kAppends: return Extend(Kind::kList, PopToMark());
      case kSetItem: return Extend(Kind::kDict, PopLast(2));
      case kSetItems: return Extend(Kind::kDict, CheckPairs(PopToMark()));
      default: return false;
    }
  }

  bool RunMemoOrCall(uint8_t opcode) {
    switch (opcode) {
      case kFrame: cursor_.Read<uint64_t>(); return true;  // a hint for buffered reading
      case kBinPut: memo_[cursor_.Read<uint8_t>()] = Top(); return true;
      case kLongBinPut: memo_[cursor_.Read<uint32_t>()] = Top(); return true;
      case kMemoize: memo_[static_cast<uint32_t>(memo_.size())] = Top(); return true;
      case kBinGet: return PushFromMemo(cursor_.Read<uint8_t>());
      case kLongBinGet: return PushFromMemo(cursor_.Read<uint32_t>());
      case kGlobal:
      case kInst: {
        const std::string_view module = cursor_.TakeLine();
        const std::string_view name = cursor_.TakeLine();
        PushGlobal(module, name);
        if (opcode == kInst) FailOpcode(opcode);
        return true;
      }
      case kStackGlobal: {
        const std::vector<PickleValue> names = PopLast(2);
        RequireData(names[0].kind == Kind::kString && names[1].kind == Kind::kString, "[pth] ", source_,
                    ": expected the name of a global as text");
        return PushGlobal(out_.Text(names[0]), out_.Text(names[1]));
      }
      case kReduce: return Reduce();
      case kBinPersId:
        PushContainer(Kind::kPersistent, PopLast(1));
        out_.persistent_.push_back(Top());
        return true;
      case kBuild: {
        // Attributes of an object: the order of a dictionary's keys, or remarks such as "_metadata". Nothing that a
        // tensor needs.
        Pop();
        RequireData(Top().kind == Kind::kDict, "[pth] ", source_, ": expected attributes only on dictionaries");
        return true;
      }
      default: return false;
    }
  }

  bool Push(PickleValue value) {
    stack_.push_back(value);
    return true;
  }

  bool PushString(uint64_t length) {
    out_.strings_.push_back(cursor_.TakeText(length));
    return Push({.kind = Kind::kString, .index = static_cast<uint32_t>(out_.strings_.size() - 1)});
  }

  // Two's complement, little endian; longer than 8 bytes only in the magic number of old checkpoints.
  bool PushLong(std::string_view digits) {
    if (digits.size() > 8) {
      out_.strings_.push_back(digits);
      return Push({.kind = Kind::kBigInt, .index = static_cast<uint32_t>(out_.strings_.size() - 1)});
    }
    const bool is_negative = !digits.empty() && (static_cast<uint8_t>(digits.back()) & 0x80);
    uint64_t value = is_negative ? ~uint64_t{0} : 0;
    std::memcpy(&value, digits.data(), digits.size());
    return Push({.kind = Kind::kInt, .integer = static_cast<int64_t>(value)});
  }

  bool PushContainer(Kind kind, std::vector<PickleValue> items) {
    out_.containers_.push_back(std::move(items));
    return Push({.kind = kind, .index = static_cast<uint32_t>(out_.containers_.size() - 1)});
  }

  bool PushGlobal(std::string_view module, std::string_view name) {
    const std::string full = std::string(module.substr(0, 200)) + "." + std::string(name.substr(0, 200));
    if (std::find(allowed_.begin(), allowed_.end(), full) == allowed_.end()) {
      Fail(ErrorCode::kUnimplemented, "[pth] ", source_, " asks for ", base::PrintableUtf8(full),
           ", which is not allowed; hint: only tensors in lists and dictionaries are read, no code is run",
           module.starts_with("__torch__") ? "; it is a TorchScript archive, of which the state_dict is wanted" : "");
    }
    out_.globals_.push_back(full);
    return Push({.kind = Kind::kGlobal, .index = static_cast<uint32_t>(out_.globals_.size() - 1)});
  }

  bool PushFromMemo(uint32_t index) {
    const auto found = memo_.find(index);
    RequireData(found != memo_.end(), "[pth] ", source_, ": the pickle reads memo ", index,
                ", which was never written");
    return Push(found->second);
  }

  // An ordered dictionary is a dictionary; any other call is kept as data.
  bool Reduce() {
    const std::vector<PickleValue> call = PopLast(2);
    RequireData(call[0].kind == Kind::kGlobal && call[1].kind == Kind::kTuple, "[pth] ", source_,
                ": expected a call of a named function with a tuple of arguments");
    if (out_.GlobalName(call[0]) != "collections.OrderedDict") return PushContainer(Kind::kCall, call);
    std::vector<PickleValue> items;
    const auto arguments = out_.Items(call[1]);
    if (!arguments.empty()) {  // one list of pairs
      RequireData(arguments.size() == 1 && arguments[0].kind == Kind::kList, "[pth] ", source_,
                  ": expected OrderedDict of a list of pairs");
      for (const PickleValue& pair : out_.Items(arguments[0])) {
        const bool is_pair = (pair.kind == Kind::kList || pair.kind == Kind::kTuple) && out_.Items(pair).size() == 2;
        RequireData(is_pair, "[pth] ", source_, ": expected OrderedDict of a list of pairs");
        items.insert(items.end(), out_.Items(pair).begin(), out_.Items(pair).end());
      }
      // Python would copy the list at each call; a file that does so again and again is a bomb.
      copied_ += items.size();
      RequireData(copied_ <= static_cast<size_t>(kMaxOpcodes), "[pth] ", source_, ": too many copies of dictionaries");
    }
    return PushContainer(Kind::kDict, std::move(items));
  }

  bool Extend(Kind kind, const std::vector<PickleValue>& items) {
    const PickleValue target = Top();
    RequireData(target.kind == kind, "[pth] ", source_, ": expected a ", kind == Kind::kList ? "list" : "dictionary",
                " to add items to");
    auto& all = out_.containers_[target.index];
    all.insert(all.end(), items.begin(), items.end());
    return true;
  }

  PickleValue Top() const {
    RequireData(stack_.size() > Floor(), "[pth] ", source_, ": the pickle reads below its stack at byte ",
                cursor_.at());
    return stack_.back();
  }
  PickleValue Pop() {
    const PickleValue value = Top();
    stack_.pop_back();
    return value;
  }
  std::vector<PickleValue> PopLast(size_t count) {
    RequireData(stack_.size() - Floor() >= count, "[pth] ", source_, ": the pickle reads below its stack at byte ",
                cursor_.at());
    std::vector<PickleValue> items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }
  std::vector<PickleValue> PopToMark() {
    RequireData(!marks_.empty(), "[pth] ", source_, ": the pickle expects a mark at byte ", cursor_.at());
    std::vector<PickleValue> items = PopLast(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }
  std::vector<PickleValue> CheckPairs(std::vector<PickleValue> items) const {
    RequireData(items.size() % 2 == 0, "[pth] ", source_, ": expected pairs of key and value, got ", items.size(),
                " values");
    return items;
  }
  // Values below the last mark belong to an outer construct.
  size_t Floor() const { return marks_.empty() ? 0 : marks_.back(); }

  [[noreturn]] void FailOpcode(uint8_t opcode) const {
    const char* name = opcode == kInst ? "INST" : "unknown";
    for (const OpcodeName& refused : kRefused) {
      if (refused.opcode == opcode) name = refused.name;
    }
    Fail(ErrorCode::kUnimplemented, "[pth] ", source_, " uses the pickle opcode ", static_cast<int>(opcode), " (", name,
         ") at byte ", cursor_.at() - 1, ", which is not allowed");
  }

  ByteCursor cursor_;
  const std::string& source_;
  std::span<const std::string_view> allowed_;
  Pickle out_;
  std::vector<PickleValue> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, PickleValue> memo_;
  size_t copied_ = 0;
};

Pickle Pickle::Parse(std::span<const uint8_t> bytes, const std::string& source,
                     std::span<const std::string_view> allowed) {
  return PickleMachine(bytes, source, allowed).Run();
}

}  // namespace fovea::formats
