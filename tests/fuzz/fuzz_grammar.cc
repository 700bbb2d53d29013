// Grammars of all three kinds from any text, and any text read under one. The first byte says which kind; the grammar
// ends at a zero byte, and what follows is read byte by byte. A state that takes no byte and may not end is a finding.
#include <string_view>

#include "fuzzing.h"
#include "text/grammar.h"

namespace {

std::shared_ptr<const fovea::text::TokenTrie> Tokens() {
  static const auto tokens = [] {
    std::vector<std::string> bytes;
    for (int byte = 0; byte < 256; ++byte) bytes.emplace_back(1, static_cast<char>(byte));
    for (const char* more : {"", "\",\"", "{\"", "\xE2\x82", "true", "      "}) bytes.emplace_back(more);
    return std::make_shared<const fovea::text::TokenTrie>(std::move(bytes), std::vector<int64_t>{256});
  }();
  return tokens;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  if (size == 0 || size > 4096) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t end = std::min(input.find('\0'), input.size());
  const std::string_view source = input.substr(0, end), rest = input.substr(std::min(end + 1, input.size()));
  fuzzing::Try([&] {
    const auto grammar = data[0] % 3 == 0   ? text::Grammar::FromJsonSchema(source)
                         : data[0] % 3 == 1 ? text::Grammar::FromRegex(source)
                                            : text::Grammar::FromText(source);
    text::GrammarState state(std::make_shared<text::GrammarEngine>(grammar, Tokens()));
    for (size_t i = 0; i < 100; ++i) {
      const text::TokenMask& allowed = state.Allowed();
      if (allowed.Count() == 0) __builtin_trap();
      // The byte of the input, or else the first that is allowed.
      const int64_t wanted = i < rest.size() ? static_cast<uint8_t>(rest[i]) : 256;
      int64_t id = wanted;
      for (int64_t next = 0; !allowed.Has(id); ++next) id = next;
      if (!state.Accept(id)) __builtin_trap();
      if (state.IsFinished()) break;
    }
  });
  return 0;
}
