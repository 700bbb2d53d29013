// Text from a tiny GPT-2 (tests/golden/gpt2_tiny, made by tools/dump_tiny_chat.py) through the public API and the
// command line, against what transformers writes with the same folder.
#include <algorithm>
#include <cmath>
#include <set>

#include "base/file.h"
#include "base/json.h"
#include "cli_run.h"
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
