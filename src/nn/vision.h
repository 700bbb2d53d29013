// What the image encoders of src/models have in common besides their blocks: how a configuration names classes and
// sizes, positions of a grid of patches for pictures of another size, and stochastic depth.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/json.h"
#include "tensor/tensor.h"

namespace fovea::nn {

// The architectures that a model file knows, as "architectures" of config.json names them.
struct Architectures {
  std::string_view backbone;    // "ViTModel": features and no classes
  std::string_view classifier;  // "ViTForImageClassification"
};

// How many classes a config names: those of "id2label", else "num_labels", else `otherwise`. Throws kInvalidArgument
// for a number below 1 or above a million.
int64_t LabelCount(const base::Config& config, int64_t otherwise);

// How many classes the head of a model has: LabelCount, as transformers (2 when the config is silent); 0 for the
// backbone, which is also what a config without "architectures" and without classes means. Throws kUnimplemented naming
// `who` for any other architecture.
int64_t ClassCount(const base::Config& config, std::string_view who, const Architectures& architectures);

// {height, width} of a key that holds one number for both or a list of two, each from 1 to `high`; px.
std::array<int64_t, 2> ReadSides(const base::Config& config, std::string_view key, int64_t fallback, int64_t high);

// The same for a key whose two sides must be equal. Throws kUnimplemented naming `who` when they are not.
int64_t ReadSquare(const base::Config& config, std::string_view who, std::string_view key, int64_t fallback,
                   int64_t high);

// Learnt positions [1,1+P*Q,D], a class token's before those of a grid {P,Q}, for the grid {P',Q'} of another picture:
// bicubic, the class token as it is -> [1,1+P'*Q',D]. On the tape.
Tensor ResizePositions(const Tensor& positions, std::array<int64_t, 2> from, std::array<int64_t, 2> to);

// Stochastic depth (Huang et al. 2016, arXiv 1603.09382): while training leaves x [B,...] out for a share `rate` of the
// batch's rows and scales the others by 1/(1-rate); otherwise x itself.
Tensor DropPath(const Tensor& x, double rate);

}  // namespace fovea::nn
