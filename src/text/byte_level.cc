#include "text/byte_level.h"

#include <array>
#include <cstdint>

#include "text/unicode.h"

namespace fovea::text {
namespace {

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<int16_t, 512> byte{};
  std::array<char, 512> utf8{};  // two bytes for each byte; the second is 0 for ASCII

  Alphabet() {
    byte.fill(-1);
    char32_t next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool is_printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      character[b] = is_printable ? static_cast<char32_t>(b) : next++;
      byte[character[b]] = static_cast<int16_t>(b);
      std::string text;
      AppendUtf8(text, character[b]);
      utf8[2 * b] = text[0];
      utf8[2 * b + 1] = text.size() > 1 ? text[1] : '\0';
    }
  }
};

const Alphabet& GetAlphabet() {
  static const Alphabet alphabet;
  return alphabet;
}

}  // namespace

void AppendEncodedBytes(std::string& out, std::string_view bytes) {
  const Alphabet& alphabet = GetAlphabet();
  for (const char c : bytes) {
    const size_t at = 2 * static_cast<uint8_t>(c);
    out += alphabet.utf8[at];
    if (alphabet.utf8[at + 1] != '\0') out += alphabet.utf8[at + 1];
  }
}

std::string EncodeBytes(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  AppendEncodedBytes(out, bytes);
  return out;
}

int ByteOf(char32_t c) { return c < 512 ? GetAlphabet().byte[c] : -1; }

}  // namespace fovea::text
