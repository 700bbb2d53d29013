// Tokenizers against the `tokenizers` package: 20,000 lines of text in more than 20 scripts through nine tokenizers,
// with the ids that tools/dump_tokenizer_golden.py stored. A hash of eight bits for each line finds the lines that
// differ, one of 64 bits over all lines catches the rest.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "formats/tar.h"
#include "testing/testing.h"
#include "text/tokenizer.h"
#include "text_golden.h"

namespace fovea::text {
namespace {

std::vector<std::string> Names() {
  return {"bert_uncased", "bert_cased", "clip", "roberta", "qwen", "xlm_roberta", "t5", "llama", "llama_first"};
}

class TokenizerGolden : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, TokenizerGolden, ::testing::ValuesIn(Names()),
                         [](const auto& info) { return info.param; });

// Compares the ids of every line with the stored hashes, and shows the first lines that differ.
void ExpectSameIds(const Tokenizer& tokenizer, const nlohmann::json& golden) {
  const std::vector<std::string>& lines = Corpus();
  ASSERT_EQ(lines.size(), golden["lines"].get<size_t>());
  ASSERT_GE(lines.size(), 20000u);
  const std::string expected = golden["hashes"];
  std::vector<uint64_t> hashes;
  int shown = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    const Encoding encoding = tokenizer.Encode(lines[i]);
    hashes.push_back(Hash(encoding.ids));
    const std::string key = std::to_string(i);
    if (golden["shown"].contains(key)) {
      const auto& stored = golden["shown"][key];
      ASSERT_EQ(encoding.ids, stored["ids"].get<std::vector<int64_t>>()) << "line " << i << ": " << lines[i];
      EXPECT_EQ(tokenizer.Decode(encoding.ids), stored["text"]) << "line " << i;
      EXPECT_EQ(tokenizer.Decode(encoding.ids, false), stored["raw"]) << "line " << i;
    }
    if (Hex(hashes.back()).substr(14) != expected.substr(2 * i, 2) && shown++ < 8)
      ADD_FAILURE() << "line " << i << " has other ids: " << ::testing::PrintToString(lines[i]) << " got "
                    << ::testing::PrintToString(encoding.ids);
  }
  EXPECT_EQ(shown, 0) << "lines that differ";
  EXPECT_EQ(Hex(Hash(hashes)), golden["total"]);
}

TEST_P(TokenizerGolden, GivesTheIdsOfTheReference) {
  const auto tokenizer = Tokenizer::FromJson(Expand(GetParam()).dump(), GetParam());
  ExpectSameIds(*tokenizer, nlohmann::json::parse(Inflate(GoldenPath(GetParam() + ".golden.z"))));
}

TEST_P(TokenizerGolden, PairsAndTruncation) {
  const auto tokenizer = Tokenizer::FromJson(Expand(GetParam()).dump(), GetParam());
  const nlohmann::json golden = nlohmann::json::parse(Inflate(GoldenPath(GetParam() + ".golden.z")));
  ASSERT_GE(golden["cases"].size(), 400u);
  for (const auto& stored : golden["cases"]) {
    const EncodeOptions options{.add_special_tokens = stored["special"], .max_length = stored["max"]};
    const std::string& a = Corpus()[stored["a"].get<size_t>()];
    const int64_t b = stored["b"];
    const Encoding encoding =
        b < 0 ? tokenizer->Encode(a, options) : tokenizer->EncodePair(a, Corpus()[static_cast<size_t>(b)], options);
    const std::string what =
        "lines " + stored["a"].dump() + ", " + stored["b"].dump() + ", max " + stored["max"].dump();
    ASSERT_EQ(encoding.ids, stored["ids"].get<std::vector<int64_t>>()) << what;
    ASSERT_EQ(encoding.type_ids, stored["types"].get<std::vector<int64_t>>()) << what;
    ASSERT_EQ(encoding.special, stored["mask"].get<std::vector<uint8_t>>()) << what;
  }
}

// ---- folders with vocabulary files alone

std::string ModelTypeOfCase(const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class VocabularyFiles : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, VocabularyFiles,
                         ::testing::Values("bert", "clip", "roberta", "gpt2", "xlm-roberta", "t5"),
                         [](const auto& info) { return ModelTypeOfCase(info); });

TEST_P(VocabularyFiles, GiveTheIdsOfTransformers) {
  const std::string path = GoldenPath("files.json");
  const nlohmann::json golden = nlohmann::json::parse(base::ReadTextFile(path))[GetParam()];
  const testing::TemporaryFolder folder;
  WriteVocabularyFiles(golden["vocabulary"], golden["file"], folder);
  const auto tokenizer = Tokenizer::FromFolder(folder.path(), GetParam());
  EXPECT_EQ(tokenizer->Encode(Corpus()[300]).ids, golden["line_300"].get<std::vector<int64_t>>()) << Corpus()[300];
  std::vector<uint64_t> hashes;
  for (const std::string& line : Corpus()) hashes.push_back(Hash(tokenizer->Encode(line).ids));
  EXPECT_EQ(Hex(Hash(hashes)), golden["total"]);
}

TEST(VocabularyFolder, Options) {
  const testing::TemporaryFolder folder;
  base::WriteTextFileAtomically(folder.File("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nA\n");
  EXPECT_EQ(Tokenizer::FromFolder(folder.path(), "bert")->Encode("A a").ids, (std::vector<int64_t>{2, 5, 5, 3}));
  base::WriteTextFileAtomically(folder.File("tokenizer_config.json"),
                                R"({"do_lower_case":false,"model_max_length":512,"pad_token":{"content":"[MASK]"},
                                    "added_tokens_decoder":{"7":{"content":"a A","lstrip":true,"special":false}}})");
  const auto tokenizer = Tokenizer::FromFolder(folder.path(), "bert");
  EXPECT_EQ(tokenizer->Encode("A a  a A").ids, (std::vector<int64_t>{2, 6, 5, 7, 3}));
  EXPECT_EQ(tokenizer->pad_id(), 4);
  EXPECT_EQ(tokenizer->model_max_length(), 512);
  base::WriteTextFileAtomically(folder.File("tokenizer_config.json"),
                                R"({"model_max_length":1000000000000000019884624838656})");
  EXPECT_EQ(Tokenizer::FromFolder(folder.path(), "bert")->model_max_length(), std::nullopt);
  testing::ExpectError([&] { Tokenizer::FromFolder(folder.path(), "sparkle"); }, "sparkle");
  testing::ExpectError([&] { Tokenizer::FromFolder(folder.path(), "clip"); }, "merges.txt");
  testing::ExpectError([&] { Tokenizer::FromFolder(folder.path() + "/none", "clip"); }, "merges.txt");
}

// ---- captions and records of the data shards, which are not ours to copy: only hashes are stored

TEST(TokenizerShards, GiveTheIdsOfTheReference) {
  const std::string folder = testing::SourcePath("../shared/data");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no data shards beside the source tree";
  const nlohmann::json golden = nlohmann::json::parse(base::ReadTextFile(GoldenPath("shards.json")));
  std::set<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".tar") paths.insert(entry.path());
  }
  std::vector<std::string> lines;
  for (const auto& path : paths) {
    formats::TarReader reader(std::make_unique<formats::FileSource>(path.string()), path.string());
    for (formats::TarEntry entry; reader.Next(entry);) {
      if (!entry.name.ends_with(".txt") && !entry.name.ends_with(".json")) continue;
      const std::vector<uint8_t> bytes = reader.ReadContent(Tokenizer::kMaxTextBytes);
      lines.emplace_back(bytes.begin(), bytes.end());
    }
  }
  if (lines.size() != golden["lines"].get<size_t>())
    GTEST_SKIP() << "other data shards than those of the stored hashes";
  for (const std::string& name : Names()) {
    const auto tokenizer = Tokenizer::FromJson(Expand(name).dump(), name);
    std::vector<uint64_t> hashes;
    for (const std::string& line : lines) hashes.push_back(Hash(tokenizer->Encode(line).ids));
    EXPECT_EQ(Hex(Hash(hashes)), golden["hashes"][name]) << name;
  }
}

}  // namespace
}  // namespace fovea::text
