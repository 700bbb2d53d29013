// What the tests of tokenizers share: the corpus and the vocabularies of tests/golden/text, which
// tools/dump_tokenizer_golden.py wrote.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "testing/golden.h"
#include "testing/testing.h"
#include "text/sentencepiece_model.h"

namespace fovea::text {

inline std::string GoldenPath(const std::string& name) { return testing::SourcePath("tests/golden/text/" + name); }

inline std::string Inflate(const std::string& path) {
  const std::vector<uint8_t> packed = base::ReadFile(path, 8 << 20);
  std::string data(16 << 20, '\0');
  uLongf size = data.size();
  EXPECT_EQ(uncompress(reinterpret_cast<Bytef*>(data.data()), &size, packed.data(), packed.size()), Z_OK) << path;
  data.resize(size);
  return data;
}

inline const std::vector<std::string>& Corpus() {
  static const auto* lines = [] {
    auto* read = new std::vector<std::string>;
    const std::string data = Inflate(GoldenPath("corpus.z"));
    for (size_t at = 0; at < data.size();) {
      uint32_t length;
      std::memcpy(&length, data.data() + at, 4);
      read->push_back(data.substr(at + 4, length));
      at += 4 + length;
    }
    return read;
  }();
  return *lines;
}

inline std::string EncodeBase64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) text += i + k <= bytes.size() ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

// The tokenizer.json that the stored form stands for.
inline nlohmann::json Expand(const std::string& name) {
  nlohmann::json json = nlohmann::json::parse(Inflate(GoldenPath(name + ".json.z")));
  nlohmann::json& model = json["model"];
  if (json.contains("vocabulary_of")) {
    const nlohmann::json other = Expand(json["vocabulary_of"]);
    model["vocab"] = other["model"]["vocab"];
    if (other["model"].contains("merges")) model["merges"] = other["model"]["merges"];
    json.erase("vocabulary_of");
    return json;
  }
  if (json["normalizer"].contains("normalizers")) {
    for (auto& part : json["normalizer"]["normalizers"]) {
      if (part["type"] != "Precompiled") continue;
      const std::string file = Inflate(GoldenPath(name + ".model.z"));
      part["precompiled_charsmap"] = EncodeBase64(ParseSentencePieceModel(file, name).charsmap);
    }
  }
  if (model["type"] == "Unigram") return json;
  nlohmann::json tokens = model["vocab"];
  if (tokens.is_object()) {
    nlohmann::json list = tokens["head"];
    for (const auto& merge : model["merges"]) {
      std::string token = merge;
      token.erase(token.find(' '), 1);
      list.push_back(token);
    }
    for (const auto& token : tokens["tail"]) list.push_back(token);
    tokens = list;
  }
  model["vocab"] = nlohmann::json::object();
  for (size_t i = 0; i < tokens.size(); ++i) model["vocab"][tokens[i].get<std::string>()] = i;
  return json;
}

inline uint64_t Hash(const auto& values) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const auto value : values) hash = (hash ^ static_cast<uint64_t>(value)) * 0x100000001B3u;
  return hash;
}

inline std::string Hex(uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

// Writes the files of a tokenizer without its tokenizer.json.
inline void WriteVocabularyFiles(const std::string& name, const std::string& file,
                                 const testing::TemporaryFolder& folder) {
  if (file.ends_with(".model"))
    return base::WriteTextFileAtomically(folder.File(file), Inflate(GoldenPath(name + ".model.z")));
  const nlohmann::json model = Expand(name)["model"];
  if (file == "vocab.json") {
    std::string merges = "#version: 0.2\n";
    for (const auto& merge : model["merges"]) merges += merge.get<std::string>() + "\n";
    base::WriteTextFileAtomically(folder.File("merges.txt"), merges);
    return base::WriteTextFileAtomically(folder.File(file), model["vocab"].dump());
  }
  std::vector<std::string> tokens(model["vocab"].size());
  for (const auto& [token, id] : model["vocab"].items()) tokens[id.get<size_t>()] = token;
  std::string text;
  for (const std::string& token : tokens) text += token + "\n";
  base::WriteTextFileAtomically(folder.File(file), text);
}

}  // namespace fovea::text
