// Builds the rules of a grammar from expressions: bytes, characters, sequences, choices, repetitions.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fovea::text {

// Rules over bytes. An alternative is the symbols from its start up to kEnd.
struct GrammarProgram {
  enum class Kind : uint8_t { kBytes, kRule, kEnd };
  struct Symbol {
    Kind kind;
    int32_t value = 0;  // a set of bytes, or a rule
  };
  // Calls that wait for each other at most; deeper nesting is not taken.
  static constexpr uint32_t kMaxDepth = 400;

  std::vector<Symbol> symbols;
  std::vector<std::vector<int32_t>> rules;  // starts of the alternatives
  std::vector<std::bitset<256>> sets;
  // For each symbol: how many calls must wait for each other to finish the alternative from there, at the least.
  std::vector<uint32_t> needs;
  int32_t root = 0;
};

using CodePointRanges = std::vector<std::pair<char32_t, char32_t>>;

class GrammarBuilder {
 public:
  using Id = int32_t;  // of an expression

  Id Empty() const { return 0; }
  Id Literal(std::string_view bytes);
  Id Bytes(const std::bitset<256>& set);
  // One character of the ranges, as UTF-8. In a JSON string (`in_json`) those that need it are escaped.
  Id Character(CodePointRanges ranges, bool is_negated, bool in_json);
  Id Sequence(std::vector<Id> parts);
  Id Choice(std::vector<Id> alternatives);
  Id Optional(Id part) { return Choice({part, Empty()}); }
  // `most` < 0: without end. Throws kResourceExhausted for more than kMaxRepeat.
  Id Repeat(Id part, int64_t least, int64_t most);
  // A rule that can be named before it is there.
  Id Declare(const std::string& name);
  void Define(Id rule, Id expression);
  bool IsDefined(Id rule) const { return nodes_[static_cast<size_t>(rule)].parts.size() == 1; }

  // Throws kInvalidArgument for a grammar that no finite text satisfies, kUnimplemented for left recursion,
  // kResourceExhausted for one whose shortest text is nested deeper than GrammarProgram::kMaxDepth.
  std::unique_ptr<const GrammarProgram> Finish(Id root);

  static constexpr int64_t kMaxRepeat = 8192;

 private:
  enum class Kind : uint8_t { kEmpty, kBytes, kSequence, kChoice, kRule };
  struct Node {
    Kind kind;
    int32_t set = 0;
    std::vector<Id> parts;
    std::string name;  // of rules
  };
  Id Add(Node node);

  std::vector<Node> nodes_ = {{Kind::kEmpty, 0, {}, {}}};
  std::vector<std::bitset<256>> sets_;
  std::map<std::string, int32_t> set_ids_;
  std::map<std::string, Id> literals_;
};

// Numbers as JSON writes them (grammar_numbers.cc). The largest integer that is written either way, 2^53 - 1: readers
// with doubles get what was written.
constexpr int64_t kMostInteger = 9'007'199'254'740'991;
GrammarBuilder::Id IntegerExpression(GrammarBuilder& builder, int64_t low, int64_t high);
// Without exponents; no bound: of 15 digits.
struct NumberBound {
  double value;  // for which IsWrittenExactly
  bool is_exclusive;
};
GrammarBuilder::Id NumberExpression(GrammarBuilder& builder, const std::optional<NumberBound>& low,
                                    const std::optional<NumberBound>& high);
// Whether 15 digits are enough for it.
bool IsWrittenExactly(double value);

// A regular expression for texts of a format of JSON Schema, for a part of them; "" for one we do not know
// (grammar_formats.cc).
std::string FormatPattern(std::string_view format);

// Expressions that more than one kind of grammar needs (grammar_text.cc).
GrammarBuilder::Id RegexExpression(GrammarBuilder& builder, std::string_view pattern, bool in_json, bool is_search,
                                   const std::string& what);

}  // namespace fovea::text
