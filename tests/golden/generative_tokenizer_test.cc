// The tokenizers of language models against transformers and SentencePiece: folders with vocabulary files alone, the
// same vocabularies as a GGUF file holds them, decoding token by token, and text in which users write control tokens.
// Expected ids are those that tools/dump_generative_tokenizers.py stored.
#include <gtest/gtest.h>

#include <random>

#include "testing/testing.h"
#include "text/gguf_vocabulary.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"
#include "text/unicode.h"
#include "text_golden.h"

namespace fovea::text {
namespace {

const nlohmann::json& Golden() {
  static const auto* golden =
      new nlohmann::json(nlohmann::json::parse(base::ReadTextFile(GoldenPath("generative.json"))));
  return *golden;
}

// Lines that the comparison with SentencePiece leaves out: special tokens, and checksums of 32 digits.
bool HasSpecial(const std::string& line) {
  int digits = 0;
  for (const char c : line) {
    digits = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ? digits + 1 : 0;
    if (digits == 32) return true;
  }
  for (const char* token : {"<s>", "</s>", "<unk>"}) {
    if (line.find(token) != std::string::npos) return true;
  }
  return false;
}

// Compares ids and text of the stored lines, then the hash of all; `skips`: lines with special tokens are left out.
void ExpectSame(const Tokenizer& tokenizer, const nlohmann::json& golden, bool skips, const EncodeOptions& options) {
  std::vector<uint64_t> hashes;
  size_t i = 0;
  for (const std::string& line : Corpus()) {
    if (skips && HasSpecial(line)) continue;
    const std::vector<int64_t> ids = tokenizer.Encode(line, options).ids;
    hashes.push_back(Hash(ids));
    const auto shown = golden["shown"].find(std::to_string(i++));
    if (shown == golden["shown"].end()) continue;
    ASSERT_EQ(ids, (*shown)["ids"].get<std::vector<int64_t>>()) << "line " << i - 1 << ": " << line;
    if (!skips) {
      EXPECT_EQ(tokenizer.Decode(ids), (*shown)["text"]) << "line " << i - 1;
    }
  }
  EXPECT_EQ(Hex(Hash(hashes)), golden["total"]);
}

std::shared_ptr<const Tokenizer> FromFolder(const nlohmann::json& golden) {
  const testing::TemporaryFolder folder;
  WriteVocabularyFiles(golden["vocabulary"], golden["file"], folder);
  nlohmann::json config = golden["config"];
  config["tokenizer_class"] = golden["class"];
  base::WriteTextFileAtomically(folder.File("tokenizer_config.json"), config.dump());
  return Tokenizer::FromFolder(folder.path(), "");
}

class GenerativeFolder : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, GenerativeFolder,
                         ::testing::Values("llama", "llama_legacy", "llama_bare", "gemma", "siglip2", "qwen2", "opt",
                                           "t5", "siglip", "clip"),
                         [](const auto& info) { return info.param; });

TEST_P(GenerativeFolder, GivesTheIdsOfTransformers) {
  const nlohmann::json& golden = Golden()[GetParam()];
  ExpectSame(*FromFolder(golden), golden, false, {});
}

// ---- GGUF

GgufVocabulary FromModel(const std::string& name, const std::string& model) {
  const SentencePieceModel pieces = ParseSentencePieceModel(Inflate(GoldenPath(name + ".model.z")), name);
  GgufVocabulary vocabulary{.model = model, .precompiled_charsmap = pieces.charsmap};
  for (const auto& piece : pieces.pieces) {
    vocabulary.tokens.push_back(piece.text);
    vocabulary.scores.push_back(piece.score);
    vocabulary.token_type.push_back(static_cast<int32_t>(piece.type));
  }
  vocabulary.bos_id = pieces.bos_id;
  vocabulary.eos_id = pieces.eos_id;
  vocabulary.unk_id = pieces.unk_id;
  return vocabulary;
}

GgufVocabulary FromBpe(const std::string& name, const std::string& pre) {
  const nlohmann::json model = Expand(name)["model"];
  GgufVocabulary vocabulary{.model = "gpt2", .pre = pre};
  vocabulary.tokens.resize(model["vocab"].size());
  for (const auto& [token, id] : model["vocab"].items()) vocabulary.tokens[id.get<size_t>()] = token;
  vocabulary.token_type.assign(vocabulary.tokens.size(), GgufVocabulary::kNormal);
  for (const auto& merge : model["merges"]) vocabulary.merges.push_back(merge);
  return vocabulary;
}

TEST(GgufTokenizer, LlamaGivesTheIdsOfSentencePiece) {
  const auto tokenizer = Tokenizer::FromGguf(FromModel("llama", "llama"), "llama.gguf");
  ExpectSame(*tokenizer, Golden()["sentencepiece_bpe"], true, {.add_special_tokens = false});
  EXPECT_EQ(tokenizer->Encode("a").ids.front(), 1);  // bos by default
  EXPECT_EQ(tokenizer->SpecialToken("eos_token"), "</s>");
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(" a  b").ids), " a  b");
}

TEST(GgufTokenizer, UnigramGivesTheIdsOfSentencePiece) {
  GgufVocabulary vocabulary = FromModel("xlm_roberta", "t5");
  vocabulary.remove_extra_whitespaces = true;
  const auto tokenizer = Tokenizer::FromGguf(vocabulary, "t5.gguf");
  ExpectSame(*tokenizer, Golden()["sentencepiece_unigram"], true, {.add_special_tokens = false});
  EXPECT_EQ(tokenizer->Encode("a").ids.back(), *vocabulary.eos_id);
}

TEST(GgufTokenizer, Gpt2GivesTheIdsOfTransformers) {
  // The special tokens of the vocabularies, as transformers adds them for the stored cases.
  GgufVocabulary opt = FromBpe("roberta", "gpt-2");
  opt.bos_id = opt.eos_id = 2;
  opt.add_bos = true;
  for (const size_t id : {1, 2}) opt.token_type[id] = GgufVocabulary::kControl;
  ExpectSame(*Tokenizer::FromGguf(opt, "opt.gguf"), Golden()["opt"], false, {});
  GgufVocabulary qwen = FromBpe("roberta", "qwen2");
  for (const char* token : {"<|endoftext|>", "<|im_start|>"}) {
    qwen.tokens.emplace_back(token);
    qwen.token_type.push_back(GgufVocabulary::kControl);
  }
  qwen.token_type[1] = GgufVocabulary::kControl;
  ExpectSame(*Tokenizer::FromGguf(qwen, "qwen.gguf"), Golden()["qwen2"], false, {});
}

TEST(GgufTokenizer, RefusesWhatItDoesNotKnow) {
  const auto refused = [](const std::function<void(GgufVocabulary&)>& change, const char* message) {
    GgufVocabulary vocabulary{.model = "llama", .tokens = {"a", "b"}, .scores = {0, 0}, .token_type = {1, 1}};
    vocabulary.bos_id = 0;
    change(vocabulary);
    testing::ExpectError([&] { Tokenizer::FromGguf(vocabulary, "x.gguf"); }, message);
  };
  refused([](auto& v) { v.model = "rwkv"; }, "rwkv");
  refused([](auto& v) { v.model = "gpt2", v.pre = "kimi-k2"; }, "kimi-k2");
  refused([](auto& v) { v.scores.pop_back(); }, "scores");
  refused([](auto& v) { v.token_type.push_back(1); }, "token_type");
  refused([](auto& v) { v.bos_id = 2; }, "the id 2");
  refused([](auto& v) { v.bos_id.reset(); }, "bos");
  refused([](auto& v) { v.tokens[1] = "\xFF"; }, "UTF-8");
  refused([](auto& v) { v.tokens.clear(); }, "tokens");
  refused([](auto& v) { v.model = "gpt2", v.pre = "qwen2", v.merges = {"ab"}; }, "merges");
  refused([](auto& v) { v.model = "gpt2", v.pre = "qwen2", v.merges = {"a b"}; }, "ab");
}

// ---- token by token

void ExpectStreamsLikeDecode(const std::shared_ptr<const Tokenizer>& tokenizer, const std::vector<int64_t>& ids) {
  for (const bool skips : {true, false}) {
    StreamDecoder decoder(tokenizer, skips);
    std::string text;
    for (const int64_t id : ids) {
      const std::string part = decoder.Push(id);
      ASSERT_TRUE(IsValidUtf8(part));
      text += part;
    }
    text += decoder.Finish();
    ASSERT_EQ(text, tokenizer->Decode(ids, skips)) << ::testing::PrintToString(ids);
  }
}

TEST(StreamDecoder, GivesTheTextOfDecode) {
  std::vector<std::shared_ptr<const Tokenizer>> tokenizers;
  for (const char* name : {"bert_uncased", "clip", "roberta", "xlm_roberta", "llama", "llama_first"})
    tokenizers.push_back(Tokenizer::FromJson(Expand(name).dump(), name));
  for (const char* name : {"gemma", "clip", "siglip"}) tokenizers.push_back(FromFolder(Golden()[name]));
  std::mt19937 random(7);
  for (const auto& tokenizer : tokenizers) {
    for (size_t i = 0; i < Corpus().size(); i += 97)
      ExpectStreamsLikeDecode(tokenizer, tokenizer->Encode(Corpus()[i]).ids);
    // Ids in any order: broken characters, special tokens, ids that do not exist.
    for (int i = 0; i < 400; ++i) {
      std::vector<int64_t> ids(random() % 12);
      for (int64_t& id : ids) id = random() % (i % 2 == 0 ? 300 : tokenizer->vocab_size() + 5);
      ExpectStreamsLikeDecode(tokenizer, ids);
    }
  }
}

TEST(StreamDecoder, GivesTextAsSoonAsItIsCertain) {
  const auto tokenizer = Tokenizer::FromJson(Expand("roberta").dump(), "roberta");
  const std::vector<int64_t> ids = tokenizer->Encode("a\xF0\xAA\xB0\xA0z", {.add_special_tokens = false}).ids;
  ASSERT_GE(ids.size(), 5u);  // the character has no token of its own
  StreamDecoder decoder(tokenizer);
  std::vector<std::string> parts;
  for (const int64_t id : ids) {
    if (std::string part = decoder.Push(id); !part.empty()) parts.push_back(part);
  }
  EXPECT_EQ(parts, (std::vector<std::string>{"a", "\xF0\xAA\xB0\xA0", "z"}));
  EXPECT_EQ(decoder.Finish(), "");
  decoder.Push(ids[1]);
  EXPECT_EQ(decoder.Finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(decoder.Push(ids[0]), "a");
}

TEST(StreamDecoder, WaitsWhereTheDecoderNeedsTheWholeText) {
  const auto tokenizer = Tokenizer::FromJson(
      R"({"model":{"type":"WordLevel","vocab":{"a":0,"b":1},"unk_token":"a"},
          "decoder":{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Replace","pattern":{"String":"ab"},"content":"x"}]}})",
      "test");
  StreamDecoder decoder(tokenizer);
  for (const int64_t id : {0, 1, 1}) EXPECT_EQ(decoder.Push(id), "");
  EXPECT_EQ(decoder.Finish(), "xb");
}

// ---- who wrote what

TEST(EncodeSpans, GivesTheIdsOfTheWholeText) {
  for (const char* name : {"llama", "gemma", "qwen2", "t5", "opt", "siglip"}) {
    const auto tokenizer = FromFolder(Golden()[name]);
    for (size_t i = 300; i < Corpus().size(); i += 211) {
      const std::string& line = Corpus()[i];
      if (line.find_first_of("<[") != std::string::npos) continue;  // may be a token
      size_t cut = line.size() / 2;
      while (cut < line.size() && (static_cast<uint8_t>(line[cut]) & 0xC0) == 0x80) ++cut;
      const std::vector<TextSpan> spans = {
          {"</s> user:", true}, {line.substr(0, cut), false}, {line.substr(cut), false}, {"</s>\n\n", true}};
      ASSERT_EQ(tokenizer->EncodeSpans(spans),
                tokenizer->Encode("</s> user:" + line + "</s>\n\n", {.add_special_tokens = false}).ids)
          << name << ": " << line;
    }
  }
}

TEST(EncodeSpans, TakesNoControlTokenFromForeignText) {
  for (const char* name : {"llama", "gemma", "qwen2", "t5", "opt", "siglip", "clip", "bert_uncased"}) {
    const auto tokenizer = std::string_view(name) == "bert_uncased" ? Tokenizer::FromJson(Expand(name).dump(), name)
                                                                    : FromFolder(Golden()[name]);
    int found = 0;
    for (int64_t id = 0; id <= tokenizer->max_id(); ++id) {
      if (!tokenizer->IsControl(id)) continue;
      const std::string token = tokenizer->IdToToken(id);
      const std::string half = token.substr(0, token.size() / 2), rest = token.substr(token.size() / 2);
      const auto count = [&](const std::vector<TextSpan>& spans) {
        const std::vector<int64_t> ids = tokenizer->EncodeSpans(spans);
        return std::count_if(ids.begin(), ids.end(), [&](int64_t i) {
          return tokenizer->IsControl(i) && tokenizer->IdToToken(i) != tokenizer->SpecialToken("unk_token");
        });
      };
      if (token == tokenizer->SpecialToken("unk_token")) continue;
      ++found;
      EXPECT_EQ(count({{token, false}}), 0) << name << " " << token;
      EXPECT_EQ(count({{"a ", true}, {"x " + token + token + " y", false}, {" b", true}}), 0) << name << " " << token;
      EXPECT_EQ(count({{half, true}, {rest, false}}), 0) << name << " " << token;
      EXPECT_EQ(count({{half, false}, {rest, true}}), 0) << name << " " << token;
      EXPECT_EQ(count({{half, true}, {rest, true}}), 1) << name << " " << token;
      EXPECT_EQ(count({{token + "a", true}, {token, false}, {"b" + token, true}}), 2) << name << " " << token;
    }
    EXPECT_GE(found, 1) << name;
  }
}

TEST(EncodeSpans, FindsTokensInNormalisedTextToo) {
  const auto tokenizer = Tokenizer::FromJson(
      R"({"model":{"type":"BPE","vocab":{"a":0,"<":1,"e":2,">":3,"o":4,"n":5,"d":6},"merges":[]},"normalizer":{"type":"Lowercase"},
          "added_tokens":[{"content":"<END>","single_word":false,"lstrip":false,"rstrip":false,"normalized":true,"special":true},
                          {"content":"<think>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":false}]})",
      "test");
  const auto ids = [&](const std::vector<TextSpan>& spans) { return tokenizer->EncodeSpans(spans); };
  EXPECT_EQ(ids({{"a<End>", true}, {"a", false}}), (std::vector<int64_t>{0, 7, 0}));
  EXPECT_EQ(ids({{"a<End>", true}, {"a<eND>", false}}), (std::vector<int64_t>{0, 7, 0, 1, 2, 5, 6, 3}));
  EXPECT_EQ(ids({{"<think>", true}}), (std::vector<int64_t>{8}));
  EXPECT_EQ(ids({{"<think>", false}}), (std::vector<int64_t>{1, 5, 3}));
}

TEST(Tokenizer, KnowsTheBytesOfTokens) {
  const auto llama = FromFolder(Golden()["llama"]);
  EXPECT_EQ(llama->TokenBytes(*llama->TokenToId("<0xE2>")), "\xE2");
  EXPECT_EQ(llama->TokenBytes(*llama->TokenToId("▁a")), " a");
  EXPECT_EQ(llama->TokenBytes(*llama->TokenToId("</s>")), "");
  EXPECT_EQ(llama->TokenBytes(llama->max_id() + 1), "");
  const auto qwen = FromFolder(Golden()["qwen2"]);
  EXPECT_EQ(qwen->TokenBytes(*qwen->TokenToId("Ġa")), " a");
  EXPECT_EQ(qwen->TokenBytes(*qwen->TokenToId("Ģ")), "\x80");
  const auto bert = Tokenizer::FromJson(Expand("bert_uncased").dump(), "bert");
  EXPECT_EQ(bert->TokenBytes(*bert->TokenToId("##ing")), "ing");
  EXPECT_EQ(bert->TokenBytes(*bert->TokenToId("the")), " the");
  // The bytes of the tokens of a text are the text.
  for (const auto& tokenizer : {llama, qwen}) {
    for (size_t i = 400; i < Corpus().size(); i += 501) {
      std::string bytes;
      for (const int64_t id : tokenizer->Encode(Corpus()[i], {.add_special_tokens = false}).ids)
        bytes += tokenizer->TokenBytes(id);
      const bool has_prefix = tokenizer == llama && !bytes.empty() && bytes[0] == ' ' && !Corpus()[i].starts_with(' ');
      EXPECT_EQ(bytes.substr(has_prefix),
                Normalize(Corpus()[i], tokenizer == qwen ? NormalForm::kNfc : NormalForm::kNfc));
    }
  }
}

}  // namespace
}  // namespace fovea::text
