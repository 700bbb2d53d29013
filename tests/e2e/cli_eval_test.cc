// `fovea eval`: one object a task, failures told and counted, wrong usage refused.
#include "cli_run.h"
#include "eval/shard_testing.h"

namespace fovea::e2e {
namespace {

class CliEval : public ::testing::Test {
 protected:
  CliEval() {
    const auto picture = [](const std::string& name) { return base::ReadTextFile(Sample(name)); };
    eval::WriteShard(shard_, {{"0.jpg", picture("cat.jpg")},
                              {"0.json", R"({"captions": ["a cat", "cat"], "labels": {"name": "cat"}})"},
                              {"1.jpg", picture("coffee.jpg")},
                              {"1.json", R"({"captions": ["coffee"], "labels": {"name": "coffee"}})"},
                              {"2.jpg", "no picture"},
                              {"2.json", R"({"captions": ["nothing"], "labels": {"name": "cat"}})"}});
  }
  nlohmann::json Eval(std::vector<std::string> arguments, int exit) {
    arguments.insert(arguments.begin(), "eval");
    arguments.insert(arguments.end(),
                     {"--data", shard_, "--model", testing::SourcePath("tests/golden/clip_tiny"), "--json"});
    const Result result = RunFovea(arguments, {"XDG_CACHE_HOME=" + folder_.path()});
    EXPECT_EQ(result.exit, exit) << result.err;
    EXPECT_NE(result.err.find("2.jpg"), std::string::npos) << result.err;
    const auto lines = result.Lines();
    return lines.size() == 1 ? lines[0] : nlohmann::json();
  }

  testing::TemporaryFolder folder_;
  std::string shard_ = folder_.File("shard.tar");
};

TEST_F(CliEval, RetrievalIsOneObject) {
  const nlohmann::json object = Eval({"retrieval"}, 1);
  EXPECT_EQ(object["n"], 2);
  EXPECT_EQ(object["texts"], 3);
  EXPECT_EQ(object["failed"], 1);
  EXPECT_EQ(object["text_to_image"]["r5"], 1.0);
  EXPECT_EQ(object["image_to_text"]["ci95"]["r10"], nlohmann::json({1.0, 1.0}));
}

TEST_F(CliEval, ClassesAreTheValuesInTheShards) {
  const nlohmann::json object = Eval({"classify", "--by-class", "--resamples", "0"}, 1);
  EXPECT_EQ(object["n"], 2);
  EXPECT_EQ(object["classes"], 2);
  EXPECT_EQ(object["by_class"].size(), 2u);
  EXPECT_FALSE(object["ci95"].contains("top1"));
}

TEST_F(CliEval, LearningNeedsSomethingToLearnFrom) {
  const Result result = RunFovea({"eval", "knn", "--data", shard_});
  EXPECT_EQ(result.exit, 2);
  EXPECT_NE(result.err.find("--train"), std::string::npos) << result.err;
  const nlohmann::json object = Eval({"knn", "--train", shard_, "--k", "1"}, 1);
  EXPECT_EQ(object["top1"], 1.0);
  EXPECT_EQ(object["train_n"], 2);
}

}  // namespace
}  // namespace fovea::e2e
