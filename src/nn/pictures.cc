#include "nn/pictures.h"

#include <algorithm>
#include <cmath>

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

// The memory of rows whose tokens each see the last picture that stands before them.
DecodeInputs WithLastPicture(const Tensor& ids, const Tensor& mask, const Tensor& pictures, const DecoderSpec& spec) {
  const auto [B, T] = ids.Dims<2>("token ids");
  const Tensor words = ids.Contiguous();
  const int64_t* word = words.data<int64_t>();
  int64_t total = 0, most = 0;
  for (int64_t b = 0; b < B; ++b) {
    const int64_t count = std::count(word + b * T, word + (b + 1) * T, spec.image_token_id);
    total += count;
    most = std::max(most, count);
  }
  Require(pictures.rank() == 3 && total > 0 && pictures.dim(0) * pictures.dim(1) % total == 0,
          "[pictures] expected a token for each picture, got ", total, " for vectors ", pictures.shape());
  const int64_t N = pictures.dim(0) * pictures.dim(1) / total, M = pictures.dim(2), S = most * N;
  const Tensor rows = Tensor::Empty({B * S}, DType::kI64), seen = Tensor::Zeros({B, T, S}, DType::kBool);
  std::fill_n(rows.mutable_data<int64_t>(), B * S, total * N);  // the row of zeros
  int64_t first = 0;                                            // picture of the row
  for (int64_t b = 0; b < B; ++b) {
    int64_t count = 0;
    bool has_ended = false;
    for (int64_t t = 0; t < T; ++t) {
      const int64_t id = word[b * T + t];
      if (id == spec.image_token_id) {
        for (int64_t i = 0; i < N; ++i) rows.mutable_data<int64_t>()[b * S + count * N + i] = (first + count) * N + i;
        ++count;
        has_ended = false;
      }
      if (count > 0 && !has_ended) std::fill_n(seen.mutable_data<bool>() + (b * T + t) * S + (count - 1) * N, N, true);
      has_ended |= std::ranges::find(spec.eos, id) != spec.eos.end();
    }
    first += count;
  }
  const Tensor all = Concat({Reshape(pictures, {total * N, M}), Tensor::Zeros({1, M}, pictures.dtype())}, 0);
  return {.ids = ids,
          .mask = mask,
          .memory = Reshape(IndexSelect(all, 0, rows), {B, S, M}),  // [B,S,M]
          .memory_mask = seen};
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

// Positions of time, row and column, i64 [3,B,T]: a word has the same in all three; a picture's tokens have the time of
// its first one, and rows and columns counted on from there; the next word follows the largest. Padding gets 0.
Tensor GridPositions(const Tensor& ids, const Tensor& mask, int64_t image_token_id,
                     std::span<const PictureGrid> grids) {
  const auto [B, T] = ids.Dims<2>("token ids");
  const Tensor words = ids.Contiguous(), exists = mask.defined() ? mask.Contiguous() : Tensor();
  const Tensor positions = Tensor::Zeros({3, B, T}, DType::kI64);
  size_t picture = 0;
  for (int64_t b = 0; b < B; ++b) {
    int64_t next = 0, seen = 0;  // `seen` of the present picture's vectors
    for (int64_t t = 0; t < T; ++t) {
      const int64_t at = b * T + t;
      if (exists.defined() && !exists.data<bool>()[at]) continue;
      const bool is_word = words.data<int64_t>()[at] != image_token_id;
      Require(is_word ? seen == 0 : picture < grids.size(), "[pictures] expected each picture's tokens in one piece");
      const PictureGrid grid = is_word ? PictureGrid{1, 1} : grids[picture];
      const int64_t place[] = {next, next + seen / grid[1], next + seen % grid[1]};
      for (int64_t axis = 0; axis < 3; ++axis) positions.mutable_data<int64_t>()[axis * B * T + at] = place[axis];
      if (++seen < grid[0] * grid[1]) continue;
      next += std::max(grid[0], grid[1]);
      seen = 0;
      if (!is_word) ++picture;
    }
    Require(seen == 0, "[pictures] expected the tokens of whole pictures in a row");
  }
  return positions;
}

}  // namespace

PictureGrid MergedGrid(int64_t rows, int64_t columns, int64_t vectors) {
  const auto side = std::llround(std::sqrt(static_cast<double>(rows * columns) / static_cast<double>(vectors)));
  const PictureGrid grid = {rows / side, columns / side};
  if (grid[0] * grid[1] != vectors)
    Fail(ErrorCode::kInternal, "[pictures] ", rows, "x", columns, " patches do not become ", vectors, " vectors");
  return grid;
}

DecodeInputs JoinPictures(const Model& model, const Tensor& ids, const Tensor& mask, const Tensor& pictures,
                          std::span<const PictureGrid> grids) {
  const DecoderSpec spec = model.Decoder();
  const auto [B, T] = ids.Dims<2>("token ids");
  Require(grids.empty() || spec.pictures == PicturePlace::kTokens,
          "[pictures] expected no grids: no tokens stand for vectors of pictures");
  switch (spec.pictures) {
    case PicturePlace::kNone: Fail(ErrorCode::kUnimplemented, "[pictures] this model sees no pictures");
    case PicturePlace::kMemory:
      if (spec.image_token_id >= 0) return WithLastPicture(ids, mask, pictures, spec);
      return {.ids = ids, .mask = mask, .memory = pictures};
    case PicturePlace::kTokens:
      return {.embeddings = Replaced(model.EmbedTokens(ids), ids, pictures, spec.image_token_id),
              .mask = mask,
              .positions = grids.empty() ? Tensor() : GridPositions(ids, mask, spec.image_token_id, grids),
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
