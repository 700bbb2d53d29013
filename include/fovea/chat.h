// Text from pictures and text: captions, answers, conversations.
//
//   fovea::Model model = fovea::Model::Load("some-vlm");
//   fovea::Chat chat(model);
//   auto answer = chat.Reply({{.role = "user", .text = "What is on the table?", .images = {image}}}, {.max_tokens =
//   64},
//                            [](std::string_view piece) { std::cout << piece << std::flush; return true; });
//
// Pictures are data: whatever is written in one, and whatever a message says, is never read as an instruction of the
// template. Text that looks like a control token ("<|im_end|>") is tokenised as the characters it consists of.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/image.h"
#include "fovea/model.h"

namespace fovea {

namespace runtime {
class ChatSession;
}

struct GenerateSettings {
  int64_t max_tokens = 256;
  double temperature = 0;                              // 0: always the most likely token
  int64_t top_k = 0;                                   // only the so many most likely; 0: all
  double top_p = 1;                                    // the smallest set of tokens with this probability
  double min_p = 0;                                    // tokens at least this share as likely as the most likely one
  double repetition_penalty = 1;                       // above 1: less of what was said, prompt included
  double frequency_penalty = 0, presence_penalty = 0;  // as in OpenAI's API, over what was generated
  uint64_t seed = 0;                                   // the same seed, the same text
  int64_t beams = 1;                                   // above 1: beam search, without temperature
  double length_penalty = 1;                           // of beams: score / length^length_penalty
  bool early_stopping = false;                         // of beams: as soon as there are as many texts as beams
  std::vector<std::string> stop;                       // ends before any of these
  int64_t top_logprobs = -1;  // with each token its log-probability and so many alternatives; -1: none
  // At most one of the next four bounds what can be written.
  std::string json_schema;           // text of a JSON Schema; keywords that are not supported are refused by name
  std::string grammar;               // GBNF, from the rule "root"
  std::string regex;                 // a regular expression (ECMAScript) for the whole answer
  std::vector<std::string> choices;  // one of these, whole
};

struct Message {
  std::string role = "user";  // "system", "user", "assistant"
  std::string text;
  std::vector<Image> images;  // stand before the text
};

struct TokenDetail {
  std::string text;  // bytes of the token, maybe part of a character
  float logprob;
  std::vector<std::pair<std::string, float>> alternatives;  // best first
};

struct Answer {
  std::string text;
  std::string finish_reason;  // "stop" (an end token or a stop string), "length", "cancelled"
  // The mean probability of the tokens (geometric). Where the model's folder has a calibration.json for captions or
  // answers: the share of right ones among those written with such a probability.
  double confidence = 0;
  bool is_calibrated = false;
  int64_t prompt_tokens = 0, tokens = 0;
  int64_t reused_tokens = 0;  // of the prompt, read in an earlier call
  double first_token_seconds = 0, seconds = 0;
  std::vector<TokenDetail> details;  // when asked for
};

struct ChoiceScore {
  std::string text;
  double probability;  // over the choices given
};

struct ChatOptions {
  int64_t max_context = 0;                 // tokens; 0: what the model was made for
  std::string cache_type = "f32";          // of keys and values: "f32", "bf16", "int8"
  int64_t max_images = 16;                 // a request
  int64_t max_image_pixels = 100'000'000;  // each
  int64_t max_image_tokens = 0;            // a request; 0: as many as fit beside the text
  int64_t max_memory_bytes = 0;  // of weights, cache and the work on them; answers become shorter to fit; 0: no limit
};

// What a request costs, before it runs: numbers from shapes, without a look at weights or pixels.
struct RequestPlan {
  int64_t prompt_tokens = 0;   // those of pictures among them, where the model reads them as tokens
  int64_t picture_tokens = 0;  // vectors that pictures become
  int64_t max_tokens = 0;      // of the answer: what was asked for, cut to what fits
  int64_t weight_bytes = 0, cache_bytes = 0, activation_bytes = 0;  // at most at one time
  double prompt_seconds = 0, answer_seconds = 0;  // estimates for this machine, answer_seconds for max_tokens
  int64_t memory_bytes() const { return weight_bytes + cache_bytes + activation_bytes; }
};

// A conversation partner over one model. Keeps what it has read, so that a request which begins like an earlier one
// starts where that ended, and a picture that was shown twice is encoded once. Calls from several threads wait for each
// other.
class Chat {
 public:
  // Throws kUnimplemented when the model writes no text, kInvalidArgument for options.
  explicit Chat(const Model& model, const ChatOptions& options = {});

  // Continues the conversation: the text of the assistant after `messages`. `on_text` gets the text piece by piece, in
  // whole characters; false ends it. `cancel` is looked at before each token. Models that were trained without a
  // template for conversations take one message and continue its text (base models), caption its picture, or answer its
  // question, as they were trained to. Throws kInvalidArgument (settings, roles, too many pictures), kResourceExhausted
  // (a prompt that is too long), kUnimplemented.
  Answer Reply(std::span<const Message> messages, const GenerateSettings& settings = {},
               const std::function<bool(std::string_view)>& on_text = nullptr,
               const std::atomic<bool>* cancel = nullptr) const;

  // A sentence about the picture: what a captioner writes by itself, and what a model for conversations answers when it
  // is asked for one.
  Answer Caption(const Image& image, const GenerateSettings& settings = {},
                 const std::atomic<bool>* cancel = nullptr) const;

  // How likely each choice is as the answer, by its likelihood; best first.
  std::vector<ChoiceScore> Choose(std::span<const Message> messages, std::span<const std::string> choices) const;

  // Reads no weights and encodes no picture. Throws as Reply does for what does not fit.
  RequestPlan Plan(std::span<const Message> messages, const GenerateSettings& settings = {}) const;
  // The plan of Caption.
  RequestPlan PlanCaption(const Image& image, const GenerateSettings& settings = {}) const;

  // What the model's generation_config.json asks for, as transformers takes it: greedy unless it says do_sample; its
  // max_new_tokens, beams, penalties. GenerateSettings{} where there is none. Throws kUnimplemented for a setting of
  // the file that changes texts and is not supported.
  GenerateSettings Defaults() const;

 private:
  std::shared_ptr<runtime::ChatSession> session_;
};

}  // namespace fovea
