// Text from a tiny GPT-2 (tests/golden/gpt2_tiny, made by tools/dump_tiny_chat.py) through the public API and the
// command line, against what transformers writes with the same folder.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/json.h"
#include "cli_run.h"
#include "formats/gguf.h"
#include "fovea/chat.h"
#include "testing/golden.h"
#include "tiny_vlm.h"

namespace fovea::e2e {
namespace {

using nlohmann::json;

std::string Folder() { return testing::SourcePath("tests/golden/gpt2_tiny"); }
json Expected() { return base::ParseJson(base::ReadTextFile(Folder() + "/expected.json"), "expected.json"); }

Message User(const std::string& text) { return {.role = "user", .text = text, .images = {}}; }

TEST(Chat, WritesWhatTheReferenceWrites) {
  const Chat chat(Model::Load(Folder()));
  for (const json& expected : Expected()) {
    const Message message = User(expected["prompt"]);
    std::string streamed;
    const Answer answer = chat.Reply({&message, 1}, {.max_tokens = 10, .top_logprobs = 2}, [&](std::string_view piece) {
      streamed += piece;
      return true;
    });
    EXPECT_EQ(answer.text, expected["text"].get<std::string>());
    EXPECT_EQ(streamed, answer.text);
    EXPECT_EQ(answer.finish_reason, expected["ended"].get<bool>() ? "stop" : "length");
    EXPECT_NEAR(answer.confidence, expected["confidence"].get<double>(), 1e-4);
    ASSERT_FALSE(answer.details.empty());
    double logs = 0;
    for (const TokenDetail& detail : answer.details) {
      logs += detail.logprob;
      ASSERT_EQ(detail.alternatives.size(), 2u);
      EXPECT_NEAR(detail.alternatives[0].second, detail.logprob, 1e-5);  // greedy
    }
    EXPECT_NEAR(std::exp(logs / static_cast<double>(answer.details.size())), answer.confidence, 1e-6);
    const Answer beams = chat.Reply({&message, 1}, {.max_tokens = 10, .beams = 3});
    EXPECT_EQ(beams.text, expected["beams"].get<std::string>());
  }
}

// A copy of the folder with a generation_config.json.
void WriteCopy(const std::string& folder, const json& generation) {
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(Folder() + "/" + name, folder + "/" + name,
                               std::filesystem::copy_options::overwrite_existing);
  base::WriteTextFileAtomically(folder + "/generation_config.json", generation.dump());
}

// Several end tokens, beams, penalties and lengths of generation_config.json give what generate() gives.
TEST(Chat, GenerationConfigCounts) {
  const json vocab =
      base::ParseJson(base::ReadTextFile(Folder() + "/tokenizer.json"), "tokenizer.json")["model"]["vocab"];
  const testing::TemporaryFolder folder;
  for (const json& expected : base::ParseJson(base::ReadTextFile(Folder() + "/generation.json"), "generation.json")) {
    const json config = expected["config"];
    WriteCopy(folder.path(), config);
    const Chat chat(Model::Load(folder.path()));
    GenerateSettings settings = chat.Defaults();
    if (!config.contains("max_new_tokens")) settings.max_tokens = 10;
    EXPECT_EQ(settings.temperature, 0);
    // The end token is no part of the answer.
    std::vector<std::string> words = base::Split(expected["text"].get<std::string>(), ' ');
    const json ends = config.value("eos_token_id", json(2));
    const json last = vocab[words.back()];
    const bool has_ended = ends == last || (ends.is_array() && std::ranges::find(ends, last) != ends.end());
    if (has_ended) words.pop_back();
    const Message message = User(expected["prompt"]);
    const Answer answer = chat.Reply({&message, 1}, settings);
    EXPECT_EQ(answer.text, base::Join(std::span<const std::string>(words), " ")) << expected;
    EXPECT_EQ(answer.finish_reason, has_ended ? "stop" : "length") << expected;
  }
  WriteCopy(folder.path(), {{"do_sample", true}, {"temperature", 0.7}, {"top_p", 0.8}});
  const GenerateSettings sampled = Chat(Model::Load(folder.path())).Defaults();
  EXPECT_EQ(sampled.temperature, 0.7);
  EXPECT_EQ(sampled.top_k, 50);  // of transformers
  EXPECT_EQ(sampled.top_p, 0.8);
  WriteCopy(folder.path(), {{"no_repeat_ngram_size", 3}});
  testing::ExpectError([&] { Chat(Model::Load(folder.path())).Defaults(); }, "no_repeat_ngram_size");
}

TEST(Chat, StopsAndChoices) {
  const Chat chat(Model::Load(Folder()));
  const Message message = User("the cat");  // "not runs not runs not ..."
  const Answer stopped = chat.Reply({&message, 1}, {.max_tokens = 10, .stop = {" runs not"}});
  EXPECT_EQ(stopped.text, "not");
  EXPECT_EQ(stopped.finish_reason, "stop");
  int pieces = 0;
  const Answer cancelled =
      chat.Reply({&message, 1}, {.max_tokens = 10}, [&](std::string_view) { return ++pieces < 2; });
  EXPECT_EQ(cancelled.finish_reason, "cancelled");
  EXPECT_LT(cancelled.tokens, 10);
  const std::vector<std::string> choices = {"house", "not runs", "dog"};
  const auto scores = chat.Choose({&message, 1}, choices);
  EXPECT_EQ(scores[0].text, "not runs");
  EXPECT_NEAR(scores[0].probability + scores[1].probability + scores[2].probability, 1, 1e-9);
  for (const json& expected : base::ParseJson(base::ReadTextFile(Folder() + "/choices.json"), "choices.json")) {
    const Message asked = User(expected["prompt"]);
    const std::vector<std::string> texts = expected["choices"];
    const std::vector<double> probabilities = expected["probabilities"];
    for (const ChoiceScore& score : chat.Choose({&asked, 1}, texts)) {
      const auto place = std::ranges::find(texts, score.text) - texts.begin();
      EXPECT_NEAR(score.probability, probabilities[static_cast<size_t>(place)], 1e-5) << score.text;
    }
  }
  const Answer chosen = chat.Reply({&message, 1}, {.choices = choices});
  EXPECT_EQ(chosen.text, "not runs");
  EXPECT_NEAR(chosen.confidence, scores[0].probability, 1e-9);
}

TEST(Chat, FollowsAGrammar) {
  const Chat chat(Model::Load(Folder()));
  const Message message = User("the cat");  // goes on with "not runs"
  const Answer answer =
      chat.Reply({&message, 1}, {.max_tokens = 10, .grammar = "root ::= \" \"? \"blue \" (\"dog\" | \"cat\")"});
  const std::string text = answer.text.starts_with(' ') ? answer.text.substr(1) : answer.text;
  EXPECT_TRUE(text == "blue dog" || text == "blue cat") << text;
  EXPECT_EQ(answer.finish_reason, "stop");
  testing::ExpectError(
      [&] {
        chat.Reply({&message, 1}, {.json_schema = R"({"type": "object", "propertyNames": {}})"});
      },
      "propertyNames");
}

// Whatever a random sampler draws beside a picture, the answer is JSON of the schema; another seed, another answer.
TEST(Chat, FollowsASchemaBesideAPicture) {
  const testing::TemporaryFolder folder;
  WriteTinyVlm(folder.path());
  const Chat chat(Model::Load(folder.path()));
  Message message = User("what is this");
  message.images.push_back(ReadImage(testing::SourcePath("samples/cat.jpg")));
  const std::string schema = R"({"type": "object", "additionalProperties": false, "required": ["kind", "n", "seen"],
      "properties": {"kind": {"enum": ["cat", "dog", "bird"]}, "n": {"type": "integer", "minimum": 1, "maximum": 12},
                     "seen": {"type": "boolean"}}})";
  std::set<std::string> answers;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    for (const int64_t beams : {1, 3}) {
      if (beams > 1 && seed > 0) continue;
      const Answer answer = chat.Reply({&message, 1}, {.max_tokens = 100,
                                                       .temperature = beams > 1 ? 0.0 : 2.0,
                                                       .seed = seed,
                                                       .beams = beams,
                                                       .json_schema = schema});
      EXPECT_EQ(answer.finish_reason, "stop") << answer.text;
      const json value = json::parse(answer.text, nullptr, false);
      ASSERT_FALSE(value.is_discarded()) << answer.text;
      ASSERT_EQ(value.size(), 3u) << answer.text;
      EXPECT_TRUE(value["kind"] == "cat" || value["kind"] == "dog" || value["kind"] == "bird") << answer.text;
      EXPECT_TRUE(value["n"].is_number_integer() && value["n"] >= 1 && value["n"] <= 12) << answer.text;
      EXPECT_TRUE(value["seen"].is_boolean()) << answer.text;
      answers.insert(value.dump());
    }
  }
  EXPECT_GT(answers.size(), 3u);
  const Answer matched = chat.Reply({&message, 1}, {.temperature = 2, .regex = "(ab|cd){2}[0-9]"});
  EXPECT_EQ(matched.text.size(), 5u) << matched.text;
  EXPECT_EQ(matched.text.find_first_not_of("abcd"), 4u) << matched.text;
  // A character that the vocabulary has not: an error that says so.
  testing::ExpectError([&] { chat.Reply({&message, 1}, {.regex = "abZ"}); }, "no token for what must come next");
}

// PaliGemma has no template: its prompt is the picture's tokens, the start token, the text and the end of the line, as
// transformers' PaliGemmaProcessor joins them.
TEST(Chat, ModelsWithoutATemplateReadThePictureBeforeTheText) {
  const testing::TemporaryFolder folder;
  WriteTinyVlm(folder.path(), "paligemma_base", /*has_template=*/false);
  const Chat chat(Model::Load(folder.path()));
  Message message = User("ab");
  message.images.push_back(ReadImage(testing::SourcePath("samples/cat.jpg")));
  const Answer answer = chat.Reply({&message, 1}, {.max_tokens = 4});
  constexpr int64_t kPatches = 1;  // the preparation makes pictures of 12 px, and a patch has 8
  EXPECT_EQ(answer.prompt_tokens, kPatches + 1 + 2 + 1);
  message.images.push_back(message.images[0]);
  EXPECT_EQ(chat.Reply({&message, 1}, {.max_tokens = 4}).prompt_tokens, 2 * kPatches + 1 + 2 + 1);
}

// A plan says what the request then takes.
TEST(Chat, PlansWhatARequestTakes) {
  const testing::TemporaryFolder folder;
  WriteTinyVlm(folder.path());
  const Model model = Model::Load(folder.path());
  const Chat chat(model);
  const Image image = ReadImage(testing::SourcePath("samples/cat.jpg"));
  Message message = User("what is this");
  for (const size_t pictures : {0, 1, 2}) {
    message.images.assign(pictures, image);
    const RequestPlan plan = chat.Plan({&message, 1}, {.max_tokens = 1000});
    const Answer answer = chat.Reply({&message, 1}, {.max_tokens = 3});
    EXPECT_EQ(plan.prompt_tokens, answer.prompt_tokens);
    EXPECT_EQ(plan.picture_tokens, static_cast<int64_t>(5 * pictures));  // 2 x 2 patches and the class token
    EXPECT_EQ(plan.max_tokens, 128 - plan.prompt_tokens);                // all places that are left
    EXPECT_GT(plan.prompt_seconds, 0);
    EXPECT_GT(plan.answer_seconds, 0);
  }
  // Keys and values of 2 layers with 1 head of 10: f32, and a quarter with scales.
  EXPECT_EQ(chat.Plan({&message, 1}, {.max_tokens = 1000}).cache_bytes, 128 * 2 * 20 * 4);
  EXPECT_EQ(Chat(model, {.cache_type = "int8"}).Plan({&message, 1}, {.max_tokens = 1000}).cache_bytes,
            128 * 2 * (20 + 8));
}

TEST(Chat, KeepsToItsBounds) {
  const testing::TemporaryFolder folder;
  WriteTinyVlm(folder.path());
  const Model model = Model::Load(folder.path());
  Message message = User("what is this");
  message.images.assign(2, ReadImage(testing::SourcePath("samples/cat.jpg")));
  const auto refuses = [&](const ChatOptions& options, const std::string& part) {
    const Chat chat(model, options);
    testing::ExpectError([&] { chat.Reply({&message, 1}, {.max_tokens = 3}); }, part);
    testing::ExpectError([&] { chat.Plan({&message, 1}, {.max_tokens = 3}); }, part);
  };
  refuses({.max_images = 1}, "expected at most 1 pictures, got 2");
  refuses({.max_image_pixels = 1000}, "expected pictures of at most 1000 pixels");
  refuses({.max_image_tokens = 9}, "the pictures become 10 tokens, the limit is 9");
  refuses({.max_context = 12}, "10 of them of pictures, and the model takes 12");
  refuses({.max_memory_bytes = 1000}, "the limit is 1 MB");
  // Memory for some tokens of answer and no more.
  const RequestPlan whole = Chat(model).Plan({&message, 1}, {.max_tokens = 100});
  const int64_t one = whole.cache_bytes / (whole.prompt_tokens + whole.max_tokens);
  const Chat small(model, {.max_memory_bytes = whole.memory_bytes() - 60 * one});
  const RequestPlan plan = small.Plan({&message, 1}, {.max_tokens = 100});
  EXPECT_EQ(plan.max_tokens, whole.max_tokens - 60);
  const Answer answer = small.Reply({&message, 1}, {.max_tokens = 100, .grammar = "root ::= [a-v]{100}"});
  EXPECT_EQ(answer.tokens, plan.max_tokens);
  EXPECT_EQ(answer.finish_reason, "length");
}

TEST(CliAsk, DryRunTellsTheCost) {
  const testing::TemporaryFolder folder;
  WriteTinyVlm(folder.path());
  const std::string cat = testing::SourcePath("samples/cat.jpg");
  const Result result = RunFovea(
      {"ask", cat, "--question", "abcd", "--dry-run", "--json", "--max-tokens", "20", "--model", folder.path()}, {});
  ASSERT_EQ(result.exit, 0) << result.err;
  const json plan = result.Lines().at(0)["plan"];
  EXPECT_EQ(plan["tokens"]["pictures"], 5);
  EXPECT_EQ(plan["tokens"]["prompt"], 9);
  EXPECT_EQ(plan["tokens"]["answer_at_most"], 20);
  EXPECT_EQ(plan["memory_bytes"]["total"], plan["memory_bytes"]["weights"].get<int64_t>() +
                                               plan["memory_bytes"]["cache"].get<int64_t>() +
                                               plan["memory_bytes"]["work"].get<int64_t>());
  const Result refused =
      RunFovea({"ask", cat, "--question", "what", "--max-ram", "20kB", "--model", folder.path()}, {});
  EXPECT_EQ(refused.exit, 1);
  EXPECT_NE(refused.err.find("the limit is 1 MB"), std::string::npos) << refused.err;
  const Result chat = RunFovea({"chat", "--image", cat, "--dry-run", "--model", folder.path()}, {});
  EXPECT_EQ(chat.exit, 0) << chat.err;
  EXPECT_NE(chat.out.find("5 tokens to read (5 of pictures)"), std::string::npos) << chat.out;
}

// ---- quantize

TEST(CliQuantize, WritesGgufFiles) {
  const testing::TemporaryFolder folder;
  const std::string given = testing::SourcePath("tests/golden/gguf/llama_f32.gguf");
  const Result result = RunFovea({"quantize", given, folder.File("small.gguf"), "--type", "q4_0", "--json"}, {});
  ASSERT_EQ(result.exit, 0) << result.err;
  int64_t blocks = 0;
  for (const json& line : result.Lines()) blocks += line["type"] == "q4_0";
  EXPECT_GE(blocks, 5);
  EXPECT_LT(std::filesystem::file_size(folder.File("small.gguf")), std::filesystem::file_size(given));
  const Result info = RunFovea({"info", folder.File("small.gguf"), "--json"}, {});
  EXPECT_EQ(info.exit, 0) << info.err;
  // Wrong names and types are told before anything is read.
  const Result folder_for_file = RunFovea({"quantize", given, folder.File("small"), "--type", "q4_0"}, {});
  EXPECT_EQ(folder_for_file.exit, 1);
  EXPECT_NE(folder_for_file.err.find("small.gguf"), std::string::npos) << folder_for_file.err;
  const Result file_for_folder = RunFovea({"quantize", given, folder.File("x.gguf"), "--type", "int8"}, {});
  EXPECT_EQ(file_for_folder.exit, 1);
  const Result itself = RunFovea({"quantize", given, given, "--type", "q8_0"}, {});
  EXPECT_EQ(itself.exit, 1);
  const Result encoder = RunFovea({"quantize", "efficientnet-lite2", folder.File("y.gguf"), "--type", "q8_0"}, {});
  EXPECT_EQ(encoder.exit, 1);
  EXPECT_NE(encoder.err.find("not written as GGUF"), std::string::npos) << encoder.err;
}

// From a folder: tokenizer, template and all end tokens are in the file, and it writes what the folder writes.
TEST(CliQuantize, KeepsTokenizerTemplateAndEnds) {
  const testing::TemporaryFolder folder;
  std::filesystem::create_directory(folder.File("model"));
  WriteCopy(folder.File("model"), {{"eos_token_id", {2, 13}}});
  json tokenizer = base::ParseJson(base::ReadTextFile(Folder() + "/tokenizer_config.json"), "tokenizer_config.json");
  tokenizer["chat_template"] = "{% for m in messages %}{{ m.content }}{% endfor %}";
  base::WriteTextFileAtomically(folder.File("model/tokenizer_config.json"), tokenizer.dump());
  const Result result = RunFovea({"quantize", folder.File("model"), folder.File("model.gguf"), "--type", "q8_0"}, {});
  ASSERT_EQ(result.exit, 0) << result.err;
  const auto file = formats::GgufFile::Open(folder.File("model.gguf"));
  EXPECT_EQ(file.metadata().Require<std::string>("tokenizer.chat_template"), tokenizer["chat_template"]);
  EXPECT_EQ(file.metadata().Require<int64_t>("tokenizer.ggml.eos_token_id"), 2);
  EXPECT_EQ(file.metadata().Require<int64_t>("tokenizer.ggml.eot_token_id"), 13);
  EXPECT_EQ(file.metadata().Require<std::string>("tokenizer.huggingface.json"),
            base::ReadTextFile(Folder() + "/tokenizer.json"));
  const Chat from_folder(Model::Load(folder.File("model"))), from_file(Model::Load(folder.File("model.gguf")));
  for (const json& expected : Expected()) {
    const Message message = User(expected["prompt"]);
    const Answer answer = from_file.Reply({&message, 1}, {.max_tokens = 10});
    EXPECT_EQ(answer.text, from_folder.Reply({&message, 1}, {.max_tokens = 10}).text);
    EXPECT_EQ(answer.text.find("runs"), std::string::npos) << "13 ends a text";
  }
  std::filesystem::remove(folder.File("model/tokenizer.json"));
  const Result refused = RunFovea({"quantize", folder.File("model"), folder.File("x.gguf"), "--type", "q8_0"}, {});
  EXPECT_EQ(refused.exit, 1);
  EXPECT_NE(refused.err.find("tokenizer.json"), std::string::npos) << refused.err;
}

TEST(CliAsk, ClosedChoicesHaveProbabilities) {
  const testing::TemporaryFolder folder;
  WriteTinyVlm(folder.path());
  const Result result = RunFovea({"ask", testing::SourcePath("samples/cat.jpg"), "--question", "what", "--choice",
                                  "cat", "--choice", "dog", "--choice", "tree", "--json", "--model", folder.path()},
                                 {});
  ASSERT_EQ(result.exit, 0) << result.err;
  const json line = result.Lines().at(0);
  ASSERT_EQ(line["choices"].size(), 3u);
  double sum = 0, last = 1;
  for (const json& choice : line["choices"]) {
    EXPECT_LE(choice["probability"].get<double>(), last);
    last = choice["probability"];
    sum += last;
  }
  EXPECT_NEAR(sum, 1, 2e-4);
  EXPECT_EQ(line["answer"], line["choices"][0]["text"]);
  const Result refused = RunFovea({"ask", testing::SourcePath("samples/cat.jpg"), "--question", "what", "--choice",
                                   "cat", "--regex", "a", "--model", folder.path()},
                                  {});
  EXPECT_EQ(refused.exit, 2);
}

TEST(Chat, RefusesWhatItCannotDo) {
  const Chat chat(Model::Load(Folder()));
  const Message message = User("the cat"), robot{.role = "robot", .text = "the", .images = {}};
  testing::ExpectError([&] { chat.Reply({}, {}); }, "expected at least one message");
  testing::ExpectError([&] { chat.Reply({&robot, 1}, {}); }, "expected the role system, user or assistant");
  testing::ExpectError(
      [&] {
        chat.Reply({&message, 1}, {.grammar = "root ::= \"a\"", .choices = {"b"}});
      },
      "exclude each other");
  Message seen = message;
  seen.images.push_back(Image::Allocate(4, 4));
  testing::ExpectError([&] { chat.Reply({&seen, 1}, {}); }, "sees no pictures");
  testing::ExpectError([] { Chat(Model::Load(testing::SourcePath("tests/golden/clip_tiny"))); }, "text");
}

// The answers themselves are compared with the reference in tests/golden/seeing_test.cc.
TEST(CliAsk, ShowsPicturesInTilesAndPatches) {
  for (const std::string name : {"llava_next", "idefics3", "qwen2_vl"}) {
    const std::string folder = testing::SourcePath("tests/golden/seeing/" + name), cat = Sample("cat.jpg");
    const Message message{.role = "user", .text = "What is this?", .images = {ReadImage(cat)}};
    const Answer answer = Chat(Model::Load(folder)).Reply({&message, 1}, {.max_tokens = 12});
    const Result result =
        RunFovea({"ask", cat, "--question", message.text, "--model", folder, "--max-tokens", "12", "--json"}, {});
    ASSERT_EQ(result.exit, 0) << result.err;
    EXPECT_EQ(result.Lines().at(0).at("answer"), answer.text) << name;
  }
}

TEST(CliChat, RefusesAModelThatWritesNothing) {
  const Result result =
      RunFovea({"caption", testing::SourcePath("samples/cat.jpg"), "--model", "efficientnet-lite2"}, {});
  EXPECT_EQ(result.exit, 1);
  EXPECT_NE(result.err.find("writes no text"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace fovea::e2e
