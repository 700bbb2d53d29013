// What a request costs, from the shapes of a model alone: memory, and time on this machine.
#pragma once

#include <cstdint>

#include "nn/entry.h"

namespace fovea::runtime {

// Memory that weights take once every layer has run: blocks as they are, other matrices packed in their compute type.
int64_t WeightBytes(const models::Model& network);

// Keys and values of a sequence; `element_bytes` of each: 4, 2, or 1 with a scale for each token and head.
int64_t CacheBytes(const models::DecoderSpec& spec, int64_t tokens, int64_t element_bytes);

// What is alive beside weights and cache while `rows` tokens go through a layer, and the scores of one token.
int64_t ActivationBytes(const models::Model& network, int64_t rows);

// Seconds for `tokens` tokens that are read at once, and for each token that is written, by a short measurement of this
// machine (once a process, about 20 ms). Estimates: caches, other programs and the heat of the processor are not known.
double ReadSeconds(const models::Model& network, int64_t tokens);
double WriteSeconds(const models::Model& network);

}  // namespace fovea::runtime
