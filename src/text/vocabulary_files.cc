// Folders without a tokenizer.json: the vocabulary files of a model become the tokenizer.json that transformers 5
// builds from them. The rules are those of its tokenizer classes: models/bert/tokenization_bert.py, and likewise clip,
// roberta, gpt2, xlm_roberta, t5, siglip, of https://github.com/huggingface/transformers. Other classes are refused by
// name: converting with the wrong rules gives wrong ids in silence.
#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

using nlohmann::json;

enum class Family { kBert, kClip, kRoberta, kGpt2, kXlmRoberta, kT5, kSiglip, kLlama, kGemma, kSiglip2, kQwen2 };

// Model types and tokenizer classes of each family.
struct FamilyNames {
  Family family;
  std::initializer_list<std::string_view> names;
};
constexpr std::string_view kTextModel = "_text_model";

std::optional<Family> FindFamily(std::string_view name) {
  static const FamilyNames kFamilies[] = {
      {Family::kBert,
       {"BertTokenizer",
        "DistilBertTokenizer",
        "ElectraTokenizer",
        "MobileBertTokenizer",
        "bert",
        "distilbert",
        "electra",
        "mobilebert",
        "align",
        "blip",
        "chinese_clip",
        "convbert",
        "flava",
        "git",
        "grounding-dino",
        "mm-grounding-dino",
        "layoutlm",
        "megatron-bert",
        "vilt",
        "visual_bert",
        "tvp",
        "nomic_bert"}},
      {Family::kClip,
       {"CLIPTokenizer", "clip", "clipseg", "groupvit", "owlvit", "owlv2", "oneformer", "omdet-turbo", "xclip",
        "aimv2"}},
      {Family::kRoberta,
       {"RobertaTokenizer", "BartTokenizer", "roberta", "bart", "bridgetower", "clap", "lilt", "longformer",
        "florence2"}},
      {Family::kGpt2, {"GPT2Tokenizer", "gpt2", "blip-2", "instructblip", "opt", "gptj", "gpt_neo", "codegen", "phi"}},
      {Family::kXlmRoberta, {"XLMRobertaTokenizer", "xlm-roberta", "metaclip_2", "trocr", "altclip", "xmod"}},
      {Family::kT5, {"T5Tokenizer", "t5", "mt5", "switch_transformers"}},
      {Family::kSiglip, {"SiglipTokenizer", "siglip"}},
      {Family::kLlama, {"LlamaTokenizer", "llama", "idefics", "idefics2"}},
      {Family::kGemma,
       {"GemmaTokenizer", "gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n", "gemma3n_text", "paligemma",
        "recurrent_gemma", "shieldgemma2"}},
      {Family::kSiglip2, {"Siglip2Tokenizer", "siglip2"}},
      {Family::kQwen2,
       {"Qwen2Tokenizer", "qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl", "qwen3", "qwen3_moe", "qwen3_vl", "colqwen2",
        "internvl", "ovis2"}},
  };
  if (name.ends_with("Fast")) name.remove_suffix(4);
  if (name.ends_with(kTextModel)) name.remove_suffix(kTextModel.size());
  for (const FamilyNames& entry : kFamilies) {
    if (std::find(entry.names.begin(), entry.names.end(), name) != entry.names.end()) return entry.family;
  }
  return std::nullopt;
}

// The class named beside the vocabulary decides, as in transformers; then the model. Files of SigLIP 2 name Gemma's.
std::optional<Family> FamilyOf(std::string_view model_type, const json& config) {
  std::optional<Family> family = FindFamily(model_type);
  if (family == Family::kSiglip2 || !config.contains("tokenizer_class") || !config["tokenizer_class"].is_string())
    return family;
  const auto named = FindFamily(config["tokenizer_class"].get_ref<const std::string&>());
  return named.has_value() ? named : family;
}

// Collects what transformers passes to its tokenizer class, and writes the parts of a tokenizer.json.
class Builder {
 public:
  Builder(std::string folder, const json& config, const json& special)
      : folder_(std::move(folder)), config_(config), special_(special) {}

  TokenizerSpec Build(Family family) {
    switch (family) {
      case Family::kBert: Bert(); break;
      case Family::kClip: Clip(); break;
      case Family::kRoberta: Roberta(); break;
      case Family::kGpt2: Gpt2(); break;
      case Family::kXlmRoberta: XlmRoberta(); break;
      case Family::kT5: T5(); break;
      case Family::kSiglip: Siglip(); break;
      case Family::kLlama: Llama(); break;
      case Family::kGemma: Gemma(false); break;
      case Family::kSiglip2: Gemma(true); break;
      case Family::kQwen2: Qwen2(); break;
    }
    return std::move(spec_);
  }

 private:
  std::string Path(const std::string& name) const { return (std::filesystem::path(folder_) / name).string(); }
  bool Exists(const std::string& name) const {
    std::error_code ignored;
    return std::filesystem::exists(Path(name), ignored);
  }
  // Reads the first of `names` that is there.
  std::string Read(std::initializer_list<const char*> names, int64_t limit_bytes) {
    for (const char* name : names) {
      if (!Exists(name)) continue;
      source_ = base::PrintableUtf8(Path(name));
      return base::ReadTextFile(Path(name), limit_bytes);
    }
    Fail(ErrorCode::kNotFound, "[tokenizer] ", base::PrintableUtf8(folder_), " has neither tokenizer.json nor ",
         std::vector<const char*>(names).front());
  }

  bool Option(const char* key, bool fallback) const { return Fields(config_, source_).Bool(key, fallback); }

  // The special token for a role, as the files name it, else `fallback`; remembered as an added token.
  std::string Special(const char* role, const char* fallback, bool strips = false) {
    json token;
    for (const json* file : {&config_, &special_}) {
      if (token.is_null() && file->contains(role)) token = (*file)[role];
    }
    if (token.is_null()) token = fallback;
    if (token.is_string()) token = json{{"content", token}, {"lstrip", strips}, {"rstrip", strips}};
    RequireData(token.is_object() && token.contains("content") && token["content"].is_string(),
                "[tokenizer] expected \"", role, "\" of ", folder_, " to be a token");
    const std::string content = token["content"];
    for (const json& listed : Listed()) {
      if (listed.value("content", json()) == content) token = listed;
    }
    Add(content, token, true);
    spec_.roles[role] = content;
    return content;
  }

  // Tokens listed by id in tokenizer_config.json, in order.
  std::vector<json> Listed() const {
    std::vector<std::pair<int64_t, json>> listed;
    if (config_.contains("added_tokens_decoder") && config_["added_tokens_decoder"].is_object()) {
      for (const auto& [id, token] : config_["added_tokens_decoder"].items()) {
        if (!token.is_object() || id.empty() || id.size() > 9 ||
            id.find_first_not_of("0123456789") != std::string::npos)
          Fail(ErrorCode::kCorruptData, "[tokenizer] expected added_tokens_decoder of ", folder_,
               " to map ids to tokens");
        listed.emplace_back(std::stoll(id), token);
      }
    }
    std::sort(listed.begin(), listed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<json> tokens;
    for (auto& [id, token] : listed) tokens.push_back(std::move(token));
    return tokens;
  }

  void Add(const std::string& content, const json& token, bool is_special) {
    if (!added_.insert(content).second) return;
    const auto flag = [&](const char* key, bool fallback) {
      return token.is_object() && token.contains(key) && token[key].is_boolean() ? token[key].get<bool>() : fallback;
    };
    spec_.parts["added_tokens"].push_back({{"content", content},
                                           {"single_word", flag("single_word", false)},
                                           {"lstrip", flag("lstrip", false)},
                                           {"rstrip", flag("rstrip", false)},
                                           {"normalized", flag("normalized", false)},
                                           {"special", flag("special", is_special)}});
  }

  // The rest of the listed tokens, behind the special ones; and the name of the vocabulary file for errors.
  void Finish() {
    for (const json& token : Listed()) {
      if (token.contains("content") && token["content"].is_string())
        Add(token["content"].get<std::string>(), token, false);
    }
    if (Exists("added_tokens.json") && !config_.contains("added_tokens_decoder")) {
      Fail(ErrorCode::kUnimplemented, "[tokenizer] ", base::PrintableUtf8(folder_),
           " has an added_tokens.json, which is read with a tokenizer.json only; hint: save the tokenizer with "
           "transformers 4.40 or newer");
    }
    spec_.source = source_;
  }

  // The id a special token has; the next free one when it is new.
  int64_t IdOf(const std::string& token) const {
    if (const auto id = spec_.vocabulary.Find(token)) return *id;
    int64_t next = spec_.has_scores ? static_cast<int64_t>(spec_.scores.size()) : spec_.vocabulary.size();
    for (const json& added : spec_.parts["added_tokens"]) {
      if (added["content"] == token) return next;
      if (!spec_.vocabulary.Find(added["content"].get_ref<const std::string&>())) ++next;
    }
    return next;
  }

  // A template like {"[CLS]", "$A", "[SEP]"}; "$B" is the second text. With `typed`, everything from the second text on
  // has type 1.
  json Template(const std::vector<std::string>& pieces, bool typed, json& special) const {
    json list = json::array();
    int type = 0;
    for (const std::string& piece : pieces) {
      if (piece == "$B" && typed) type = 1;
      if (piece == "$A" || piece == "$B") {
        list.push_back({{"Sequence", {{"id", piece.substr(1)}, {"type_id", type}}}});
      } else {
        list.push_back({{"SpecialToken", {{"id", piece}, {"type_id", type}}}});
        special[piece] = {{"id", piece}, {"ids", {IdOf(piece)}}, {"tokens", {piece}}};
      }
    }
    return list;
  }
  void SetTemplate(const std::vector<std::string>& single, const std::vector<std::string>& pair, bool typed) {
    json special = json::object();
    json first = Template(single, typed, special), second = Template(pair, typed, special);
    spec_.parts["post_processor"] = {{"type", "TemplateProcessing"},
                                     {"single", std::move(first)},
                                     {"pair", std::move(second)},
                                     {"special_tokens", special}};
  }
  void SetRoberta(const std::string& cls, const std::string& sep) {
    spec_.parts["post_processor"] = {
        {"type", "RobertaProcessing"}, {"cls", {cls, IdOf(cls)}}, {"sep", {sep, IdOf(sep)}}};
  }

  void Bert() {
    const std::string text = Read({"vocab.txt"}, 64 << 20);
    RequireData(IsValidUtf8(text), "[tokenizer] ", source_, " is not UTF-8");
    int64_t id = 0;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      std::string_view token = std::string_view(text).substr(begin, end - begin);
      if (token.ends_with('\r')) token.remove_suffix(1);
      spec_.vocabulary.Add(token, id++, source_);
      begin = end + 1;
    }
    spec_.has_vocabulary = true;
    const std::string unk = Special("unk_token", "[UNK]"), sep = Special("sep_token", "[SEP]");
    Special("pad_token", "[PAD]");
    const std::string cls = Special("cls_token", "[CLS]");
    Special("mask_token", "[MASK]");
    const bool lowers = Option("do_lower_case", true);
    json& parts = spec_.parts;
    parts["normalizer"] = {{"type", "BertNormalizer"},
                           {"clean_text", true},
                           {"handle_chinese_chars", Option("tokenize_chinese_chars", true)},
                           {"strip_accents", Option("strip_accents", lowers)},
                           {"lowercase", lowers}};
    parts["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
    parts["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
    parts["model"] = {{"type", "WordPiece"},
                      {"unk_token", unk},
                      {"continuing_subword_prefix", "##"},
                      {"max_input_chars_per_word", 100}};
    SetTemplate({cls, "$A", sep}, {cls, "$A", sep, "$B", sep}, true);
    Finish();
  }

  void ReadBpe() {
    const std::string merges = Read({"merges.txt"}, 64 << 20);
    RequireData(IsValidUtf8(merges), "[tokenizer] ", source_, " is not UTF-8");
    const std::string vocabulary = Read({"vocab.json"}, 32 << 20);
    spec_ = ParseTokenizerJson("{\"model\":{\"vocab\":" + vocabulary + "}}", source_);
    RequireData(spec_.has_vocabulary, "[tokenizer] expected ", source_, " to map tokens to ids");
    const std::string merges_path = base::PrintableUtf8(Path("merges.txt"));
    for (size_t begin = 0; begin < merges.size();) {
      const size_t end = std::min(merges.find('\n', begin), merges.size());
      std::string_view line = std::string_view(merges).substr(begin, end - begin);
      begin = end + 1;
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.empty() || line.starts_with("#version")) continue;
      const size_t space = line.find(' ');
      RequireData(space != std::string_view::npos && line.find(' ', space + 1) == std::string_view::npos,
                  "[tokenizer] expected each line of ", merges_path, " to hold two tokens");
      spec_.merges.Add(line.substr(0, space), line.substr(space + 1));
    }
    spec_.has_merges = true;
  }

  void SetByteLevel(bool adds_prefix_space) {
    spec_.parts["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", adds_prefix_space}};
    spec_.parts["decoder"] = {{"type", "ByteLevel"}};
  }

  void Clip() {
    ReadBpe();
    const std::string bos = Special("bos_token", "<|startoftext|>"), eos = Special("eos_token", "<|endoftext|>");
    const std::string unk = Special("unk_token", "<|endoftext|>");
    Special("pad_token", "<|endoftext|>");
    json& parts = spec_.parts;
    parts["normalizer"] = {{"type", "Sequence"},
                           {"normalizers",
                            {{{"type", "NFC"}},
                             {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}},
                             {{"type", "Lowercase"}}}}};
    const char* words =
        R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";
    parts["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"pattern", {{"Regex", words}}}, {"behavior", "Removed"}, {"invert", true}},
          {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}};
    parts["decoder"] = {{"type", "ByteLevel"}};
    parts["model"] = {
        {"type", "BPE"}, {"unk_token", unk}, {"continuing_subword_prefix", ""}, {"end_of_word_suffix", "</w>"}};
    SetRoberta(bos, eos);
    Finish();
  }

  void Roberta() {
    ReadBpe();
    Special("bos_token", "<s>");
    Special("eos_token", "</s>");
    Special("unk_token", "<unk>");
    const std::string sep = Special("sep_token", "</s>");
    Special("pad_token", "<pad>");
    const std::string cls = Special("cls_token", "<s>");
    Special("mask_token", "<mask>");
    SetByteLevel(Option("add_prefix_space", false));
    spec_.parts["model"] = {{"type", "BPE"}};
    SetRoberta(cls, sep);
    Finish();
  }

  void Gpt2() {
    ReadBpe();
    const std::string bos = Special("bos_token", "<|endoftext|>");
    Special("eos_token", "<|endoftext|>");
    Special("unk_token", "<|endoftext|>");
    if (config_.contains("pad_token") || special_.contains("pad_token")) Special("pad_token", "<|endoftext|>");
    SetByteLevel(Option("add_prefix_space", false));
    spec_.parts["model"] = {{"type", "BPE"}};
    if (Option("add_bos_token", false)) {
      SetTemplate({bos, "$A"}, {bos, "$A", bos, "$B"}, true);
    } else {
      SetTemplate({"$A"}, {"$A", "$B"}, true);
    }
    Finish();
  }

  // The tokens that the configuration asks for around each text.
  void SetBosEos(const std::string& bos, const std::string& eos) {
    const bool has_bos = Option("add_bos_token", false), has_eos = Option("add_eos_token", false);
    json special = json::object(), single = json::array(), pair = json::array();
    for (const int type : {0, 1}) {
      const auto add = [&](const std::string& token) {
        pair.push_back({{"SpecialToken", {{"id", token}, {"type_id", type}}}});
        special[token] = {{"id", token}, {"ids", {IdOf(token)}}, {"tokens", {token}}};
      };
      if (has_bos) add(bos);
      pair.push_back({{"Sequence", {{"id", type == 0 ? "A" : "B"}, {"type_id", type}}}});
      if (has_eos) add(eos);
      if (type == 0) single = pair;
    }
    spec_.parts["post_processor"] = {
        {"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};
  }

  void Qwen2() {
    ReadBpe();
    const std::string eos = Special("eos_token", "<|endoftext|>");
    Special("unk_token", "<|endoftext|>");
    Special("pad_token", "<|endoftext|>");
    const char* words = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
                        R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
    json& parts = spec_.parts;
    parts["normalizer"] = {{"type", "NFC"}};
    parts["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"pattern", {{"Regex", words}}}, {"behavior", "Isolated"}, {"invert", false}},
          {{"type", "ByteLevel"}, {"add_prefix_space", Option("add_prefix_space", false)}, {"use_regex", false}}}}};
    parts["decoder"] = {{"type", "ByteLevel"}};
    parts["model"] = {{"type", "BPE"}};
    Finish();
  }

  // A SentencePiece BPE model; the merges are those that transformers makes of the pieces.
  void ReadSentencePieceBpe() {
    const std::string bytes = Read({"tokenizer.model", "spiece.model"}, 64 << 20);
    const SentencePieceModel model = ParseSentencePieceModel(bytes, source_);
    if (model.algorithm != SentencePieceModel::Algorithm::kBpe)
      Fail(ErrorCode::kUnimplemented, "[tokenizer] ", source_,
           " is no BPE model; hint: a tokenizer.json beside it works");
    const auto count = static_cast<int64_t>(model.pieces.size());
    for (int64_t i = 0; i < count; ++i) spec_.vocabulary.Add(model.pieces[i].text, i, source_);
    spec_.merges = MergesById(spec_.vocabulary, count);
    spec_.has_vocabulary = spec_.has_merges = true;
    AddPieces(model);
  }
  void SetSpaceDecoder(bool strips_first) {
    json steps = {{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
                  {{"type", "ByteFallback"}},
                  {{"type", "Fuse"}}};
    if (strips_first) steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    spec_.parts["decoder"] = {{"type", "Sequence"}, {"decoders", steps}};
  }

  void Llama() {
    ReadSentencePieceBpe();
    const std::string bos = Special("bos_token", "<s>"), eos = Special("eos_token", "</s>");
    Special("unk_token", "<unk>");
    if (config_.contains("pad_token") || special_.contains("pad_token")) Special("pad_token", "<pad>");
    const bool has_prefix = Option("add_prefix_space", true);
    const char* scheme = !has_prefix ? "never" : Option("legacy", false) ? "always" : "first";
    spec_.parts["pre_tokenizer"] = {
        {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", false}};
    SetSpaceDecoder(has_prefix);
    spec_.parts["model"] = {{"type", "BPE"}, {"fuse_unk", true}, {"byte_fallback", true}};
    SetBosEos(bos, eos);
    Finish();
  }

  void Gemma(bool lowers) {
    ReadSentencePieceBpe();
    const std::string bos = Special("bos_token", "<bos>"), eos = Special("eos_token", "<eos>");
    const std::string unk = Special("unk_token", "<unk>");
    Special("pad_token", "<pad>");
    Special("mask_token", "<mask>");
    json steps = json::array();
    if (lowers) steps.push_back({{"type", "Lowercase"}});
    steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}});
    spec_.parts["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
    SetSpaceDecoder(false);
    spec_.parts["model"] = {{"type", "BPE"}, {"unk_token", unk}, {"fuse_unk", true}, {"byte_fallback", true}};
    SetBosEos(bos, eos);
    Finish();
  }

  // Pieces as scored tokens behind those in front; control and user-defined pieces are added tokens.
  SentencePieceModel ReadSentencePiece(std::initializer_list<const char*> front, size_t skip) {
    const std::string bytes = Read({"spiece.model", "sentencepiece.bpe.model", "tokenizer.model"}, 64 << 20);
    SentencePieceModel model = ParseSentencePieceModel(bytes, source_);
    if (model.algorithm != SentencePieceModel::Algorithm::kUnigram)
      Fail(ErrorCode::kUnimplemented, "[tokenizer] ", source_,
           " is no Unigram model; hint: a tokenizer.json beside it works");
    for (const char* token : front) Push(token, 0.0);
    for (size_t i = skip; i < model.pieces.size(); ++i) Push(model.pieces[i].text, model.pieces[i].score);
    spec_.has_scores = true;
    return model;
  }
  void Push(std::string_view token, double score) {
    spec_.vocabulary.Add(token, static_cast<int64_t>(spec_.scores.size()), source_);
    spec_.scores.push_back(score);
  }
  void AddPieces(const SentencePieceModel& model) {
    for (const auto& piece : model.pieces) {
      if (piece.type == SentencePieceModel::PieceType::kControl) Add(piece.text, {}, true);
      if (piece.type == SentencePieceModel::PieceType::kUserDefined) Add(piece.text, {}, false);
    }
  }
  void SetMetaspace(bool adds_prefix_space, int64_t unk_id) {
    const char* scheme = adds_prefix_space ? "always" : "never";
    const json metaspace = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}};
    spec_.parts["pre_tokenizer"] = {{"type", "Sequence"},
                                    {"pretokenizers", {{{"type", "WhitespaceSplit"}}, metaspace}}};
    spec_.parts["decoder"] = metaspace;
    spec_.parts["model"] = {{"type", "Unigram"}, {"unk_id", unk_id}, {"byte_fallback", false}};
  }
  void SetCharsmap(const SentencePieceModel& model, json before, bool takes_longest = false) {
    if (!model.charsmap.empty())
      before.push_back({{"type", "Precompiled"},
                        {"takes_longest", takes_longest},
                        {"charsmap", json::binary({model.charsmap.begin(), model.charsmap.end()})}});
    if (!before.empty()) spec_.parts["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(before)}};
  }

  void XlmRoberta() {
    const SentencePieceModel model = ReadSentencePiece({"<s>", "<pad>", "</s>", "<unk>"}, 3);
    Push("<mask>", 0.0);
    const std::string bos = Special("bos_token", "<s>"), eos = Special("eos_token", "</s>");
    Special("unk_token", "<unk>");
    Special("sep_token", "</s>");
    Special("pad_token", "<pad>");
    Special("cls_token", "<s>");
    Special("mask_token", "<mask>");
    AddPieces(model);
    SetCharsmap(model, json::array());
    SetMetaspace(Option("add_prefix_space", true), 3);
    SetTemplate({bos, "$A", eos}, {bos, "$A", eos, eos, "$B", eos}, false);
    Finish();
  }

  void T5() {
    const SentencePieceModel model = ReadSentencePiece({}, 0);
    const int64_t extra = Fields(config_, source_).Integer("extra_ids", 100);
    RequireData(extra <= 10000, "[tokenizer] expected extra_ids of ", folder_, " to be at most 10000, got ", extra);
    for (int64_t i = extra - 1; i >= 0; --i) Push("<extra_id_" + std::to_string(i) + ">", 0.0);
    Special("eos_token", "</s>");
    Special("unk_token", "<unk>");
    Special("pad_token", "<pad>");
    for (int64_t i = 0; i < extra; ++i) Add("<extra_id_" + std::to_string(i) + ">", {}, true);
    AddPieces(model);
    SetCharsmap(model, json::array());
    SetMetaspace(true, 2);
    SetTemplate({"$A", "</s>"}, {"$A", "</s>", "$B", "</s>"}, false);
    Finish();
  }

  // transformers runs SentencePiece itself here, behind a clean-up of its own: lower case, no ASCII punctuation, single
  // spaces. Only the first word gets a space in front; one behind a special token that is typed in the text does not.
  void Siglip() {
    const SentencePieceModel model = ReadSentencePiece({}, 0);
    const std::string eos = Special("eos_token", "</s>", true), unk = Special("unk_token", "<unk>", true);
    Special("pad_token", "</s>", true);
    json steps = json::array();
    steps.push_back({{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}});
    if (Option("do_lower_case", true)) steps.push_back({{"type", "Lowercase"}, {"knows_sigma", true}});
    steps.push_back(
        {{"type", "Replace"}, {"pattern", {{"Regex", R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~])"}}}, {"content", ""}});
    steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", R"([\s\x{1C}-\x{1F}]+)"}}}, {"content", " "}});
    steps.push_back({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}});
    SetCharsmap(model, std::move(steps), true);
    json& all = spec_.parts["normalizer"]["normalizers"];
    all.push_back({{"type", "Replace"}, {"pattern", {{"Regex", "[ ▁]+"}}}, {"content", " "}});
    all.push_back({{"type", "Replace"}, {"pattern", {{"Regex", R"(\A | \z)"}}}, {"content", ""}});
    all.push_back({{"type", "Prepend"}, {"prepend", " "}, {"at_start_only", true}});
    SetMetaspace(true, model.unk_id);
    spec_.parts["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "never"}};
    json decoders = json::array({spec_.parts["decoder"]});
    decoders.push_back({{"type", "TrimText"}});
    spec_.parts["decoder"] = {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
    SetTemplate({"$A", eos}, {"$A", eos, "$B", eos}, false);
    for (const char* kind : {"single", "pair"}) {
      for (json& piece : spec_.parts["post_processor"][kind]) piece.begin().value()["once"] = true;
    }
    Finish();
  }

  std::string folder_, source_;
  const json& config_;
  const json& special_;
  TokenizerSpec spec_;
  std::set<std::string> added_;
};

}  // namespace

FolderRules RulesOfFolder(std::string_view model_type, const json& config) {
  const std::optional<Family> family = FamilyOf(model_type, config);
  return {.drops_word_ends = family == Family::kClip, .lowers = family == Family::kSiglip2};
}

TokenizerSpec SpecFromVocabularyFiles(const std::string& folder, std::string_view model_type, const json& config,
                                      const json& special) {
  const std::optional<Family> family = FamilyOf(model_type, config);
  if (!family.has_value()) {
    Fail(ErrorCode::kUnimplemented, "[tokenizer] ", base::PrintableUtf8(folder),
         " has no tokenizer.json, and the vocabulary files of \"", base::PrintableUtf8(model_type),
         "\" are not supported; hint: save the tokenizer with transformers, which writes tokenizer.json");
  }
  return Builder(folder, config, special).Build(*family);
}

}  // namespace fovea::text
