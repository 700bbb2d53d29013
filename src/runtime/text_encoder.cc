#include "runtime/text_encoder.h"

#include <algorithm>

#include "ops/shape.h"
#include "runtime/gguf_text.h"
#include "runtime/model_folder.h"
#include "text/unicode.h"

namespace fovea::runtime {
namespace {

constexpr size_t kBatch = 32;

// The most tokens a text may have, 0 for no limit: what the network takes, and what the sentence encoder or else the
// tokenizer was made for.
int64_t TokenLimit(const models::TextSpec& spec, int64_t stated) {
  if (spec.max_tokens <= 0 || stated <= 0) return std::max(spec.max_tokens, stated);
  return std::min(spec.max_tokens, stated);
}

std::string Lower(std::string_view text) {
  const std::string valid = text::ReplaceInvalidUtf8(text);
  std::string lower;
  for (size_t at = 0; at < valid.size();) text::AppendLower(lower, text::NextCodePoint(valid, at));
  return lower;
}

}  // namespace

TextEncoder::TextEncoder(std::string folder, std::string model_type)
    : folder_(std::move(folder)), model_type_(std::move(model_type)), pooling_(SentencePooling::FromFolder(folder_)) {}

const std::shared_ptr<const text::Tokenizer>& TextEncoder::shared_tokenizer() const {
  std::call_once(once_, [&] {
    tokenizer_ = IsGgufFile(folder_) ? GgufTokenizer(folder_) : text::Tokenizer::FromFolder(folder_, model_type_);
  });
  return tokenizer_;
}

int64_t TextEncoder::MaxTokens(const models::Model& network) const {
  return TokenLimit(network.Texts(), pooling_.max_tokens());
}

models::TextInputs TextEncoder::Prepare(const models::Model& network, std::span<const std::string> texts) const {
  Require(!texts.empty(), "[model] expected at least one text");
  const models::TextSpec spec = network.Texts();
  const int64_t stated = pooling_.max_tokens() > 0 ? pooling_.max_tokens() : tokenizer().model_max_length().value_or(0);
  const text::EncodeOptions options{.max_length = TokenLimit(spec, stated), .use_file_limits = false};
  std::vector<text::Encoding> encodings;
  size_t longest = spec.pads_to_max ? static_cast<size_t>(std::max<int64_t>(spec.max_tokens, 0)) : 1;
  for (const std::string& text : texts) {
    const std::string prompted = pooling_.prompt() + text;
    encodings.push_back(tokenizer().Encode(pooling_.lowercases() ? Lower(prompted) : prompted, options));
    longest = std::max(longest, encodings.back().ids.size());
  }
  const auto B = static_cast<int64_t>(texts.size()), T = static_cast<int64_t>(longest);
  models::TextInputs inputs{.ids = Tensor::Full({B, T}, 0.0f).To(DType::kI64),
                            .mask = Tensor::Zeros({B, T}, DType::kBool),
                            .type_ids = Tensor::Zeros({B, T}, DType::kI64)};
  std::fill_n(inputs.ids.mutable_data<int64_t>(), B * T, tokenizer().pad_id());
  for (int64_t b = 0; b < B; ++b) {
    const text::Encoding& encoding = encodings[static_cast<size_t>(b)];
    std::ranges::copy(encoding.ids, inputs.ids.mutable_data<int64_t>() + b * T);
    std::ranges::copy(encoding.type_ids, inputs.type_ids.mutable_data<int64_t>() + b * T);
    std::fill_n(inputs.mask.mutable_data<bool>() + b * T, encoding.ids.size(), true);
  }
  return inputs;
}

Tensor TextEncoder::Features(const models::Model& network, std::span<const std::string> texts) const {
  std::vector<Tensor> parts;
  for (size_t begin = 0; begin < texts.size(); begin += kBatch) {
    const models::TextInputs inputs = Prepare(network, texts.subspan(begin, std::min(kBatch, texts.size() - begin)));
    parts.push_back(pooling_.PoolSentences(network.EncodeTexts(inputs), inputs.mask));  // [B,E]
  }
  return Concat(parts, 0);  // [N,E]
}

}  // namespace fovea::runtime
