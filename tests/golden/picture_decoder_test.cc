// Decoders that see pictures continue prompts as the reference does: for every golden file with "generate.pixels" or
// "generate.patches" (see tools/golden/picture_decoders.py) greedy continuations are equal token for token: anew for
// each token without caches, through the generation loop alone and together, with prompts read in pieces, and when the
// picture was seen before.
//
// A new model needs no new test: its golden files are found by name.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "eval/golden.h"
#include "formats/safetensors.h"
#include "nn/pictures.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "runtime/prompt.h"
#include "testing/testing.h"

namespace fovea {
namespace {

std::vector<std::string> PictureDecoderFiles() {
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(testing::SourcePath("tests/golden/models"))) {
    if (file.path().extension() != ".safetensors") continue;
    const auto opened = formats::SafetensorsFile::Open(file.path().string());
    if (opened.Has("generate.pixels") || opened.Has("generate.patches")) files.push_back(file.path().stem().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class PictureDecoders : public ::testing::TestWithParam<std::string> {
 protected:
  PictureDecoders() {
    const auto file =
        formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/" + GetParam() + ".safetensors"));
    model_ = eval::BuildGolden(file);
    const Tensor ids = file.Get("generate.ids").Clone(), mask = file.Get("generate.mask").Clone();
    const Tensor expected = file.Get("generate.expected").Clone();
    eval::TensorsByName given;
    for (const std::string name : {"pixels", "tile_shapes", "patches", "shapes"}) {
      if (file.Has("generate." + name)) given[name] = file.Get("generate." + name).Clone();
    }
    const eval::GoldenPictures made = eval::EmbedGoldenPictures(*model_, given);  // row by row
    size_t picture = 0;
    for (int64_t row = 0; row < ids.dim(0); ++row) {
      auto& prompt = prompts_.emplace_back();
      for (int64_t t = 0; t < ids.dim(1); ++t) {
        const int64_t at = row * ids.dim(1) + t;
        if (mask.data<bool>()[at]) prompt.push_back(ids.data<int64_t>()[at]);
      }
      const int64_t* begin = expected.data<int64_t>() + row * expected.dim(1);
      expected_.emplace_back(begin, begin + expected.dim(1));
      auto& pictures = pictures_.emplace_back();
      const models::DecoderSpec spec = model_->Decoder();
      const bool has_one_each = spec.pictures == models::PicturePlace::kMemory && spec.image_token_id >= 0;
      int64_t left = 1;  // tokens that wait for a picture
      if (spec.pictures == models::PicturePlace::kTokens || has_one_each)
        left = std::ranges::count(prompt, spec.image_token_id);
      for (; left > 0; ++picture) {
        pictures.push_back(made.Picture(picture));
        left -= has_one_each ? 1 : made.counts.at(picture);
      }
    }
  }

  runtime::Prompt Prompt(size_t row) const {
    std::vector<uint64_t> hashes;
    for (size_t i = 0; i < pictures_[row].size(); ++i) hashes.push_back(1000 * row + i);
    return runtime::MakePrompt(*model_, prompts_[row], pictures_[row], hashes);
  }
  runtime::GenerateOptions Greedy() const {
    return {.max_tokens = static_cast<int64_t>(expected_[0].size()), .ignores_end = true};
  }

  std::unique_ptr<models::Model> model_;
  std::vector<std::vector<int64_t>> prompts_, expected_;
  std::vector<std::vector<Tensor>> pictures_;
};

TEST_P(PictureDecoders, GreedyWithoutCaches) {
  for (size_t row = 0; row < prompts_.size(); ++row) {
    std::vector<int64_t> ids = prompts_[row], found;
    std::vector<Tensor> rows;
    std::vector<models::PictureGrid> grids;
    for (const Tensor& picture : pictures_[row]) {
      rows.push_back(Reshape(picture, {1, -1, picture.dim(-1)}));
      if (picture.rank() == 3) grids.push_back({picture.dim(0), picture.dim(1)});
    }
    const Tensor pictures = Concat(rows, 1);  // [1,N,D]
    const auto as_tensor = [](const std::vector<int64_t>& values) {
      return Tensor::FromValues<int64_t>({1, static_cast<int64_t>(values.size())}, values);
    };
    const models::DecodeInputs prompt = models::JoinPictures(*model_, as_tensor(ids), {}, pictures, grids);
    const bool is_encoded = model_->Decoder().pictures == models::PicturePlace::kEncoder;
    if (is_encoded) ids = {model_->Decoder().decoder_start_token_id};  // the prompt is the encoder's
    while (found.size() < expected_[row].size()) {
      models::DecodeInputs inputs = prompt;
      if (is_encoded) inputs.ids = as_tensor(ids);
      if (!is_encoded) inputs = models::JoinPictures(*model_, as_tensor(ids), {}, pictures, grids);
      inputs.bidirectional = prompt.bidirectional;
      inputs.only_last = true;
      found.push_back(ArgMax(model_->Decode(inputs).logits.Contiguous(), -1).data<int64_t>()[0]);
      ids.push_back(found.back());
    }
    EXPECT_EQ(found, expected_[row]) << "row " << row;
  }
}

// What plans count with: no pictures come out in the shape that pictures would.
TEST_P(PictureDecoders, NoPicturesHaveTheShapeOfPictures) {
  if (!model_->CanEmbedImages()) GTEST_SKIP() << "it sees tiles or patches";
  const auto file =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/" + GetParam() + ".safetensors"));
  const Shape pixels = file.Get("generate.pixels").shape();
  const Tensor made = model_->EmbedImages(Tensor::Empty(pixels.With(0, 0)));
  EXPECT_EQ(made.dim(0), 0);
  EXPECT_EQ(made.dim(1), pictures_[0][0].dim(0));
}

TEST_P(PictureDecoders, GreedyTogetherInPieces) {
  for (const int64_t chunk : {3, 512}) {
    runtime::Generator generator(*model_, {.prefill_chunk = chunk});
    std::vector<int64_t> numbers;
    for (size_t row = 0; row < prompts_.size(); ++row) numbers.push_back(generator.Add(Prompt(row), Greedy()));
    while (generator.Step()) {
    }
    for (size_t row = 0; row < prompts_.size(); ++row)
      EXPECT_EQ(generator.Take(numbers[row]).ids, expected_[row]) << "row " << row << ", chunks of " << chunk;
  }
}

TEST_P(PictureDecoders, APictureSeenBeforeIsNotReadAgain) {
  runtime::Generator generator(*model_);
  EXPECT_EQ(generator.Run(Prompt(0), Greedy()).reused_tokens, 0);
  const runtime::Generation again = generator.Run(Prompt(0), Greedy());
  EXPECT_EQ(again.ids, expected_[0]);
  const auto length = static_cast<int64_t>(Prompt(0).ids.size());
  const bool is_read_whole = model_->Decoder().prompt_sees_itself;  // a prefix that sees itself cannot be cut
  if (model_->Decoder().states.empty() && !is_read_whole && length > 8) {
    EXPECT_EQ(again.reused_tokens, length - 1);
  }
  EXPECT_EQ(generator.Run(Prompt(1), Greedy()).ids, expected_[1]);
}

INSTANTIATE_TEST_SUITE_P(Files, PictureDecoders, ::testing::ValuesIn(PictureDecoderFiles()),
                         [](const auto& info) { return info.param; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PictureDecoders);

}  // namespace
}  // namespace fovea
