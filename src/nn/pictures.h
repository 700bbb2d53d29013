// Pictures and text as the one sequence that a decoder reads.
//
// Legend: B rows, T tokens of text, N vectors of a row's pictures, D width, S length of the sequence, R pictures.
#pragma once

#include <array>
#include <span>

#include "nn/entry.h"

namespace fovea::models {

// The inputs of Model::Decode for texts with pictures, as DecoderSpec::pictures says. `ids` i64 [B,T], `mask` bool
// [B,T] (undefined: all exist), `pictures` [B,N,D], or [R,N,D] with several to a row where they replace tokens
// (kTokens: as many vectors in all as there are tokens image_token_id, row by row). Where cross-attention reads them
// (kMemory) and the spec has an image_token_id, one token stands for each picture, and each token of the text sees the
// last picture that stands before it, none after an end of text: the memory is padded to the row with the most
// pictures, and memory_mask is bool [B,T,S]. Where an encoder reads them (kEncoder) `ids` are its text, and the decoder
// gets its start token. Caches are the caller's to add. `grids`: how each picture's vectors lie, {rows, columns}, in
// the order of the pictures; given for models that embed patches (EmbedPatches), whose tokens have three positions, a
// time, a row and a column (M-RoPE). Empty for others. Recorded when a tape is active. Throws kInvalidArgument when
// numbers do not fit, kUnimplemented when the model sees no pictures.
using PictureGrid = std::array<int64_t, 2>;
DecodeInputs JoinPictures(const Model& model, const Tensor& ids, const Tensor& mask, const Tensor& pictures,
                          std::span<const PictureGrid> grids = {});

// How the vectors of one picture lie that EmbedPatches made of `rows` x `columns` patches: as many in a square of
// patches became one. Throws kInternal when they fill no such grid.
PictureGrid MergedGrid(int64_t rows, int64_t columns, int64_t vectors);

}  // namespace fovea::models
