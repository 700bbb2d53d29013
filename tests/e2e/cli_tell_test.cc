// The bundled model that tells, as a user meets it: `fovea caption` and `fovea ask` without a model, on the pictures in
// samples/. How good it is stands in its card; here, that what comes out is what the parts say: the same text by name
// and by default, one that the model itself holds for likely, and a confidence that its calibration gave.
#include <set>

#include "cli_run.h"
#include "fovea/chat.h"
#include "runtime/answer_calibration.h"

namespace fovea::e2e {
namespace {

using nlohmann::json;

std::string Folder() { return testing::SourcePath("models/fovea-tell"); }

TEST(FoveaTell, CaptionsEverySample) {
  const Result result = RunFovea({"caption", testing::SourcePath("samples"), "--json"});
  EXPECT_EQ(result.exit, 0) << result.err;
  const std::vector<json> lines = result.Lines();
  ASSERT_EQ(lines.size(), 15u);
  const auto map = runtime::ReadAnswerCalibration(Folder()).caption;
  ASSERT_TRUE(map.has_value());
  const double least = map->values().front(), most = map->values().back();
  std::set<std::string> captions;
  for (const json& line : lines) {
    const std::string caption = line["caption"];
    EXPECT_GE(base::Split(caption, ' ').size(), 3u) << line;
    EXPECT_TRUE(std::ranges::none_of(caption, [](char c) { return c >= 'A' && c <= 'Z'; })) << "lower case: " << line;
    EXPECT_EQ(caption.find('['), std::string::npos) << "no control token: " << line;
    EXPECT_GE(line["confidence"].get<double>(), least - 1e-4);
    EXPECT_LE(line["confidence"].get<double>(), most + 1e-4);
    captions.insert(caption);
  }
  EXPECT_GE(captions.size(), 8u) << "pictures make a difference";
}

TEST(FoveaTell, AnswersByDefaultAsByName) {
  const std::string picture = testing::SourcePath("samples/cat.jpg"), question = "What animal is this?";
  const Result by_default = RunFovea({"ask", picture, "--question", question, "--json"});
  const Result by_name = RunFovea({"ask", picture, "--question", question, "--json", "--model", Folder()});
  EXPECT_EQ(by_default.exit, 0) << by_default.err;
  ASSERT_EQ(by_default.Lines().size(), 1u);
  EXPECT_EQ(by_default.Lines(), by_name.Lines());
  EXPECT_FALSE(by_default.Lines()[0]["answer"].get<std::string>().empty());
}

// Closed choices are told apart by their likelihood.
TEST(FoveaTell, SearchAndChoices) {
  const Chat chat(Model::Load(Folder()));
  const Image cat = ReadImage(testing::SourcePath("samples/cat.jpg"));
  const Answer found = chat.Caption(cat, chat.Defaults()), greedy = chat.Caption(cat);
  EXPECT_GT(chat.Defaults().beams, 1);
  EXPECT_TRUE(found.is_calibrated);
  EXPECT_FALSE(greedy.is_calibrated) << "the map is that of the model's own way of searching";
  const Message message{.text = "What animal is this?", .images = {cat}};
  const std::vector<std::string> choices = {"train", "cat"};
  const std::vector<ChoiceScore> scores = chat.Choose({&message, 1}, choices);
  EXPECT_NEAR(scores[0].probability + scores[1].probability, 1, 1e-9);
  EXPECT_EQ(scores[0].text, "cat");
}

}  // namespace
}  // namespace fovea::e2e
