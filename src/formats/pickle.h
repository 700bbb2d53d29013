// A pickle reader that executes nothing: it turns the bytes into a tree of plain values and leaves the meaning to the
// caller.
//
// Pickle is a small stack machine whose programs may call any Python function, so loading one runs foreign code. This
// machine knows only the opcodes that build data, and of functions only their names: a call becomes a kCall node that
// holds the name and the arguments. A name outside the caller's list ends the reading at once with an error that says
// which. What it does not do: protocols 0 and 1 (text opcodes), sets, byte strings, class instances.
//
// Values live in one arena and refer to each other by index, so a hostile file can build cycles, a million levels of
// nesting, or a list of lists that doubles at each level, and still costs memory in proportion to its length and no
// recursion. Whoever walks the tree must bound depth and steps.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::formats {

// One value; a small handle. Containers and strings live in the Pickle it came from.
struct PickleValue {
  enum class Kind : uint8_t {
    kNone,
    kBool,
    kInt,
    kBigInt,
    kFloat,
    kString,
    kGlobal,
    kTuple,
    kList,
    kDict,
    kCall,
    kPersistent
  };
  Kind kind = Kind::kNone;
  uint32_t index = 0;   // kBigInt, kString, kGlobal, kTuple, kList, kDict, kCall, kPersistent: where it lies
  int64_t integer = 0;  // kBool, kInt
  double real = 0;      // kFloat
};

class Pickle {
 public:
  // Reads one pickle from the start of `bytes` (which must outlive the result). `allowed` are the names "module.name"
  // that may occur. Throws kCorruptData (breaks the format), kUnimplemented (a name or opcode that is not allowed, by
  // name), kResourceExhausted (more than 4 million opcodes). `source` names the file in errors.
  static Pickle Parse(std::span<const uint8_t> bytes, const std::string& source,
                      std::span<const std::string_view> allowed);

  PickleValue root() const { return root_; }
  size_t size_bytes() const { return size_bytes_; }  // length of the pickle, up to and with STOP

  std::string_view Text(PickleValue value) const {
    return strings_[value.index];
  }  // kString; kBigInt: little-endian digits
  std::string_view GlobalName(PickleValue value) const { return globals_[value.index]; }  // kGlobal: "module.name"
  // kTuple, kList: items. kDict: key, value, key, value, ... with repeated keys as written. kCall: callee (kGlobal),
  // then the argument tuple. kPersistent: the identifier.
  std::span<const PickleValue> Items(PickleValue value) const { return containers_[value.index]; }
  // All kPersistent values in the order they were made.
  std::span<const PickleValue> persistent() const { return persistent_; }

 private:
  friend class PickleMachine;

  PickleValue root_;
  size_t size_bytes_ = 0;
  std::vector<std::string_view> strings_;
  std::vector<std::string> globals_;
  std::vector<std::vector<PickleValue>> containers_;
  std::vector<PickleValue> persistent_;
};

}  // namespace fovea::formats
