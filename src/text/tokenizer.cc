#include "text/tokenizer.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

using Impl = Tokenizer::Impl;

bool FileExists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

Impl::Truncation ReadTruncation(const nlohmann::json& json, const std::string& source) {
  const Fields fields(json, "the truncation of " + source);
  Impl::Truncation truncation{.max_length = fields.Integer("max_length")};
  const std::string strategy = fields.String("strategy");
  if (strategy == "OnlyFirst") {
    truncation.strategy = Impl::Strategy::kOnlyFirst;
  } else if (strategy == "OnlySecond") {
    truncation.strategy = Impl::Strategy::kOnlySecond;
  } else if (strategy != "LongestFirst") {
    Fail(ErrorCode::kUnimplemented, "[tokenizer] ", fields.where(), " has the strategy ",
         base::PrintableUtf8(strategy));
  }
  truncation.is_left = fields.String("direction", "Right") == "Left";
  return truncation;
}

Impl::Padding ReadPadding(const nlohmann::json& json, const std::string& source) {
  const Fields fields(json, "the padding of " + source);
  Impl::Padding padding{.multiple = fields.Integer("pad_to_multiple_of", 0),
                        .id = fields.Integer("pad_id"),
                        .type_id = fields.Integer("pad_type_id"),
                        .is_left = fields.String("direction") == "Left"};
  const nlohmann::json& strategy = fields.At("strategy");
  if (strategy.is_object()) {
    padding.fixed_length = Fields(strategy, fields.where()).Integer("Fixed");
  } else {
    RequireData(strategy == "BatchLongest", "[tokenizer] expected the strategy of ", fields.where(),
                " to be BatchLongest or Fixed");
  }
  constexpr int64_t kMaxLength = 1 << 20;
  RequireData(padding.fixed_length.value_or(0) <= kMaxLength && padding.multiple <= kMaxLength, "[tokenizer] ",
              fields.where(), " asks for more than ", kMaxLength, " tokens");
  return padding;
}

void Truncate(Encoding& encoding, int64_t length, bool is_left) {
  const auto size = static_cast<int64_t>(encoding.ids.size());
  if (size <= length) return;
  const auto cut = [&](auto& list) {
    if (is_left) {
      list.erase(list.begin(), list.begin() + (size - length));
    } else {
      list.resize(static_cast<size_t>(length));
    }
  };
  cut(encoding.ids);
  cut(encoding.type_ids);
  cut(encoding.special);
}

// Cuts one or two texts to `truncation.max_length` tokens together.
void TruncateParts(std::vector<Encoding>& parts, const Impl::Truncation& truncation) {
  const int64_t limit = truncation.max_length;
  int64_t total = 0;
  for (const Encoding& part : parts) total += static_cast<int64_t>(part.ids.size());
  if (total <= limit) return;
  if (truncation.strategy != Impl::Strategy::kLongestFirst && limit > 0) {
    const size_t which = truncation.strategy == Impl::Strategy::kOnlyFirst ? 0 : 1;
    Require(which < parts.size(), "[tokenizer] the truncation strategy needs a second text");
    const int64_t keep = static_cast<int64_t>(parts[which].ids.size()) - (total - limit);
    Require(keep > 0, "[tokenizer] one text alone cannot be cut to ", limit, " tokens for both");
    Truncate(parts[which], keep, truncation.is_left);
    return;
  }
  if (parts.size() == 1) return Truncate(parts[0], limit, truncation.is_left);
  auto shorter = static_cast<int64_t>(parts[0].ids.size()), longer = static_cast<int64_t>(parts[1].ids.size());
  const bool is_swapped = shorter > longer;
  if (is_swapped) std::swap(shorter, longer);
  longer = shorter > limit ? shorter : std::max(shorter, limit - shorter);
  if (shorter + longer > limit) {
    shorter = limit / 2;
    longer = shorter + limit % 2;
  }
  if (is_swapped) std::swap(shorter, longer);
  Truncate(parts[0], shorter, truncation.is_left);
  Truncate(parts[1], longer, truncation.is_left);
}

void Pad(Encoding& encoding, const Impl::Padding& padding) {
  auto length = static_cast<int64_t>(encoding.ids.size());
  int64_t target = padding.fixed_length.value_or(length);
  if (padding.multiple > 0 && target % padding.multiple > 0) target += padding.multiple - target % padding.multiple;
  if (target <= length) return;
  const auto count = static_cast<size_t>(target - length);
  const auto fill = [&](auto& list, auto value) {
    list.insert(padding.is_left ? list.begin() : list.end(), count, value);
  };
  fill(encoding.ids, padding.id);
  fill(encoding.type_ids, padding.type_id);
  fill(encoding.special, uint8_t{1});
}

// A token of tokenizer_config.json or special_tokens_map.json: a string, or an object with its content.
std::string TokenIn(const nlohmann::json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string())
    return (*found)["content"].get<std::string>();
  return "";
}

nlohmann::json ReadObject(const std::string& path) {
  if (!FileExists(path)) return nlohmann::json::object();
  return base::Config::FromFile(path).json();
}

}  // namespace

Tokenizer::Impl::Impl(TokenizerSpec& spec) : source(spec.source) {
  const auto part = [&](const char* key) -> const nlohmann::json* {
    return HasPart(spec.parts, key) ? &spec.parts[key] : nullptr;
  };
  if (const auto* version = part("version"); version != nullptr && *version != "1.0")
    Fail(ErrorCode::kUnimplemented, "[tokenizer] ", source, " has another version than 1.0");
  if (const auto* json = part("normalizer")) normalizer = MakeNormalizer(*json, source);
  if (const auto* json = part("pre_tokenizer")) pre_tokenizer = MakePreTokenizer(*json, source);
  model = MakeModel(spec);
  if (const auto* json = part("post_processor")) post_processor = MakePostProcessor(*json, source);
  if (const auto* json = part("decoder")) decoder = MakeDecoder(*json, source);
  if (const auto* json = part("added_tokens")) added.Add(*json, *model, normalizer.get(), source);
  if (const auto* json = part("truncation")) truncation = ReadTruncation(*json, source);
  if (const auto* json = part("padding")) {
    padding = ReadPadding(*json, source);
    pad_id = padding->id;
  }
}

Encoding Tokenizer::Impl::EncodeParts(std::span<const std::string_view> texts, const EncodeOptions& options) const {
  std::vector<Encoding> parts;
  for (const std::string_view bytes : texts) {
    if (bytes.size() > static_cast<size_t>(kMaxTextBytes)) {
      Fail(ErrorCode::kResourceExhausted, "[tokenizer] a text has ", bytes.size(), " bytes, the limit is ",
           kMaxTextBytes);
    }
    std::string repaired;
    std::string_view text = bytes;
    if (!IsValidUtf8(bytes)) text = repaired = ReplaceInvalidUtf8(bytes);
    Pieces pieces = added.Extract(text, normalizer.get());
    if (pre_tokenizer != nullptr) pre_tokenizer->Apply(pieces);
    Encoding& part = parts.emplace_back();
    for (const auto& piece : pieces.list) {
      if (piece.token >= 0) {
        part.ids.push_back(piece.token);
      } else {
        model->Tokenize(pieces.TextOf(piece), part.ids);
      }
    }
    part.type_ids.assign(part.ids.size(), static_cast<int64_t>(parts.size()) - 1);
    part.special.assign(part.ids.size(), 0);
  }

  const int64_t added_count =
      options.add_special_tokens && post_processor != nullptr ? post_processor->AddedTokens(parts.size() == 2) : 0;
  std::optional<Truncation> limit = options.use_file_limits ? truncation : std::nullopt;
  if (options.max_length > 0) limit = Truncation{.max_length = options.max_length};
  if (limit.has_value()) {
    Require(limit->max_length >= added_count, "[tokenizer] expected max_length to hold the ", added_count,
            " special tokens, got ", limit->max_length);
    limit->max_length -= added_count;
    TruncateParts(parts, *limit);
  }

  if (post_processor != nullptr) parts = post_processor->Apply(std::move(parts), options.add_special_tokens);
  Encoding encoding = parts.empty() ? Encoding() : std::move(parts[0]);
  for (size_t i = 1; i < parts.size(); ++i) {
    encoding.ids.insert(encoding.ids.end(), parts[i].ids.begin(), parts[i].ids.end());
    encoding.type_ids.insert(encoding.type_ids.end(), parts[i].type_ids.begin(), parts[i].type_ids.end());
    encoding.special.insert(encoding.special.end(), parts[i].special.begin(), parts[i].special.end());
  }
  if (padding.has_value() && options.use_file_limits && options.max_length == 0) Pad(encoding, *padding);
  return encoding;
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::shared_ptr<const Tokenizer> Tokenizer::FromJson(std::string_view json, const std::string& source) {
  TokenizerSpec spec = ParseTokenizerJson(json, source);
  return std::make_shared<const Tokenizer>(std::make_unique<Impl>(spec));
}

std::shared_ptr<const Tokenizer> Tokenizer::FromFolder(const std::string& folder, std::string_view model_type) {
  const auto file = [&](const char* name) { return (std::filesystem::path(folder) / name).string(); };
  const nlohmann::json config = ReadObject(file("tokenizer_config.json"));
  const nlohmann::json special = ReadObject(file("special_tokens_map.json"));
  const std::string path = file("tokenizer.json");
  TokenizerSpec spec = FileExists(path) ? ParseTokenizerJson(base::ReadTextFile(path), base::PrintableUtf8(path))
                                        : SpecFromVocabularyFiles(folder, model_type, config, special);
  auto impl = std::make_unique<Impl>(spec);
  std::string pad = TokenIn(config, "pad_token");
  if (pad.empty()) pad = TokenIn(special, "pad_token");
  if (!pad.empty()) {
    if (const auto id = impl->added.Find(pad)) {
      impl->pad_id = *id;
    } else if (const int32_t known = impl->model->vocabulary().Lookup(pad); known >= 0) {
      impl->pad_id = known;
    }
  }
  if (const auto found = config.find("model_max_length"); found != config.end() && found->is_number()) {
    // The sentinel is int(1e30).
    if (const double length = found->get<double>(); length > 0 && length < 1e9)
      impl->model_max_length = static_cast<int64_t>(length);
  }
  return std::make_shared<const Tokenizer>(std::move(impl));
}

Encoding Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  return impl_->EncodeParts(std::span(&text, 1), options);
}

Encoding Tokenizer::EncodePair(std::string_view first, std::string_view second, const EncodeOptions& options) const {
  const std::string_view texts[] = {first, second};
  return impl_->EncodeParts(texts, options);
}

std::string Tokenizer::Decode(std::span<const int64_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  for (const int64_t id : ids) {
    std::string token;
    if (const AddedToken* added = impl_->added.ById(id)) {
      token = added->pattern;
    } else if (const auto known = impl_->model->vocabulary().Token(id)) {
      token = *known;
    } else {
      continue;
    }
    if (skip_special_tokens && impl_->added.IsSpecial(token)) continue;
    tokens.push_back(std::move(token));
  }
  if (impl_->decoder == nullptr) return base::Join(tokens, " ");
  std::string text;
  if (tokens.empty()) return text;
  for (const std::string& part : impl_->decoder->Apply(std::move(tokens))) text += part;
  return text;
}

int64_t Tokenizer::vocab_size() const {
  return impl_->model->vocabulary().size() + impl_->added.CountBeyond(*impl_->model);
}

std::optional<int64_t> Tokenizer::TokenToId(std::string_view token) const {
  if (const auto id = impl_->added.Find(token)) return id;
  const auto id = impl_->model->vocabulary().Find(token);
  return id ? std::optional<int64_t>(*id) : std::nullopt;
}

std::string Tokenizer::IdToToken(int64_t id) const {
  if (const AddedToken* added = impl_->added.ById(id)) return added->content;
  return std::string(impl_->model->vocabulary().Token(id).value_or(""));
}

int64_t Tokenizer::pad_id() const { return impl_->pad_id; }
std::optional<int64_t> Tokenizer::model_max_length() const { return impl_->model_max_length; }

}  // namespace fovea::text
