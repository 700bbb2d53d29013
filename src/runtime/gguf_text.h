// The tokenizer and the chat template inside a GGUF file.
#pragma once

#include <memory>
#include <string>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace fovea::runtime {

// The tokenizer of the file `path`: tokenizer.huggingface.json when it holds one, else tokenizer.ggml.*. Throws
// kNotFound when it has none, and what Tokenizer::FromGguf throws.
std::shared_ptr<const text::Tokenizer> GgufTokenizer(const std::string& path);

// tokenizer.chat_template; null when the file has none.
std::shared_ptr<const text::ChatTemplate> GgufChatTemplate(const std::string& path);

}  // namespace fovea::runtime
