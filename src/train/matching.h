// Image-text matching with hard negatives (Li et al. 2021, ALBEF, arXiv 2107.07651; 2022, BLIP): a head that sees both
// decides whether they belong together, and the wrong partners of a batch that a contrastive score finds likely come up
// more often.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace fovea::train {

struct HardNegatives {
  std::vector<int64_t> texts;   // [N], a wrong text for each picture
  std::vector<int64_t> images;  // [N], a wrong picture for each text
};

// similarities [N,N], pictures in rows, true pairs on the diagonal, N >= 2: the negative of picture i is text j with a
// probability proportional to softmax over j of similarities[i,j], without i itself; of texts the same over columns.
// `same` (may be empty): numbers that tell which texts are equal, [N]; equal texts are no negatives of each other's
// pictures unless nothing else is left. Not recorded.
HardNegatives SampleHardNegatives(const Tensor& similarities, uint64_t seed, std::span<const int64_t> same = {});

// Cross-entropy of 3N decisions: each true pair, each picture with its wrong text, each text with its wrong picture.
// `score(images, texts)` -> logits [n,2] of pairs of rows, class 1 "belong together".
Tensor MatchingLoss(
    const HardNegatives& negatives,
    const std::function<Tensor(std::span<const int64_t> images, std::span<const int64_t> texts)>& score);

}  // namespace fovea::train
