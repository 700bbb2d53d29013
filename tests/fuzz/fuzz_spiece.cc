// SentencePiece models, and the charsmap in them over a text.
#include <string_view>

#include "fuzzing.h"
#include "text/normalizer.h"
#include "text/sentencepiece_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  fuzzing::Try([&] {
    const auto model = text::ParseSentencePieceModel({reinterpret_cast<const char*>(data), size}, "input");
    for (const bool takes_longest : {false, true}) {
      text::NormalizedText text{"\xEF\xAC\x81 e\xCC\x81 \r\n\xE3\x8C\x94 abc", 3};
      text::MakePrecompiled(model.charsmap, "input", takes_longest)->Apply(text);
    }
  });
  return 0;
}
