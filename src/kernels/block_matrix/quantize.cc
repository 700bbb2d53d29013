// Rounding to q8_0 and q4_0, bit for bit as ggml's reference (quantize_row_q8_0_ref, quantize_row_q4_0_ref), so that a
// file written here equals one written by llama.cpp from the same weights.
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/block_matrix/block_matrix.h"

namespace fovea::kernels {
namespace {

// Scales below the normal range would divide by nothing; such a block is zero in f16 anyway.
float Inverse(float d) { return std::fabs(d) >= std::numeric_limits<float>::min() ? 1.0f / d : 0.0f; }

void PutHalf(float value, uint8_t* to) {
  const F16 half(value);
  std::memcpy(to, &half.bits, 2);
}

void QuantizeQ8_0(const float* x, uint8_t* block) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float d = largest / 127.0f, inverse = Inverse(d);
  PutHalf(d, block);
  for (int i = 0; i < 32; ++i) block[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[i] * inverse)));
}

// The value of largest magnitude becomes -8, whichever its sign: the one code that has no positive twin.
void QuantizeQ4_0(const float* x, uint8_t* block) {
  float largest = 0, extreme = 0;
  for (int i = 0; i < 32; ++i) {
    if (std::fabs(x[i]) > largest) {
      largest = std::fabs(x[i]);
      extreme = x[i];
    }
  }
  const float d = extreme / -8.0f, inverse = Inverse(d);
  PutHalf(d, block);
  const auto code = [&](float value) { return std::min(15, static_cast<int>(value * inverse + 8.5f)); };
  for (int i = 0; i < 16; ++i) block[2 + i] = static_cast<uint8_t>(code(x[i]) | code(x[16 + i]) << 4);
}

}  // namespace

std::vector<uint8_t> QuantizeBlocks(BlockType type, std::span<const float> values) {
  if (type != BlockType::kQ8_0 && type != BlockType::kQ4_0)
    Fail(ErrorCode::kUnimplemented, "[blocks] weights can be rounded to q8_0 and q4_0, not to ", type);
  Require(values.size() % 32 == 0, "[blocks] expected a multiple of 32 weights for ", type, ", got ", values.size());
  const auto count = static_cast<int64_t>(values.size() / 32);
  constexpr float kLargest = 65504.0f * 8;  // the scale must fit f16
  for (const float value : values)
    Require(std::fabs(value) <= kLargest, "[blocks] expected weights of at most ", kLargest, ", got ", value,
            "; hint: the checkpoint is damaged");
  std::vector<uint8_t> blocks(static_cast<size_t>(count * BlockBytes(type)));
  base::ParallelFor(count, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      uint8_t* block = blocks.data() + b * BlockBytes(type);
      type == BlockType::kQ8_0 ? QuantizeQ8_0(values.data() + b * 32, block)
                               : QuantizeQ4_0(values.data() + b * 32, block);
    }
  });
  return blocks;
}

}  // namespace fovea::kernels
