#include "nn/pictures.h"

#include <algorithm>

#include "base/error.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

// The vectors of words with those of pictures in place of the tokens `image_token_id`. [B,T,D]
Tensor Replaced(const Tensor& words, const Tensor& ids, const Tensor& pictures, int64_t image_token_id) {
  const auto [B, T, D] = words.Dims<3>("words");
  Require(pictures.rank() == 3 && pictures.dim(2) == D, "[pictures] expected vectors [R,N,", D, "], got ",
          pictures.shape());
  const int64_t vectors = pictures.dim(0) * pictures.dim(1);
  const Tensor dense = ids.Contiguous();
  const Tensor rows = Tensor::Empty({B * T}, DType::kI64);
  int64_t used = 0;
  for (int64_t i = 0; i < B * T; ++i)
    rows.mutable_data<int64_t>()[i] = dense.data<int64_t>()[i] == image_token_id ? B * T + used++ : i;
  Require(used == vectors, "[pictures] expected as many image tokens as the pictures have vectors, ", vectors, ", got ",
          used);
  const Tensor both = Concat({Reshape(words, {B * T, D}), Reshape(pictures, {vectors, D})}, 0);
  return Reshape(IndexSelect(both, 0, rows), {B, T, D});
}

// The mask of texts with `count` vectors that exist before them: bool [B,count+T].
Tensor WithPictures(const Tensor& mask, int64_t count) {
  if (!mask.defined() || count == 0) return mask;
  const Tensor all = Tensor::Empty({mask.dim(0), count}, DType::kBool);
  std::fill_n(all.mutable_data<bool>(), all.numel(), true);
  return Concat({all, mask}, 1);
}

// The answer's first token, and as the memory what the encoder makes of picture and text.
DecodeInputs FromEncoder(const Model& model, const Tensor& ids, const Tensor& mask, const Tensor& pictures,
                         int64_t start) {
  const Tensor first = Tensor::Empty({ids.dim(0), 1}, DType::kI64);
  std::fill_n(first.mutable_data<int64_t>(), first.numel(), start);
  const Tensor memory = model.EncodeTexts({.ids = ids, .mask = mask, .type_ids = {}, .pictures = pictures}).tokens;
  const int64_t before = memory.dim(1) - ids.dim(1);  // vectors of pictures among what the encoder makes
  return {.ids = first, .memory = memory, .memory_mask = WithPictures(mask, before)};
}

// Positions of text that begins at 0 behind N vectors of pictures, which have none: i64 [B,N+T].
Tensor TextPositions(const Tensor& mask, int64_t B, int64_t N, int64_t T) {
  const Tensor exists = mask.defined() ? mask.Contiguous() : Tensor();
  const Tensor positions = Tensor::Zeros({B, N + T}, DType::kI64);
  for (int64_t b = 0; b < B; ++b) {
    int64_t next = 0;
    for (int64_t t = 0; t < T; ++t) {
      if (!exists.defined() || exists.data<bool>()[b * T + t])
        positions.mutable_data<int64_t>()[b * (N + T) + N + t] = next++;
    }
  }
  return positions;
}

}  // namespace

DecodeInputs JoinPictures(const Model& model, const Tensor& ids, const Tensor& mask, const Tensor& pictures) {
  const DecoderSpec spec = model.Decoder();
  const auto [B, T] = ids.Dims<2>("token ids");
  switch (spec.pictures) {
    case PicturePlace::kNone: Fail(ErrorCode::kUnimplemented, "[pictures] this model sees no pictures");
    case PicturePlace::kMemory: return {.ids = ids, .mask = mask, .memory = pictures};
    case PicturePlace::kTokens:
      return {.embeddings = Replaced(model.EmbedTokens(ids), ids, pictures, spec.image_token_id),
              .mask = mask,
              .bidirectional = spec.prompt_sees_itself ? T : 0};
    case PicturePlace::kEncoder: return FromEncoder(model, ids, mask, pictures, spec.decoder_start_token_id);
    case PicturePlace::kBefore: break;
  }
  Require(pictures.rank() == 3 && pictures.dim(0) == B, "[pictures] expected vectors [", B, ",N,D], got ",
          pictures.shape());
  const int64_t N = pictures.dim(1);
  DecodeInputs inputs{.embeddings = Concat({pictures, model.EmbedTokens(ids)}, 1)};  // [B,N+T,D]
  inputs.mask = WithPictures(mask, N);
  if (spec.pictures_see_each_other) inputs.bidirectional = N;
  if (!spec.pictures_have_positions) inputs.positions = TextPositions(mask, B, N, T);
  return inputs;
}

}  // namespace fovea::models
