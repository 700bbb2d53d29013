#include "runtime/chat_session.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "nn/pictures.h"
#include "ops/shape.h"
#include "runtime/generation_config.h"
#include "runtime/gguf_text.h"
#include "runtime/model_folder.h"
#include "runtime/prompt.h"
#include "runtime/request_cost.h"
#include "runtime/stop_filter.h"
#include "text/stream_decoder.h"

namespace fovea::runtime {
namespace {

constexpr size_t kKeptPictures = 16;

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

DType CacheType(const std::string& name) {
  if (name == "f32") return DType::kF32;
  if (name == "bf16") return DType::kBF16;
  Require(name == "int8", "[chat] expected cache_type f32, bf16 or int8, got \"", base::PrintableUtf8(name), "\"");
  return DType::kI8;
}

Generator::Options GeneratorOptions(const ChatOptions& options) {
  Require(options.max_context >= 0 && options.max_images >= 0 && options.max_image_pixels > 0 &&
              options.max_image_tokens >= 0 && options.max_memory_bytes >= 0,
          "[chat] expected limits of 0 or more");
  return {.cache_type = CacheType(options.cache_type), .max_tokens = options.max_context};
}

uint64_t HashOf(const Image& image) {
  base::ContentHasher hasher;
  const std::string size = base::StrCat(image.width, "x", image.height, ":");
  hasher.Add(size).Add(std::span(image.data(), static_cast<size_t>(image.size_bytes())));
  return std::stoull(hasher.Hex().substr(0, 16), nullptr, 16);
}

// A grammar over the bytes of tokens, as the generation loop asks for it.
class GrammarConstraint final : public TokenConstraint {
 public:
  GrammarConstraint(text::GrammarState state, int64_t vocab) : state_(std::move(state)), vocab_(vocab) {}

  const TokenMask& Allowed() override {
    const std::span<const uint64_t> bits = state_.Allowed().bits();
    // The model may have more rows than the tokenizer has tokens, or fewer.
    allowed_.assign(static_cast<size_t>(vocab_ + 63) / 64, 0);
    std::ranges::copy(bits.first(std::min(bits.size(), allowed_.size())), allowed_.begin());
    if (vocab_ % 64 != 0) allowed_.back() &= (uint64_t{1} << vocab_ % 64) - 1;
    return allowed_;
  }
  void Accept(int64_t id) override {
    if (!state_.Accept(id)) Fail(ErrorCode::kInternal, "[chat] token ", id, " breaks the grammar");
  }
  bool IsComplete() const override { return state_.IsComplete(); }
  std::unique_ptr<TokenConstraint> Clone() const override { return std::make_unique<GrammarConstraint>(*this); }

 private:
  text::GrammarState state_;
  int64_t vocab_;
  TokenMask allowed_;
};

// The one image token of each picture becomes as many as it has vectors.
std::vector<int64_t> Widened(std::span<const int64_t> ids, int64_t image_token, std::span<const Tensor> pictures) {
  const auto count = [](const Tensor& picture) { return picture.numel() / picture.dim(-1); };
  std::vector<int64_t> wide;
  size_t next = 0;
  for (const int64_t id : ids) {
    if (id != image_token) {
      wide.push_back(id);
      continue;
    }
    Require(next < pictures.size(), "[chat] the template shows more pictures than the messages hold, ",
            pictures.size());
    wide.insert(wide.end(), static_cast<size_t>(count(pictures[next++])), image_token);
  }
  Require(next == pictures.size(), "[chat] the template has a place for ", next, " of ", pictures.size(), " pictures");
  return wide;
}

// The template's image tokens with the text of each picture in their place. Only the template's own: what a user wrote
// is text, whatever it looks like. A text that is framed by one token shares it with the picture before where the two
// touch, if `shares_frames`.
std::vector<text::TextSpan> WithTexts(std::vector<text::TextSpan> spans, const std::string& image_token,
                                      std::span<const std::string> texts, bool shares_frames) {
  size_t next = 0;
  for (text::TextSpan& span : spans) {
    if (!span.is_control) continue;
    size_t end = std::string::npos;  // of the picture before
    for (size_t at = span.text.find(image_token); at != std::string::npos; at = span.text.find(image_token, at)) {
      Require(next < texts.size(), "[chat] the template shows more pictures than the messages hold, ", texts.size());
      const std::string& whole = texts[next++];
      const std::string text = shares_frames && at == end ? whole.substr(whole.find(image_token)) : whole;
      span.text.replace(at, image_token.size(), text);
      end = at += text.size();
    }
  }
  Require(next == texts.size(), "[chat] the template has a place for ", next, " of ", texts.size(), " pictures");
  return spans;
}

GenerateOptions OptionsOf(const GenerateSettings& s, const models::DecoderSpec& spec) {
  const int bounds = !s.json_schema.empty() + !s.grammar.empty() + !s.regex.empty() + !s.choices.empty();
  Require(bounds <= 1, "[chat] json_schema, grammar, regex and choices exclude each other");
  GenerateOptions options{.sampling = {.temperature = s.temperature,
                                       .top_k = s.top_k,
                                       .top_p = s.top_p,
                                       .min_p = s.min_p,
                                       .repetition_penalty = s.repetition_penalty,
                                       .frequency_penalty = s.frequency_penalty,
                                       .presence_penalty = s.presence_penalty,
                                       .seed = s.seed,
                                       .top_logprobs = std::max<int64_t>(0, s.top_logprobs)},
                          .max_tokens = s.max_tokens,
                          .end_ids = spec.eos,
                          .beams = s.beams,
                          .length_penalty = s.length_penalty,
                          .early_stopping = s.early_stopping ? EarlyStopping::kFirst : EarlyStopping::kHeuristic};
  return options;
}

}  // namespace

ChatSession::ChatSession(std::shared_ptr<const LoadedModel> model, const ChatOptions& options)
    : model_(std::move(model)),
      options_(options),
      spec_(model_->network().CanDecode() ? model_->network().Decoder() : models::DecoderSpec{}),
      caption_request_(ReadCaptionRequest(model_->info().path)),
      calibration_(ReadAnswerCalibration(model_->info().path)),
      tokenizer_(model_->network().CanDecode() ? model_->texts().shared_tokenizer() : nullptr),
      template_(IsGgufFile(model_->info().path) ? GgufChatTemplate(model_->info().path)
                                                : text::ChatTemplate::FromFolder(model_->info().path)),
      generator_(model_->network(), GeneratorOptions(options)) {
  ReadSpecialTokens(model_->info().path, spec_);
}

void ChatSession::CheckMessages(std::span<const Message> messages) const {
  Require(!messages.empty(), "[chat] expected at least one message");
  int64_t images = 0;
  for (const Message& message : messages) {
    Require(message.role == "system" || message.role == "user" || message.role == "assistant",
            "[chat] expected the role system, user or assistant, got \"", base::PrintableUtf8(message.role), "\"");
    for (const Image& image : message.images) {
      Require(!image.empty(), "[chat] expected pictures with pixels");
      Require(image.width * image.height <= options_.max_image_pixels, "[chat] expected pictures of at most ",
              options_.max_image_pixels, " pixels, got ", image.width, " x ", image.height);
      ++images;
    }
  }
  Require(images <= options_.max_images, "[chat] expected at most ", options_.max_images, " pictures, got ", images);
  if (images > 0 && spec_.pictures == models::PicturePlace::kNone)
    Fail(ErrorCode::kUnimplemented, "[chat] the model ", base::PrintableUtf8(model_->info().name), " sees no pictures");
}

ChatSession::Picture ChatSession::See(const Image& image) {
  const uint64_t hash = HashOf(image);
  const auto found = std::ranges::find_if(pictures_, [&](const Picture& p) { return p.hash == hash; });
  if (found != pictures_.end()) {
    pictures_.splice(pictures_.begin(), pictures_, found);
    return pictures_.front();
  }
  pictures_.push_front(Encode(image, hash));
  if (pictures_.size() > kKeptPictures) pictures_.pop_back();
  return pictures_.front();
}

ChatSession::Picture ChatSession::Encode(const Image& image, uint64_t hash) const {
  const models::Model& network = model_->network();
  if (network.CanEmbedTiles()) {
    const models::TileInputs tiles = model_->PrepareTiles(image);
    return {hash, network.EmbedTiles(tiles).Contiguous(),
            network.TileText(tiles, tokenizer_->IdToToken(spec_.image_token_id))};
  }
  if (network.CanEmbedPatches()) {
    const models::PatchInputs patches = model_->PreparePatches({&image, 1});
    const Tensor vectors = network.EmbedPatches(patches).Contiguous();  // [1,N,D]
    const int64_t* shape = patches.shapes.data<int64_t>();
    const auto [rows, columns] = models::MergedGrid(shape[0], shape[1], vectors.dim(1));
    return {hash, vectors.View({rows, columns, vectors.dim(2)}), ""};
  }
  const Tensor vectors = network.EmbedImages(model_->Prepare({&image, 1}));  // [1,N,D]
  return {hash, Squeeze(vectors, 0).Contiguous(), ""};
}

std::shared_ptr<const TokenConstraint> ChatSession::ConstraintOf(const GenerateSettings& settings) {
  if (settings.json_schema.empty() && settings.grammar.empty() && settings.regex.empty()) return nullptr;
  if (!trie_) trie_ = text::TokenTrie::FromTokenizer(*tokenizer_, spec_.eos);
  const auto grammar = !settings.grammar.empty() ? text::Grammar::FromText(settings.grammar)
                       : !settings.regex.empty() ? text::Grammar::FromRegex(settings.regex)
                                                 : text::Grammar::FromJsonSchema(settings.json_schema);
  return std::make_shared<GrammarConstraint>(text::GrammarState(std::make_shared<text::GrammarEngine>(grammar, trie_)),
                                             spec_.vocab);
}

std::vector<int64_t> ChatSession::TemplateIds(std::span<const Message> messages,
                                              std::span<const Picture> pictures) const {
  const bool has_parts = spec_.pictures != models::PicturePlace::kNone;
  nlohmann::json list = nlohmann::json::array();
  for (const Message& message : messages) {
    nlohmann::json content = message.text;
    if (has_parts) {
      content = nlohmann::json::array();
      for (size_t i = 0; i < message.images.size(); ++i) content.push_back({{"type", "image"}});
      if (!message.text.empty()) content.push_back({{"type", "text"}, {"text", message.text}});
    }
    list.push_back({{"role", message.role}, {"content", std::move(content)}});
  }
  text::ChatInputs inputs{.add_generation_prompt = true};
  inputs.messages_json = list.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  for (const char* role : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
    if (const std::string token = tokenizer_->SpecialToken(role); !token.empty()) inputs.special_tokens[role] = token;
  }
  // A tokenizer without roles (in a GGUF file): by the ids of the model.
  const auto by_id = [&](const char* role, int64_t id) {
    if (!inputs.special_tokens.contains(role) && id >= 0) inputs.special_tokens[role] = tokenizer_->IdToToken(id);
  };
  by_id("bos_token", spec_.bos);
  by_id("eos_token", spec_.eos.empty() ? -1 : spec_.eos[0]);
  std::vector<text::TextSpan> spans = template_->Render(inputs);
  if (model_->network().CanEmbedTiles()) {
    std::vector<std::string> texts;
    for (const Picture& picture : pictures) texts.push_back(picture.text);
    spans = WithTexts(std::move(spans), tokenizer_->IdToToken(spec_.image_token_id), texts, SharesFrames());
  }
  return tokenizer_->EncodeSpans(spans);
}

std::vector<int64_t> ChatSession::PromptIds(std::span<const Message> messages,
                                            std::span<const Picture> pictures) const {
  Require(messages.size() == 1 && messages[0].role == "user", "[chat] the model ",
          base::PrintableUtf8(model_->info().name),
          " was trained without a template for conversations: it takes one message of the user and continues it");
  const std::string& text = messages[0].text;
  // A picture's caption begins with the start token; words of the user go on from there. Tokens that pictures replace
  // stand before it.
  const bool sees = spec_.pictures != models::PicturePlace::kNone && spec_.pictures != models::PicturePlace::kEncoder;
  if (!sees) return tokenizer_->Encode(text, {.use_file_limits = false}).ids;
  const int64_t start = spec_.decoder_start_token_id >= 0 ? spec_.decoder_start_token_id : spec_.bos;
  std::vector<int64_t> ids;
  if (model_->network().CanEmbedTiles()) {
    if (start >= 0) ids.push_back(start);
    const std::string token = tokenizer_->IdToToken(spec_.image_token_id);
    std::vector<std::string> texts;
    std::string tokens;
    for (const Picture& picture : pictures) {
      texts.push_back(picture.text);
      tokens += token;
    }
    const auto spans =
        WithTexts({{tokens, /*is_control=*/true}, {text, /*is_control=*/false}}, token, texts, SharesFrames());
    const std::vector<int64_t> all = tokenizer_->EncodeSpans(spans);
    ids.insert(ids.end(), all.begin(), all.end());
    return ids;
  }
  if (spec_.pictures == models::PicturePlace::kTokens) ids.assign(messages[0].images.size(), spec_.image_token_id);
  if (start >= 0) ids.push_back(start);
  // A prompt that sees itself ends where a line does (PaliGemma).
  const std::string said = spec_.prompt_sees_itself ? text + "\n" : text;
  if (!said.empty()) {
    const auto words = tokenizer_->Encode(said, {.add_special_tokens = false, .use_file_limits = false}).ids;
    ids.insert(ids.end(), words.begin(), words.end());
  }
  return ids;
}

std::string ChatSession::CaptionRequest() const {
  if (caption_request_) return *caption_request_;
  return template_ ? "Describe this picture in one short sentence." : "";
}

ChatSession::Picture ChatSession::Planned(const Image& image) {
  const models::Model& network = model_->network();
  if (network.CanEmbedTiles()) {
    // The text has the token of pictures once for each vector.
    const std::string token = tokenizer_->IdToToken(spec_.image_token_id);
    const std::string text = network.TileText(model_->PrepareTiles(image), token);
    int64_t count = 0;
    for (size_t at = text.find(token); at != std::string::npos; at = text.find(token, at + token.size())) ++count;
    return {0, Tensor::Empty({count, 1}), text};
  }
  if (network.CanEmbedPatches()) return {0, Tensor::Empty({See(image).count(), 1}), ""};
  // A batch of no pictures goes through the network in no time and comes out in the shape that any would.
  const auto [height, width] = media::OutputSize(model_->preprocess(), image.width, image.height);
  return {0, Tensor::Empty({network.EmbedImages(Tensor::Empty({0, height, width, 3})).dim(1), 1}), ""};
}

RequestPlan ChatSession::PlanWhole(std::span<const Message> messages, const GenerateSettings& settings) {
  CheckMessages(messages);
  RequestPlan plan{.weight_bytes = WeightBytes(model_->network())};
  std::vector<Picture> pictures;
  std::vector<Tensor> vectors;
  for (const Message& message : messages) {
    for (const Image& image : message.images) {
      pictures.push_back(Planned(image));
      vectors.push_back(pictures.back().vectors);
      plan.picture_tokens += pictures.back().count();
    }
  }
  if (options_.max_image_tokens > 0 && plan.picture_tokens > options_.max_image_tokens) {
    Fail(ErrorCode::kResourceExhausted, "[chat] the pictures become ", plan.picture_tokens, " tokens, the limit is ",
         options_.max_image_tokens, "; hint: show fewer pictures");
  }
  const bool is_encoded = spec_.is_encoder_decoder && spec_.pictures == models::PicturePlace::kNone;
  std::vector<int64_t> ids = is_encoded  ? tokenizer_->Encode(messages[0].text, {.use_file_limits = false}).ids
                             : template_ ? TemplateIds(messages, pictures)
                                         : PromptIds(messages, pictures);
  const bool is_widened = model_->network().CanEmbedTiles();  // the text of tiles holds a token for each vector
  if (spec_.pictures == models::PicturePlace::kTokens && !is_widened) ids = Widened(ids, spec_.image_token_id, vectors);
  plan.prompt_tokens = static_cast<int64_t>(ids.size());
  if (spec_.pictures == models::PicturePlace::kBefore) plan.prompt_tokens += plan.picture_tokens;
  const int64_t context = options_.max_context > 0 ? options_.max_context : spec_.max_positions;
  const int64_t begin = is_encoded ? 1 : plan.prompt_tokens;  // tokens of the decoder
  if (begin >= context) {
    Fail(ErrorCode::kResourceExhausted, "[chat] the prompt has ", begin, " tokens, ", plan.picture_tokens,
         " of them of pictures, and the model takes ", context,
         " with the answer; hint: shorten it, or show fewer or smaller pictures");
  }
  plan.max_tokens = std::min(settings.max_tokens, context - begin);
  const int64_t kept = (begin + plan.max_tokens) * std::max<int64_t>(1, settings.beams);
  plan.cache_bytes = CacheBytes(spec_, kept, CacheElementBytes());
  // Prompts are read in pieces; pictures are encoded one after the other.
  const int64_t rows = std::max(std::min<int64_t>(plan.prompt_tokens, Generator::Options().prefill_chunk),
                                vectors.empty() ? 0 : plan.picture_tokens / static_cast<int64_t>(vectors.size()));
  plan.activation_bytes = ActivationBytes(model_->network(), rows);
  return plan;
}

Prompt ChatSession::PromptOf(std::span<const Message> messages) {
  const std::lock_guard lock(mutex_);
  return MakePrompt(messages);
}

int64_t ChatSession::CacheElementBytes() const {
  return options_.cache_type == "f32" ? 4 : options_.cache_type == "bf16" ? 2 : 1;
}

void ChatSession::FitIntoMemory(RequestPlan& plan, int64_t beams) const {
  if (options_.max_memory_bytes == 0 || plan.memory_bytes() <= options_.max_memory_bytes) return;
  const int64_t left = options_.max_memory_bytes - plan.weight_bytes - plan.activation_bytes;
  const int64_t one = std::max<int64_t>(1, CacheBytes(spec_, 1, CacheElementBytes()) * std::max<int64_t>(1, beams));
  const int64_t tokens = plan.cache_bytes / one, fits = std::max<int64_t>(0, left) / one;
  const int64_t answer = plan.max_tokens - (tokens - fits);
  if (answer < 1) {
    const auto megabytes = [](int64_t bytes) { return base::StrCat((bytes + 999'999) / 1'000'000, " MB"); };
    Fail(ErrorCode::kResourceExhausted, "[chat] the request needs ", megabytes(plan.memory_bytes()),
         " of memory: ", megabytes(plan.weight_bytes), " of weights, ", megabytes(plan.activation_bytes), " to work, ",
         megabytes(plan.cache_bytes), " for ", tokens, " tokens; the limit is ", megabytes(options_.max_memory_bytes),
         "; hint: a cache of int8, fewer pictures, or a model in smaller blocks (fovea quantize)");
  }
  plan.max_tokens = answer;
  plan.cache_bytes = fits * one;
}

RequestPlan ChatSession::Plan(std::span<const Message> messages, const GenerateSettings& settings) {
  const std::lock_guard lock(mutex_);
  OptionsOf(settings, spec_);
  RequestPlan plan = PlanWhole(messages, settings);
  FitIntoMemory(plan, settings.beams);
  plan.prompt_seconds = ReadSeconds(model_->network(), std::max(plan.prompt_tokens, plan.picture_tokens));
  plan.answer_seconds = static_cast<double>(plan.max_tokens) * WriteSeconds(model_->network());
  return plan;
}

GenerateSettings ChatSession::Defaults() const { return ReadGenerateSettings(model_->info().path); }

Prompt ChatSession::MakePrompt(std::span<const Message> messages) {
  CheckMessages(messages);
  if (spec_.is_encoder_decoder && spec_.pictures == models::PicturePlace::kNone) {
    // The encoder reads the text, the decoder begins an answer.
    Require(messages.size() == 1, "[chat] the model ", base::PrintableUtf8(model_->info().name),
            " reads one text and answers it");
    const models::TextInputs inputs = model_->texts().Prepare(model_->network(), std::span(&messages[0].text, 1));
    return {.ids = {spec_.decoder_start_token_id},
            .memory = model_->network().EncodeTexts(inputs).tokens,
            .memory_mask = inputs.mask,
            .memory_key = std::stoull(base::ContentHasher().Add(messages[0].text).Hex().substr(0, 16), nullptr, 16)};
  }
  std::vector<Picture> pictures;
  std::vector<Tensor> vectors;
  std::vector<uint64_t> hashes;
  for (const Message& message : messages) {
    for (const Image& image : message.images) {
      pictures.push_back(See(image));
      vectors.push_back(pictures.back().vectors);
      hashes.push_back(pictures.back().hash);
    }
  }
  std::vector<int64_t> ids = template_ ? TemplateIds(messages, pictures) : PromptIds(messages, pictures);
  const bool is_widened = model_->network().CanEmbedTiles();  // the text of tiles holds a token for each vector
  if (spec_.pictures == models::PicturePlace::kTokens && !is_widened) ids = Widened(ids, spec_.image_token_id, vectors);
  return runtime::MakePrompt(model_->network(), std::move(ids), vectors, hashes);
}

void ChatSession::Calibrate(std::span<const Message> messages, const GenerateSettings& settings, Answer& answer) const {
  if (messages.size() != 1 || messages[0].images.size() != 1) return;
  const auto& fit = messages[0].text == CaptionRequest() ? calibration_.caption : calibration_.answer;
  const GenerateSettings own = Defaults();
  const bool is_its_way = settings.beams == own.beams && settings.length_penalty == own.length_penalty &&
                          settings.temperature == 0 && settings.repetition_penalty == own.repetition_penalty &&
                          settings.frequency_penalty == 0 && settings.presence_penalty == 0 &&
                          settings.json_schema.empty() && settings.grammar.empty() && settings.regex.empty();
  if (!fit || !is_its_way) return;
  answer.confidence = (*fit)(answer.confidence);
  answer.is_calibrated = true;
}

Answer ChatSession::Reply(std::span<const Message> messages, const GenerateSettings& settings,
                          const std::function<bool(std::string_view)>& on_text, const std::atomic<bool>* cancel) {
  const std::lock_guard lock(mutex_);
  const auto start = std::chrono::steady_clock::now();
  GenerateOptions options = OptionsOf(settings, spec_);
  options.constraint = ConstraintOf(settings);
  // What does not fit is refused before any picture is encoded.
  RequestPlan plan = PlanWhole(messages, settings);
  FitIntoMemory(plan, settings.beams);
  options.max_tokens = plan.max_tokens;
  Prompt prompt = MakePrompt(messages);
  if (!settings.choices.empty()) {
    const ChoiceScore best = ScoreChoices(prompt, settings.choices).front();
    if (on_text) on_text(best.text);
    return {.text = best.text,
            .finish_reason = "stop",
            .confidence = best.probability,
            .prompt_tokens = static_cast<int64_t>(prompt.ids.size()),
            .seconds = SecondsSince(start)};
  }
  Answer answer;
  text::StreamDecoder decoder(tokenizer_);
  StopFilter filter(settings.stop);
  const auto give = [&](const std::string& piece) {
    answer.text += piece;
    return piece.empty() || !on_text || on_text(piece);
  };
  bool goes_on = true;
  const auto on_token = [&](const Choice& choice) {
    if (answer.tokens++ == 0) answer.first_token_seconds = SecondsSince(start);
    goes_on = give(filter.Push(decoder.Push(choice.id)));
    return goes_on && !filter.has_stopped();
  };
  const Generation made = generator_.Run(std::move(prompt), options, on_token, cancel);
  if (settings.beams > 1) {
    for (const int64_t id : made.ids) {
      ++answer.tokens;
      if (filter.has_stopped() || !goes_on) break;
      goes_on = give(filter.Push(decoder.Push(id)));
    }
  }
  if (goes_on && !filter.has_stopped()) {
    const std::string rest = filter.Push(decoder.Finish());
    give(rest);
    if (!filter.has_stopped()) give(filter.Finish());
  }
  const bool is_cancelled = (cancel != nullptr && *cancel) || !goes_on;
  answer.finish_reason = is_cancelled                                                    ? "cancelled"
                         : made.reason == FinishReason::kLength && !filter.has_stopped() ? "length"
                                                                                         : "stop";
  answer.prompt_tokens = made.prompt_tokens;
  answer.reused_tokens = made.reused_tokens;
  const auto scored = static_cast<double>(std::max<size_t>(1, made.choices.size()));
  answer.confidence = settings.beams > 1 ? std::exp(std::min(0.0, made.score)) : std::exp(made.score / scored);
  Calibrate(messages, settings, answer);
  if (settings.top_logprobs >= 0) {
    for (const Choice& choice : made.choices) {
      TokenDetail detail{.text = tokenizer_->TokenBytes(choice.id), .logprob = choice.logprob, .alternatives = {}};
      for (const TokenScore& other : choice.top)
        detail.alternatives.emplace_back(tokenizer_->TokenBytes(other.id), other.value);
      answer.details.push_back(std::move(detail));
    }
  }
  answer.seconds = SecondsSince(start);
  return answer;
}

std::vector<ChoiceScore> ChatSession::Choose(std::span<const Message> messages, std::span<const std::string> choices) {
  const std::lock_guard lock(mutex_);
  return ScoreChoices(MakePrompt(messages), choices);
}

std::vector<ChoiceScore> ChatSession::ScoreChoices(const Prompt& prompt, std::span<const std::string> choices) {
  Require(!choices.empty(), "[chat] expected at least one choice");
  std::vector<double> logs;
  for (const std::string& choice : choices) {
    Require(!choice.empty(), "[chat] expected choices that are not empty");
    std::vector<int64_t> ids = tokenizer_->Encode(choice, {.add_special_tokens = false, .use_file_limits = false}).ids;
    // The end token belongs to it, or "a dog" would never lose to the "a" it begins with.
    if (!spec_.eos.empty()) ids.push_back(spec_.eos[0]);
    double sum = 0;
    for (const float score : generator_.Score(prompt, ids)) sum += score;
    logs.push_back(sum);
  }
  const double highest = *std::ranges::max_element(logs);
  double total = 0;
  for (double& value : logs) total += (value = std::exp(value - highest));
  std::vector<ChoiceScore> scores;
  for (size_t i = 0; i < choices.size(); ++i) scores.push_back({choices[i], logs[i] / total});
  std::ranges::stable_sort(scores,
                           [](const ChoiceScore& a, const ChoiceScore& b) { return a.probability > b.probability; });
  return scores;
}

}  // namespace fovea::runtime

namespace fovea {

Chat::Chat(const Model& model, const ChatOptions& options)
    : session_(std::make_shared<runtime::ChatSession>(model.shared_impl(), options)) {}

Answer Chat::Reply(std::span<const Message> messages, const GenerateSettings& settings,
                   const std::function<bool(std::string_view)>& on_text, const std::atomic<bool>* cancel) const {
  return session_->Reply(messages, settings, on_text, cancel);
}

Answer Chat::Caption(const Image& image, const GenerateSettings& settings, const std::atomic<bool>* cancel) const {
  const Message message{.text = session_->CaptionRequest(), .images = {image}};
  return session_->Reply({&message, 1}, settings, nullptr, cancel);
}

std::vector<ChoiceScore> Chat::Choose(std::span<const Message> messages, std::span<const std::string> choices) const {
  return session_->Choose(messages, choices);
}

RequestPlan Chat::Plan(std::span<const Message> messages, const GenerateSettings& settings) const {
  return session_->Plan(messages, settings);
}

RequestPlan Chat::PlanCaption(const Image& image, const GenerateSettings& settings) const {
  const Message message{.text = session_->CaptionRequest(), .images = {image}};
  return session_->Plan({&message, 1}, settings);
}

GenerateSettings Chat::Defaults() const { return session_->Defaults(); }

}  // namespace fovea
