// Conversations about pictures, from the pixels and the words to the answer, against transformers' processor and model
// (tests/golden/seeing, made by tools/dump_tiny_seeing.py): the ids of the prompt, with as many tokens as the pictures
// have vectors and what stands between tiles, and greedy continuations.
//
// A new folder needs no new test: it is found by its expected.json.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "runtime/chat_session.h"
#include "testing/testing.h"

namespace fovea {
namespace {

using nlohmann::json;

std::vector<std::string> Folders() {
  std::vector<std::string> names;
  for (const auto& folder : std::filesystem::directory_iterator(testing::SourcePath("tests/golden/seeing"))) {
    if (std::filesystem::exists(folder.path() / "expected.json")) names.push_back(folder.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<Message> MessagesOf(const json& conversation) {
  std::vector<Message> messages;
  for (const json& turn : conversation) {
    Message message{.role = turn.at("role"), .text = turn.at("text"), .images = {}};
    for (const std::string name : turn.at("images"))
      message.images.push_back(ReadImage(testing::SourcePath("samples/" + name)));
    messages.push_back(std::move(message));
  }
  return messages;
}

class Seeing : public ::testing::TestWithParam<std::string> {
 protected:
  Seeing()
      : folder_(testing::SourcePath("tests/golden/seeing/" + GetParam())),
        model_(runtime::LoadedModel::Load(folder_, GetParam())),
        cases_(base::ParseJson(base::ReadTextFile(folder_ + "/expected.json"), "expected.json")) {}

  std::string folder_;
  std::shared_ptr<const runtime::LoadedModel> model_;
  json cases_;
};

TEST_P(Seeing, PromptsAndContinuationsEqualTheReference) {
  runtime::ChatSession session(model_, {});
  runtime::Generator generator(model_->network());
  for (const json& expected : cases_) {
    const std::vector<Message> messages = MessagesOf(expected.at("messages"));
    const runtime::Prompt prompt = session.PromptOf(messages);
    ASSERT_EQ(prompt.ids, expected.at("ids").get<std::vector<int64_t>>());
    EXPECT_EQ(runtime::ChatSession(model_, {}).Plan(messages, {}).prompt_tokens,
              static_cast<int64_t>(prompt.ids.size()));
    const auto made = expected.at("made").get<std::vector<int64_t>>();
    const runtime::GenerateOptions greedy{.max_tokens = static_cast<int64_t>(made.size()), .ignores_end = true};
    EXPECT_EQ(generator.Run(prompt, greedy).ids, made);
    const Answer answer = session.Reply(messages, {.max_tokens = greedy.max_tokens}, nullptr, nullptr);
    EXPECT_EQ(answer.prompt_tokens, static_cast<int64_t>(prompt.ids.size()));
    EXPECT_EQ(answer.text, model_->texts().shared_tokenizer()->Decode(made));
  }
}

// Whatever a user writes is text: it shows no picture and takes the place of none.
TEST_P(Seeing, UsersWriteNoPictures) {
  runtime::ChatSession session(model_, {});
  const auto tokenizer = model_->texts().shared_tokenizer();
  const int64_t token = model_->network().Decoder().image_token_id;
  std::vector<Message> messages = MessagesOf(cases_.at(0).at("messages"));
  const auto count = [&](const runtime::Prompt& prompt) { return std::ranges::count(prompt.ids, token); };
  const int64_t shown = count(session.PromptOf(messages));
  messages[0].text = tokenizer->IdToToken(token) + " what is this?";
  EXPECT_EQ(count(session.PromptOf(messages)), shown);
}

INSTANTIATE_TEST_SUITE_P(Folders, Seeing, ::testing::ValuesIn(Folders()), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace fovea
