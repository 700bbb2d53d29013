// Captions and answers against the numbers of pycocoevalcap and of VQA's own script
// (tools/dump_caption_metrics_golden.py), and the walk over shards against counting by hand.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/key_share.h"
#include "eval/ptb_tokenizer.h"
#include "eval/stemmer.h"
#include "fovea/eval_text.h"
#include "runtime/answer_calibration.h"
#include "testing/golden.h"
#include "testing/shard.h"

namespace fovea {
namespace {

constexpr double kTolerance = 1e-4;

nlohmann::json Golden(const char* part) {
  const std::string path = testing::SourcePath("tests/golden/eval/text.json");
  return base::ParseJson(base::ReadTextFile(path), path)[part];
}

std::vector<JudgedCaption> StoredCaptions(const nlohmann::json& golden) {
  std::vector<JudgedCaption> captions;
  for (size_t i = 0; i < golden["predictions"].size(); ++i)
    captions.push_back({golden["predictions"][i], golden["references"][i].get<std::vector<std::string>>()});
  return captions;
}

TEST(Captions, WordsAreThoseOfPtbTokenizer) {
  for (const auto& stored : Golden("tokens")) {
    EXPECT_EQ(eval::CaptionTokens(stored["text"].get<std::string>()), stored["tokens"].get<std::vector<std::string>>())
        << stored["text"];
  }
  EXPECT_EQ(CaptionWords("2 1/2 cups"), (std::vector<std::string>{"2", "1/2", "cups"}));
  EXPECT_EQ(CaptionWords("a \xFF\xC3 dog\ntwo"), (std::vector<std::string>{"a", "dog", "two"}));
  EXPECT_TRUE(CaptionWords("").empty());
}

TEST(Captions, StemsAreThoseOfSnowball) {
  // From Snowball's own vocabulary.
  const std::pair<const char*, const char*> kStems[] = {{"running", "run"},
                                                        {"dogs", "dog"},
                                                        {"children", "children"},
                                                        {"ponies", "poni"},
                                                        {"ties", "tie"},
                                                        {"hopping", "hop"},
                                                        {"hoping", "hope"},
                                                        {"generally", "general"},
                                                        {"generate", "generat"},
                                                        {"agreed", "agre"},
                                                        {"dying", "die"},
                                                        {"skies", "sky"},
                                                        {"relational", "relat"},
                                                        {"happily", "happili"},
                                                        {"sitting", "sit"},
                                                        {"knives", "knive"},
                                                        {"communication", "communic"},
                                                        {"boy's", "boy"},
                                                        {"gas", "gas"},
                                                        {"this", "this"},
                                                        {"proceed", "proceed"},
                                                        {"grassy", "grassi"},
                                                        {"controlling", "control"},
                                                        {"youth", "youth"}};
  for (const auto& [word, stem] : kStems) EXPECT_EQ(eval::EnglishStem(word), stem) << word;
}

TEST(Captions, ScoresAreThoseOfPycocoevalcap) {
  const nlohmann::json golden = Golden("captions");
  const std::vector<JudgedCaption> captions = StoredCaptions(golden);
  const CaptionReport report = MeasureCaptions(captions);
  ASSERT_EQ(report.n, 60);
  const auto expect = [](const CaptionScores& found, const nlohmann::json& bleu, double rouge_l, double meteor,
                         double cider_d, const std::string& what) {
    for (size_t n = 0; n < 4; ++n) EXPECT_NEAR(found.bleu[n], bleu[n], kTolerance) << what << " BLEU-" << n + 1;
    EXPECT_NEAR(found.rouge_l, rouge_l, kTolerance) << what;
    EXPECT_NEAR(found.meteor, meteor, kTolerance) << what;
    EXPECT_NEAR(found.cider_d, cider_d, kTolerance) << what;
  };
  const auto& total = golden["total"];
  expect(report.total, total["bleu"], total["rouge_l"], total["meteor"], total["cider_d"], "total");
  const auto& each = golden["each"];
  for (size_t i = 0; i < captions.size(); ++i) {
    nlohmann::json bleu;
    for (size_t n = 0; n < 4; ++n) bleu.push_back(each["bleu"][n][i]);
    expect(report.each[i], bleu, each["rouge_l"][i], each["meteor"][i], each["cider_d"][i], captions[i].caption);
  }
  EXPECT_LT(report.intervals.cider_d.low, report.total.cider_d);
  EXPECT_GT(report.intervals.cider_d.high, report.total.cider_d);
  EXPECT_LT(report.intervals.bleu[3].low, report.total.bleu[3]);
}

TEST(Captions, FrequenciesOfAFileScoreSentencesAsTheCorpusDoes) {
  const nlohmann::json golden = Golden("captions");
  const std::vector<JudgedCaption> captions = StoredCaptions(golden);
  std::vector<std::vector<std::string>> references;
  for (const JudgedCaption& judged : captions) references.push_back(judged.references);
  const testing::TemporaryFolder folder;
  const std::string path = folder.File("frequencies.tsv");
  CiderD::FromReferences(references).Save(path);
  const CiderD cider = CiderD::Load(path);
  EXPECT_EQ(cider.pictures(), 60);
  for (size_t i = 0; i < captions.size(); ++i) {
    const CiderD::References prepared = cider.Prepare(captions[i].references);
    EXPECT_NEAR(cider.Score(captions[i].caption, prepared), golden["each"]["cider_d"][i], kTolerance);
  }
  EXPECT_EQ(cider.Score("a dog", cider.Prepare({})), 0);
  // Words that no reference of the frequencies holds are told apart.
  const std::vector<std::string> unseen = {"a xylophone quaffs"};
  EXPECT_NEAR(cider.Score("a xylophone quaffs", cider.Prepare(unseen)), 7.5, 1e-9);  // no 4-gram
  EXPECT_LT(cider.Score("a xylophone zigzags", cider.Prepare(unseen)), 5);
  const CiderD other = CiderD::Load(path);
  testing::ExpectError([&] { other.Score("a dog", cider.Prepare({})); }, "that this CiderD prepared");
  for (const char* bad :
       {"", "fovea-cider 2 9\n", "fovea-cider 1 0\n", "fovea-cider 1 9\n10\tdog\n", "fovea-cider 1 9\n3 dog\n",
        "fovea-cider 1 9\n3\ta b c d e\n", "fovea-cider 1 9\n3\ta  b\n", "fovea-cider 1 9\n3\ta\n3\ta\n"}) {
    base::WriteTextFileAtomically(path, bad);
    testing::ExpectError([&] { CiderD::Load(path); }, "frequencies.tsv");
  }
}

TEST(Captions, PredictionsMeetTheSamplesOfShards) {
  const testing::TemporaryFolder folder;
  const std::string shard = folder.File("a.tar"), file = folder.File("p.jsonl");
  testing::WriteShard(shard, {{"1.json", R"({"captions": ["A dog runs.", "A dog is running on grass."]})"},
                              {"2.json", R"({"captions": ["Two cats."]})"},
                              {"3.json", R"({"captions": ["A house."]})"},
                              {"4.json", R"({"labels": {}})"}});
  base::WriteTextFileAtomically(file,
                                "{\"key\": \"1\", \"caption\": \"a dog runs\"}\n\n"
                                "{\"key\": \"2\", \"caption\": \"one bird\", \"more\": 1}\n"
                                "{\"key\": \"9\", \"caption\": \"x\"}\n");
  std::vector<std::string> reasons;
  const CaptionMetrics metrics = EvaluateCaptions(
      ReadCaptionPredictions(file), {shard},
      {.on_failure = [&](const std::string&, const std::string& reason) { reasons.push_back(reason); }});
  EXPECT_EQ(metrics.report.n, 2);
  EXPECT_EQ(metrics.failed, 1);
  EXPECT_EQ(metrics.without, 1);
  EXPECT_EQ(metrics.unknown, 1);
  EXPECT_EQ(metrics.keys, (std::vector<std::string>{"1", "2"}));
  EXPECT_NEAR(metrics.report.each[0].rouge_l, 1, 1e-12);
  EXPECT_EQ(metrics.report.each[1].rouge_l, 0);
  ASSERT_EQ(reasons.size(), 1u);
  EXPECT_NE(reasons[0].find("3 has no prediction"), std::string::npos) << reasons[0];
  base::WriteTextFileAtomically(file, "{\"key\": \"1\", \"caption\": \"a\"}\n{\"key\": \"1\", \"caption\": \"b\"}\n");
  testing::ExpectError([&] { ReadCaptionPredictions(file); }, "p.jsonl line 2: 1 was predicted before");
  base::WriteTextFileAtomically(file, "{\"key\": \"1\"}\n");
  testing::ExpectError([&] { ReadCaptionPredictions(file); }, "line 1: expected \"caption\"");
  testing::ExpectError([&] { EvaluateCaptions(std::map<std::string, std::string>(), {shard}); }, "found none");
}

TEST(Captions, AModelIsAskedForTheCaptionsOfPictures) {
  const testing::TemporaryFolder folder;
  const std::string shard = folder.File("a.tar");
  testing::WriteShard(shard,
                      {{"1.jpg", base::ReadTextFile(testing::SourcePath("samples/cat.jpg"))},
                       {"1.json", R"({"captions": ["A cat."], "qa": [{"question": "What is it?", "answers": ["cat"]},
                                          {"question": "how many?", "answers": ["1"]}]})"}});
  const CaptionMetrics captions = EvaluateCaptions(
      [](std::span<const Image> images) { return std::vector<std::string>(images.size(), "a cat"); }, {shard});
  EXPECT_EQ(captions.report.total.rouge_l, 1);
  const VqaMetrics answers = EvaluateAnswers(
      [](const Image& image, std::span<const std::string> questions) {
        EXPECT_GT(image.width, 0);
        EXPECT_EQ(questions.size(), 2u);
        return std::vector<std::string>(questions.size(), "one");
      },
      {shard});
  EXPECT_EQ(answers.accuracy, 0.5);
}

TEST(Answers, AreNormalisedAsVqaDoesIt) {
  const nlohmann::json golden = Golden("answers");
  for (size_t i = 0; i < golden["raw"].size(); ++i)
    EXPECT_EQ(NormaliseAnswer(golden["raw"][i]), golden["normal"][i]) << golden["raw"][i];
  for (const auto& judged : golden["judged"]) {
    EXPECT_NEAR(VqaAccuracy(judged["answer"].get<std::string>(), judged["people"].get<std::vector<std::string>>(),
                            AnswerRule::kOfficial),
                judged["official"], 1e-9)
        << judged;
  }
}

TEST(Answers, FewPeopleAreEnoughForTheEvenRule) {
  const auto accuracy = [](const std::string& answer, const std::vector<std::string>& people) {
    return VqaAccuracy(answer, people);
  };
  EXPECT_EQ(accuracy("toy house", {"toy_house"}), 1);
  EXPECT_EQ(accuracy("dog", {"cat"}), 0);
  EXPECT_EQ(accuracy("dog", {"dog", "cat"}), 0.5);
  EXPECT_EQ(accuracy("dog", {"dog", "dog"}), 1);
  EXPECT_NEAR(accuracy("dog", {"dog", "cat", "cat"}), 1.0 / 3, 1e-12);
  // Ten people: 3 of them give 0.9, as is known from the formula.
  std::vector<std::string> ten(10, "no");
  for (int i = 0; i < 3; ++i) ten[static_cast<size_t>(i)] = "yes";
  EXPECT_NEAR(accuracy("yes", ten), 0.9, 1e-12);
  EXPECT_NEAR(VqaAccuracy("yes", ten, AnswerRule::kOfficial), 0.9, 1e-12);
  testing::ExpectError([&] { accuracy("dog", {}); }, "got none");
}

TEST(Answers, ShardsAreCountedByKindOfQuestionAndAnswer) {
  const testing::TemporaryFolder folder;
  const std::string shard = folder.File("a.tar"), train = folder.File("b.tar"), file = folder.File("p.jsonl");
  testing::WriteShard(shard, {{"1.json", R"({"qa": [{"question": "What is it?", "answers": ["dog"]},
                                          {"question": "what is that?", "answers": ["dog"]},
                                          {"question": "Is it red?", "answers": ["yes"]}]})"},
                              {"2.json", R"({"qa": [{"question": "How many dogs?", "answers": ["2"]},
                                          {"question": "what is here", "answers": ["cat"]}, {"question": 3}]})"},
                              {"3.json", R"({"captions": ["x"]})"}});
  testing::WriteShard(train, {{"1.json", R"({"qa": [{"question": "what is up?", "answers": ["cat"]},
                                          {"question": "how many?", "answers": ["2"]},
                                          {"question": "how many?", "answers": ["two"]}]})"}});
  base::WriteTextFileAtomically(file, R"({"key": "1", "question": "What is it?", "answer": "a dog."}
{"key": "1", "question": "what is that?", "answer": "cat"}
{"key": "1", "question": "Is it red?", "answer": "Yes"}
{"key": "2", "question": "How many dogs?", "answer": "two"}
{"key": "2", "question": "other", "answer": "two"}
)");
  const AnswerPredictions predictions = ReadAnswerPredictions(file);
  const VqaMetrics metrics = EvaluateAnswers(predictions, {shard});
  EXPECT_EQ(metrics.n, 4);
  EXPECT_EQ(metrics.pictures, 2);
  EXPECT_EQ(metrics.failed, 1);
  EXPECT_EQ(metrics.without, 1);
  EXPECT_EQ(metrics.unknown, 1);
  EXPECT_EQ(metrics.accuracy, 0.75);
  EXPECT_EQ(metrics.majority, 0.5);        // dog
  EXPECT_EQ(metrics.majority_by_type, 1);  // what is: dog; is it: yes; how many: 2
  ASSERT_EQ(metrics.by_question_type.size(), 3u);
  EXPECT_EQ(metrics.by_question_type[0].name, "what is");
  EXPECT_EQ(metrics.by_question_type[0].n, 2);
  EXPECT_EQ(metrics.by_question_type[0].accuracy, 0.5);
  ASSERT_EQ(metrics.by_answer_type.size(), 3u);
  EXPECT_EQ(metrics.by_answer_type[0].name, "other");
  EXPECT_EQ(metrics.by_answer_type[0].majority, 1);
  const VqaMetrics learnt = EvaluateAnswers(predictions, {shard}, {}, {.train = {train}});
  EXPECT_EQ(learnt.majority, 0.25);          // 2
  EXPECT_EQ(learnt.majority_by_type, 0.25);  // what is: cat; how many: 2; is it: unknown, so 2
}

TEST(Answers, HeldBackSamplesAreJudgedAloneAndTeachNothing) {
  const testing::TemporaryFolder folder;
  const std::string shard = folder.File("a.tar"), file = folder.File("p.jsonl");
  std::vector<std::pair<std::string, std::string>> files;
  std::string predictions;
  int64_t held_back = 0;
  for (int i = 0; i < 200; ++i) {
    const std::string key = "k" + std::to_string(i);
    const bool is_held_back = base::IsHeldBack(key, 0.2);
    held_back += is_held_back ? 1 : 0;
    files.emplace_back(key + ".json", R"({"qa": [{"question": "what?", "answers": [")" +
                                          std::string(is_held_back ? "cat" : "dog") + R"("]}]})");
    predictions += R"({"key": ")" + key + R"(", "question": "what?", "answer": "cat"})" + "\n";
  }
  testing::WriteShard(shard, files);
  base::WriteTextFileAtomically(file, predictions);
  EXPECT_GT(held_back, 20);
  EXPECT_LT(held_back, 60);
  const VqaMetrics metrics =
      EvaluateAnswers(ReadAnswerPredictions(file), {shard}, {.held_back = 0.2}, {.train = {shard}});
  EXPECT_EQ(metrics.n, held_back);
  EXPECT_EQ(metrics.accuracy, 1);
  EXPECT_EQ(metrics.majority, 0) << "every sample that may teach says dog";
  EXPECT_EQ(metrics.each, std::vector<double>(static_cast<size_t>(held_back), 1.0));
}

TEST(Confidence, AMapMendsWhatIsTooSure) {
  // Texts written with confidence c are right with probability c^2.
  std::vector<double> confidences, scores;
  for (int i = 0; i < 6000; ++i) {
    const double c = (i * 37 % 1000 + 0.5) / 1000, chance = (i * 911 % 997 + 0.5) / 997;
    confidences.push_back(c);
    scores.push_back(chance < c * c ? 0.9 : 0.1);
  }
  const testing::TemporaryFolder folder;
  const std::string file = folder.File("calibration.json");
  base::WriteTextFileAtomically(file, R"({"answer": {"confidence": [0.5], "right": [0.25]}})");
  const ConfidenceReport report = MeasureConfidence(confidences, scores, {.kind = "caption", .file = file});
  EXPECT_EQ(report.n, 6000);
  EXPECT_NEAR(report.right, 1.0 / 3, 0.02);
  EXPECT_NEAR(report.ece, 1.0 / 2 - 1.0 / 3, 0.02);
  EXPECT_TRUE(report.is_calibrated);
  EXPECT_LT(report.ece_calibrated, 0.04);
  EXPECT_LT(report.brier_calibrated, report.brier - 0.02);
  const runtime::AnswerCalibration kept = runtime::ReadAnswerCalibration(folder.path());
  ASSERT_TRUE(kept.caption.has_value() && kept.answer.has_value());
  for (const double c : {0.2, 0.5, 0.8}) EXPECT_NEAR((*kept.caption)(c), c * c, 0.05) << c;
  EXPECT_EQ((*kept.answer)(0.9), 0.25);
  testing::ExpectError([&] { MeasureConfidence(confidences, {}, {}); }, "as many scores as confidences");
  base::WriteTextFileAtomically(file, R"({"answer": {"confidence": [0.5, 0.4], "right": [0.25, 0.3]}})");
  testing::ExpectError([&] { runtime::ReadAnswerCalibration(folder.path()); }, "expected rising places");
}

}  // namespace
}  // namespace fovea
