#include "text/tokenizer.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/gguf_vocabulary.h"
#include "text/stream_decoder.h"
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

void CheckTextSize(size_t bytes) {
  if (bytes > static_cast<size_t>(Tokenizer::kMaxTextBytes)) {
    Fail(ErrorCode::kResourceExhausted, "[tokenizer] a text has ", bytes, " bytes, the limit is ",
         Tokenizer::kMaxTextBytes);
  }
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
  const auto* decoder_json = part("decoder");
  decoder = decoder_json != nullptr ? MakeDecoder(*decoder_json, source) : MakeSpaceDecoder();
  if (const auto* json = part("added_tokens")) added.Add(*json, *model, normalizer.get(), source);
  if (const auto* json = part("truncation")) truncation = ReadTruncation(*json, source);
  if (const auto* json = part("padding")) {
    padding = ReadPadding(*json, source);
    pad_id = padding->id;
  }
}

std::vector<int64_t> Tokenizer::Impl::EncodeText(std::string_view text,
                                                 std::optional<AddedTokens::Parts> control) const {
  Pieces pieces = added.Extract(text, normalizer.get(), control);
  if (pre_tokenizer != nullptr) pre_tokenizer->Apply(pieces);
  // Where a control token may stand it was cut out; a model that builds one from other text would let it through.
  const TokenSet* banned = control.has_value() ? &added.control_tokens() : nullptr;
  std::vector<int64_t> ids;
  for (const auto& piece : pieces.list) {
    if (piece.token >= 0) {
      ids.push_back(piece.token);
    } else {
      const auto before = static_cast<std::ptrdiff_t>(ids.size());
      model->Tokenize(pieces.TextOf(piece), banned, ids);
      if (banned == nullptr) continue;
      // A vocabulary may call one of its plain characters a control token: nobody's text may say it.
      const auto says_control = [&](int64_t id) {
        if (!banned->Has(id)) return false;
        const auto unknown = roles.find("unk_token");
        return unknown == roles.end() || TokenToDecode(id, false) != unknown->second;
      };
      ids.erase(std::remove_if(ids.begin() + before, ids.end(), says_control), ids.end());
    }
  }
  return ids;
}

Encoding Tokenizer::Impl::EncodeParts(std::span<const std::string_view> texts, const EncodeOptions& options) const {
  std::vector<Encoding> parts;
  for (const std::string_view bytes : texts) {
    CheckTextSize(bytes.size());
    Encoding& part = parts.emplace_back();
    part.ids = EncodeText(IsValidUtf8(bytes) ? bytes : ReplaceInvalidUtf8(bytes), std::nullopt);
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

std::shared_ptr<const Tokenizer> Tokenizer::FromGguf(const GgufVocabulary& vocabulary, const std::string& source) {
  TokenizerSpec spec = SpecFromGguf(vocabulary, source);
  auto impl = std::make_unique<Impl>(spec);
  const auto set_role = [&](const char* role, std::optional<int64_t> id) {
    if (id.has_value()) impl->roles[role] = vocabulary.tokens[static_cast<size_t>(*id)];
  };
  set_role("bos_token", vocabulary.bos_id);
  set_role("eos_token", vocabulary.eos_id);
  set_role("unk_token", vocabulary.unk_id);
  set_role("pad_token", vocabulary.pad_id);
  impl->pad_id = vocabulary.pad_id.value_or(0);
  return std::make_shared<const Tokenizer>(std::move(impl));
}

std::shared_ptr<const Tokenizer> Tokenizer::FromFolder(const std::string& folder, std::string_view model_type) {
  const auto file = [&](const char* name) { return (std::filesystem::path(folder) / name).string(); };
  const nlohmann::json config = ReadObject(file("tokenizer_config.json"));
  const nlohmann::json special = ReadObject(file("special_tokens_map.json"));
  const std::string path = file("tokenizer.json");
  TokenizerSpec spec = FileExists(path) ? ParseTokenizerJson(base::ReadTextFile(path), base::PrintableUtf8(path))
                                        : SpecFromVocabularyFiles(folder, model_type, config, special);
  const FolderRules rules = RulesOfFolder(model_type, config);
  if (rules.lowers) {
    const nlohmann::json before = HasPart(spec.parts, "normalizer") ? spec.parts["normalizer"] : nlohmann::json();
    nlohmann::json steps = nlohmann::json::array();
    steps.push_back({{"type", "Lowercase"}});
    if (!before.is_null()) steps.push_back(before);
    spec.parts["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(steps)}};
  }
  if (rules.drops_word_ends && HasPart(spec.parts, "decoder")) {
    const Fields model(spec.parts["model"], spec.source);
    nlohmann::json steps = nlohmann::json::array({spec.parts["decoder"]});
    steps.push_back({{"type", "TrimText"}, {"suffix", model.String("end_of_word_suffix", "")}});
    spec.parts["decoder"] = {{"type", "Sequence"}, {"decoders", std::move(steps)}};
  }
  auto impl = std::make_unique<Impl>(spec);
  impl->roles.insert(spec.roles.begin(), spec.roles.end());
  for (const char* role :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    std::string token = TokenIn(config, role);
    if (token.empty()) token = TokenIn(special, role);
    if (!token.empty()) impl->roles[role] = token;
  }
  if (const auto found = impl->roles.find("pad_token"); found != impl->roles.end()) {
    const std::string& pad = found->second;
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

std::vector<int64_t> Tokenizer::EncodeSpans(std::span<const TextSpan> spans) const {
  std::string text;
  std::vector<std::pair<size_t, size_t>> control;
  for (const TextSpan& span : spans) {
    CheckTextSize(text.size() + span.text.size());
    const size_t begin = text.size();
    text += IsValidUtf8(span.text) ? span.text : ReplaceInvalidUtf8(span.text);
    if (!span.is_control || text.size() == begin) continue;
    if (!control.empty() && control.back().second == begin) {
      control.back().second = text.size();
    } else {
      control.emplace_back(begin, text.size());
    }
  }
  return impl_->EncodeText(text, AddedTokens::Parts(control));
}

std::optional<std::string> Tokenizer::Impl::TokenToDecode(int64_t id, bool skip_special_tokens) const {
  std::string token;
  if (const AddedToken* known = added.ById(id)) {
    token = known->pattern;
  } else if (const auto piece = model->vocabulary().Token(id)) {
    token = *piece;
  } else {
    return std::nullopt;
  }
  if (skip_special_tokens && added.IsSpecial(token)) return std::nullopt;
  return token;
}

std::string Tokenizer::Decode(std::span<const int64_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  for (const int64_t id : ids) {
    if (auto token = impl_->TokenToDecode(id, skip_special_tokens)) tokens.push_back(std::move(*token));
  }
  std::string text;
  if (tokens.empty()) return text;
  for (const std::string& part : impl_->decoder->Apply(std::move(tokens))) text += part;
  return text;
}

std::string Tokenizer::TokenBytes(int64_t id) const {
  std::string token = impl_->TokenToDecode(id, false).value_or("");
  if (token.empty() || IsControl(id)) return "";
  impl_->decoder->ToBytes(token);
  return token;
}

bool Tokenizer::IsControl(int64_t id) const { return impl_->added.control_tokens().Has(id); }

int64_t Tokenizer::max_id() const { return std::max(impl_->model->vocabulary().max_id(), impl_->added.max_id()); }

std::string Tokenizer::SpecialToken(std::string_view role) const {
  const auto found = impl_->roles.find(role);
  return found == impl_->roles.end() ? "" : found->second;
}

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)),
      skips_special_(skip_special_tokens),
      stage_(tokenizer_->impl_->decoder->Stream(false)) {}
StreamDecoder::~StreamDecoder() = default;

std::string StreamDecoder::Push(int64_t id) {
  std::string text;
  if (stage_ == nullptr) {
    ids_.push_back(id);
  } else if (auto token = tokenizer_->impl_->TokenToDecode(id, skips_special_)) {
    stage_->Push(std::move(*token), false, [&](std::string part, bool) { text += part; });
  }
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text;
  if (stage_ == nullptr) {
    text = tokenizer_->Decode(ids_, skips_special_);
    ids_.clear();
  } else {
    stage_->Finish([&](std::string part, bool) { text += part; });
    stage_ = tokenizer_->impl_->decoder->Stream(false);
  }
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
