#include "text/grammar_builder.h"

#include <algorithm>

#include "base/error.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

constexpr size_t kMaxNodes = 1 << 20;
constexpr size_t kMaxSymbols = 1 << 21;

// Sequences of byte ranges that are the UTF-8 of the characters [low,high].
void Utf8Sequences(char32_t low, char32_t high, std::vector<std::vector<std::pair<uint8_t, uint8_t>>>& out) {
  if (low > high) return;
  for (const char32_t last : {char32_t{0x7F}, char32_t{0x7FF}, char32_t{0xD7FF}, char32_t{0xDFFF}, char32_t{0xFFFF}}) {
    if (low <= last && high > last) {
      Utf8Sequences(low, last, out);
      return Utf8Sequences(last + 1, high, out);
    }
  }
  if (low >= 0xD800 && high <= 0xDFFF) return;  // surrogates are no characters
  const int length = high < 0x80 ? 1 : high < 0x800 ? 2 : high < 0x10000 ? 3 : 4;
  for (int i = 1; i < length; ++i) {
    const char32_t rest = (char32_t{1} << (6 * i)) - 1;
    if ((low & ~rest) == (high & ~rest)) continue;
    if ((low & rest) != 0) {
      Utf8Sequences(low, low | rest, out);
      return Utf8Sequences((low | rest) + 1, high, out);
    }
    if ((high & rest) != rest) {
      Utf8Sequences(low, (high & ~rest) - 1, out);
      return Utf8Sequences(high & ~rest, high, out);
    }
  }
  std::string first, last;
  AppendUtf8(first, low);
  AppendUtf8(last, high);
  auto& bytes = out.emplace_back();
  for (size_t i = 0; i < first.size(); ++i)
    bytes.emplace_back(static_cast<uint8_t>(first[i]), static_cast<uint8_t>(last[i]));
}

std::bitset<256> Range(uint8_t first, uint8_t last) {
  std::bitset<256> set;
  for (int byte = first; byte <= last; ++byte) set.set(static_cast<size_t>(byte));
  return set;
}

// Sorted, without overlaps.
CodePointRanges Normal(CodePointRanges ranges, bool is_negated) {
  std::sort(ranges.begin(), ranges.end());
  CodePointRanges merged;
  for (const auto& [low, high] : ranges) {
    if (!merged.empty() && low <= merged.back().second + 1) {
      merged.back().second = std::max(merged.back().second, high);
    } else {
      merged.emplace_back(low, high);
    }
  }
  if (!is_negated) return merged;
  CodePointRanges rest;
  char32_t next = 0;
  for (const auto& [low, high] : merged) {
    if (low > next) rest.emplace_back(next, low - 1);
    next = high + 1;
  }
  if (next <= 0x10FFFF) rest.emplace_back(next, 0x10FFFF);
  return rest;
}

// The rules that never end, how deep the others are nested at the least, and those that call themselves before the
// first byte.
class Checker {
 public:
  explicit Checker(GrammarProgram& program) : program_(program) {}

  void Run() {
    FindNeeds();
    const uint32_t root = needs_[static_cast<size_t>(program_.root)];
    if (root == kNever) Fail(ErrorCode::kInvalidArgument, "[grammar] no finite text satisfies the grammar");
    if (root > GrammarProgram::kMaxDepth) {
      Fail(ErrorCode::kResourceExhausted, "[grammar] even the shortest text of the grammar is nested deeper than ",
           GrammarProgram::kMaxDepth);
    }
    WriteNeeds();
    FindNullable();
    state_.assign(program_.rules.size(), 0);
    for (size_t rule = 0; rule < program_.rules.size(); ++rule) Visit(static_cast<int32_t>(rule));
  }

 private:
  using Flags = std::vector<bool>;
  using Kind = GrammarProgram::Kind;
  static constexpr uint32_t kNever = ~uint32_t{0};

  // Knuth's generalisation of Dijkstra's algorithm: what an alternative needs is the largest need of its calls, one
  // more for those that are not its last symbol, and what a rule needs is the smallest of its alternatives. Rules are
  // settled by rising need, which is at most kMaxDepth + 1 (everything above is the same).
  void FindNeeds() {
    struct Alternative {
      int32_t rule;
      uint32_t need = 0, open = 0;  // calls whose need is not known
    };
    std::vector<Alternative> alternatives;
    std::vector<std::vector<std::pair<uint32_t, bool>>> users(program_.rules.size());  // alternative, is last
    std::vector<std::vector<int32_t>> ready(GrammarProgram::kMaxDepth + 2);            // rules by need
    needs_.assign(program_.rules.size(), kNever);
    for (size_t rule = 0; rule < program_.rules.size(); ++rule) {
      for (const int32_t start : program_.rules[rule]) {
        Alternative one{.rule = static_cast<int32_t>(rule)};
        for (int32_t at = start; program_.symbols[at].kind != Kind::kEnd; ++at) {
          const auto& symbol = program_.symbols[at];
          if (symbol.kind == Kind::kRule) {
            ++one.open;
            users[symbol.value].emplace_back(static_cast<uint32_t>(alternatives.size()), IsLast(at));
          } else if (program_.sets[symbol.value].none()) {
            ++one.open;  // no byte will ever do
          }
        }
        if (one.open == 0) ready[0].push_back(one.rule);
        alternatives.push_back(one);
      }
    }
    for (uint32_t need = 0; need < ready.size(); ++need) {
      for (size_t i = 0; i < ready[need].size(); ++i) {  // grows meanwhile
        const int32_t rule = ready[need][i];
        if (needs_[rule] != kNever) continue;
        needs_[rule] = need;
        for (const auto& [index, is_last] : users[rule]) {
          Alternative& one = alternatives[index];
          one.need = std::max(one.need, std::min(need + (is_last ? 0 : 1), GrammarProgram::kMaxDepth + 1));
          if (--one.open == 0) ready[one.need].push_back(one.rule);
        }
      }
    }
  }
  bool IsLast(int32_t at) const { return program_.symbols[at + 1].kind == Kind::kEnd; }
  // Leaves out what never ends, and notes the need of each place of the rest.
  void WriteNeeds() {
    program_.needs.assign(program_.symbols.size(), 0);
    for (auto& alternatives : program_.rules) {
      std::erase_if(alternatives, [&](int32_t start) {
        int32_t end = start;
        while (program_.symbols[end].kind != Kind::kEnd) ++end;
        uint32_t need = 0;
        for (int32_t at = end; at-- > start;) {
          const auto& symbol = program_.symbols[at];
          const uint32_t own = symbol.kind == Kind::kRule ? needs_[symbol.value] : 0;
          if (own == kNever || (symbol.kind == Kind::kBytes && program_.sets[symbol.value].none())) return true;
          need = std::max(need, own + (symbol.kind == Kind::kRule && !IsLast(at) ? 1 : 0));
          program_.needs[at] = need;
        }
        return false;
      });
    }
  }
  // Rules that an empty text satisfies, found from those with an empty alternative.
  void FindNullable() {
    nullable_.assign(program_.rules.size(), false);
    std::vector<std::vector<uint32_t>> users(program_.rules.size());  // alternatives
    std::vector<std::pair<int32_t, uint32_t>> alternatives;           // rule, calls that are not known to be empty
    std::vector<int32_t> work;
    for (size_t rule = 0; rule < program_.rules.size(); ++rule) {
      for (const int32_t start : program_.rules[rule]) {
        int32_t end = start;
        while (program_.symbols[end].kind == Kind::kRule) ++end;
        if (program_.symbols[end].kind == Kind::kBytes) continue;
        if (end == start) work.push_back(static_cast<int32_t>(rule));
        for (int32_t at = start; at < end; ++at)
          users[program_.symbols[at].value].push_back(static_cast<uint32_t>(alternatives.size()));
        alternatives.emplace_back(static_cast<int32_t>(rule), static_cast<uint32_t>(end - start));
      }
    }
    while (!work.empty()) {
      const int32_t rule = work.back();
      work.pop_back();
      if (nullable_[rule]) continue;
      nullable_[rule] = true;
      for (const uint32_t index : users[rule]) {
        if (--alternatives[index].second == 0) work.push_back(alternatives[index].first);
      }
    }
  }

  // Depth first over the rules that may stand at the start of each other, without recursion. A cycle with a call that
  // is not the last of its alternative makes the stack grow without reading anything.
  void Visit(int32_t root) {
    struct Frame {
      int32_t rule;
      std::vector<std::pair<int32_t, bool>> calls;  // rule, whether it is the last symbol
      size_t next = 0;
      bool came_by_last = true;
    };
    if (state_[root] != 0) return;
    std::vector<Frame> path;
    const auto open = [&](int32_t rule, bool by_last) {
      state_[rule] = 1;
      path.push_back({rule, FirstCalls(rule), 0, by_last});
    };
    open(root, true);
    while (!path.empty()) {
      Frame& frame = path.back();
      if (frame.next == frame.calls.size()) {
        state_[frame.rule] = 2;
        path.pop_back();
        continue;
      }
      const auto [called, is_last] = frame.calls[frame.next++];
      if (state_[called] == 0) {
        open(called, is_last);
      } else if (state_[called] == 1) {
        bool only_last = is_last;
        for (size_t i = path.size(); i-- > 0 && path[i].rule != called;) only_last &= path[i].came_by_last;
        if (!only_last)
          Fail(ErrorCode::kUnimplemented, "[grammar] a rule that starts with itself (left recursion) is not supported");
      }
    }
  }
  std::vector<std::pair<int32_t, bool>> FirstCalls(int32_t rule) const {
    std::vector<std::pair<int32_t, bool>> calls;
    for (const int32_t start : program_.rules[rule]) {
      for (int32_t at = start; program_.symbols[at].kind == Kind::kRule; ++at) {
        calls.emplace_back(program_.symbols[at].value, IsLast(at));
        if (!nullable_[program_.symbols[at].value]) break;
      }
    }
    return calls;
  }

  GrammarProgram& program_;
  std::vector<uint32_t> needs_;  // of rules
  Flags nullable_;
  std::vector<uint8_t> state_;
};

}  // namespace

GrammarBuilder::Id GrammarBuilder::Add(Node node) {
  if (nodes_.size() >= kMaxNodes) Fail(ErrorCode::kResourceExhausted, "[grammar] more than ", kMaxNodes, " parts");
  nodes_.push_back(std::move(node));
  return static_cast<Id>(nodes_.size() - 1);
}

GrammarBuilder::Id GrammarBuilder::Bytes(const std::bitset<256>& set) {
  const auto [found, is_new] = set_ids_.try_emplace(set.to_string(), static_cast<int32_t>(sets_.size()));
  if (is_new) sets_.push_back(set);
  return Add({Kind::kBytes, found->second, {}, {}});
}

GrammarBuilder::Id GrammarBuilder::Literal(std::string_view bytes) {
  if (bytes.empty()) return Empty();
  const auto [found, is_new] = literals_.try_emplace(std::string(bytes), 0);
  if (!is_new) return found->second;
  std::vector<Id> parts;
  for (const char c : bytes) parts.push_back(Bytes(Range(static_cast<uint8_t>(c), static_cast<uint8_t>(c))));
  return found->second = Sequence(std::move(parts));
}

GrammarBuilder::Id GrammarBuilder::Character(CodePointRanges ranges, bool is_negated, bool in_json) {
  ranges = Normal(std::move(ranges), is_negated);
  std::vector<Id> alternatives;
  if (in_json) {
    const auto has = [&](char32_t c) {
      return std::any_of(ranges.begin(), ranges.end(),
                         [&](const auto& range) { return range.first <= c && c <= range.second; });
    };
    for (char32_t c = 0; c <= '\\'; ++c) {
      if ((c >= 0x20 && c != '"' && c != '\\') || !has(c)) continue;
      constexpr std::string_view kShort = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
      const size_t known = kShort.find(static_cast<char>(c));
      if (known != std::string_view::npos) {
        alternatives.push_back(Literal(std::string("\\") + kLetters[known]));
      } else {
        constexpr char kHex[] = "0123456789abcdef";
        alternatives.push_back(Literal(std::string("\\u00") + kHex[c >> 4] + kHex[c & 15]));
      }
    }
    CodePointRanges plain;
    for (const auto& [low, high] : ranges) {
      for (const auto& [first, last] : CodePointRanges{{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x10FFFF}}) {
        if (std::max(low, first) <= std::min(high, last))
          plain.emplace_back(std::max(low, first), std::min(high, last));
      }
    }
    ranges = std::move(plain);
  }
  std::vector<std::vector<std::pair<uint8_t, uint8_t>>> sequences;
  for (const auto& [low, high] : ranges) Utf8Sequences(low, high, sequences);
  std::bitset<256> single;
  for (const auto& sequence : sequences) {
    if (sequence.size() == 1) {
      single |= Range(sequence[0].first, sequence[0].second);
      continue;
    }
    std::vector<Id> parts;
    for (const auto& [first, last] : sequence) parts.push_back(Bytes(Range(first, last)));
    alternatives.push_back(Sequence(std::move(parts)));
  }
  if (single.any() || alternatives.empty()) alternatives.push_back(Bytes(single));
  return Choice(std::move(alternatives));
}

GrammarBuilder::Id GrammarBuilder::Sequence(std::vector<Id> parts) {
  std::erase(parts, Empty());
  if (parts.empty()) return Empty();
  if (parts.size() == 1) return parts[0];
  return Add({Kind::kSequence, 0, std::move(parts), {}});
}

GrammarBuilder::Id GrammarBuilder::Choice(std::vector<Id> alternatives) {
  if (alternatives.size() == 1) return alternatives[0];
  return Add({Kind::kChoice, 0, std::move(alternatives), {}});
}

GrammarBuilder::Id GrammarBuilder::Repeat(Id part, int64_t least, int64_t most) {
  if (least > kMaxRepeat || most > kMaxRepeat) {
    Fail(ErrorCode::kResourceExhausted, "[grammar] a part is repeated ", std::max(least, most), " times, the limit is ",
         kMaxRepeat);
  }
  Require(most < 0 || least <= most, "[grammar] a part is repeated at least ", least, " and at most ", most, " times");
  Id tail = Empty();
  if (most < 0) {
    tail = Declare("repeat");
    Define(tail, Choice({Sequence({part, tail}), Empty()}));
  }
  for (int64_t i = least; i < most; ++i) tail = Choice({Sequence({part, tail}), Empty()});
  std::vector<Id> parts(static_cast<size_t>(least), part);
  parts.push_back(tail);
  return Sequence(std::move(parts));
}

GrammarBuilder::Id GrammarBuilder::Declare(const std::string& name) { return Add({Kind::kRule, 0, {}, name}); }

void GrammarBuilder::Define(Id rule, Id expression) { nodes_[static_cast<size_t>(rule)].parts = {expression}; }

std::unique_ptr<const GrammarProgram> GrammarBuilder::Finish(Id root) {
  auto program = std::make_unique<GrammarProgram>();
  program->sets = sets_;
  std::vector<int32_t> rule_of(nodes_.size(), -1);
  std::vector<Id> work;
  // Choices and rules become rules; sequences and bytes are written where they stand.
  const auto rule = [&](Id id) {
    if (rule_of[static_cast<size_t>(id)] < 0) {
      rule_of[static_cast<size_t>(id)] = static_cast<int32_t>(program->rules.size());
      program->rules.emplace_back();
      work.push_back(id);
    }
    return rule_of[static_cast<size_t>(id)];
  };
  const auto write = [&](Id id) {
    std::vector<Id> stack = {id};
    const auto start = static_cast<int32_t>(program->symbols.size());
    while (!stack.empty()) {
      const Id next = stack.back();
      const Node& node = nodes_[static_cast<size_t>(next)];
      stack.pop_back();
      if (node.kind == Kind::kSequence) {
        stack.insert(stack.end(), node.parts.rbegin(), node.parts.rend());
      } else if (node.kind == Kind::kBytes) {
        program->symbols.push_back({GrammarProgram::Kind::kBytes, node.set});
      } else if (node.kind != Kind::kEmpty) {
        program->symbols.push_back({GrammarProgram::Kind::kRule, rule(next)});
      }
      if (program->symbols.size() > kMaxSymbols)
        Fail(ErrorCode::kResourceExhausted, "[grammar] more than ", kMaxSymbols, " symbols");
    }
    program->symbols.push_back({GrammarProgram::Kind::kEnd});
    return start;
  };
  const Id top = Add({Kind::kRule, 0, {root}, "root"});
  rule_of.push_back(-1);
  program->root = rule(top);
  while (!work.empty()) {
    const Id id = work.back();
    work.pop_back();
    const std::vector<Id> parts = nodes_[static_cast<size_t>(id)].parts;
    Require(!parts.empty() || nodes_[static_cast<size_t>(id)].kind != Kind::kRule, "[grammar] the rule \"",
            base::PrintableUtf8(nodes_[static_cast<size_t>(id)].name), "\" is used but not defined");
    std::vector<int32_t> starts;
    for (const Id part : parts) starts.push_back(write(part));
    program->rules[static_cast<size_t>(rule_of[static_cast<size_t>(id)])] = std::move(starts);
  }
  Checker(*program).Run();
  return program;
}

}  // namespace fovea::text
