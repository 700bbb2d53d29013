// Each part of a tokenizer on its own, through small tokenizer.json files. Expected values come from the `tokenizers`
// package 0.23.3, from its documentation, or are counted by hand; tests/golden/tokenizer_test.cc compares whole
// tokenizers.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "testing/golden.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/regex.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

using nlohmann::json;
using testing::ExpectError;
using Words = std::vector<std::string>;

std::string Normalized(const char* part, std::string text) {
  NormalizedText normalized{std::move(text), 0};
  MakeNormalizer(json::parse(part), "test")->Apply(normalized);
  return normalized.text;
}

Words Split(const char* part, std::string_view text, size_t origin_bytes = 1) {
  Pieces pieces;
  pieces.Append(text, origin_bytes, -1);
  MakePreTokenizer(json::parse(part), "test")->Apply(pieces);
  Words words;
  for (const auto& piece : pieces.list) words.emplace_back(pieces.TextOf(piece));
  return words;
}

std::string Decoded(const char* part, Words tokens) {
  std::string text;
  for (const std::string& token : MakeDecoder(json::parse(part), "test")->Apply(std::move(tokens))) text += token + "|";
  return text;
}

// ---- Unicode

TEST(Unicode, InvalidBytesBecomeOneReplacementForEachMaximalPart) {
  // Python: bytes.decode("utf-8", "replace")
  EXPECT_EQ(ReplaceInvalidUtf8("a\xFFz"), "a\uFFFDz");
  EXPECT_EQ(ReplaceInvalidUtf8("\xE2\x82z"), "\uFFFDz");                // cut short
  EXPECT_EQ(ReplaceInvalidUtf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(ReplaceInvalidUtf8("\xF0\x9F\x98"), "\uFFFD");
  EXPECT_EQ(ReplaceInvalidUtf8("\xC0\xAF\xF5\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(ReplaceInvalidUtf8("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_TRUE(IsValidUtf8("aé漢😀"));
  EXPECT_FALSE(IsValidUtf8("\xE0\x80\x80"));
}

TEST(Unicode, ClassesAreThoseOfTheReference) {
  EXPECT_TRUE(IsWhitespace(0x85) && IsWhitespace(0x3000) && !IsWhitespace(0x200B) && !IsWhitespace(0x180E));
  EXPECT_TRUE(IsPunctuation('$') && IsPunctuation(0x3002) && !IsPunctuation(0x20AC));
  EXPECT_TRUE(IsOther(0xAD) && IsOther(0x200D) && IsOther(0xE000) && !IsOther('a') &&
              !IsOther(0x378));  // unassigned is none
  EXPECT_TRUE(IsNumeric(0x661) && IsNumeric(0x2167) && IsNumeric(0xBD) && !IsNumeric('a'));
  EXPECT_TRUE(IsWordCharacter('_') && IsWordCharacter(0x24B6) && IsWordCharacter(0x301) && !IsWordCharacter('-'));
  EXPECT_TRUE(IsNonspacingMark(0x301) && !IsNonspacingMark(0x903) && IsCombiningMark(0x903));
}

TEST(Unicode, LowerCaseIsPerCharacter) {
  std::string lower;
  for (const char32_t c : {U'A', U'\u0130', U'\u03A3', U'\u1E9E', U'\U00010400', U'\u1C89'}) AppendLower(lower, c);
  EXPECT_EQ(lower, "ai\u0307\u03C3\u00DF\U00010428\u1C8A");
}

TEST(Unicode, NormalForms) {
  EXPECT_EQ(Normalize("e\u0301\u0323", NormalForm::kNfc), "\u1EB9\u0301");
  EXPECT_EQ(Normalize("\u1EC7", NormalForm::kNfd), "e\u0323\u0302");
  EXPECT_EQ(Normalize("\uFB01\u2460\uFF71", NormalForm::kNfkc), "fi1\u30A2");
  EXPECT_EQ(Normalize("\uAC01", NormalForm::kNfkd), "\u1100\u1161\u11A8");
  EXPECT_EQ(Normalize("\u32FF", NormalForm::kNfkc), "\u32FF");  // younger than the reference's tables
  // A million marks in the worst order: linear, not quadratic.
  std::string marks = "a";
  for (int i = 0; i < 500'000; ++i) marks += "\u0301\u0323";
  EXPECT_EQ(Normalize(marks, NormalForm::kNfd).substr(0, 5), "a\u0323\u0323");
}

// ---- regular expressions

Words Matches(std::string_view pattern, std::string_view text) {
  Words found;
  Regex(pattern, "test").ForEachMatch(text, [&](size_t begin, size_t end) {
    found.emplace_back(text.substr(begin, end - begin));
  });
  return found;
}

TEST(Regex, RubySyntaxOverThePackagesUnicode) {
  EXPECT_EQ(Matches(R"(\p{L}+)", "aé漢 \U00031350b"), (Words{"aé漢", "\U00031350b"}));  // Unicode 15.1's ideographs
  EXPECT_EQ(Matches(R"(\s+)", "a\u180E\u3000b"), (Words{"\u3000"}));
  EXPECT_EQ(Matches(R"(\w+)", "e\u0301a_1-b"), (Words{"e\u0301a_1", "b"}));
  EXPECT_EQ(Matches(R"(^b$)", "a\nb\nc"), (Words{"b"}));  // lines, as in Ruby
  EXPECT_EQ(Matches(R"(x*)", "axxb"), (Words{"", "xx", ""}));
  EXPECT_EQ(Matches(R"(\p{Han}+)", "漢字、かな"), (Words{"漢字"}));
  EXPECT_EQ(Matches(R"([^\s\p{L}\p{N}]+)", "a!?b"), (Words{"!?"}));
}

TEST(Regex, RefusesWhatItCannotTranslate) {
  for (const char* pattern : {R"(\ba)", "[a-z&&[^b]]", "a{1,2}+", "(?m)a", "(?<name>a)", R"(\h)", R"(\G)", "(*UTF)a"})
    ExpectError([&] { Regex(pattern, "file.json"); }, "not supported");
  ExpectError([] { Regex("(a", "file.json"); }, "file.json: cannot compile");
  ExpectError([] { Regex(std::string(20000, 'a'), "file.json"); }, "limit");
}

TEST(Regex, EndlessBacktrackingIsAnError) {
  ExpectError([] { Matches("(a|aa|aaa)+$x|(a*)*b", std::string(3000, 'a')); }, "gave up");
}

// ---- normalisers

TEST(Normalizers, Each) {
  EXPECT_EQ(Normalized(R"({"type":"Lowercase"})", "ÀB"), "àb");
  EXPECT_EQ(Normalized(R"({"type":"StripAccents"})", "e\u0301\u0903"), "e");
  EXPECT_EQ(Normalized(R"({"type":"Strip","strip_left":true,"strip_right":false})", " \u3000a "), "a ");
  EXPECT_EQ(Normalized(R"({"type":"Strip","strip_left":true,"strip_right":true})", " \t "), "");
  EXPECT_EQ(Normalized(R"({"type":"Prepend","prepend":"▁"})", "a"), "▁a");
  EXPECT_EQ(Normalized(R"({"type":"Prepend","prepend":"▁"})", ""), "");
  EXPECT_EQ(Normalized(R"({"type":"Replace","pattern":{"String":"a."},"content":"é"})", "a.ab"), "éab");
  EXPECT_EQ(Normalized(R"({"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "})", "a \n b"), "a b");
  EXPECT_EQ(Normalized(R"({"type":"Nmt"})", "a\u0001\tb\u200B\u00AD"), "a b \u00AD");
  EXPECT_EQ(Normalized(R"({"type":"ByteLevel"})", " é"), "ĠÃ©");
  EXPECT_EQ(
      Normalized(R"({"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"StripAccents"},{"type":"Lowercase"}]})",
                 "ÉÈ"),
      "ee");
}

TEST(Normalizers, Bert) {
  const char* cased =
      R"({"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":false})";
  EXPECT_EQ(Normalized(cased, std::string("É\0\uFFFD漢\u00A0x\u200D", 15)), "É 漢  x");
  const char* raw =
      R"({"type":"BertNormalizer","clean_text":false,"handle_chinese_chars":false,"strip_accents":true,"lowercase":false})";
  EXPECT_EQ(Normalized(raw, "É漢\t"), "E漢\t");
}

TEST(Normalizers, GrowthIsLimited) {
  const std::string part =
      json{{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(1 << 20, 'b')}}.dump();
  ExpectError([&] { Normalized(part.c_str(), std::string(1000, 'a')); }, "limit");
}

TEST(Normalizers, BrokenCharsmapIsRefused) {
  ExpectError([] { Normalized(R"({"type":"Precompiled","precompiled_charsmap":"????"})", "a"); }, "base64");
  ExpectError([] { Normalized(R"({"type":"Precompiled","precompiled_charsmap":"/////w=="})", "a"); }, "trie");
  EXPECT_EQ(Normalized(R"({"type":"Precompiled","precompiled_charsmap":""})", "ﬁ"), "ﬁ");
}

// ---- pre-tokenisers

TEST(PreTokenizers, Each) {
  EXPECT_EQ(Split(R"({"type":"BertPreTokenizer"})", "a b, c!?"), (Words{"a", "b", ",", "c", "!", "?"}));
  EXPECT_EQ(Split(R"({"type":"Whitespace"})", "it's 3.5 £"), (Words{"it", "'", "s", "3", ".", "5", "£"}));
  EXPECT_EQ(Split(R"({"type":"WhitespaceSplit"})", " it's\u3000ok "), (Words{"it's", "ok"}));
  EXPECT_EQ(Split(R"({"type":"Punctuation"})", "a!!b"), (Words{"a", "!", "!", "b"}));
  EXPECT_EQ(Split(R"({"type":"Digits","individual_digits":true})", "a12b"), (Words{"a", "1", "2", "b"}));
  EXPECT_EQ(Split(R"({"type":"Digits","individual_digits":false})", "a12b"), (Words{"a", "12", "b"}));
  EXPECT_EQ(Split(R"({"type":"CharDelimiterSplit","delimiter":"-"})", "a-b--c"), (Words{"a", "b", "c"}));
  EXPECT_EQ(Split(R"({"type":"ByteLevel","add_prefix_space":true})", "I'm é"), (Words{"ĠI", "'m", "ĠÃ©"}));
  EXPECT_EQ(Split(R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})", "a  b"), (Words{"aĠĠb"}));
}

TEST(PreTokenizers, SplitBehaviors) {  // the example of the reference's documentation
  const auto split = [](const char* behavior, bool is_inverted = false) {
    const json part = {
        {"type", "Split"}, {"pattern", {{"String", "-"}}}, {"behavior", behavior}, {"invert", is_inverted}};
    return Split(part.dump().c_str(), "the-final--countdown");
  };
  EXPECT_EQ(split("Removed"), (Words{"the", "final", "countdown"}));
  EXPECT_EQ(split("Isolated"), (Words{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(split("MergedWithPrevious"), (Words{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(split("MergedWithNext"), (Words{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(split("Contiguous"), (Words{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(split("Removed", true), (Words{"-", "-", "-"}));
  ExpectError([&] { split("Sideways"); }, "Sideways");
}

TEST(PreTokenizers, Metaspace) {
  EXPECT_EQ(Split(R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"always"})", "Hey  you"),
            (Words{"▁Hey", "▁", "▁you"}));
  EXPECT_EQ(Split(R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"never","split":false})", "a b"),
            (Words{"a▁b"}));
  EXPECT_EQ(Split(R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"first"})", "a", 1), (Words{"▁a"}));
  EXPECT_EQ(Split(R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"first"})", "a", 0), (Words{"a"}));
  EXPECT_EQ(Split(R"({"type":"Metaspace","replacement":"▁","add_prefix_space":false})", "a"), (Words{"a"}));
  ExpectError([] { Split(R"({"type":"Metaspace","replacement":"__"})", "a"); }, "one character");
}

// ---- decoders

TEST(Decoders, Each) {
  EXPECT_EQ(Decoded(R"({"type":"WordPiece","prefix":"##","cleanup":true})", {"do", "##n", "not", ".", "##x"}),
            "do|n| not|.|x|");
  EXPECT_EQ(Decoded(R"({"type":"ByteLevel"})", {"ĠÃ", "©x"}), " éx|");
  EXPECT_EQ(Decoded(R"({"type":"Metaspace","replacement":"▁"})", {"▁a", "▁b"}), "a| b|");
  EXPECT_EQ(Decoded(R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"never"})", {"▁a", "▁b"}), " a| b|");
  EXPECT_EQ(Decoded(R"({"type":"BPEDecoder","suffix":"</w>"})", {"a", "b</w>", "c</w>"}), "a|b |c|");
  EXPECT_EQ(Decoded(R"({"type":"Strip","content":" ","start":1,"stop":1})", {"  a  ", " "}), " a ||");
  EXPECT_EQ(Decoded(R"({"type":"ByteFallback"})", {"a", "<0xC3>", "<0xA9>", "b", "<0xFF>", "<0xC3>"}),
            "a|é|b|\uFFFD|\uFFFD|");
  EXPECT_EQ(
      Decoded(
          R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"Fuse"}]})",
          {"▁a", "▁b"}),
      " a b|");
}

// ---- models and whole pipelines

json WithModel(json model) { return {{"version", "1.0"}, {"model", std::move(model)}}; }
std::vector<int64_t> Ids(const json& tokenizer, std::string_view text) {
  return Tokenizer::FromJson(tokenizer.dump(), "t.json")->Encode(text).ids;
}
using List = std::vector<int64_t>;

TEST(Models, WordPiece) {
  json t = WithModel({{"type", "WordPiece"},
                      {"unk_token", "[UNK]"},
                      {"continuing_subword_prefix", "##"},
                      {"max_input_chars_per_word", 6},
                      {"vocab", {{"[UNK]", 0}, {"un", 1}, {"##aff", 2}, {"##able", 3}, {"unaff", 4}}}});
  EXPECT_EQ(Ids(t, "un"), List{1});
  EXPECT_EQ(Ids(t, "unaff"), List{4});
  EXPECT_EQ(Ids(t, "unable"), (List{1, 3}));
  EXPECT_EQ(Ids(t, "unx"), List{0});
  EXPECT_EQ(Ids(t, "unaffable"), List{0});  // more than six characters
  t["model"]["unk_token"] = "?";
  ExpectError([&] { Ids(t, "x"); }, "no token for unknown text");
}

TEST(Models, WordLevel) {
  EXPECT_EQ(Ids(WithModel({{"type", "WordLevel"}, {"unk_token", "u"}, {"vocab", {{"u", 7}, {"ab", 3}}}}), "ab"),
            List{3});
  EXPECT_EQ(Ids(WithModel({{"type", "WordLevel"}, {"unk_token", "u"}, {"vocab", {{"u", 7}, {"ab", 3}}}}), "c"),
            List{7});
}

TEST(Models, Bpe) {
  json t = WithModel({{"type", "BPE"},
                      {"vocab", {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"bc", 4}, {"abc", 5}, {"<unk>", 6}}},
                      {"merges", {"b c", "a b", "a bc"}}});
  EXPECT_EQ(Ids(t, "abc"), List{5});  // "b c" comes first, then "a bc"
  EXPECT_EQ(Ids(t, "abab"), (List{3, 3}));
  EXPECT_EQ(Ids(t, "axxb"), List{3});  // without an unknown token unknown characters vanish
  t["model"]["unk_token"] = "<unk>";
  EXPECT_EQ(Ids(t, "axxb"), (List{0, 6, 6, 1}));
  t["model"]["fuse_unk"] = true;
  EXPECT_EQ(Ids(t, "axxb"), (List{0, 6, 1}));
  t["model"]["byte_fallback"] = true;
  t["model"]["vocab"]["<0x78>"] = 9;
  EXPECT_EQ(Ids(t, "axb"), (List{0, 9, 1}));
  t["model"]["dropout"] = 0.1;
  ExpectError([&] { Ids(t, "a"); }, "dropout");
}

TEST(Models, BpeSuffixAndIgnoredMerges) {
  json t = WithModel({{"type", "BPE"},
                      {"end_of_word_suffix", "</w>"},
                      {"vocab", {{"a", 0}, {"b</w>", 1}, {"ab</w>", 2}, {"ab", 3}}},
                      {"merges", json::array({json::array({"a", "b</w>"})})}});
  EXPECT_EQ(Ids(t, "ab"), List{2});
  t["model"]["ignore_merges"] = true;
  EXPECT_EQ(Ids(t, "ab"), List{3});
  t["model"]["merges"] = json::array({json::array({"a", "zz"})});
  ExpectError([&] { Ids(t, "a"); }, "not in the vocabulary");
}

TEST(Models, BpeIsFastOnALongWord) {
  std::string word(1 << 20, 'a');
  json t = WithModel({{"type", "BPE"}, {"vocab", {{"a", 0}, {"aa", 1}, {"aaaa", 2}}}, {"merges", {"a a", "aa aa"}}});
  EXPECT_EQ(Ids(t, word), List(1 << 18, 2));  // minutes when quadratic
}

TEST(Models, Unigram) {  // the example of the reference's documentation
  json t = WithModel(
      {{"type", "Unigram"},
       {"unk_id", 0},
       {"vocab",
        json::parse(R"([["<unk>",0],["a",0],["b",0],["c",0],["d",0],["cd",1],["ab",2],["abc",5],["abcd",10]])")}});
  EXPECT_EQ(Ids(t, "abcdacdxx"), (List{8, 1, 5, 0}));
  t["model"]["byte_fallback"] = true;
  t["model"]["vocab"].push_back(json::array({"<0x78>", -20.0}));
  EXPECT_EQ(Ids(t, "axx"), (List{1, 9, 9}));
  t["model"]["unk_id"] = 99;
  ExpectError([&] { Ids(t, "a"); }, "unk_id");
  t["model"]["unk_id"] = nullptr;
  ExpectError([&] { Ids(t, "a?"); }, "no token for unknown text");
}

TEST(AddedTokens, FlagsAndIds) {
  const auto token = [](const char* content, const char* flag, bool normalized) {
    json t = {{"id", 0},         {"content", content},       {"single_word", false}, {"lstrip", false},
              {"rstrip", false}, {"normalized", normalized}, {"special", false}};
    if (*flag != '\0') t[flag] = true;
    return t;
  };
  json t = WithModel({{"type", "WordLevel"}, {"unk_token", "u"}, {"vocab", {{"u", 0}, {" ", 1}, {"x", 2}}}});
  t["normalizer"] = {{"type", "Lowercase"}};
  t["added_tokens"] = {token("<A>", "", false),
                       token("Day", "", true),
                       token("left", "lstrip", false),
                       token("right", "rstrip", false),
                       token("word", "single_word", false),
                       token("<A>B", "", false),
                       token("x", "special", false)};
  const auto tokenizer = Tokenizer::FromJson(t.dump(), "t.json");
  EXPECT_EQ(tokenizer->Encode("<A><A>B").ids, (List{3, 8}));  // the longest at the earliest place
  EXPECT_EQ(tokenizer->Encode("DAY<a>").ids, (List{4, 0}));   // found in the normalised text; <A> only as it is written
  EXPECT_EQ(tokenizer->Encode("q  left").ids, (List{0, 5}));
  EXPECT_EQ(tokenizer->Encode("right \t ").ids, List{6});
  EXPECT_EQ(tokenizer->Encode("swordword!").ids, List{0});
  EXPECT_EQ(tokenizer->Encode("!word").ids, (List{0, 7}));
  EXPECT_EQ(tokenizer->vocab_size(), 9);
  EXPECT_EQ(tokenizer->TokenToId("Day"), 4);
  EXPECT_EQ(tokenizer->IdToToken(4), "Day");
  EXPECT_EQ(tokenizer->IdToToken(1000), "");
  EXPECT_EQ(tokenizer->Decode(List{2, 3, 1000}), "<A>");
  EXPECT_EQ(tokenizer->Decode(List{2, 3}, false), "x <A>");
}

TEST(Pipeline, TruncationAndPaddingOfTheFile) {
  json t = WithModel(
      {{"type", "WordLevel"}, {"unk_token", "u"}, {"vocab", {{"u", 0}, {"a", 1}, {"b", 2}, {"c", 3}, {"[S]", 4}}}});
  t["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  t["truncation"] = {{"max_length", 3}, {"strategy", "LongestFirst"}, {"stride", 0}, {"direction", "Left"}};
  t["padding"] = {{"strategy", {{"Fixed", 5}}}, {"direction", "Right"}, {"pad_to_multiple_of", nullptr}, {"pad_id", 9},
                  {"pad_type_id", 1},           {"pad_token", "p"}};
  t["post_processor"] = {{"type", "BertProcessing"}, {"sep", {"[S]", 4}}, {"cls", {"[S]", 4}}};
  const auto tokenizer = Tokenizer::FromJson(t.dump(), "t.json");
  const Encoding encoding = tokenizer->Encode("a b c");
  EXPECT_EQ(encoding.ids, (List{4, 3, 4, 9, 9}));
  EXPECT_EQ(encoding.type_ids, (List{0, 0, 0, 1, 1}));
  EXPECT_EQ(encoding.special, (std::vector<uint8_t>{1, 0, 1, 1, 1}));
  EXPECT_EQ(tokenizer->Encode("a b c", {.use_file_limits = false}).ids, (List{4, 1, 2, 3, 4}));
  EXPECT_EQ(tokenizer->Encode("a b c", {.max_length = 4}).ids, (List{4, 1, 2, 4}));
  EXPECT_EQ(tokenizer->EncodePair("a b", "c c c", {.max_length = 6}).ids, (List{4, 1, 4, 3, 3, 4}));
  EXPECT_EQ(tokenizer->EncodePair("a", "c", {.use_file_limits = false}).type_ids, (List{0, 0, 0, 1, 1}));
  EXPECT_EQ(tokenizer->pad_id(), 9);
  ExpectError([&] { tokenizer->Encode("a", {.max_length = 1}); }, "special tokens");
}

TEST(Pipeline, UnknownPartsAreRefusedByName) {
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    json t = WithModel({{"type", "WordLevel"}, {"unk_token", "u"}, {"vocab", {{"u", 0}}}});
    t[part] = {{"type", "Sparkle"}};
    ExpectError([&] { Ids(t, "a"); }, "Sparkle");
  }
  ExpectError([] { Ids(WithModel({{"type", "Sparkle"}}), "a"); }, "Sparkle");
  ExpectError([] { Ids({{"version", "2.0"}}, "a"); }, "version");
}

TEST(Pipeline, MalformedFiles) {
  const auto load = [](std::string_view text) { return [text] { Tokenizer::FromJson(text, "t.json"); }; };
  ExpectError(load(""), "t.json");
  ExpectError(load("[]"), "JSON object");
  ExpectError(load("{}"), "lacks \"model\"");
  ExpectError(load(R"({"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}})"), "id of a token");
  ExpectError(load(R"({"model":{"type":"BPE","vocab":{"a":99999999999},"merges":[]}})"), "id of a token");
  ExpectError(load(R"({"model":{"type":"BPE","vocab":{"a":"b"},"merges":[]}})"), "integers");
  ExpectError(load(R"({"model":{"type":"BPE","vocab":{"a":0}}})"), "merges");
  ExpectError(load(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a b c"]}})"), "pairs");
  ExpectError(load(R"({"model":{"type":"Unigram","vocab":[["a"]]}})"), "pairs of token and score");
  ExpectError(load(R"({"model":{"type":"WordPiece","vocab":{"\ud800":0}}})"),
              "t.json");  // an unpaired surrogate, as in the reference
  ExpectError(load(std::string(200, '[')), "nested");
  ExpectError(
      load(R"({"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0}},"added_tokens":[{"content":"x"}]})"),
      "single_word");
}

TEST(Pipeline, TextIsRepairedAndLimited) {
  json t = WithModel({{"type", "WordLevel"}, {"unk_token", "u"}, {"vocab", {{"u", 0}, {"a\uFFFD", 1}}}});
  EXPECT_EQ(Ids(t, "a\xFF"), List{1});
  EXPECT_EQ(Ids(t, ""), List{});
  ExpectError([&] { Ids(t, std::string(Tokenizer::kMaxTextBytes + 1, 'a')); }, "limit");
}

TEST(SentencePiece, BrokenModels) {
  const auto parse = [](std::string bytes) { return [bytes] { ParseSentencePieceModel(bytes, "m.model"); }; };
  ExpectError(parse(""), "no pieces");
  ExpectError(parse("\x0A\x7F"), "ends within a field");
  ExpectError(parse("\x0A"), "ends within a number");
  ExpectError(parse(std::string("\x0A\x03\x0A\x01\xFF", 5)), "UTF-8");
  ExpectError(parse(std::string("\x0A\x05\x15\x00\x00\x80\x7F", 7)), "finite");
  ExpectError(parse(std::string("\x0A\x02\x18\x09", 4)), "type");
  const SentencePieceModel model = ParseSentencePieceModel(std::string("\x0A\x08\x0A\x01"
                                                                       "a\x15\x00\x00\x80\xBF",
                                                                       10),
                                                           "m.model");
  ASSERT_EQ(model.pieces.size(), 1u);
  EXPECT_EQ(model.pieces[0].text, "a");
  EXPECT_EQ(model.pieces[0].score, -1.0f);
}

}  // namespace
}  // namespace fovea::text
