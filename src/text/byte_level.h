// GPT-2's alphabet: each byte is shown as one printable character, so that a tokenizer over characters covers all
// bytes.
#pragma once

#include <string>
#include <string_view>

namespace fovea::text {

std::string EncodeBytes(std::string_view bytes);
void AppendEncodedBytes(std::string& out, std::string_view bytes);
// The byte that a character stands for, or -1.
int ByteOf(char32_t c);

}  // namespace fovea::text
