// Element types of GGUF that are stored in blocks: groups of 32 or 256 neighbouring weights of a row share a scale (and
// some an offset), and each weight is a small integer. Beside DType because no single element has an address.
//
//   q8_0, q4_0, q5_0:  w = d q            q signed, blocks of 32
//   q4_1, q5_1:        w = d q + m        q unsigned, blocks of 32
//   q4_K, q5_K:        w = d s q - e m    blocks of 256; s and m are 6 bits for each 32
//   q6_K:              w = d s q          blocks of 256; s is 8 bits for each 16, q signed
//
// The layouts are those of ggml (ggml-common.h in https://github.com/ggml-org/llama.cpp).
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string_view>

namespace fovea {

enum class BlockType : uint8_t { kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ4_K, kQ5_K, kQ6_K };

inline constexpr BlockType kAllBlockTypes[] = {BlockType::kQ4_0, BlockType::kQ4_1, BlockType::kQ5_0, BlockType::kQ5_1,
                                               BlockType::kQ8_0, BlockType::kQ4_K, BlockType::kQ5_K, BlockType::kQ6_K};

// Weights of one block: 32 or 256.
constexpr int64_t BlockItems(BlockType type) { return type < BlockType::kQ4_K ? 32 : 256; }

// Bytes of one block in a file.
constexpr int64_t BlockBytes(BlockType type) {
  constexpr int64_t kBytes[] = {18, 20, 22, 24, 34, 144, 176, 210};
  return kBytes[static_cast<int>(type)];
}

// "q4_0", "q6_k", ...
constexpr std::string_view BlockTypeName(BlockType type) {
  constexpr std::string_view kNames[] = {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k"};
  return kNames[static_cast<int>(type)];
}
constexpr std::optional<BlockType> BlockTypeOfName(std::string_view name) {
  for (const BlockType type : kAllBlockTypes) {
    if (BlockTypeName(type) == name) return type;
  }
  return std::nullopt;
}
inline std::ostream& operator<<(std::ostream& out, BlockType type) { return out << BlockTypeName(type); }

}  // namespace fovea
