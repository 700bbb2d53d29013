// Constrained decoding: what a grammar takes against verdicts of Python's jsonschema, texts that a random sampler
// writes under the mask against another validator (valijson), and that no state is a dead end.
#include "text/grammar.h"

#include <gtest/gtest.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>

#include "base/file.h"
#include "testing/golden.h"
#include "testing/testing.h"
#include "text/tokenizer.h"
#include "text_golden.h"

#if __has_include(<valijson/validator.hpp>)
#define VALIJSON_USE_EXCEPTIONS 1
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>
#define FOVEA_HAS_JUDGE 1
#endif

namespace fovea::text {
namespace {

using Json = nlohmann::json;
using GrammarPointer = std::shared_ptr<const Grammar>;

// One token for each byte, and the end token 256.
std::shared_ptr<const TokenTrie> ByteTokens() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  tokens.emplace_back();
  return std::make_shared<const TokenTrie>(std::move(tokens), std::vector<int64_t>{256});
}

// Vocabularies that know every byte: pieces of SentencePiece with bytes to fall back on, and byte-level BPE.
std::vector<std::shared_ptr<const TokenTrie>> RealVocabularies() {
  std::vector<std::shared_ptr<const TokenTrie>> vocabularies;
  for (const char* name : {"llama", "roberta"}) {
    const auto tokenizer = Tokenizer::FromJson(Expand(name).dump(), name);
    vocabularies.push_back(TokenTrie::FromTokenizer(*tokenizer, {tokenizer->TokenToId("</s>").value()}));
  }
  return vocabularies;
}

bool Takes(const GrammarPointer& grammar, std::string_view text) {
  GrammarState state(std::make_shared<GrammarEngine>(grammar, ByteTokens()));
  return state.AcceptText(text) && state.IsComplete();
}

struct Golden {
  nlohmann::ordered_json schema;
  std::vector<std::pair<std::string, bool>> texts;
  bool is_exact;
};

const std::vector<Golden>& Goldens() {
  static const auto* goldens = [] {
    auto* read = new std::vector<Golden>;
    std::istringstream lines(base::ReadTextFile(testing::SourcePath("tests/golden/text/json_schema.jsonl")));
    for (std::string line; std::getline(lines, line);) {
      const auto json = nlohmann::ordered_json::parse(line);
      read->push_back({json["schema"], json["texts"], json["exact"]});
    }
    return read;
  }();
  return *goldens;
}

// Null where the schema is refused; the code of the error then.
GrammarPointer FromSchema(const nlohmann::ordered_json& schema, ErrorCode* code = nullptr) {
  try {
    return Grammar::FromJsonSchema(schema.dump());
  } catch (const Error& error) {
    if (code != nullptr) *code = error.code();
    return nullptr;
  }
}

TEST(Grammar, TakesWhatTheReferenceFindsValidAndNothingElse) {
  int exact = 0, supported = 0;
  for (const Golden& golden : Goldens()) {
    ErrorCode code = ErrorCode::kInternal;
    const GrammarPointer grammar = FromSchema(golden.schema, &code);
    if (grammar == nullptr) {
      EXPECT_FALSE(golden.is_exact) << golden.schema;
      EXPECT_TRUE(code == ErrorCode::kUnimplemented || code == ErrorCode::kInvalidArgument ||
                  code == ErrorCode::kCorruptData)
          << golden.schema;
      continue;
    }
    ++supported;
    exact += golden.is_exact;
    for (const auto& [text, is_valid] : golden.texts) {
      if (!is_valid || golden.is_exact) {
        EXPECT_EQ(Takes(grammar, text), is_valid) << golden.schema << "\n" << text;
      }
    }
  }
  EXPECT_GE(exact, 45);
  EXPECT_GE(supported, 100);
}

// ---- what a random sampler writes

// Writes under the mask: any allowed token at first, then those that lead to the end where there is a choice. "" when
// it did not end.
std::string Sampled(const std::shared_ptr<GrammarEngine>& engine, std::mt19937_64& random) {
  GrammarState state(engine);
  const TokenTrie& tokens = engine->tokens();
  std::string text;
  for (int step = 0; step < 600; ++step) {
    std::vector<int64_t> allowed, closing;
    const TokenMask& mask = state.Allowed();
    for (int64_t id = 0; id < mask.size(); ++id) {
      if (!mask.Has(id)) continue;
      allowed.push_back(id);
      const std::string& bytes = tokens.bytes(id);
      if (bytes.empty() || bytes == "\"" || bytes == "}" || bytes == "]") closing.push_back(id);
    }
    EXPECT_FALSE(allowed.empty()) << "a dead end behind " << text;
    if (allowed.empty()) return "";
    const bool closes = !closing.empty() && random() % 40 < static_cast<uint64_t>(step);
    const auto& from = closes ? closing : allowed;
    const int64_t id = from[random() % from.size()];
    EXPECT_TRUE(state.Accept(id)) << "a token of the mask is refused behind " << text;
    if (state.IsFinished()) return text;
    text += tokens.bytes(id);
  }
  return "";
}

#ifdef FOVEA_HAS_JUDGE
// Draft 7 has other names for what 2020-12 says of the items of arrays; false of a property is a schema there too.
Json AsDraft7(const Json& schema) {
  if (schema.is_array()) {
    Json list = Json::array();
    for (const Json& one : schema) list.push_back(AsDraft7(one));
    return list;
  }
  if (!schema.is_object()) return schema;
  Json made = Json::object();
  for (const auto& [key, value] : schema.items()) {
    const bool has_prefix = schema.contains("prefixItems");
    made[key == "prefixItems" ? "items" : key == "items" && has_prefix ? "additionalItems" : key] = AsDraft7(value);
  }
  return made;
}

bool IsValid(const Json& schema, const Json& value) {
  valijson::Schema judge;
  valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
  const Json draft7 = AsDraft7(schema);
  parser.populateSchema(valijson::adapters::NlohmannJsonAdapter(draft7), judge);
  valijson::Validator validator(valijson::Validator::kStrongTypes);
  return validator.validate(judge, valijson::adapters::NlohmannJsonAdapter(value), nullptr);
}
#endif

// Every text is JSON, valid by another validator, and ends; with bytes as tokens and with a real vocabulary.
TEST(Grammar, WhatIsWrittenUnderTheMaskIsValid) {
#ifndef FOVEA_HAS_JUDGE
  GTEST_SKIP() << "libvalijson-dev is not installed";
#else
  auto vocabularies = RealVocabularies();
  vocabularies.push_back(ByteTokens());
  std::mt19937_64 random(7);
  int written = 0, ended = 0;
  std::set<std::string> texts;
  for (const Golden& golden : Goldens()) {
    const GrammarPointer grammar = FromSchema(golden.schema);
    if (grammar == nullptr) continue;
    for (const auto& vocabulary : vocabularies) {
      const auto engine = std::make_shared<GrammarEngine>(grammar, vocabulary);
      for (int i = 0; i < (golden.is_exact ? 6 : 2); ++i) {
        ++written;
        const std::string text = Sampled(engine, random);
        ASSERT_FALSE(::testing::Test::HasFailure()) << golden.schema;
        if (text.empty()) continue;
        ++ended;
        texts.insert(text);
        const Json value = Json::parse(text, nullptr, false);
        ASSERT_FALSE(value.is_discarded()) << golden.schema << "\n" << text;
        // Its regular expressions see bytes; those of other letters are compared with PCRE2 below.
        const std::string pattern = golden.schema.is_object() ? golden.schema.value("pattern", "") : "";
        if (std::ranges::any_of(pattern, [](char c) { return static_cast<uint8_t>(c) >= 0x80; })) continue;
        EXPECT_TRUE(IsValid(golden.schema, value)) << golden.schema << "\n" << text;
      }
    }
  }
  EXPECT_GT(ended, written * 95 / 100) << written;
  EXPECT_GT(texts.size(), static_cast<size_t>(written / 2));
#endif
}

// ---- no dead ends

// All states that bytes lead to, up to `most`; true when each of them can get to the end, or to a state behind `most`.
::testing::AssertionResult HasNoDeadEnd(const GrammarPointer& grammar, size_t most) {
  GrammarEngine engine(grammar, ByteTokens());
  std::vector<int> states = {engine.start()};
  std::map<int, std::vector<int>> from;  // states that lead to one
  std::set<int> met = {engine.start()};
  std::vector<int> good;
  for (size_t i = 0; i < states.size(); ++i) {
    if (i >= most || engine.IsComplete(states[i])) good.push_back(states[i]);
    for (int byte = 0; i < most && byte < 256; ++byte) {
      const int to = engine.Step(states[i], static_cast<uint8_t>(byte));
      if (to < 0) continue;
      from[to].push_back(states[i]);
      if (met.insert(to).second) states.push_back(to);
    }
  }
  std::set<int> reaches(good.begin(), good.end());
  while (!good.empty()) {
    const int state = good.back();
    good.pop_back();
    for (const int before : from[state]) {
      if (reaches.insert(before).second) good.push_back(before);
    }
  }
  if (reaches.size() == states.size()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << states.size() - reaches.size() << " of " << states.size()
                                       << " states lead nowhere";
}

TEST(Grammar, NoStateIsADeadEnd) {
  for (const Golden& golden : Goldens()) {
    if (const GrammarPointer grammar = FromSchema(golden.schema)) {
      EXPECT_TRUE(HasNoDeadEnd(grammar, 3000)) << golden.schema;
    }
  }
  EXPECT_TRUE(HasNoDeadEnd(Grammar::AnyJson(), 3000));
  for (const char* pattern : {"(a|ab)*b", "[^a]{2,3}x?", "(a{0,40}b){3}", "[\\u0800-\\uffff]+", "a|[]", "(x[]|y)*z"})
    EXPECT_TRUE(HasNoDeadEnd(Grammar::FromRegex(pattern), 3000)) << pattern;
  // A part without an end is left out.
  EXPECT_TRUE(HasNoDeadEnd(Grammar::FromText("root ::= \"a\" (\"b\" loop | \"c\")\nloop ::= \"x\" loop"), 100));
}

// Nesting has a bound; what is written near it can still be closed.
TEST(Grammar, NestingEndsBeforeItIsTooDeep) {
  const char* kSchemas[] = {
      R"({"type":"object","properties":{"child":{"$ref":"#"},"n":{"type":"integer"}},"required":["n"]})",
      R"({"type":"array","items":{"$ref":"#"}})"};
  for (const std::string_view schema : kSchemas) {
    GrammarState state(std::make_shared<GrammarEngine>(Grammar::FromJsonSchema(schema), ByteTokens()));
    const std::string open = schema.find("child") != std::string_view::npos ? "{\"child\":" : "[";
    int depth = 0;
    while (state.AcceptText(open)) ASSERT_LT(++depth, 2000);
    EXPECT_GT(depth, 50);
    // The first allowed token of those that close: the text comes to an end.
    std::string written;
    while (!state.IsComplete()) {
      const TokenMask& mask = state.Allowed();
      int64_t best = -1;
      for (const char c : std::string("]},0:\"n{")) {
        if (best < 0 && mask.Has(static_cast<uint8_t>(c))) best = static_cast<uint8_t>(c);
      }
      ASSERT_GE(best, 0) << depth << written;
      ASSERT_TRUE(state.Accept(best));
      written += static_cast<char>(best);
      ASSERT_LT(written.size(), 20000u);
    }
  }
  std::string deep = "root ::= a0 \"x\"\n";
  for (int i = 0; i < 500; ++i) deep += "a" + std::to_string(i) + " ::= a" + std::to_string(i + 1) + " \"x\"\n";
  testing::ExpectError([&] { Grammar::FromText(deep + "a500 ::= \"y\""); }, "nested deeper");
}

// ---- tokens and bytes

TEST(Grammar, TokensMayHoldPartsOfCharacters) {
  // U+03B1 is CE B1, U+20AC E2 82 AC.
  const std::vector<std::string> tokens = {"\xCE", "\xB1", "\xB1\xE2", "\x82\xAC", "\xCE\xB1",
                                           "\x82", "\xAC", "a",        "",         "\xFF"};
  const auto trie = std::make_shared<const TokenTrie>(tokens, std::vector<int64_t>{8});
  GrammarState state(std::make_shared<GrammarEngine>(Grammar::FromRegex("[\xCE\xB1-\xCF\x89]\xE2\x82\xAC"), trie));
  const auto allowed = [&] {
    std::vector<int64_t> ids;
    for (int64_t id = 0; id < 10; ++id) {
      if (state.Allowed().Has(id)) ids.push_back(id);
    }
    return ids;
  };
  EXPECT_EQ(allowed(), (std::vector<int64_t>{0, 4}));
  GrammarState whole = state;
  ASSERT_TRUE(state.Accept(0));
  EXPECT_EQ(allowed(), (std::vector<int64_t>{1, 2}));
  EXPECT_FALSE(state.Accept(7));
  ASSERT_TRUE(state.Accept(2));
  EXPECT_EQ(allowed(), (std::vector<int64_t>{3, 5}));
  ASSERT_TRUE(state.Accept(5));
  ASSERT_TRUE(state.Accept(6));
  EXPECT_EQ(allowed(), (std::vector<int64_t>{8}));
  ASSERT_TRUE(state.Accept(8));
  EXPECT_TRUE(state.IsFinished());
  EXPECT_TRUE(whole.AcceptText("\xCE\xB1\xE2\x82\xAC"));  // a copy goes its own way
  EXPECT_TRUE(whole.IsComplete());
}

// A mask holds a token exactly when its bytes are taken one by one.
TEST(Grammar, MasksAreWhatTheBytesSay) {
  const auto tokens = RealVocabularies()[1];
  std::mt19937_64 random(3);
  for (const GrammarPointer& grammar :
       {Grammar::AnyJson(), Grammar::FromRegex("([a-z]+ ){2,5}(cat|dog)s?"),
        Grammar::FromJsonSchema(R"({"type":"array","items":{"enum":["a cat","a cow",12,null]}})")}) {
    const auto engine = std::make_shared<GrammarEngine>(grammar, tokens);
    GrammarState state(engine);
    for (int step = 0; step < 12 && !state.IsFinished(); ++step) {
      std::vector<int64_t> allowed;
      const TokenMask mask = state.Allowed();
      for (int64_t id = 0; id < tokens->size(); ++id) {
        const bool is_end = id == tokens->end_ids()[0];
        GrammarState copy = state;
        const bool taken =
            is_end ? state.IsComplete() : !tokens->bytes(id).empty() && copy.AcceptText(tokens->bytes(id));
        ASSERT_EQ(mask.Has(id), taken) << id << " " << tokens->bytes(id);
        if (taken) allowed.push_back(id);
      }
      ASSERT_EQ(mask.Count(), static_cast<int64_t>(allowed.size()));
      ASSERT_FALSE(allowed.empty());
      ASSERT_TRUE(state.Accept(allowed[random() % allowed.size()]));
    }
  }
}

TEST(Grammar, Choices) {
  const std::vector<std::string> choices = {"yes", "yes, but", "\xE2\x82\xAC 5"};
  const GrammarPointer grammar = Grammar::FromChoices(choices);
  for (const std::string& choice : choices) EXPECT_TRUE(Takes(grammar, choice));
  for (const char* text : {"", "no", "yes,", "yes, but "}) EXPECT_FALSE(Takes(grammar, text)) << text;
  testing::ExpectError([] { Grammar::FromChoices({}); }, "at least one choice");
}

// ---- regular expressions and rules

struct Match {
  const char* pattern;
  std::vector<std::string> taken, refused;
};

TEST(Grammar, RegularExpressions) {
  const Match kCases[] = {
      {"^a+?b*$", {"a", "aab"}, {"", "b", "aabc"}},
      {"(?:x|y){2,3}", {"xy", "yyy"}, {"x", "xyxy"}},
      {"(?<year>\\d{4})-\\d\\d", {"2024-01"}, {"24-01", "2024-1"}},
      {"[^\\d\\s]\\.", {"a.", "\xC3\xA4."}, {"1.", " .", "ab"}},
      {"[a\\-z]", {"a", "-", "z"}, {"b"}},
      {"[]", {}, {""}},
      {".", {"a", "\xF0\x9F\x98\x80"}, {"\n", "ab", ""}},
      {"\\x41\\u00e9\\t", {"A\xC3\xA9\t"}, {"A"}},
      {"a{,b}", {}, {}},
      {"", {""}, {"a"}},
      {"a||b", {"a", "", "b"}, {"ab"}},
      {"\\s", {" ", "\t", "\xC2\xA0"}, {"a", "\xE2\x80\x8B"}},  // the spaces of ECMAScript
      {"x{2}{3}", {"xxxxxx"}, {"xxxxx"}},
  };
  for (const Match& match : kCases) {
    if (match.taken.empty()) {
      EXPECT_THROW(Grammar::FromRegex(match.pattern), Error) << match.pattern;
      continue;
    }
    const GrammarPointer grammar = Grammar::FromRegex(match.pattern);
    for (const std::string& text : match.taken) EXPECT_TRUE(Takes(grammar, text)) << match.pattern << " " << text;
    for (const std::string& text : match.refused) EXPECT_FALSE(Takes(grammar, text)) << match.pattern << " " << text;
  }
}

bool MatchesWithPcre(const pcre2_code* code, const std::string& text) {
  pcre2_match_data* match = pcre2_match_data_create_from_pattern(code, nullptr);
  const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, match, nullptr);
  pcre2_match_data_free(match);
  return found >= 0;
}

TEST(Grammar, RegularExpressionsMatchWhatPcreMatches) {
  std::mt19937_64 random(5);
  const std::string letters[] = {
      "a", "b", "x", "Z", "1", "9", " ", "\xC3\xA9", "-", "\n", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
  for (const char* pattern : {"(a|b)*x", "[^a-x]+", "a{2,4}b{0,2}", "(?:ab?|a)x*", ".*-.*", "\\d+(\\.\\d+)?",
                              "\\w+( \\w+)*", "[\xC3\xA9-\xE2\x82\xAC]?a", " *\\S{1,2} *", "(a*)*", "(a?b?){3}",
                              "(|a|ab)(x|)", "[-a]|[a-]", "\\D\\W", "a*?b+?", "((a|1)(b|9)?)+-?"}) {
    int error = 0;
    PCRE2_SIZE place = 0;
    pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
    pcre2_set_newline(context, PCRE2_NEWLINE_ANYCRLF);
    pcre2_code* code =
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED,
                      PCRE2_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOLLAR_ENDONLY, &error, &place, context);
    ASSERT_NE(code, nullptr) << pattern;
    const GrammarPointer grammar = Grammar::FromRegex(pattern);
    const auto engine = std::make_shared<GrammarEngine>(grammar, ByteTokens());
    int matches = 0;
    for (int i = 0; i < 3000; ++i) {
      std::string text;
      for (size_t count = random() % 7; count > 0; --count) text += letters[random() % std::size(letters)];
      const bool is_match = MatchesWithPcre(code, text);
      matches += is_match;
      GrammarState state(engine);
      ASSERT_EQ(state.AcceptText(text) && state.IsComplete(), is_match) << pattern << " " << text;
    }
    EXPECT_GT(matches, 0) << pattern;
    for (int i = 0; i < 50; ++i) {
      const std::string text = Sampled(engine, random);
      EXPECT_TRUE(text.empty() || MatchesWithPcre(code, text)) << pattern << " " << text;
    }
    pcre2_code_free(code);
    pcre2_compile_context_free(context);
  }
}

TEST(Grammar, RefusesRegularExpressionsItCannotFollow) {
  const std::pair<const char*, const char*> kCases[] = {
      {"(?=a)b", "look-around"},
      {"(?i)a", "look-around or a flag"},
      {"(a)\\1", "\\1"},
      {"\\bword", "\\b"},
      {"\\p{L}", "\\p"},
      {"a++", "possessive"},
      {"a{,3}", "lower"},
      {"a{2,-1}", "expected"},
      {"a{3,2}", "wrong bounds"},
      {"(a", "without an end"},
      {"a)", "unexpected"},
      {"*a", "nothing to repeat"},
      {"[z-a]", "before it starts"},
      {"[a", "without an end"},
      {"a^b", "^ behind"},
      {"a$b", "$ before"},
      {"a{9000}", "repeated"},
      {"\\ud800", "hexadecimal"},
      {"\xFF", "not UTF-8"},
      {"((a{4000}){4000}){4000}", "symbols"},
  };
  for (const auto& [pattern, part] : kCases)
    testing::ExpectError([&pattern = pattern] { Grammar::FromRegex(pattern); }, part);
}

TEST(Grammar, Rules) {
  const GrammarPointer sum = Grammar::FromText(R"gbnf(
      # sums of numbers and names
      root   ::= term (("+" | "-") term)* ws
      term   ::= [0-9]+ | name | ("(" ws
                 root ")")
      name   ::= [a-zA-Z_] [^+() \t\n-]{0,3}
      ws     ::= [ \t]{,2})gbnf");
  for (const char* text : {"1", "12+ab", "x_1-(2+y)+3  ", "( 1 )"}) EXPECT_TRUE(Takes(sum, text)) << text;
  for (const char* text : {"", "+1", "1++2", "abcde", "(1", "1   "}) EXPECT_FALSE(Takes(sum, text)) << text;
  const GrammarPointer escapes = Grammar::FromText("root ::= \"\\\"\\\\\\x41\\u00e4\\U0001F600\" [\\]\\-x] .");
  EXPECT_TRUE(Takes(escapes, "\"\\A\xC3\xA4\xF0\x9F\x98\x80]\n"));
  EXPECT_TRUE(Takes(Grammar::FromText("root ::= a\na ::= \"(\" a \")\" | \"\""), "((()))"));
  const std::pair<const char*, const char*> kCases[] = {
      {"a ::= \"x\"", "no rule named root"},
      {"root ::= b", "\"b\" is used but not defined"},
      {"root ::= \"x\"\nroot ::= \"y\"", "there twice"},
      {"root ::= root \"x\" | \"y\"", "left recursion"},
      {"root ::= e root \"x\" | \"y\"\ne ::= \"\"", "left recursion"},
      {"root ::= \"x\" root", "no finite text"},
      {"root = \"x\"", "expected \"::=\""},
      {"root ::= \"x", "ends too early"},
      {"root ::= \"\\q\"", "unknown escape"},
      {"root ::= (\"x\"", "expected \")\""},
      {"root ::= <think>", "expected the end of the rule"},
  };
  for (const auto& [rules, part] : kCases) testing::ExpectError([&rules = rules] { Grammar::FromText(rules); }, part);
}

// ---- what is refused of schemas

TEST(Grammar, RefusesSchemasItCannotFollow) {
  const std::pair<const char*, const char*> kCases[] = {
      {R"({"not":{"type":"string"}})", "\"not\""},
      {R"({"type":"object","patternProperties":{"a":{}}})", "patternProperties"},
      {R"({"type":"object","minProperties":1})", "minProperties"},
      {R"({"type":"array","uniqueItems":true})", "uniqueItems"},
      {R"({"type":"array","contains":{}})", "contains"},
      {R"({"type":"integer","multipleOf":3})", "multipleOf"},
      {R"({"if":{},"then":{}})", "\"if\""},
      {R"({"type":"string","format":"idn-email"})", "idn-email"},
      {R"({"type":"string","maxLength":3,"pattern":"a"})", "more than one of"},
      {R"({"type":"string","minimum":3})", "minimum"},
      {R"({"type":"string","colour":"red"})", "colour"},
      {R"({"allOf":[{"type":"string"},{"maxLength":3}]})", "allOf"},
      {R"({"oneOf":[{"type":"number"},{"type":"integer"}]})", "told apart"},
      {R"({"oneOf":[{"const":1},{"const":1.0}]})", "told apart"},
      {R"({"type":"object","anyOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"type":"string"}}})", "of other types"},
      {R"({"type":"string","anyOf":[true]})", "of other types"},
      {R"({"anyOf":[{"type":"string"}],"maxLength":3})", "maxLength"},
      {R"({"$ref":"#/$defs/a","maxLength":3,"$defs":{"a":{}}})", "maxLength"},
      {R"({"$ref":"http://example.com/a.json"})", "another document"},
      {R"({"$ref":"#a"})", "anchor"},
      {R"({"$ref":"#/$defs/b"})", "leads nowhere"},
      {R"({"type":"array","items":{"$id":"http://example.com/","type":"string"}})", "$id"},
      {R"({"type":"number","minimum":1e16})", "15 digits"},
      {R"({"type":"number","minimum":0.12345678901234567})", "15 digits"},
      {R"({"type":"integer","minimum":1e16})", "2^53"},
      {R"({"type":"integer","minimum":18446744073709551615})", "2^53"},
      {R"({"type":"integer","maximum":-90071992547409930})", "2^53"},
      {R"({"type":"integer","minimum":3,"maximum":2})", "accepts no value"},
      {R"({"type":"number","exclusiveMinimum":3,"maximum":3})", "no finite text"},
      {R"({"type":"string","minLength":3,"maxLength":2})", "accepts no value"},
      {R"({"type":"string","enum":[1,2]})", "accepts no value"},
      {R"({"type":"object","additionalProperties":false,"required":["a"]})", "accepts no value"},
      {R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "no finite text"},
      {R"({"type":"text"})", "unknown type"},
      {R"({"type":"string")", "expected the JSON schema to be a JSON object"},
      {R"("string")", "expected the JSON schema to be a JSON object"},
      {R"({"type":"array","items":3})", "expected an object"},
      {R"({"type":"array","items":{},"additionalItems":false})", "additionalItems"},
      {R"({"type":"string","minLength":-1})", "to be a count"},
      {R"(false)", "the schema false"},
  };
  for (const auto& [schema, part] : kCases)
    testing::ExpectError([&schema = schema] { Grammar::FromJsonSchema(schema); }, part);
}

TEST(Grammar, WritesPropertiesInTheOrderAskedFor) {
  const GrammarPointer grammar = Grammar::FromJsonSchema(
      R"({"type":"object","properties":{"a":{"const":1},"b":{"const":2},"c":{"const":3}},"propertyOrdering":["c","a"],
          "required":["a","b","c"]})");
  EXPECT_TRUE(Takes(grammar, R"({"c":3,"a":1,"b":2})"));
  EXPECT_FALSE(Takes(grammar, R"({"a":1,"b":2,"c":3})"));
}

}  // namespace
}  // namespace fovea::text
