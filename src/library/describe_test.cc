#include "fovea/describe.h"

#include <gtest/gtest.h>

#include "testing/golden.h"

namespace fovea {
namespace {

Scene SceneOf(const std::string& caption, double confidence, const std::string& unsupported = "") {
  Scene scene{.caption = caption, .confidence = confidence};
  for (Mention& thing : ThingsIn(caption)) {
    Match match;
    match.is_supported = thing.name != unsupported;
    match.thing = std::move(thing);
    scene.things.push_back(std::move(match));
  }
  return scene;
}

TEST(Describe, HedgesByConfidence) {
  EXPECT_EQ(Describe(SceneOf("a cat on a sofa.", 0.9), 1), "A cat on a sofa.");
  EXPECT_EQ(Describe(SceneOf("A cat on a sofa", 0.5), 1), "Probably a cat on a sofa.");
  EXPECT_EQ(Describe(SceneOf("a cat on a sofa.", 0.2), 1), "Perhaps a cat on a sofa, but this is not sure.");
  EXPECT_EQ(Describe(SceneOf("a cat beside a dog.", 0.9, "dog"), 1), "A cat beside a dog (not confirmed: dog).");
}

TEST(Describe, TellsPeopleThingsSettingAndText) {
  Scene scene = SceneOf("a woman and two children eat apples at a table.", 0.9);
  scene.labels = {
      {"dining table, board", 1, 0.9f}, {"Granny Smith", 2, 0.7f}, {"plate rack", 3, 0.3f}, {"eggnog", 4, 0.1f}};
  scene.setting = {"a kitchen", 0, 0.7f};
  scene.text = "OPEN";
  EXPECT_EQ(
      Describe(scene, 3),
      "A woman and two children eat apples at a table. It shows a woman, children, apples, a table and a Granny Smith, "
      "and perhaps a plate rack. The setting is probably a kitchen; the text in it reads: \"OPEN\".");
  Scene doubtful = SceneOf("a man with a horse and an umbrella", 0.3);
  doubtful.things[0].score = 0.9;
  doubtful.things[1].score = 0.6;
  doubtful.things[2].score = 0.5;
  EXPECT_EQ(
      Describe(doubtful, 3),
      "Perhaps a man with a horse and an umbrella, but this is not sure. It shows a man, and perhaps a horse and an "
      "umbrella.");
  Scene empty = SceneOf("a blue sky.", 0.9);
  empty.person = 0.1;
  empty.setting = {"the sea", 0, 0.2f};
  EXPECT_EQ(Describe(empty, 3), "A blue sky. No people were found.");
}

TEST(Describe, RefusesWhatItCannotTell) {
  testing::ExpectError([] { Describe(SceneOf("a cat", 1), 2); }, "expected 1 or 3 sentences");
  testing::ExpectError([] { Describe(SceneOf(" . ", 1), 1); }, "expected a caption");
}

}  // namespace
}  // namespace fovea
