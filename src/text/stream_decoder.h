// Text from ids that come one by one, as a model gives them out:
//
//   text::StreamDecoder decoder(tokenizer);
//   for (const int64_t id : ...) Show(decoder.Push(id));
//   Show(decoder.Finish());
//
// Every part is complete UTF-8: a character whose bytes are spread over tokens comes when it is complete. All parts
// together are Tokenizer::Decode of all ids. Text that a later token could still change is held back: a run of byte
// tokens (<0xE2>) until it ends; with the few decoders that need the whole text, everything until Finish.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace fovea::text {

class DecoderStage;

class StreamDecoder {
 public:
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens = true);
  ~StreamDecoder();
  StreamDecoder(const StreamDecoder&) = delete;
  StreamDecoder& operator=(const StreamDecoder&) = delete;

  // The text that is certain with this id, often "".
  std::string Push(int64_t id);
  // The rest; bytes that never became a character are U+FFFD. The next Push starts a new text.
  std::string Finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skips_special_;
  std::unique_ptr<DecoderStage> stage_;  // null: not for this decoder
  std::vector<int64_t> ids_;             // all of them, then
};

}  // namespace fovea::text
