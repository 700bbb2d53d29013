// `fovea eval`: one object a task, failures told and counted, wrong usage refused.
#include "cli_run.h"
#include "testing/shard.h"

namespace fovea::e2e {
namespace {

class CliEval : public ::testing::Test {
 protected:
  CliEval() {
    const auto picture = [](const std::string& name) { return base::ReadTextFile(Sample(name)); };
    testing::WriteShard(shard_, {{"0.jpg", picture("cat.jpg")},
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
  // Two pictures, each in a bin of its own or both in one: the error is between 0 and 1, the confidence of two classes
  // at least a half.
  EXPECT_GE(object["confidence"], 0.5);
  EXPECT_LE(object["ece"], 1.0);
}

TEST_F(CliEval, CaptionsAndAnswersComeFromAFile) {
  const std::string captions = folder_.File("captions.jsonl"), answers = folder_.File("answers.jsonl"),
                    shard = folder_.File("text.tar");
  testing::WriteShard(
      shard, {{"0.json", R"({"captions": ["a cat"], "qa": [{"question": "is it red?", "answers": ["no"]}]})"},
              {"1.json", R"({"captions": ["two cups"], "qa": [{"question": "how many?", "answers": ["2"]}]})"}});
  base::WriteTextFileAtomically(captions,
                                "{\"key\": \"0\", \"caption\": \"A cat.\"}\n{\"key\": \"1\", \"caption\": \"x\"}\n");
  base::WriteTextFileAtomically(answers, "{\"key\": \"1\", \"question\": \"how many?\", \"answer\": \"Two\"}\n");
  const Result caption = RunFovea({"eval", "caption", "--data", shard, "--predictions", captions, "--json"});
  EXPECT_EQ(caption.exit, 0) << caption.err;
  EXPECT_EQ(caption.Lines().at(0)["n"], 2);
  EXPECT_EQ(caption.Lines().at(0)["rouge_l"], 0.5);
  const Result vqa = RunFovea({"eval", "vqa", "--data", shard, "--predictions", answers, "--json"});
  EXPECT_EQ(vqa.exit, 1);
  EXPECT_NE(vqa.err.find("\"is it red?\" has no answer"), std::string::npos) << vqa.err;
  EXPECT_EQ(vqa.Lines().at(0)["accuracy"], 1.0);
  EXPECT_EQ(vqa.Lines().at(0)["by_answer_type"][0]["type"], "number");
  const Result refused =
      RunFovea({"eval", "caption", "--data", shard, "--model", testing::SourcePath("tests/golden/clip_tiny")});
  EXPECT_EQ(refused.exit, 1);
  EXPECT_NE(refused.err.find("--predictions"), std::string::npos) << refused.err;
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
