// How llama.cpp cuts words for a "pre" is written as the tokenizer.json of the model family it stands for; its own
// regular expressions say the same in the syntax it knows. Where llama.cpp's older files leave "pre" out it guesses,
// with a warning; so do we, without one, because the guess is all there is.
#include "text/gguf_vocabulary.h"

#include <algorithm>

#include "base/error.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

using nlohmann::json;

constexpr char kContractions[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
constexpr char kGpt2Words[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr char kTail[] = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Words that change case inside belong together, as of GPT-4o; `end` follows each.
std::string CasedWords(const std::string& end, const std::string& digits) {
  const std::string upper = R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])", lower = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])";
  const std::string head = R"([^\r\n\p{L}\p{N}]?)";
  return head + upper + "*" + lower + "+" + end + "|" + head + upper + "+" + lower + "*" + end + "|" + digits +
         R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

// One way to cut words: regular expressions that are applied one after the other.
struct Pre {
  std::vector<std::string_view> names;
  std::vector<std::string> patterns;
  bool ignores_merges = false, adds_bos = false, is_nfc = false;
};

const std::vector<Pre>& KnownPres() {
  const auto words = [](const char* digits) {
    return std::string(kContractions) + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|)" + digits + kTail;
  };
  static const std::vector<Pre> kPres = {
      {{"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v1-en", "jina-v2-code", "roberta-bpe",
        "gigachat", "a.x-4.0", "mellum", "modern-bert", "mpt", "olmo", "jais", "trillion", "granite-docling"},
       {kGpt2Words}},
      {{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"},
       {words(R"(\p{N}{1,3})")},
       true,
       true},
      {{"dbrx", "smaug-bpe", "chatglm-bpe"}, {words(R"(\p{N}{1,3})")}},
      {{"glm4"}, {words(R"(\p{N}{1,3})")}, true},
      {{"qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez", "grok-2", "solar-open"},
       {words(R"(\p{N})")},
       false,
       false,
       true},
      {{"qwen35"},
       {std::string(kContractions) +
        R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
       false,
       false,
       true},
      {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"},
       {R"(\p{N})", kGpt2Words}},
      {{"tekken"}, {CasedWords("", R"(\p{N})")}, true, true},
      {{"gpt-4o", "llama4", "kanana2", "minimax-m2"}, {CasedWords(std::string(kContractions) + "?", R"(\p{N}{1,3})")}},
      {{"deepseek-coder"}, {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-\xED\x9F\xBF]+", R"(\p{N})"}},
      {{"deepseek-v3", "hunyuan-dense"},
       {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+",
        R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
        R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Words, "[0-9][0-9][0-9]"}},
      {{"default", ""}, {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Words, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
  };
  return kPres;
}

class Builder {
 public:
  Builder(const GgufVocabulary& vocabulary, const std::string& source) : vocabulary_(vocabulary) {
    spec_.source = source;
    spec_.parts = json::object();
  }

  TokenizerSpec Build() {
    Check();
    for (size_t i = 0; i < vocabulary_.tokens.size(); ++i)
      spec_.vocabulary.Add(vocabulary_.tokens[i], static_cast<int64_t>(i), spec_.source);
    spec_.has_vocabulary = true;
    AddTokens();
    if (vocabulary_.model == "llama") {
      Llama();
    } else if (vocabulary_.model == "gpt2") {
      Gpt2();
    } else if (vocabulary_.model == "gemma4") {
      Gemma4();
    } else if (vocabulary_.model == "t5") {
      T5();
    } else {
      Fail(ErrorCode::kUnimplemented, "[tokenizer] ", spec_.source, " has the tokenizer.ggml.model \"",
           base::PrintableUtf8(vocabulary_.model), "\", which is not supported; hint: llama, gpt2, gemma4 and t5 are");
    }
    return std::move(spec_);
  }

 private:
  void Check() const {
    const size_t count = vocabulary_.tokens.size();
    RequireData(count > 0 && count < static_cast<size_t>(Tokenizer::kMaxTokens), "[tokenizer] ", spec_.source,
                ": expected tokenizer.ggml.tokens to have 1 to ", Tokenizer::kMaxTokens, " entries, got ", count);
    const auto check_length = [&](const char* what, size_t length) {
      RequireData(length == count, "[tokenizer] ", spec_.source, ": expected tokenizer.ggml.", what, " to have ", count,
                  " entries as tokens has, got ", length);
    };
    if (vocabulary_.model == "llama" || vocabulary_.model == "t5") check_length("scores", vocabulary_.scores.size());
    if (!vocabulary_.token_type.empty()) check_length("token_type", vocabulary_.token_type.size());
    for (const auto& id : {vocabulary_.bos_id, vocabulary_.eos_id, vocabulary_.unk_id, vocabulary_.pad_id}) {
      RequireData(!id.has_value() || (*id >= 0 && *id < static_cast<int64_t>(count)), "[tokenizer] ", spec_.source,
                  ": a special token has the id ", id.value_or(0), ", but there are ", count, " tokens");
    }
    for (const std::string& token : vocabulary_.tokens)
      RequireData(IsValidUtf8(token), "[tokenizer] ", spec_.source, ": a token is not UTF-8");
    for (const float score : vocabulary_.scores)
      RequireData(score == score && score < 1e30f && score > -1e30f, "[tokenizer] ", spec_.source,
                  ": a score is not finite");
  }

  int32_t TypeOf(size_t id) const {
    return vocabulary_.token_type.empty() ? GgufVocabulary::kNormal : vocabulary_.token_type[id];
  }

  void AddTokens() {
    json& added = spec_.parts["added_tokens"] = json::array();
    for (size_t i = 0; i < vocabulary_.tokens.size(); ++i) {
      const int32_t type = TypeOf(i);
      const bool is_special = type == GgufVocabulary::kControl || type == GgufVocabulary::kUnknown;
      if (!is_special && type != GgufVocabulary::kUserDefined) continue;
      added.push_back({{"content", vocabulary_.tokens[i]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", is_special}});
    }
  }

  std::string NameOf(const std::optional<int64_t>& id) const {
    return id.has_value() ? vocabulary_.tokens[static_cast<size_t>(*id)] : "";
  }

  // Tokens around a text: those the file asks for, else llama.cpp's defaults.
  void SetTemplate(bool adds_bos, bool adds_eos) {
    json single = json::array(), special = json::object();
    const auto add = [&](const std::optional<int64_t>& id, const char* what) {
      RequireData(id.has_value(), "[tokenizer] ", spec_.source, " adds the token ", what, " but does not say its id");
      single.push_back({{"SpecialToken", {{"id", NameOf(id)}, {"type_id", 0}}}});
      special[NameOf(id)] = {{"id", NameOf(id)}, {"ids", {*id}}, {"tokens", {NameOf(id)}}};
    };
    if (vocabulary_.add_bos.value_or(adds_bos)) add(vocabulary_.bos_id, "bos");
    single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
    if (vocabulary_.add_eos.value_or(adds_eos)) add(vocabulary_.eos_id, "eos");
    json pair = single;
    pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
    spec_.parts["post_processor"] = {{"type", "TemplateProcessing"},
                                     {"single", std::move(single)},
                                     {"pair", std::move(pair)},
                                     {"special_tokens", std::move(special)}};
  }

  void SetSpaceDecoder(bool strips_first) {
    json steps = {{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
                  {{"type", "ByteFallback"}},
                  {{"type", "Fuse"}}};
    if (strips_first) steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    spec_.parts["decoder"] = {{"type", "Sequence"}, {"decoders", std::move(steps)}};
  }
  static json SpacesToMarks() { return {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}; }

  void Llama() {
    const bool has_prefix = vocabulary_.add_space_prefix.value_or(true);
    json steps = json::array();
    if (has_prefix) steps.push_back({{"type", "Prepend"}, {"prepend", "▁"}});
    steps.push_back(SpacesToMarks());
    spec_.parts["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(steps)}};
    SetSpaceDecoder(has_prefix);
    spec_.parts["model"] = {{"type", "BPE"}, {"fuse_unk", true}, {"byte_fallback", true}};
    if (vocabulary_.unk_id.has_value()) spec_.parts["model"]["unk_token"] = NameOf(vocabulary_.unk_id);
    spec_.merges = MergesByScore(spec_.vocabulary, vocabulary_.scores, [&](int64_t id) {
      const int32_t type = TypeOf(static_cast<size_t>(id));
      return type == GgufVocabulary::kNormal || type == GgufVocabulary::kUserDefined;
    });
    spec_.has_merges = true;
    SetTemplate(true, false);
  }

  void ReadMerges() {
    for (const std::string& merge : vocabulary_.merges) {
      const size_t space = merge.find(' ', 1);
      RequireData(space != std::string::npos && space + 1 < merge.size() && IsValidUtf8(merge), "[tokenizer] ",
                  spec_.source, ": expected each of tokenizer.ggml.merges to hold two tokens");
      spec_.merges.Add(std::string_view(merge).substr(0, space), std::string_view(merge).substr(space + 1));
    }
    spec_.has_merges = true;
  }

  void Gpt2() {
    const auto& pres = KnownPres();
    const auto pre = std::find_if(pres.begin(), pres.end(), [&](const Pre& known) {
      return std::find(known.names.begin(), known.names.end(), vocabulary_.pre) != known.names.end();
    });
    if (pre == pres.end())
      Fail(ErrorCode::kUnimplemented, "[tokenizer] ", spec_.source, " has the tokenizer.ggml.pre \"",
           base::PrintableUtf8(vocabulary_.pre), "\", which is not supported");
    json steps = json::array();
    for (const std::string& pattern : pre->patterns) {
      steps.push_back(
          {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
    }
    steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
    spec_.parts["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
    if (pre->is_nfc) spec_.parts["normalizer"] = {{"type", "NFC"}};
    spec_.parts["decoder"] = {{"type", "ByteLevel"}};
    spec_.parts["model"] = {{"type", "BPE"}, {"ignore_merges", pre->ignores_merges}};
    ReadMerges();
    SetTemplate(pre->adds_bos, false);
  }

  void Gemma4() {
    spec_.parts["normalizer"] = SpacesToMarks();
    SetSpaceDecoder(false);
    spec_.parts["model"] = {{"type", "BPE"}, {"fuse_unk", true}, {"byte_fallback", true}};
    if (vocabulary_.unk_id.has_value()) spec_.parts["model"]["unk_token"] = NameOf(vocabulary_.unk_id);
    ReadMerges();
    SetTemplate(true, false);
  }

  void T5() {
    spec_.scores.assign(vocabulary_.scores.begin(), vocabulary_.scores.end());
    spec_.has_scores = true;
    json steps = json::array();
    const std::string& charsmap = vocabulary_.precompiled_charsmap;
    if (!charsmap.empty()) {
      steps.push_back({{"type", "Precompiled"},
                       {"takes_longest", true},
                       {"charsmap", json::binary({charsmap.begin(), charsmap.end()})}});
    }
    if (vocabulary_.remove_extra_whitespaces.value_or(false)) {
      steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", "[ ▁]+"}}}, {"content", " "}});
      steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", R"(\A | \z)"}}}, {"content", ""}});
    }
    spec_.parts["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(steps)}};
    const char* scheme = vocabulary_.add_space_prefix.value_or(true) ? "always" : "never";
    const json metaspace = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}};
    spec_.parts["pre_tokenizer"] = spec_.parts["decoder"] = metaspace;
    spec_.parts["model"] = {{"type", "Unigram"}, {"byte_fallback", true}};
    spec_.parts["model"]["unk_id"] = vocabulary_.unk_id.value_or(2);
    SetTemplate(false, true);
  }

  const GgufVocabulary& vocabulary_;
  TokenizerSpec spec_;
};

}  // namespace

TokenizerSpec SpecFromGguf(const GgufVocabulary& vocabulary, const std::string& source) {
  return Builder(vocabulary, source).Build();
}

}  // namespace fovea::text
