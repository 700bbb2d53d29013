#include "runtime/generator.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ops/shape.h"
#include "ops/softmax.h"

namespace fovea::runtime {
namespace {

constexpr int64_t kLeastReuse = 8;  // shorter common beginnings are read again: cheaper than a copy

Tensor IdTensor(std::span<const int64_t> ids, const Shape& shape) {
  const Tensor tensor = Tensor::Empty(shape, DType::kI64);
  std::ranges::copy(ids, tensor.mutable_data<int64_t>());
  return tensor;
}

uint64_t KeyOf(const Prompt& prompt, size_t place) {
  return prompt.keys.empty() ? static_cast<uint64_t>(prompt.ids[place]) : prompt.keys[place];
}

void CheckPrompt(const Prompt& prompt, int64_t room) {
  const auto length = static_cast<int64_t>(prompt.ids.size());
  Require(length > 0, "[generate] expected at least one token in the prompt");
  Require(length < room, "[generate] the prompt has ", length, " tokens, and the model takes ", room,
          " with the answer; hint: shorten it, or show fewer or smaller pictures");
  Require(prompt.keys.empty() || prompt.keys.size() == prompt.ids.size(), "[generate] expected a key for each token");
  Require(!prompt.embeddings.defined() ||
              (prompt.embeddings.rank() == 3 && prompt.embeddings.dim(0) == 1 && prompt.embeddings.dim(1) == length),
          "[generate] expected embeddings [1,", length, ",D]");
  Require(prompt.bidirectional >= 0 && prompt.bidirectional <= length, "[generate] expected at most ", length,
          " tokens that see each other, got ", prompt.bidirectional);
}

std::vector<std::span<const float>> RowsOf(const Tensor& logits) {  // [B,V], dense
  const auto [B, V] = logits.Dims<2>("logits");
  std::vector<std::span<const float>> rows;
  for (int64_t b = 0; b < B; ++b) rows.emplace_back(logits.data<float>() + b * V, static_cast<size_t>(V));
  return rows;
}

// Places next, next + 1, ... for `count` tokens: [1,count], or in the layout of a prompt's positions with three axes.
Tensor PlacesFrom(int64_t next, int64_t count, const Tensor& like = {}) {
  std::vector<int64_t> places;
  const int64_t axes = like.defined() && like.rank() == 3 ? like.dim(0) : 1;
  for (int64_t i = 0; i < axes * count; ++i) places.push_back(next + i % count);
  return axes > 1 ? IdTensor(places, {axes, 1, count}) : IdTensor(places, {1, count});
}

Tensor LastLogits(const models::DecodeOutputs& outputs) {  // -> [B,V] in f32, dense
  const Tensor& logits = outputs.logits;
  const Tensor last = Squeeze(Slice(logits, 1, logits.dim(1) - 1, logits.dim(1)), 1);
  return last.To(DType::kF32).Contiguous();
}

}  // namespace

// One sequence under way: its cache, its own sampler and constraint.
struct Generator::Row {
  nn::DecodeCache cache;
  std::unique_ptr<TokenConstraint> constraint;
  int64_t last = -1;  // the token that the model sees next
};

struct Generator::Request {
  enum class State : uint8_t { kWaiting, kReading, kWriting, kDone };

  int64_t number;
  Prompt prompt;
  GenerateOptions options;
  OnToken on_token;
  State state = State::kWaiting;
  int64_t read = 0;  // tokens of the prompt that the cache holds
  int64_t room = 0;  // tokens that may be generated
  std::vector<Row> rows;
  std::unique_ptr<Sampler> sampler;
  std::unique_ptr<BeamSearch> beams;
  Generation result;
};

// The cache of a finished sequence and what its tokens are.
struct Generator::Prefix {
  std::vector<uint64_t> keys;
  uint64_t memory_key;
  nn::DecodeCache cache;
};

Generator::Generator(const models::Model& model, const Options& options)
    : model_(model), options_(options), spec_(model.Decoder()) {
  if (!model.CanDecode()) Fail(ErrorCode::kUnimplemented, "[generate] this model writes no text");
  Require(options.max_rows >= 1 && options.prefill_chunk >= 1 && options.kept_prefixes >= 0 && options.max_tokens >= 0,
          "[generate] expected at least one row and a chunk of at least one token");
  if (options_.max_tokens == 0) options_.max_tokens = spec_.max_positions;
}

Generator::~Generator() = default;

int64_t Generator::Add(Prompt prompt, const GenerateOptions& options, OnToken on_token) {
  CheckPrompt(prompt, options_.max_tokens);
  CheckSampling(options.sampling);
  Require(options.max_tokens >= 1, "[generate] expected max_tokens of at least 1, got ", options.max_tokens);
  Require(options.beams == 1 || (options.sampling.temperature == 0 && options.sampling.repetition_penalty == 1 &&
                                 options.sampling.frequency_penalty == 0 && options.sampling.presence_penalty == 0),
          "[generate] beam search takes no temperature and no penalties; hint: beams 1, or leave those out");
  auto request = std::make_unique<Request>();
  request->number = next_request_++;
  request->prompt = std::move(prompt);
  request->options = options;
  request->on_token = std::move(on_token);
  if (request->options.end_ids.empty()) request->options.end_ids = spec_.eos;
  if (options.ignores_end) request->options.end_ids.clear();
  const auto length = static_cast<int64_t>(request->prompt.ids.size());
  request->room = std::min(options.max_tokens, options_.max_tokens - length);
  if (options.beams > 1) {
    request->beams = std::make_unique<BeamSearch>(BeamOptions{.beams = options.beams,
                                                              .length_penalty = options.length_penalty,
                                                              .early_stopping = options.early_stopping,
                                                              .max_tokens = request->room,
                                                              .end_ids = request->options.end_ids});
  } else {
    request->sampler = std::make_unique<Sampler>(options.sampling, request->prompt.ids);
  }
  request->result.prompt_tokens = length;
  requests_.push_back(std::move(request));
  return requests_.back()->number;
}

nn::DecodeCache Generator::CacheFor(const Prompt& prompt, int64_t& reused) {
  const auto length = static_cast<int64_t>(prompt.ids.size());
  reused = 0;
  auto best = prefixes_.end();
  for (auto it = prefixes_.begin(); it != prefixes_.end(); ++it) {
    if (it->memory_key != prompt.memory_key) continue;
    int64_t common = 0;
    const auto most = std::min<int64_t>(length - 1, static_cast<int64_t>(it->keys.size()));
    while (common < most && it->keys[common] == KeyOf(prompt, common)) ++common;
    if (common < prompt.bidirectional) continue;  // what sees each other is read in one piece
    if (common > reused) {
      reused = common;
      best = it;
    }
  }
  if (reused < kLeastReuse) {
    reused = 0;
    return {spec_.Cache(), {.dtype = options_.cache_type, .max_tokens = options_.max_tokens}};
  }
  prefixes_.splice(prefixes_.begin(), prefixes_, best);
  nn::DecodeCache cache = best->cache.Clone();
  cache.Truncate(reused);
  return cache;
}

int64_t Generator::ReadPart(const Prompt& prompt, int64_t begin, nn::DecodeCache* cache, Tensor& logits) const {
  const auto length = static_cast<int64_t>(prompt.ids.size());
  const int64_t end = std::min(length, std::max(begin + options_.prefill_chunk, begin == 0 ? prompt.bidirectional : 0));
  models::DecodeInputs inputs;
  if (prompt.embeddings.defined()) {
    inputs.embeddings = Slice(prompt.embeddings, 1, begin, end);
  } else {
    inputs.ids = IdTensor(std::span(prompt.ids).subspan(begin, end - begin), {1, end - begin});
  }
  if (prompt.positions.defined()) {
    inputs.positions = Slice(prompt.positions, -1, begin, end).Contiguous();
  } else if (begin > 0) {
    // A cache of a prompt with pictures, cut back, may not know where its next token stands.
    inputs.positions = PlacesFrom(begin, end - begin);
  }
  const bool has_mask_of_each = prompt.memory_mask.defined() && prompt.memory_mask.rank() == 3;
  if (has_mask_of_each) inputs.memory_mask = Slice(prompt.memory_mask, 1, begin, end).Contiguous();
  if (begin == 0) {
    inputs.memory = prompt.memory;
    if (!has_mask_of_each) inputs.memory_mask = prompt.memory_mask;
    inputs.bidirectional = prompt.bidirectional;
  }
  inputs.caches = {&cache, 1};
  inputs.only_last = true;
  logits = LastLogits(model_.Decode(inputs));  // [1,V]
  return end;
}

void Generator::Prefill(Request& request) {
  const Prompt& prompt = request.prompt;
  if (request.state == Request::State::kWaiting) {
    Row row{.cache = CacheFor(prompt, request.read), .constraint = nullptr};
    if (request.options.constraint) row.constraint = request.options.constraint->Clone();
    request.rows.push_back(std::move(row));
    request.result.reused_tokens = request.read;
    request.state = Request::State::kReading;
  }
  Tensor logits;
  request.read = ReadPart(prompt, request.read, &request.rows[0].cache, logits);
  if (request.read < static_cast<int64_t>(prompt.ids.size())) return;
  request.state = Request::State::kWriting;
  Advance(request, RowsOf(logits));
}

void Generator::DecodeRows() {
  std::vector<nn::DecodeCache*> caches;
  std::vector<int64_t> ids, places;
  bool has_places = false;
  int64_t axes = 0;
  std::vector<Request*> writing;
  for (const auto& request : requests_) {
    if (request->state != Request::State::kWriting) continue;
    writing.push_back(request.get());
    for (Row& row : request->rows) {
      const Prompt& prompt = request->prompt;
      const int64_t generated = row.cache.length() - static_cast<int64_t>(prompt.ids.size());
      has_places |= prompt.positions.defined();
      if (prompt.positions.defined() && prompt.positions.rank() == 3) axes = prompt.positions.dim(0);
      places.push_back(prompt.positions.defined() ? prompt.next_position + generated : row.cache.length());
      caches.push_back(&row.cache);
      ids.push_back(row.last);
    }
  }
  if (caches.empty()) return;
  const auto rows = static_cast<int64_t>(caches.size());
  models::DecodeInputs inputs{.ids = IdTensor(ids, {rows, 1})};
  if (has_places) {
    std::vector<int64_t> all;
    for (int64_t a = 0; a < std::max<int64_t>(1, axes); ++a) all.insert(all.end(), places.begin(), places.end());
    inputs.positions = axes > 0 ? IdTensor(all, {axes, rows, 1}) : IdTensor(all, {rows, 1});
  }
  inputs.caches = caches;
  inputs.only_last = true;
  const Tensor logits = LastLogits(model_.Decode(inputs));  // [B,V]
  const auto all_rows = RowsOf(logits);
  size_t next = 0;
  for (Request* request : writing) {
    const size_t count = request->rows.size();
    Advance(*request, {all_rows.begin() + static_cast<std::ptrdiff_t>(next),
                       all_rows.begin() + static_cast<std::ptrdiff_t>(next + count)});
    next += count;
  }
}

void Generator::Advance(Request& request, std::vector<std::span<const float>> logits) {
  if (request.beams) return AdvanceBeams(request, logits);
  Row& row = request.rows[0];
  const auto& ends = request.options.end_ids;
  const auto written = static_cast<int64_t>(request.result.ids.size());
  TokenMask allowed;
  if (row.constraint) {
    allowed = row.constraint->Allowed();
    if (std::ranges::all_of(allowed, [](uint64_t word) { return word == 0; })) {
      if (row.constraint->IsComplete()) return Finish(request, FinishReason::kEnd);  // a model without an end token
      Fail(ErrorCode::kUnimplemented, "[generate] the model's vocabulary has no token for what must come next behind ",
           written, " tokens of answer; hint: a schema or grammar without characters that the model does not know");
    }
  }
  if (written < request.options.min_tokens && !ends.empty()) {
    if (allowed.empty()) allowed.assign((logits[0].size() + 63) / 64, ~uint64_t{0});
    for (const int64_t id : ends) allowed[id / 64] &= ~(uint64_t{1} << (id % 64));
  }
  Choice choice = request.sampler->Next(logits[0], allowed);
  request.result.score += choice.logprob;
  if (request.options.sampling.top_logprobs >= 0) request.result.choices.push_back(choice);
  if (std::ranges::find(ends, choice.id) != ends.end()) return Finish(request, FinishReason::kEnd);
  if (row.constraint) row.constraint->Accept(choice.id);
  request.result.ids.push_back(choice.id);
  row.last = choice.id;
  if (request.on_token && !request.on_token(choice)) return Finish(request, FinishReason::kStopped);
  if (written + 1 >= request.room) Finish(request, FinishReason::kLength);
}

void Generator::AdvanceBeams(Request& request, const std::vector<std::span<const float>>& logits) {
  BeamSearch& search = *request.beams;
  std::vector<std::vector<float>> scores;
  std::vector<std::span<const float>> rows;
  for (size_t i = 0; i < logits.size(); ++i) {
    const auto sum = static_cast<float>(LogSumExp(logits[i]));
    auto& row = scores.emplace_back(logits[i].begin(), logits[i].end());
    const TokenMask allowed = request.rows[i].constraint ? request.rows[i].constraint->Allowed() : TokenMask{};
    const auto written = static_cast<int64_t>(search.beams()[i].ids.size());
    for (size_t id = 0; id < row.size(); ++id) {
      const bool is_hidden = !Allows(allowed, static_cast<int64_t>(id));
      row[id] = is_hidden ? -INFINITY : row[id] - sum;
    }
    if (written < request.options.min_tokens) {
      for (const int64_t id : request.options.end_ids) row[id] = -INFINITY;
    }
  }
  for (const auto& row : scores) rows.emplace_back(row);
  search.Advance(rows);
  if (search.IsDone()) {
    const BeamSearch::Hypothesis& best = search.Finished().front();
    request.result.ids = best.ids;
    request.result.score = best.score;
    const auto& ends = request.options.end_ids;
    const bool has_ended = std::ranges::find(ends, best.ids.back()) != ends.end();
    if (has_ended) request.result.ids.pop_back();
    return Finish(request, has_ended ? FinishReason::kEnd : FinishReason::kLength);
  }
  std::vector<int> uses(request.rows.size());
  for (const auto& beam : search.beams()) ++uses[beam.parent];
  std::vector<Row> next;
  for (const auto& beam : search.beams()) {
    Row& parent = request.rows[beam.parent];
    Row row{.cache = --uses[beam.parent] == 0 ? std::move(parent.cache) : parent.cache.Clone(),
            .constraint = parent.constraint ? parent.constraint->Clone() : nullptr,
            .last = beam.ids.back()};
    if (row.constraint) row.constraint->Accept(row.last);
    next.push_back(std::move(row));
  }
  request.rows = std::move(next);
}

void Generator::Keep(Prefix prefix) {
  if (options_.kept_prefixes == 0 || !spec_.states.empty()) return;  // a recurrent state cannot be cut
  prefixes_.push_front(std::move(prefix));
  if (static_cast<int64_t>(prefixes_.size()) > options_.kept_prefixes) prefixes_.pop_back();
}

void Generator::Finish(Request& request, FinishReason reason) {
  request.result.reason = reason;
  request.state = Request::State::kDone;
  if (!request.beams && !request.rows.empty()) {
    Prefix prefix{.keys = {}, .memory_key = request.prompt.memory_key, .cache = std::move(request.rows[0].cache)};
    const auto length = static_cast<size_t>(prefix.cache.length());
    const size_t prompt = request.prompt.ids.size();
    for (size_t i = 0; i < length; ++i) {
      prefix.keys.push_back(i < prompt ? KeyOf(request.prompt, i)
                                       : static_cast<uint64_t>(request.result.ids[i - prompt]));
    }
    Keep(std::move(prefix));
  }
  request.rows.clear();
}

bool Generator::Step() {
  int64_t rows = 0;
  Request* reading = nullptr;
  for (const auto& request : requests_) {
    if (request->state == Request::State::kDone) continue;
    const bool waits = request->state == Request::State::kWaiting;
    if (request->state != Request::State::kWriting && reading == nullptr &&
        (!waits || rows + request->options.beams <= options_.max_rows || rows == 0)) {
      reading = request.get();
    }
    if (!waits) rows += request->options.beams;
  }
  if (reading == nullptr && rows == 0) return false;
  // Those that write go first, so that a long prompt beside them slows them by one part a token only.
  DecodeRows();
  if (reading != nullptr) Prefill(*reading);
  return true;
}

void Generator::Cancel(int64_t number) {
  for (const auto& request : requests_) {
    if (request->number == number && request->state != Request::State::kDone) Finish(*request, FinishReason::kStopped);
  }
}

bool Generator::IsDone(int64_t number) const {
  for (const auto& request : requests_) {
    if (request->number == number) return request->state == Request::State::kDone;
  }
  Fail(ErrorCode::kInvalidArgument, "[generate] there is no request ", number);
}

Generation Generator::Take(int64_t number) {
  const auto found = std::ranges::find_if(requests_, [&](const auto& r) { return r->number == number; });
  Require(found != requests_.end() && (*found)->state == Request::State::kDone, "[generate] request ", number,
          " is not finished");
  Generation result = std::move((*found)->result);
  requests_.erase(found);
  return result;
}

Generation Generator::Run(Prompt prompt, const GenerateOptions& options, OnToken on_token,
                          const std::atomic<bool>* cancel) {
  const int64_t number = Add(std::move(prompt), options, std::move(on_token));
  while (!IsDone(number)) {
    if (cancel != nullptr && *cancel) Cancel(number);
    Step();
  }
  return Take(number);
}

std::vector<float> Generator::Score(const Prompt& prompt, std::span<const int64_t> continuation) {
  const auto count = static_cast<int64_t>(continuation.size());
  Require(count > 0, "[generate] expected at least one token to score");
  CheckPrompt(prompt, options_.max_tokens - count + 1);
  int64_t read = 0;
  nn::DecodeCache cache = CacheFor(prompt, read);
  const auto length = static_cast<int64_t>(prompt.ids.size());
  Tensor logits;
  while (read < length) read = ReadPart(prompt, read, &cache, logits);
  std::vector<float> scores;
  const auto take = [&](std::span<const float> row, int64_t id) {
    Require(id >= 0 && id < static_cast<int64_t>(row.size()), "[generate] expected ids below ", row.size(), ", got ",
            id);
    scores.push_back(static_cast<float>(row[static_cast<size_t>(id)] - LogSumExp(row)));
  };
  take(RowsOf(logits)[0], continuation[0]);
  Prefix prefix{.keys = {}, .memory_key = prompt.memory_key, .cache = cache.Clone()};
  for (size_t i = 0; i < prompt.ids.size(); ++i) prefix.keys.push_back(KeyOf(prompt, i));
  Keep(std::move(prefix));
  if (count == 1) return scores;
  nn::DecodeCache* const caches[] = {&cache};
  models::DecodeInputs inputs{.ids = IdTensor(continuation.first(count - 1), {1, count - 1})};
  if (prompt.positions.defined()) inputs.positions = PlacesFrom(prompt.next_position, count - 1, prompt.positions);
  inputs.caches = caches;
  const Tensor all = model_.Decode(inputs).logits.To(DType::kF32);  // [1,N-1,V]
  const auto rows = RowsOf(Squeeze(all, 0).Contiguous());
  for (int64_t i = 1; i < count; ++i) take(rows[i - 1], continuation[i]);
  return scores;
}

}  // namespace fovea::runtime
