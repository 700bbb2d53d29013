// Prompts with pictures, for the generation loop.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/generator.h"

namespace fovea::runtime {

// What the model reads for the tokens `ids` with `pictures`, vectors [N,D] each (of Model::EmbedImages or EmbedTiles)
// or grids of vectors [P,Q,D] (of Model::EmbedPatches), in the order in which they stand: as memory (several where a
// token stands for each), before the text, in place of tokens image_token_id, of which there must be one for each
// vector, or for an encoder that reads them with the text. `hashes`: for each picture what its content hashes to, so
// that a picture seen before is not read again. Throws what JoinPictures throws, kInvalidArgument for several pictures
// where the model takes one.
Prompt MakePrompt(const models::Model& model, std::vector<int64_t> ids, std::span<const Tensor> pictures,
                  std::span<const uint64_t> hashes);

}  // namespace fovea::runtime
