// A conversation over one loaded model: messages become a prompt, the generation loop continues it, and the tokens
// become text again. What fovea::Chat is made of.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <optional>

#include "fovea/chat.h"
#include "runtime/answer_calibration.h"
#include "runtime/generator.h"
#include "runtime/loaded_model.h"
#include "text/chat_template.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

namespace fovea::runtime {

class ChatSession {
 public:
  ChatSession(std::shared_ptr<const LoadedModel> model, const ChatOptions& options);

  // See fovea::Chat.
  Answer Reply(std::span<const Message> messages, const GenerateSettings& settings,
               const std::function<bool(std::string_view)>& on_text, const std::atomic<bool>* cancel);
  std::vector<ChoiceScore> Choose(std::span<const Message> messages, std::span<const std::string> choices);
  // What a user says who wants a caption; "" to a model that was made for captions.
  std::string CaptionRequest() const;
  RequestPlan Plan(std::span<const Message> messages, const GenerateSettings& settings);
  // What the model reads for the messages.
  Prompt PromptOf(std::span<const Message> messages);
  GenerateSettings Defaults() const;

 private:
  struct Picture {
    uint64_t hash;
    Tensor vectors;    // [N,D], or [P,Q,D] of a model that sees patches
    std::string text;  // what stands for it in a prompt, of a model that sees tiles
    int64_t count() const { return vectors.numel() / vectors.dim(-1); }
  };
  void CheckMessages(std::span<const Message> messages) const;
  // A picture of which only the number of vectors counts, [N,1], and the text that stands for it. Not encoded, unless
  // the model sees patches, whose number only encoding tells.
  Picture Planned(const Image& image);
  // The plan before it is cut to max_memory_bytes. Throws kResourceExhausted for too many tokens.
  RequestPlan PlanWhole(std::span<const Message> messages, const GenerateSettings& settings);
  int64_t CacheElementBytes() const;
  // The answer as long as the memory allows. Throws kResourceExhausted when not even the prompt fits.
  void FitIntoMemory(RequestPlan& plan, int64_t beams) const;
  // The vectors of a picture; encoded once while it is among the last kKeptPictures.
  Picture See(const Image& image);
  // What json_schema, grammar or regex allow; null: everything.
  std::shared_ptr<const TokenConstraint> ConstraintOf(const GenerateSettings& settings);
  // Whether pictures that stand beside each other in a prompt have one framing token between them (IDEFICS).
  bool SharesFrames() const { return spec_.pictures == models::PicturePlace::kMemory; }
  // A picture as the decoder is given it, by what the model sees: the whole, patches or tiles.
  Picture Encode(const Image& image, uint64_t hash) const;
  // The conversation as the template of the model writes it, one image token for each picture, or where the model
  // sees tiles the text of each.
  std::vector<int64_t> TemplateIds(std::span<const Message> messages, std::span<const Picture> pictures) const;
  // Without a template: the one message, its pictures first.
  std::vector<int64_t> PromptIds(std::span<const Message> messages, std::span<const Picture> pictures) const;
  Prompt MakePrompt(std::span<const Message> messages);
  // Replaces the confidence of a caption or an answer about one picture by the share that is right.
  void Calibrate(std::span<const Message> messages, const GenerateSettings& settings, Answer& answer) const;
  std::vector<ChoiceScore> ScoreChoices(const Prompt& prompt, std::span<const std::string> choices);

  std::shared_ptr<const LoadedModel> model_;
  ChatOptions options_;
  models::DecoderSpec spec_;
  std::optional<std::string> caption_request_;
  AnswerCalibration calibration_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::shared_ptr<const text::ChatTemplate> template_;  // null: the model was trained without
  std::shared_ptr<const text::TokenTrie> trie_;         // made for the first grammar
  std::mutex mutex_;
  Generator generator_;
  std::list<Picture> pictures_;  // most recently used first
};

}  // namespace fovea::runtime
