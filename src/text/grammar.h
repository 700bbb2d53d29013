// Constrained decoding: what a model writes follows a grammar, token by token.
//
//   const auto grammar = text::Grammar::FromJsonSchema(schema);
//   const auto vocabulary = text::TokenTrie::FromTokenizer(*tokenizer, {eos_id});           // once for a model
//   text::GrammarState state(std::make_shared<text::GrammarEngine>(grammar, vocabulary));   // an engine for many
//   sequences while (!state.IsFinished()) { id = Sample(logits, state.Allowed()); state.Accept(id); }
//
// A grammar is a set of rules over bytes, run as a pushdown automaton: a state is the set of stacks that the bytes so
// far can have led to. States are numbered as they are met, their transitions and token masks are remembered, and a
// mask is one walk over the tree of all tokens that leaves a branch at the first byte the grammar does not take. So a
// mask costs milliseconds the first time, even for 262,144 tokens, and nothing after that. No state is a dead end:
// rules that could never finish are left out when the grammar is built.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace fovea::text {

struct GrammarProgram;

class Grammar {
 public:
  // JSON that a schema accepts, with properties in the order of the schema, and at most one space or line break with
  // its indent between parts. Where the schema leaves further properties open none are written. Keywords that are not
  // supported are refused by name (kUnimplemented), never ignored. Throws kCorruptData for text that is no schema,
  // kInvalidArgument for one that nothing satisfies, kResourceExhausted.
  static std::shared_ptr<const Grammar> FromJsonSchema(std::string_view schema);
  // Any JSON object.
  static std::shared_ptr<const Grammar> AnyJson();
  // Text that a regular expression matches as a whole (^ and $ may be written). Look-around, references to groups and
  // word boundaries are refused.
  static std::shared_ptr<const Grammar> FromRegex(std::string_view pattern);
  // Rules as llama.cpp writes them: root ::= "yes" | "no" " "? [a-z]{1,8}
  static std::shared_ptr<const Grammar> FromText(std::string_view rules);
  // One of some texts.
  static std::shared_ptr<const Grammar> FromChoices(std::span<const std::string> choices);

  explicit Grammar(std::unique_ptr<const GrammarProgram> program);
  ~Grammar();
  const GrammarProgram& program() const { return *program_; }

 private:
  std::unique_ptr<const GrammarProgram> program_;
};

// The bytes of all tokens of a vocabulary as a tree, in the order of a walk through it.
class TokenTrie {
 public:
  // `end_ids`: tokens that end the text (of the model's generation_config.json). Control tokens are in no text.
  static std::shared_ptr<const TokenTrie> FromTokenizer(const Tokenizer& tokenizer, std::vector<int64_t> end_ids);
  // `tokens[id]`: "" for tokens that are in no text.
  TokenTrie(std::vector<std::string> tokens, std::vector<int64_t> end_ids);

  struct Node {
    uint8_t byte;
    uint16_t depth;       // 1 for the first byte of a token
    uint32_t behind;      // the next node that is not below this one
    uint32_t begin, end;  // ids of the tokens that end here, in `ids`
  };
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<int32_t>& ids() const { return ids_; }
  size_t deepest() const { return deepest_; }  // bytes of the longest token
  const std::vector<int64_t>& end_ids() const { return end_ids_; }
  const std::string& bytes(int64_t id) const { return tokens_[static_cast<size_t>(id)]; }
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }

 private:
  std::vector<std::string> tokens_;
  std::vector<Node> nodes_;
  std::vector<int32_t> ids_;
  std::vector<int64_t> end_ids_;
  size_t deepest_ = 0;
};

// A set of token ids, one bit each.
class TokenMask {
 public:
  explicit TokenMask(int64_t size) : size_(size), bits_(static_cast<size_t>(size + 63) / 64) {}
  void Add(int64_t id) { bits_[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64); }
  bool Has(int64_t id) const {
    return id >= 0 && id < size_ && (bits_[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0;
  }
  int64_t size() const { return size_; }
  int64_t Count() const;
  std::span<const uint64_t> bits() const { return bits_; }

 private:
  int64_t size_;
  std::vector<uint64_t> bits_;
};

// What sequences of one grammar and one vocabulary share. Thread-safe.
class GrammarEngine {
 public:
  GrammarEngine(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> tokens);
  ~GrammarEngine();

  int start() const;
  // The state behind one more byte, or -1. Throws kResourceExhausted for grammars with too many states.
  int Step(int state, uint8_t byte);
  bool IsComplete(int state);
  std::shared_ptr<const TokenMask> Mask(int state);
  const TokenTrie& tokens() const { return *tokens_; }

 private:
  struct Impl;
  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenTrie> tokens_;
  std::unique_ptr<Impl> impl_;
};

// One sequence. Cheap to copy: a copy goes its own way from there (beams).
class GrammarState {
 public:
  explicit GrammarState(std::shared_ptr<GrammarEngine> engine) : engine_(std::move(engine)), state_(engine_->start()) {}

  // Tokens that may come next; end tokens when the text may end here. Empty only where the vocabulary has no token for
  // the bytes that must come.
  const TokenMask& Allowed();
  // Goes on by one token. False, and no change, for a token that is not allowed.
  bool Accept(int64_t id);
  // The same for bytes that are there already.
  bool AcceptText(std::string_view bytes);
  // Whether the text may end here, and whether an end token was accepted.
  bool IsComplete() const { return engine_->IsComplete(state_); }
  bool IsFinished() const { return is_finished_; }

 private:
  std::shared_ptr<GrammarEngine> engine_;
  std::shared_ptr<const TokenMask> mask_;
  int state_;
  bool is_finished_ = false;
};

}  // namespace fovea::text
