#include "text/grammar.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "text/grammar_builder.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

constexpr size_t kMaxStates = 1 << 18;
constexpr size_t kMaxStacks = 1 << 21;
constexpr size_t kMaxStacksOfState = 1 << 10;  // ways in which the bytes so far can be read
constexpr size_t kMaxStacksOfAll = 1 << 21;    // of all states together
constexpr size_t kMaxMaskBytes = 64 << 20;
constexpr int kUnknown = -2, kDead = -1;

}  // namespace

// ---- tokens

TokenTrie::TokenTrie(std::vector<std::string> tokens, std::vector<int64_t> end_ids)
    : tokens_(std::move(tokens)), end_ids_(std::move(end_ids)) {
  for (const int64_t id : end_ids_)
    Require(id >= 0 && id < size(), "[grammar] the end token ", id, " is not among the ", size(), " tokens");
  // By the first eight bytes as a number, which settles nearly all, then by the rest.
  std::vector<std::pair<uint64_t, int32_t>> order;
  constexpr size_t kMaxTokenBytes = 4096;  // longer ones are never sampled under a grammar
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (tokens_[id].empty() || tokens_[id].size() > kMaxTokenBytes) continue;
    uint64_t first = 0;
    for (size_t i = 0; i < 8; ++i)
      first = first << 8 | (i < tokens_[id].size() ? static_cast<uint8_t>(tokens_[id][i]) : 0);
    order.emplace_back(first, static_cast<int32_t>(id));
  }
  std::sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    if (a.first != b.first) return a.first < b.first;
    const int compared = tokens_[a.second].compare(tokens_[b.second]);
    return compared != 0 ? compared < 0 : a.second < b.second;
  });
  std::vector<uint32_t> path;  // nodes of the last token
  std::string_view last;
  const auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) nodes_[path.back()].behind = static_cast<uint32_t>(nodes_.size());
  };
  for (const auto& [key, id] : order) {
    const std::string& token = tokens_[id];
    const size_t common =
        static_cast<size_t>(std::mismatch(last.begin(), last.end(), token.begin(), token.end()).second - token.begin());
    close(common);
    for (size_t i = common; i < token.size(); ++i) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      const auto place = static_cast<uint32_t>(ids_.size());
      nodes_.push_back({static_cast<uint8_t>(token[i]), static_cast<uint16_t>(i + 1), 0, place, place});
    }
    deepest_ = std::max(deepest_, token.size());
    ids_.push_back(id);
    nodes_[path.back()].end = static_cast<uint32_t>(ids_.size());
    last = token;
  }
  close(0);
}

std::shared_ptr<const TokenTrie> TokenTrie::FromTokenizer(const Tokenizer& tokenizer, std::vector<int64_t> end_ids) {
  std::vector<std::string> tokens(static_cast<size_t>(tokenizer.max_id() + 1));
  for (size_t id = 0; id < tokens.size(); ++id) tokens[id] = tokenizer.TokenBytes(static_cast<int64_t>(id));
  return std::make_shared<const TokenTrie>(std::move(tokens), std::move(end_ids));
}

int64_t TokenMask::Count() const {
  int64_t count = 0;
  for (const uint64_t word : bits_) count += std::popcount(word);
  return count;
}

// ---- the automaton

struct GrammarEngine::Impl {
  explicit Impl(const GrammarProgram& program) : program(program) {
    stacks.push_back({0, 0, 0});  // the empty one: the text may end
    std::vector<uint32_t> first;
    Closure closure(*this, first);
    closure.EnterRule(program.root, 0);
    start = Intern(std::move(first));
  }

  struct Stack {
    int32_t at;       // the symbol that comes next, a set of bytes; for what it returns to: any symbol
    uint32_t parent;  // what comes behind it
    uint32_t depth;
  };

  uint32_t StackId(int32_t at, uint32_t parent) {
    const uint64_t key = static_cast<uint64_t>(parent) << 32 | static_cast<uint32_t>(at);
    const auto [found, is_new] = stack_ids.try_emplace(key, static_cast<uint32_t>(stacks.size()));
    if (is_new) {
      if (stacks.size() >= kMaxStacks)
        Fail(ErrorCode::kResourceExhausted, "[grammar] more than ", kMaxStacks, " stacks");
      stacks.push_back({at, parent, stacks[parent].depth + 1});
    }
    return found->second;
  }

  // All stacks that reading nothing more leads to.
  class Closure {
   public:
    Closure(Impl& impl, std::vector<uint32_t>& out) : impl_(impl), out_(out) {}
    void EnterRule(int32_t rule, uint32_t parent) {
      Enter(rule, parent);
      Run();
    }
    void Continue(int32_t at, uint32_t parent) {
      Push(at, parent);
      Run();
    }

   private:
    // Takes the alternatives that can be finished before the nesting gets too deep, so that no state is a dead end:
    // what was taken needs no more than this at any later place.
    void Enter(int32_t rule, uint32_t parent) {
      const auto& program = impl_.program;
      const uint32_t room = GrammarProgram::kMaxDepth - impl_.stacks[parent].depth;
      for (const int32_t start : program.rules[static_cast<size_t>(rule)]) {
        if (program.needs[static_cast<size_t>(start)] <= room) Push(start, parent);
      }
    }
    void Push(int32_t at, uint32_t parent) {
      if (impl_.program.symbols[static_cast<size_t>(at)].kind == GrammarProgram::Kind::kBytes) {
        out_.push_back(impl_.StackId(at, parent));  // those that are there twice are left out by Intern
        return;
      }
      if (seen_.insert(static_cast<uint64_t>(parent) << 32 | static_cast<uint32_t>(at)).second)
        work_.emplace_back(at, parent);
    }
    void Run() {
      const auto& symbols = impl_.program.symbols;
      while (!work_.empty()) {
        const auto [at, parent] = work_.back();
        work_.pop_back();
        const auto& symbol = symbols[static_cast<size_t>(at)];
        if (symbol.kind == GrammarProgram::Kind::kEnd) {
          if (parent == 0) {
            out_.push_back(0);
          } else {
            const Stack back = impl_.stacks[parent];
            Push(back.at, back.parent);
          }
        } else {
          // A call at the end of an alternative returns where the alternative would.
          uint32_t behind = parent;
          if (symbols[static_cast<size_t>(at) + 1].kind != GrammarProgram::Kind::kEnd)
            behind = impl_.StackId(at + 1, parent);
          Enter(symbol.value, behind);
        }
      }
    }
    Impl& impl_;
    std::vector<uint32_t>& out_;
    std::vector<std::pair<int32_t, uint32_t>> work_;
    std::unordered_set<uint64_t> seen_;
  };

  int Intern(std::vector<uint32_t> set) {
    std::sort(set.begin(), set.end());
    set.erase(std::unique(set.begin(), set.end()), set.end());
    if (set.empty()) return kDead;
    if (set.size() > kMaxStacksOfState) {
      Fail(ErrorCode::kResourceExhausted, "[grammar] the text can be read in more than ", kMaxStacksOfState,
           " ways; hint: a grammar with fewer alternatives for the same text");
    }
    const auto [found, is_new] = state_ids.try_emplace(std::move(set), static_cast<int>(states.size()));
    if (is_new) {
      stacks_of_all += found->first.size();
      if (states.size() >= kMaxStates || stacks_of_all > kMaxStacksOfAll)
        Fail(ErrorCode::kResourceExhausted,
             "[grammar] the text can be read in too many ways; hint: a grammar with fewer alternatives for the same "
             "text");
      states.push_back(&found->first);
      next.emplace_back();
    }
    return found->second;
  }

  // The transitions of a state, kUnknown where nobody asked yet. Stays where it is.
  const int* Table(int state) {
    auto& table = next[static_cast<size_t>(state)];
    if (table == nullptr) {
      table = std::make_unique<std::array<int, 256>>();
      table->fill(kUnknown);
    }
    return table->data();
  }

  int Step(int state, uint8_t byte) {
    if (const int known = Table(state)[byte]; known != kUnknown) return known;
    std::vector<uint32_t> reached;
    Closure closure(*this, reached);
    std::bitset<256> same;  // the bytes that the same stacks take
    same.set();
    for (const uint32_t id : *states[static_cast<size_t>(state)]) {
      if (id == 0) continue;
      const Stack stack = stacks[id];
      const auto& set = program.sets[static_cast<size_t>(program.symbols[static_cast<size_t>(stack.at)].value)];
      same &= set.test(byte) ? set : ~set;
      if (set.test(byte)) closure.Continue(stack.at + 1, stack.parent);
    }
    const int to = Intern(std::move(reached));
    auto& table = *next[static_cast<size_t>(state)];
    for (size_t other = 0; other < table.size(); ++other) {
      if (same.test(other)) table[other] = to;
    }
    return to;
  }
  bool IsComplete(int state) const { return states[static_cast<size_t>(state)]->front() == 0; }

  const GrammarProgram& program;
  std::mutex mutex;
  std::vector<Stack> stacks;
  std::unordered_map<uint64_t, uint32_t> stack_ids;
  std::map<std::vector<uint32_t>, int> state_ids;
  std::vector<const std::vector<uint32_t>*> states;
  size_t stacks_of_all = 0;
  std::vector<std::unique_ptr<std::array<int, 256>>> next;
  std::unordered_map<int, std::shared_ptr<const TokenMask>> masks;
  int start = kDead;
};

GrammarEngine::GrammarEngine(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> tokens)
    : grammar_(std::move(grammar)), tokens_(std::move(tokens)), impl_(std::make_unique<Impl>(grammar_->program())) {}
GrammarEngine::~GrammarEngine() = default;

int GrammarEngine::start() const { return impl_->start; }

int GrammarEngine::Step(int state, uint8_t byte) {
  const std::lock_guard lock(impl_->mutex);
  return impl_->Step(state, byte);
}

bool GrammarEngine::IsComplete(int state) {
  const std::lock_guard lock(impl_->mutex);
  return impl_->IsComplete(state);
}

std::shared_ptr<const TokenMask> GrammarEngine::Mask(int state) {
  const std::lock_guard lock(impl_->mutex);
  if (const auto found = impl_->masks.find(state); found != impl_->masks.end()) return found->second;
  auto mask = std::make_shared<TokenMask>(tokens_->size());
  const TokenTrie::Node* const nodes = tokens_->nodes().data();
  const int32_t* const ids = tokens_->ids().data();
  const auto count = static_cast<uint32_t>(tokens_->nodes().size());
  // The state behind each byte of the path, and its transitions as far as they are known.
  std::vector<int> path(tokens_->deepest() + 1);
  std::vector<const int*> known(path.size());
  path[0] = state;
  known[0] = impl_->Table(state);
  for (uint32_t i = 0; i < count;) {
    const TokenTrie::Node node = nodes[i];
    int reached = known[node.depth - 1][node.byte];
    if (reached == kUnknown) reached = impl_->Step(path[node.depth - 1], node.byte);
    if (reached == kDead) {
      i = node.behind;
      continue;
    }
    for (uint32_t k = node.begin; k < node.end; ++k) mask->Add(ids[k]);
    ++i;
    if (i == node.behind) continue;  // nothing below
    path[node.depth] = reached;
    known[node.depth] = impl_->Table(reached);
  }
  if (impl_->IsComplete(state)) {
    for (const int64_t id : tokens_->end_ids()) mask->Add(id);
  }
  const size_t bytes = mask->bits().size_bytes() + 1;
  if ((impl_->masks.size() + 1) * bytes > kMaxMaskBytes) impl_->masks.clear();
  impl_->masks[state] = mask;
  return mask;
}

const TokenMask& GrammarState::Allowed() {
  if (mask_ == nullptr)
    mask_ = is_finished_ ? std::make_shared<const TokenMask>(engine_->tokens().size()) : engine_->Mask(state_);
  return *mask_;
}

bool GrammarState::Accept(int64_t id) {
  const TokenTrie& tokens = engine_->tokens();
  if (is_finished_ || id < 0 || id >= tokens.size()) return false;
  if (std::find(tokens.end_ids().begin(), tokens.end_ids().end(), id) != tokens.end_ids().end() && IsComplete()) {
    is_finished_ = true;
    mask_ = nullptr;
    return true;
  }
  return !tokens.bytes(id).empty() && AcceptText(tokens.bytes(id));
}

bool GrammarState::AcceptText(std::string_view bytes) {
  if (is_finished_) return false;
  int state = state_;
  for (const char c : bytes) {
    state = engine_->Step(state, static_cast<uint8_t>(c));
    if (state == kDead) return false;
  }
  state_ = state;
  mask_ = nullptr;
  return true;
}

// ---- grammars

Grammar::Grammar(std::unique_ptr<const GrammarProgram> program) : program_(std::move(program)) {}
Grammar::~Grammar() = default;

std::shared_ptr<const Grammar> Grammar::FromChoices(std::span<const std::string> choices) {
  Require(!choices.empty(), "[grammar] expected at least one choice");
  GrammarBuilder builder;
  std::vector<GrammarBuilder::Id> alternatives;
  size_t bytes = 0;
  for (const std::string& choice : choices) {
    Require(IsValidUtf8(choice), "[grammar] a choice is not UTF-8");
    bytes += choice.size();
    if (bytes > (1 << 20)) Fail(ErrorCode::kResourceExhausted, "[grammar] the choices have more than 1 MiB");
    alternatives.push_back(builder.Literal(choice));
  }
  return std::make_shared<const Grammar>(builder.Finish(builder.Choice(std::move(alternatives))));
}

std::shared_ptr<const Grammar> Grammar::FromRegex(std::string_view pattern) {
  GrammarBuilder builder;
  const auto root = RegexExpression(builder, pattern, false, false, "the regular expression");
  return std::make_shared<const Grammar>(builder.Finish(root));
}

}  // namespace fovea::text
