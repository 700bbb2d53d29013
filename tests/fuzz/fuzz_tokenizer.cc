// tokenizer.json: reading, and for the files that are accepted encoding and decoding.
#include <string_view>

#include "fuzzing.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  fuzzing::Try([&] {
    const auto tokenizer = text::Tokenizer::FromJson({reinterpret_cast<const char*>(data), size}, "input");
    for (const std::string_view line : {"Hello, [MASK] world!", " caf\xC3\xA9 \xE6\xBC\xA2 12\xFF", ""}) {
      fuzzing::Try([&] {
        const auto encoding = tokenizer->EncodePair(line, "b c", {.max_length = 9});
        if (encoding.ids.size() > 9 || encoding.ids.size() != encoding.special.size()) __builtin_trap();
        tokenizer->Decode(encoding.ids);
        tokenizer->Decode(tokenizer->Encode(line).ids, false);
      });
    }
    tokenizer->IdToToken(tokenizer->vocab_size());
  });
  return 0;
}
