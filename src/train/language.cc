#include "train/language.h"

#include <algorithm>

#include "base/error.h"
#include "nn/pictures.h"
#include "ops/loss.h"
#include "ops/shape.h"

namespace fovea::train {
namespace {

LanguageRow MakeRow(const models::DecoderSpec& spec, const text::Tokenizer& tokenizer, const std::string& prompt,
                    const std::string& target, int64_t most_tokens) {
  const text::EncodeOptions plain{.add_special_tokens = false, .use_file_limits = false};
  LanguageRow row;
  const int64_t start = spec.is_encoder_decoder ? spec.decoder_start_token_id : spec.bos;
  if (start >= 0) row.ids.push_back(start);
  row.first_learnt = static_cast<int64_t>(row.ids.size());
  const std::vector<int64_t> all = tokenizer.Encode(prompt + target, plain).ids;
  if (!prompt.empty()) {
    // A token may reach over the border between the two: it is learnt.
    const std::vector<int64_t> read = tokenizer.Encode(prompt, plain).ids;
    row.first_learnt += std::ranges::mismatch(read, all).in1 - read.begin();
  }
  row.ids.insert(row.ids.end(), all.begin(), all.end());
  if (!spec.eos.empty()) row.ids.push_back(spec.eos[0]);
  if (static_cast<int64_t>(row.ids.size()) > most_tokens) row.ids.resize(static_cast<size_t>(most_tokens));
  return row;
}

}  // namespace

LanguageInputs JoinRows(const models::DecoderSpec& spec, std::span<const LanguageRow> rows) {
  size_t longest = 0;
  for (const LanguageRow& row : rows) longest = std::max(longest, row.ids.size());
  const auto B = static_cast<int64_t>(rows.size()), T = static_cast<int64_t>(longest);
  Require(T > 0, "[language] every text of the batch is empty");
  LanguageInputs inputs{.ids = Tensor::Zeros({B, T}, DType::kI64),
                        .mask = Tensor::Zeros({B, T}, DType::kBool),
                        .labels = Tensor::Zeros({B, T}, DType::kI64)};
  int64_t *ids = inputs.ids.mutable_data<int64_t>(), *labels = inputs.labels.mutable_data<int64_t>();
  std::fill_n(ids, B * T, std::max<int64_t>(0, spec.pad));
  std::fill_n(labels, B * T, kIgnored);
  for (int64_t b = 0; b < B; ++b) {
    const LanguageRow& row = rows[static_cast<size_t>(b)];
    for (size_t t = 0; t < row.ids.size(); ++t) {
      const int64_t at = b * T + static_cast<int64_t>(t);
      ids[at] = row.ids[t];
      inputs.mask.mutable_data<bool>()[at] = true;
      if (static_cast<int64_t>(t) < row.first_learnt) continue;
      labels[at] = row.ids[t];
      ++inputs.learnt;
    }
  }
  Require(inputs.learnt > 0,
          "[language] no token of the batch is left to learn; hint: data.max_tokens cuts prompts, too");
  return inputs;
}

LanguageInputs PrepareLanguage(const models::DecoderSpec& spec, const text::Tokenizer& tokenizer,
                               std::span<const std::string> prompts, std::span<const std::string> targets,
                               int64_t most_tokens) {
  Require(!targets.empty() && prompts.size() == targets.size() && most_tokens >= 2,
          "[language] expected as many prompts as targets and at least 2 tokens, got ", prompts.size(), ", ",
          targets.size(), " and ", most_tokens);
  std::vector<LanguageRow> rows;
  for (size_t i = 0; i < targets.size(); ++i)
    rows.push_back(MakeRow(spec, tokenizer, prompts[i], targets[i], most_tokens));
  return JoinRows(spec, rows);
}

Tensor LanguageLoss(const models::Model& model, const LanguageInputs& inputs, const Tensor& pictures,
                    float label_smoothing) {
  const auto [B, T] = inputs.ids.Dims<2>("ids");
  if (pictures.defined() && model.Decoder().prompt_sees_itself)
    Fail(ErrorCode::kUnimplemented, "[language] training of a model whose prompt sees itself is not implemented");
  const bool is_prefix = pictures.defined() && model.Decoder().pictures == models::PicturePlace::kBefore;
  const models::DecodeInputs call = pictures.defined() ? models::JoinPictures(model, inputs.ids, inputs.mask, pictures)
                                                       : models::DecodeInputs{.ids = inputs.ids, .mask = inputs.mask};
  const Tensor logits = model.Decode(call).logits;  // [B,N+T,V]
  // What stands before a token speaks of it; before the first one stands the last place of a picture, or nothing.
  const int64_t before = is_prefix ? pictures.dim(1) - 1 : 0, skipped = is_prefix ? 0 : 1;
  Require(T > skipped, "[language] expected at least two tokens, got ", T);
  const Tensor told = Slice(logits, 1, before, before + T - skipped);                                // [B,T',V]
  const Tensor labels = inputs.labels.Sliced(1, skipped, T).Contiguous().View({B * (T - skipped)});  // [B T']
  return CrossEntropy(Reshape(told, {B * (T - skipped), logits.dim(2)}), labels,
                      {.label_smoothing = label_smoothing, .ignore_index = kIgnored});
}

}  // namespace fovea::train
