// Tokenizers of GGUF metadata: lists made of the input's bytes; encoding, decoding at once and token by token, and text
// of users that must not give control tokens.
#include <string_view>

#include "fuzzing.h"
#include "text/gguf_vocabulary.h"
#include "text/stream_decoder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  if (size < 3) return 0;
  constexpr const char* kModels[] = {"llama", "gpt2", "gemma4", "t5", "rwkv"};
  constexpr const char* kPres[] = {"gpt-2", "qwen2", "llama-bpe", "smollm", "tekken", "default", "?"};
  text::GgufVocabulary vocabulary{.model = kModels[data[0] % 5], .pre = kPres[data[1] % 7]};
  vocabulary.bos_id = data[2] % 8;
  vocabulary.eos_id = data[2] / 8 % 8;
  vocabulary.unk_id = data[2] / 64;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 3, size - 3);
  for (size_t at = 0; at < rest.size();) {  // a byte for the type, one for the score, then the token up to a zero
    const size_t end = std::min(rest.find('\0', at), rest.size());
    const std::string_view entry = rest.substr(at, end - at);
    at = end + 1;
    if (entry.size() < 2) continue;
    if (entry[0] == 'm') {
      vocabulary.merges.emplace_back(entry.substr(1));
      continue;
    }
    vocabulary.token_type.push_back(entry[0] % 7);
    vocabulary.scores.push_back(entry[1]);
    vocabulary.tokens.emplace_back(entry.substr(2));
  }
  fuzzing::Try([&] {
    const auto tokenizer = text::Tokenizer::FromGguf(vocabulary, "input");
    for (const std::string_view line : {std::string_view(" a b\n<s>ab"), rest.substr(0, 200)}) {
      fuzzing::Try([&] {
        const auto ids = tokenizer->Encode(line).ids;
        text::StreamDecoder decoder(tokenizer, false);
        std::string parts;
        for (const int64_t id : ids) parts += decoder.Push(id);
        if (parts + decoder.Finish() != tokenizer->Decode(ids, false)) __builtin_trap();
        const text::TextSpan spans[] = {{std::string(line), false}};
        const std::string unknown = tokenizer->SpecialToken("unk_token");
        for (const int64_t id : tokenizer->EncodeSpans(spans)) {
          if (tokenizer->IsControl(id) && tokenizer->IdToToken(id) != unknown) __builtin_trap();
        }
      });
    }
  });
  return 0;
}
