// Content hashes: XXH3 with 128 bits, at memory speed. They tell different contents apart; they are no protection
// against somebody who wants two files to collide.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace fovea::base {

// 32 lower-case hex digits.
std::string ContentHash(std::span<const uint8_t> bytes);

// The same over pieces: ContentHasher().Add(a).Add(b).Hex() equals ContentHash of a and b joined.
class ContentHasher {
 public:
  ContentHasher();
  ~ContentHasher();
  ContentHasher(const ContentHasher&) = delete;
  ContentHasher& operator=(const ContentHasher&) = delete;

  ContentHasher& Add(std::span<const uint8_t> bytes);
  ContentHasher& Add(std::string_view text);
  std::string Hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fovea::base
