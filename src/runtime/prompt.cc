#include "runtime/prompt.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "nn/pictures.h"
#include "ops/shape.h"

namespace fovea::runtime {
namespace {

// A key that no word has, for vector `index` of a picture.
uint64_t VectorKey(uint64_t hash, int64_t index) {
  return base::MixSeeds(hash, static_cast<uint64_t>(index)) | (uint64_t{1} << 63);
}

// How many vectors a picture has, alone [N,D] or in a grid [P,Q,D].
int64_t VectorCount(const Tensor& picture) { return picture.numel() / picture.dim(-1); }

// One picture after the other: [1,N,D], whatever their numbers of vectors.
Tensor Joined(std::span<const Tensor> pictures) {
  std::vector<Tensor> rows;
  for (const Tensor& picture : pictures) rows.push_back(Reshape(picture, {VectorCount(picture), picture.dim(-1)}));
  return Unsqueeze(Concat(rows, 0), 0);
}

// Of the pictures that are grids.
std::vector<models::PictureGrid> GridsOf(std::span<const Tensor> pictures) {
  std::vector<models::PictureGrid> grids;
  for (const Tensor& picture : pictures) {
    if (picture.rank() == 3) grids.push_back({picture.dim(0), picture.dim(1)});
  }
  return grids;
}

int64_t Largest(const Tensor& positions) {
  const Tensor dense = positions.Contiguous();
  return *std::ranges::max_element(dense.values<int64_t>());
}

std::vector<uint64_t> VectorKeys(std::span<const Tensor> pictures, std::span<const uint64_t> hashes) {
  std::vector<uint64_t> keys;
  for (size_t p = 0; p < pictures.size(); ++p) {
    for (int64_t i = 0; i < VectorCount(pictures[p]); ++i) keys.push_back(VectorKey(hashes[p], i));
  }
  return keys;
}

}  // namespace

Prompt MakePrompt(const models::Model& model, std::vector<int64_t> ids, std::span<const Tensor> pictures,
                  std::span<const uint64_t> hashes) {
  Require(hashes.size() == pictures.size(), "[prompt] expected a hash for each picture");
  Prompt prompt{.ids = std::move(ids)};
  if (pictures.empty()) return prompt;
  const models::DecoderSpec spec = model.Decoder();
  const auto T = static_cast<int64_t>(prompt.ids.size());
  const bool has_place = spec.image_token_id >= 0 && spec.pictures == models::PicturePlace::kMemory;
  Require(spec.pictures == models::PicturePlace::kTokens || has_place || pictures.size() == 1,
          "[prompt] this model takes one picture, got ", pictures.size());
  const int64_t places = std::ranges::count(prompt.ids, spec.image_token_id);
  Require(!has_place || places == static_cast<int64_t>(pictures.size()), "[prompt] expected a token for each of ",
          pictures.size(), " pictures, got ", places);
  const Tensor words = Tensor::FromValues<int64_t>({1, T}, prompt.ids);
  models::DecodeInputs inputs = models::JoinPictures(model, words, {}, Joined(pictures), GridsOf(pictures));
  prompt.embeddings = inputs.embeddings;
  prompt.positions = inputs.positions;
  prompt.bidirectional = inputs.bidirectional;
  prompt.memory = inputs.memory;
  prompt.memory_mask = inputs.memory_mask;
  if (spec.pictures == models::PicturePlace::kMemory || spec.pictures == models::PicturePlace::kEncoder) {
    prompt.memory_key = VectorKey(hashes[0], 0);
    for (const uint64_t hash : hashes.subspan(1)) prompt.memory_key = base::MixSeeds(prompt.memory_key, hash);
    if (spec.pictures == models::PicturePlace::kMemory) return prompt;
    for (const int64_t id : prompt.ids)
      prompt.memory_key = base::MixSeeds(prompt.memory_key, static_cast<uint64_t>(id));
    prompt.ids = {spec.decoder_start_token_id};
    return prompt;
  }
  const std::vector<uint64_t> vectors = VectorKeys(pictures, hashes);
  prompt.keys.assign(prompt.ids.begin(), prompt.ids.end());
  if (spec.pictures == models::PicturePlace::kBefore) {
    prompt.keys.insert(prompt.keys.begin(), vectors.begin(), vectors.end());
    prompt.ids.insert(prompt.ids.begin(), vectors.size(), -1);
    prompt.next_position = T;
    return prompt;
  }
  if (prompt.positions.defined()) prompt.next_position = Largest(prompt.positions) + 1;
  size_t next = 0;
  for (size_t t = 0; t < prompt.ids.size(); ++t) {
    if (prompt.ids[t] == spec.image_token_id) prompt.keys[t] = vectors[next++];
  }
  return prompt;
}

}  // namespace fovea::runtime
