// The contrastive loss where several captions are right for a picture, against PyTorch; and the towers that can be
// entered in the middle, against the stages of the reference.
#include "train/caption_sets.h"

#include <gtest/gtest.h>

#include "formats/safetensors.h"
#include "runtime/loaded_model.h"
#include "testing/golden.h"
#include "testing/testing.h"

namespace fovea::train {
namespace {

// torch: cross_entropy(L, T) and cross_entropy(L.t(), T), mean, in f64; T shares 0.9 among what is right, plus 0.1 / 3.
TEST(SharedContrastiveLoss, IsPyTorchsCrossEntropyWithSharedTargets) {
  const Tensor logits = Tensor::FromValues<float>({3, 3}, {2.0f, -1.0f, 0.5f, 0.0f, 3.0f, -2.0f, 1.5f, 0.25f, 1.0f});
  const std::vector<bool> is_same = {true, false, true, false, true, false, true, false, true};
  Tape tape;
  tape.Watch(logits);
  const Tensor loss = SharedContrastiveLoss(logits, is_same, 0.1f);
  EXPECT_NEAR(loss.item(), 0.7205113596f, 1e-6);
  const float expected[] = {0.0655f, -0.0018f, -0.0709f, 0.0097f, 0.0006f, -0.0050f, -0.0150f, 0.0240f, -0.0071f};
  const Tensor gradient = tape.Backward(loss)[logits].Contiguous();
  for (int i = 0; i < 9; ++i) EXPECT_NEAR(gradient.data<float>()[i], expected[i], 6e-5) << i;
}

TEST(SharedContrastiveLoss, RefusesWhatIsNotSquare) {
  fovea::testing::ExpectError(
      [] {
        SharedContrastiveLoss(Tensor::Zeros({2, 3}), std::vector<bool>(6), 0.1f);
      },
      "[N,N]");
}

TEST(Trunk, GivesTheStagesOfTheReferenceAndGoesOnFromThem) {
  const auto golden =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/fovea_dual_encoder_base.safetensors"));
  const base::Config config = base::Config::Parse(golden.metadata().at("config"), "golden");
  const models::Entry& entry = runtime::FindEntry(config);
  const auto model = entry.create(config);
  std::vector<NamedTensor> weights;
  for (const auto& info : golden.tensors()) {
    if (info.name.starts_with("weights.")) weights.push_back({info.name.substr(8), golden.Get(info.name)});
  }
  runtime::AssignParameters(*model, entry, weights, "golden");
  const Tensor pixels = golden.Get("input.pixels");
  ASSERT_EQ(model->TrunkBlocks(), 3);
  for (int64_t blocks = 1; blocks <= 3; ++blocks) {
    const Tensor expected = golden.Get("stage.vision.blocks." + std::to_string(blocks - 1));
    testing::ExpectClose(model->EncodeTrunk(pixels, blocks), expected, 1e-4f, "trunk");
    testing::ExpectClose(model->EncodeFromTrunk(expected, blocks).features, golden.Get("output.features"), 1e-4f,
                         "rest");
  }
}

}  // namespace
}  // namespace fovea::train
