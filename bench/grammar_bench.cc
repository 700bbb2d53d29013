// Times constrained decoding: how long the mask of a state takes when it is met first, and later.
//
//   grammar_bench TOKENIZER [--tokens N] [--schema FILE --text FILE]     one JSON object
//
// TOKENIZER is a folder with a tokenizer.json or a .gguf file. The text is written token by token, the longest allowed
// token of what is left each time; without files a receipt of a shop.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "runtime/gguf_text.h"
#include "runtime/model_folder.h"
#include "text/grammar.h"

namespace fovea {
namespace {

constexpr const char* kSchema = R"({"type":"object","additionalProperties":false,"required":["shop","total","items"],
 "properties":{"shop":{"type":"string","maxLength":40},"date":{"type":"string","format":"date"},
  "total":{"type":"number","minimum":0},"currency":{"enum":["EUR","USD","GBP"]},
  "items":{"type":"array","maxItems":20,"items":{"type":"object","required":["name","price"],"properties":{
   "name":{"type":"string"},"count":{"type":"integer","minimum":1,"maximum":99},"price":{"type":"number"}}}}}})";
constexpr const char* kText = R"({
  "shop": "Bäckerei Müller & Söhne",
  "date": "2024-02-28",
  "total": 12.85,
  "currency": "EUR",
  "items": [
    {"name": "whole grain bread, sliced", "count": 1, "price": 4.35},
    {"name": "croissant with chocolate", "count": 3, "price": 2.5},
    {"name": "coffee, large", "price": 1}
  ]
})";

using Clock = std::chrono::steady_clock;
double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void Run(const std::string& tokenizer_path, int64_t most, const std::string& schema, const std::string& text) {
  const auto tokenizer = runtime::IsGgufFile(tokenizer_path) ? runtime::GgufTokenizer(tokenizer_path)
                                                             : text::Tokenizer::FromFolder(tokenizer_path, "");
  auto start = Clock::now();
  const auto all = text::TokenTrie::FromTokenizer(*tokenizer, {});
  const double tree_ms = MillisecondsSince(start);
  std::vector<std::string> first;
  for (int64_t id = 0; id < std::min(most, all->size()); ++id) first.push_back(all->bytes(id));
  const auto tokens = std::make_shared<const text::TokenTrie>(std::move(first), std::vector<int64_t>{});
  start = Clock::now();
  const auto grammar = text::Grammar::FromJsonSchema(schema);
  const auto engine = std::make_shared<text::GrammarEngine>(grammar, tokens);
  const double grammar_ms = MillisecondsSince(start);
  std::vector<double> first_ms, again_ms;
  for (auto* times : {&first_ms, &again_ms}) {
    text::GrammarState state(engine);
    for (size_t at = 0; at < text.size();) {
      start = Clock::now();
      const text::TokenMask& mask = state.Allowed();
      times->push_back(MillisecondsSince(start));
      int64_t best = -1;
      for (int64_t id = 0; id < mask.size(); ++id) {
        const std::string& bytes = tokens->bytes(id);
        if (mask.Has(id) && text.compare(at, bytes.size(), bytes) == 0 &&
            (best < 0 || bytes.size() > tokens->bytes(best).size()))
          best = id;
      }
      if (best < 0 || !state.Accept(best))
        Fail(ErrorCode::kInvalidArgument, "[bench] the grammar does not take the text at byte ", at);
      at += tokens->bytes(best).size();
    }
  }
  const auto mean = [](const std::vector<double>& times) {
    double sum = 0;
    for (const double time : times) sum += time;
    return sum / static_cast<double>(times.size());
  };
  std::cout << nlohmann::json({{"vocabulary", tokens->size()},
                               {"tree_ms", tree_ms},
                               {"grammar_ms", grammar_ms},
                               {"tokens", first_ms.size()},
                               {"first_mean_ms", mean(first_ms)},
                               {"first_worst_ms", std::ranges::max(first_ms)},
                               {"again_mean_ms", mean(again_ms)}})
                   .dump()
            << "\n";
}

int Main(int argc, char** argv) {
  CLI::App app("Times constrained decoding.");
  std::string tokenizer, schema, text;
  int64_t most = 1 << 20;
  app.add_option("tokenizer", tokenizer)->required();
  auto* schema_option = app.add_option("--schema", schema);
  app.add_option("--text", text)->needs(schema_option);
  app.add_option("--tokens", most, "the first so many tokens of the vocabulary alone");
  CLI11_PARSE(app, argc, argv);
  Run(tokenizer, most, schema.empty() ? kSchema : base::ReadTextFile(schema),
      text.empty() ? kText : base::ReadTextFile(text));
  return 0;
}

}  // namespace
}  // namespace fovea

int main(int argc, char** argv) {
  try {
    return fovea::Main(argc, argv);
  } catch (const fovea::Error& error) {
    std::cerr << "grammar_bench: " << error.what() << "\n";
    return 1;
  }
}
