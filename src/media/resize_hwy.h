// The two loops of a resize, by Highway. Weights are Pillow's 22-bit fixed point, split so that 16-bit multiplications
// are exact: weight = high * 2^11 + low, where both halves fit 16 bits. The sum of products is then the very number
// Pillow computes.
#pragma once

#include <cstdint>
#include <vector>

#include "media/resize.h"

namespace fovea::media {

inline constexpr int kWeightBits = 22;
inline constexpr int kLowBits = 11;

// Weights in fixed point, in the order in which the loops read them.
struct FixedWeights {
  std::vector<int32_t> first;   // [out] first source position
  std::vector<int32_t> groups;  // [out] number of groups of `group_taps` positions
  std::vector<int64_t> at;      // [out] index of the first group's weights
  std::vector<int16_t> weight;  // a group: low halves, then high halves; missing taps are 0
  int group_taps = 0;           // 4 across (columns), 2 down (rows)
};
FixedWeights MakeFixedWeights(const AxisWeights& axis, int group_taps);

// Bytes after the start of a row that ResizeFourRows may read.
int64_t ReadableBytes(const FixedWeights& across);

// Resizes four rows across. in[r]: at least ReadableBytes(across) bytes; out[r]: 3 * out_width bytes. Rows may repeat.
void ResizeFourRows(const uint8_t* const in[4], const FixedWeights& across, uint8_t* const out[4]);

// Row `y` of the result: a weighted sum of the rows first[y]... of `in` (row 0 at `in`, `stride_bytes` apart),
// `row_bytes` wide. No row at or beyond `row_count` is read.
struct ColumnJob {
  const uint8_t* in;
  int64_t stride_bytes, row_bytes, row_count;
};
void ResizeColumns(const ColumnJob& job, const FixedWeights& down, int64_t y, uint8_t* out);

}  // namespace fovea::media
