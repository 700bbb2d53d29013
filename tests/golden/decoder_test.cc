// Decoders continue texts as the reference does: for every golden file with prompts ("generate.expected", see
// tools/golden/decoders.py) greedy continuations are equal token for token with caches and without, in a batch and
// alone; and what must hold of any decoder: a prompt in pieces equals the whole, compact caches move logits little,
// caches can be cut back, cloned and filled to their end.
//
// A new decoder needs no new test: its golden files are found by name.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "eval/golden.h"
#include "formats/safetensors.h"
#include "fovea/error.h"
#include "nn/entry.h"
#include "ops/reduce.h"
#include "testing/testing.h"

namespace fovea {
namespace {

using nn::DecodeCache;
using testing::ExpectClose;

// How far caches in these types may move the logits of a text: root mean square, as a share of the logits'. Tiny random
// networks are steeper than trained ones.
constexpr double kBF16Bound = 0.02, kInt8Bound = 0.05;

std::string PathOf(const std::string& name) {
  return testing::SourcePath("tests/golden/models/" + name + ".safetensors");
}

std::vector<std::string> DecoderFiles() {
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(testing::SourcePath("tests/golden/models"))) {
    if (file.path().extension() != ".safetensors") continue;
    const auto stored = formats::SafetensorsFile::Open(file.path().string());
    const bool sees = stored.Has("generate.pixels") || stored.Has("generate.patches");  // picture_decoder_test.cc
    if (stored.Has("generate.expected") && !sees) files.push_back(file.path().stem().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

Tensor Ids(std::span<const int64_t> ids) {
  return Tensor::FromValues<int64_t>({1, static_cast<int64_t>(ids.size())}, ids);
}

float LargestMagnitude(const Tensor& tensor) {
  float largest = 0;
  const Tensor dense = tensor.Contiguous();
  for (const float value : dense.values<float>()) largest = std::max(largest, std::fabs(value));
  return largest;
}

// The likeliest next token of each row of logits [B,1,V].
std::vector<int64_t> Likeliest(const Tensor& logits) {
  const Tensor best = ArgMax(logits.Contiguous(), -1);
  return {best.data<int64_t>(), best.data<int64_t>() + best.numel()};
}

class Decoders : public ::testing::TestWithParam<std::string> {
 protected:
  Decoders()
      : file_(formats::SafetensorsFile::Open(PathOf(GetParam()))),
        model_(eval::BuildGolden(file_)),
        ids_(file_.Get("generate.ids").Clone()),
        mask_(file_.Get("generate.mask").Clone()),
        expected_(file_.Get("generate.expected").Clone()),
        rows_(ids_.dim(0)),
        steps_(expected_.dim(1)) {
    if (model_->Decoder().is_encoder_decoder) {  // the prompts are the encoder's; the decoder begins with one token
      memory_ = model_->EncodeTexts({.ids = ids_, .mask = mask_}).tokens;
      memory_mask_ = mask_;
      ids_ = Tensor::Empty({rows_, 1}, DType::kI64);
      mask_ = Tensor::Empty({rows_, 1}, DType::kBool);
      for (int64_t row = 0; row < rows_; ++row) {
        ids_.mutable_data<int64_t>()[row] = model_->Decoder().decoder_start_token_id;
        mask_.mutable_data<bool>()[row] = true;
      }
    }
    if (file_.Has("generate.memory")) {
      memory_ = file_.Get("generate.memory").Clone();
      memory_mask_ = file_.Get("generate.memory_mask").Clone();
    }
  }

  // The prompt of one row without its padding.
  std::vector<int64_t> Prompt(int64_t row) const {
    std::vector<int64_t> prompt;
    for (int64_t t = 0; t < ids_.dim(1); ++t) {
      const int64_t at = row * ids_.dim(1) + t;
      if (mask_.data<bool>()[at]) prompt.push_back(ids_.data<int64_t>()[at]);
    }
    return prompt;
  }
  std::vector<int64_t> Expected(int64_t row) const {
    const int64_t* begin = expected_.data<int64_t>() + row * steps_;
    return {begin, begin + steps_};
  }
  // Prompt and continuation, but for the last token.
  std::vector<int64_t> Whole(int64_t row) const {
    std::vector<int64_t> whole = Prompt(row);
    const std::vector<int64_t> rest = Expected(row);
    whole.insert(whole.end(), rest.begin(), rest.end() - 1);
    return whole;
  }

  Tensor Memory(int64_t row) const { return memory_.defined() ? memory_.Sliced(0, row, row + 1) : memory_; }
  Tensor MemoryMask(int64_t row) const {
    return memory_mask_.defined() ? memory_mask_.Sliced(0, row, row + 1) : memory_mask_;
  }

  std::unique_ptr<DecodeCache> NewCache(nn::CacheOptions options = {}) const {
    return std::make_unique<DecodeCache>(model_->Decoder().Cache(), options);
  }

  // Logits [1,T,V] of `ids` of row `row` without a cache.
  Tensor FullLogits(int64_t row, std::span<const int64_t> ids) const {
    return model_->Decode({.ids = Ids(ids), .memory = Memory(row), .memory_mask = MemoryMask(row)}).logits;
  }

  // The same appended to `cache`. The memory goes in with the first tokens.
  Tensor CachedLogits(int64_t row, std::span<const int64_t> ids, DecodeCache& cache) const {
    DecodeCache* const caches[] = {&cache};
    const bool is_first = cache.length() == 0;
    return model_
        ->Decode({.ids = Ids(ids),
                  .memory = is_first ? Memory(row) : Tensor(),
                  .memory_mask = is_first ? MemoryMask(row) : Tensor(),
                  .caches = caches})
        .logits.Contiguous();
  }

  // Continues `rows` together, each with a cache of its own, and compares with what is stored.
  void ExpectContinued(const std::vector<int64_t>& rows) const {
    std::vector<std::unique_ptr<DecodeCache>> owned;
    std::vector<DecodeCache*> caches;
    std::vector<int64_t> next;
    std::vector<std::vector<int64_t>> found(rows.size());
    for (const int64_t row : rows) {
      owned.push_back(NewCache());
      caches.push_back(owned.back().get());
      const std::vector<int64_t> prompt = Prompt(row);
      const Tensor logits = CachedLogits(row, prompt, *caches.back());
      next.push_back(Likeliest(logits.Sliced(1, logits.dim(1) - 1, logits.dim(1)))[0]);
    }
    for (int64_t step = 0; step < steps_; ++step) {
      for (size_t i = 0; i < rows.size(); ++i) found[i].push_back(next[i]);
      const Tensor ids = Tensor::FromValues<int64_t>({static_cast<int64_t>(rows.size()), 1}, next);
      next = Likeliest(model_->Decode({.ids = ids, .caches = caches}).logits);
    }
    for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(found[i], Expected(rows[i])) << "row " << rows[i];
  }

  formats::SafetensorsFile file_;
  std::unique_ptr<models::Model> model_;
  Tensor ids_, mask_, expected_, memory_, memory_mask_;
  int64_t rows_, steps_;
};

TEST_P(Decoders, GreedyWithCachesTogetherAndAlone) {
  std::vector<int64_t> all;
  for (int64_t row = 0; row < rows_; ++row) {
    ExpectContinued({row});
    all.push_back(row);
  }
  ExpectContinued(all);
}

// Padded on the left, everything anew for each token.
TEST_P(Decoders, GreedyWithoutCaches) {
  std::vector<std::vector<int64_t>> found(static_cast<size_t>(rows_));
  const int64_t prompt = ids_.dim(1);
  for (int64_t step = 0; step < steps_; ++step) {
    const int64_t length = prompt + step;
    Tensor ids = Tensor::Empty({rows_, length}, DType::kI64), mask = Tensor::Empty({rows_, length}, DType::kBool);
    for (int64_t row = 0; row < rows_; ++row) {
      for (int64_t t = 0; t < length; ++t) {
        const bool is_prompt = t < prompt;
        ids.mutable_data<int64_t>()[row * length + t] =
            is_prompt ? ids_.data<int64_t>()[row * prompt + t] : found[static_cast<size_t>(row)][t - prompt];
        mask.mutable_data<bool>()[row * length + t] = !is_prompt || mask_.data<bool>()[row * prompt + t];
      }
    }
    const Tensor logits =
        model_->Decode({.ids = ids, .mask = mask, .memory = memory_, .memory_mask = memory_mask_, .only_last = true})
            .logits;
    const std::vector<int64_t> next = Likeliest(logits);
    for (size_t row = 0; row < next.size(); ++row) found[row].push_back(next[row]);
  }
  for (int64_t row = 0; row < rows_; ++row) EXPECT_EQ(found[static_cast<size_t>(row)], Expected(row)) << "row " << row;
}

TEST_P(Decoders, InPiecesEqualsTheWhole) {
  const std::vector<int64_t> whole = Whole(0);
  const Tensor full = FullLogits(0, whole);
  const float scale = LargestMagnitude(full);
  for (const size_t first : {size_t{1}, size_t{4}, size_t{11}}) {
    const auto cache = NewCache();
    for (size_t at = 0, size = first; at < whole.size(); at += size, size = 1 + size * 2 % 9) {
      size = std::min(size, whole.size() - at);
      const Tensor logits = CachedLogits(0, std::span(whole).subspan(at, size), *cache);
      const auto begin = static_cast<int64_t>(at);
      ExpectClose(logits, full.Sliced(1, begin, begin + static_cast<int64_t>(size)), 2e-5f * scale, "piece");
    }
    EXPECT_EQ(cache->length(), static_cast<int64_t>(whole.size()));
    EXPECT_EQ(cache->next_position(), static_cast<int64_t>(whole.size()));
  }
}

TEST_P(Decoders, CompactCachesMoveLogitsLittle) {
  const std::vector<int64_t> whole = Whole(0);
  const Tensor full = FullLogits(0, whole).Contiguous();
  for (const auto& [dtype, bound] : {std::pair(DType::kBF16, kBF16Bound), std::pair(DType::kI8, kInt8Bound)}) {
    const auto cache = NewCache({.dtype = dtype});
    double moved = 0, size = 0;
    for (size_t at = 0; at < whole.size(); ++at) {
      const Tensor logits = CachedLogits(0, std::span(whole).subspan(at, 1), *cache);
      const float* expected = full.data<float>() + static_cast<int64_t>(at) * logits.numel();
      for (int64_t i = 0; i < logits.numel(); ++i) {
        const double was = expected[i], is = logits.data<float>()[i];
        moved += (is - was) * (is - was);
        size += was * was;
      }
    }
    EXPECT_LE(std::sqrt(moved / size), bound) << DTypeName(dtype);
  }
}

TEST_P(Decoders, CachesCanBeClonedAndCutBack) {
  const std::vector<int64_t> whole = Whole(0);
  const auto split = static_cast<int64_t>(whole.size() / 2), length = static_cast<int64_t>(whole.size());
  const Tensor full = FullLogits(0, whole);
  const auto first = std::span(whole).first(whole.size() / 2), second = std::span(whole).subspan(whole.size() / 2);
  const auto cache = NewCache();
  CachedLogits(0, first, *cache);
  DecodeCache clone = cache->Clone();
  const std::vector<int64_t> other(7, whole[0]);
  CachedLogits(0, other, *cache);  // what one does, the other does not see
  const Tensor wanted = full.Sliced(1, split, length);
  ExpectClose(CachedLogits(0, second, clone), wanted, 2e-5f * LargestMagnitude(full), "clone");
  if (!model_->Decoder().states.empty()) return;  // a recurrent state does not go back
  cache->Truncate(split);
  ExpectClose(CachedLogits(0, second, *cache), wanted, 2e-5f * LargestMagnitude(full), "cut back");
}

TEST_P(Decoders, OnlyTheLastTokenThatExists) {
  const std::vector<int64_t> prompt = Prompt(0);
  const auto length = static_cast<int64_t>(prompt.size());
  const Tensor full = FullLogits(0, prompt).Sliced(1, length - 1, length);
  for (const int64_t before : {0, 3}) {
    for (const int64_t after : {0, 2}) {
      std::vector<int64_t> padded(static_cast<size_t>(before), 0);
      padded.insert(padded.end(), prompt.begin(), prompt.end());
      padded.resize(padded.size() + static_cast<size_t>(after), 0);
      Tensor mask = Tensor::Empty({1, static_cast<int64_t>(padded.size())}, DType::kBool);
      for (int64_t t = 0; t < mask.numel(); ++t) mask.mutable_data<bool>()[t] = before <= t && t < before + length;
      const Tensor logits = model_
                                ->Decode({.ids = Ids(padded),
                                          .mask = mask,
                                          .memory = Memory(0),
                                          .memory_mask = MemoryMask(0),
                                          .only_last = true})
                                .logits;
      ExpectClose(logits, full, 2e-5f * LargestMagnitude(full), "padding");
    }
  }
}

TEST_P(Decoders, VectorsOfWordsInPlaceOfWords) {
  const std::vector<int64_t> prompt = Prompt(0);
  const models::DecodeInputs inputs{
      .embeddings = model_->EmbedTokens(Ids(prompt)), .memory = Memory(0), .memory_mask = MemoryMask(0)};
  ExpectClose(model_->Decode(inputs).logits, FullLogits(0, prompt), 0.0f);
}

TEST_P(Decoders, AFullCacheRefusesAndStaysAsItWas) {
  const std::vector<int64_t> whole = Whole(0);
  const auto room = static_cast<int64_t>(whole.size());
  const auto cache = NewCache({.max_tokens = room});
  CachedLogits(0, std::span(whole).first(whole.size() - 1), *cache);
  const std::vector<int64_t> two = {whole.back(), whole.back()};
  try {
    CachedLogits(0, two, *cache);
    FAIL() << "more tokens than there is room for";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted) << error.message();
  }
  EXPECT_EQ(cache->length(), room - 1);
  const Tensor full = FullLogits(0, whole);
  ExpectClose(CachedLogits(0, std::span(whole).last(1), *cache), full.Sliced(1, room - 1, room),
              2e-5f * LargestMagnitude(full));
}

TEST_P(Decoders, WrongInputsAreRefused) {
  const Tensor ids = Ids(Prompt(0)), memory = Memory(0), mask = MemoryMask(0);
  const auto with = [&](models::DecodeInputs inputs) {
    inputs.memory = memory;
    inputs.memory_mask = mask;
    return inputs;
  };
  const auto first = NewCache(), second = NewCache();
  DecodeCache foreign({.layers = 1, .kv_heads = 1, .key_dim = 1, .value_dim = 1, .states = {}}, {});
  DecodeCache *const two[] = {first.get(), second.get()}, *const other[] = {&foreign}, *const none[] = {nullptr};
  DecodeCache* const one[] = {first.get()};
  const models::DecodeInputs wrong[] = {
      with({}),
      with({.ids = ids, .embeddings = Tensor::Zeros({1, 2, model_->Decoder().hidden_size})}),
      with({.ids = Tensor::Zeros({1, 3})}),
      with({.ids = Tensor::Zeros({1, 0}, DType::kI64)}),
      with({.embeddings = Tensor::Zeros({1, 2, model_->Decoder().hidden_size + 1})}),
      with({.ids = Ids(std::vector<int64_t>{model_->Decoder().vocab})}),
      with({.ids = Ids(std::vector<int64_t>{-1})}),
      with({.ids = ids, .mask = Tensor::Zeros({1, 2}, DType::kBool)}),
      with({.ids = ids, .positions = Tensor::Zeros({2, 1}, DType::kI64)}),
      with({.ids = ids, .bidirectional = 100}),
      with({.ids = ids, .caches = two}),
      with({.ids = ids, .caches = other}),
      with({.ids = ids, .caches = none}),
      with({.ids = ids, .mask = Tensor::Zeros(ids.shape(), DType::kBool), .caches = one}),
      {.ids = ids, .memory = Tensor::Zeros({1, 2, 1023})},
  };
  for (const models::DecodeInputs& inputs : wrong) EXPECT_THROW(model_->Decode(inputs), Error);
  EXPECT_EQ(first->length(), 0);
}

INSTANTIATE_TEST_SUITE_P(Models, Decoders, ::testing::ValuesIn(DecoderFiles()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace fovea
