#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace fovea::base {
namespace {

std::string Hex(XXH128_hash_t hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  std::string text;
  for (const unsigned char byte : canonical.digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace

std::string ContentHash(std::span<const uint8_t> bytes) { return Hex(XXH3_128bits(bytes.data(), bytes.size())); }

struct ContentHasher::State {
  XXH3_state_t xxh;
};

ContentHasher::ContentHasher() : state_(new State) { XXH3_128bits_reset(&state_->xxh); }

ContentHasher::~ContentHasher() = default;

ContentHasher& ContentHasher::Add(std::span<const uint8_t> bytes) {
  XXH3_128bits_update(&state_->xxh, bytes.data(), bytes.size());
  return *this;
}

ContentHasher& ContentHasher::Add(std::string_view text) {
  return Add({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

std::string ContentHasher::Hex() const { return base::Hex(XXH3_128bits_digest(&state_->xxh)); }

}  // namespace fovea::base
