// The loss of a decoder that reads a text word by word: the mean cross-entropy of each token given those before it, and
// of the picture when there is one. A prompt is read but not learnt (for questions and their answers).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nn/entry.h"
#include "text/tokenizer.h"

namespace fovea::train {

// Texts as a decoder is trained on them: start token, prompt, target, end token, padded to one length.
struct LanguageInputs {
  Tensor ids;          // i64 [B,T]
  Tensor mask;         // bool [B,T]
  Tensor labels;       // i64 [B,T]: the id where the token is to be learnt, kIgnored elsewhere
  int64_t learnt = 0;  // how many that are
};
inline constexpr int64_t kIgnored = -100;

// One text as token ids: those before `first_learnt` are read only.
struct LanguageRow {
  std::vector<int64_t> ids;
  int64_t first_learnt = 0;
};

// Rows padded to the longest. Throws kInvalidArgument when nothing is left to learn.
LanguageInputs JoinRows(const models::DecoderSpec& spec, std::span<const LanguageRow> rows);

// `prompts` and `targets`: one a row, joined as they are (a space between them belongs to one of them). Texts are cut
// to `most_tokens`. The start token is decoder_start_token_id of an encoder-decoder, else bos, else none. Throws
// kInvalidArgument when nothing is left to learn.
LanguageInputs PrepareLanguage(const models::DecoderSpec& spec, const text::Tokenizer& tokenizer,
                               std::span<const std::string> prompts, std::span<const std::string> targets,
                               int64_t most_tokens);

// Mean loss over the labels, a scalar. `pictures`: what EmbedImages gave, [B,N,D]; undefined for text alone. They go
// where DecoderSpec::pictures says.
Tensor LanguageLoss(const models::Model& model, const LanguageInputs& inputs, const Tensor& pictures,
                    float label_smoothing);

}  // namespace fovea::train
