// Pictures and text as the one sequence that a decoder reads.
//
// Legend: B rows, T tokens of text, N vectors of a row's pictures, D width, S length of the sequence.
#pragma once

#include "nn/entry.h"

namespace fovea::models {

// The inputs of Model::Decode for texts with pictures, as DecoderSpec::pictures says. `ids` i64 [B,T], `mask` bool
// [B,T] (undefined: all exist), `pictures` [B,N,D], or [R,N,D] with several to a row where they replace tokens
// (kTokens: as many vectors in all as there are tokens image_token_id, row by row). Where an encoder reads them
// (kEncoder) `ids` are its text, and the decoder gets its start token. Caches are the caller's to add.
// Recorded when a tape is active. Throws kInvalidArgument when numbers do not fit, kUnimplemented when the model sees
// no pictures.
DecodeInputs JoinPictures(const Model& model, const Tensor& ids, const Tensor& mask, const Tensor& pictures);

}  // namespace fovea::models
