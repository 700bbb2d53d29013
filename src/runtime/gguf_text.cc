#include "runtime/gguf_text.h"

#include <optional>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "formats/gguf.h"
#include "text/gguf_vocabulary.h"

namespace fovea::runtime {
namespace {

constexpr const char* kPrefix = "tokenizer.ggml.";

template <typename T>
std::optional<T> Maybe(const formats::GgufMetadata& metadata, const std::string& key) {
  if (!metadata.Has(kPrefix + key)) return std::nullopt;
  return metadata.Require<T>(kPrefix + key);
}

text::GgufVocabulary Vocabulary(const formats::GgufMetadata& m) {
  text::GgufVocabulary v;
  const auto key = [](const char* name) { return std::string(kPrefix) + name; };
  v.model = m.Require<std::string>(key("model"));
  v.pre = m.Get<std::string>(key("pre"), "");
  v.tokens = m.Require<std::vector<std::string>>(key("tokens"));
  for (const double score : m.Get<std::vector<double>>(key("scores"), {}))
    v.scores.push_back(static_cast<float>(score));
  for (const int64_t type : m.Get<std::vector<int64_t>>(key("token_type"), {}))
    v.token_type.push_back(static_cast<int32_t>(type));
  v.merges = m.Get<std::vector<std::string>>(key("merges"), {});
  for (const int64_t byte : m.Get<std::vector<int64_t>>(key("precompiled_charsmap"), {}))
    v.precompiled_charsmap += static_cast<char>(byte);
  v.bos_id = Maybe<int64_t>(m, "bos_token_id");
  v.eos_id = Maybe<int64_t>(m, "eos_token_id");
  v.unk_id = Maybe<int64_t>(m, "unknown_token_id");
  v.pad_id = Maybe<int64_t>(m, "padding_token_id");
  v.add_bos = Maybe<bool>(m, "add_bos_token");
  v.add_eos = Maybe<bool>(m, "add_eos_token");
  v.add_space_prefix = Maybe<bool>(m, "add_space_prefix");
  v.remove_extra_whitespaces = Maybe<bool>(m, "remove_extra_whitespaces");
  return v;
}

}  // namespace

std::shared_ptr<const text::Tokenizer> GgufTokenizer(const std::string& path) {
  const auto file = formats::GgufFile::Open(path);
  const formats::GgufMetadata& metadata = file.metadata();
  if (metadata.Has("tokenizer.huggingface.json"))
    return text::Tokenizer::FromJson(metadata.Require<std::string>("tokenizer.huggingface.json"), path);
  if (!metadata.Has("tokenizer.ggml.model"))
    Fail(ErrorCode::kNotFound, "[gguf] ", base::PrintableUtf8(path), " holds no tokenizer");
  return text::Tokenizer::FromGguf(Vocabulary(metadata), path);
}

std::shared_ptr<const text::ChatTemplate> GgufChatTemplate(const std::string& path) {
  const auto file = formats::GgufFile::Open(path);
  const auto text = file.metadata().Get<std::string>("tokenizer.chat_template", "");
  return text.empty() ? nullptr : text::ChatTemplate::FromText(text, path);
}

}  // namespace fovea::runtime
