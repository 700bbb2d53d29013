// `fovea eval caption`, `vqa` and `pope`: how good what was written is, by a model or in a file of predictions, and
// whether a model says that things are there which are not.
#include <cmath>
#include <cstdio>
#include <optional>

#include "commands/common.h"
#include "commands/eval_tasks.h"
#include "commands/language.h"
#include "fovea/eval_pope.h"
#include "fovea/eval_text.h"
#include "fovea/grounding.h"

namespace fovea::cli {
namespace {

// From which score on a text counts as right where its confidence is judged: CIDEr-D of a caption, VQA accuracy.
constexpr double kRightCider = 0.5, kRightAnswer = 0.5;
constexpr const char* kHint = "--model with one that does, or a file of what was written with --predictions";

// What the model says of its own texts, in the order in which it writes them.
using Confidences = std::vector<double>;

Captioner CaptionerOf(const Job& job, Confidences& confidences) {
  const Chat chat = OpenChat(job.arguments, "caption pictures", kHint);
  return [&, chat, settings = SettingsOf(job.arguments.generate, chat)](std::span<const Image> images) {
    std::vector<std::string> captions;
    for (const Image& image : images) {
      const Answer caption = chat.Caption(image, settings, &interrupted);
      captions.push_back(Trimmed(caption.text));
      confidences.push_back(caption.confidence);
    }
    return captions;
  };
}

Answerer AnswererOf(const Job& job, Confidences& confidences) {
  const Chat chat = OpenChat(job.arguments, "answer questions", kHint);
  return [&, chat, settings = SettingsOf(job.arguments.generate, chat)](const Image& image,
                                                                        std::span<const std::string> questions) {
    std::vector<std::string> answers;
    for (const std::string& question : questions) {
      const Message message{.text = question, .images = {image}};
      const Answer answer = chat.Reply({&message, 1}, settings, nullptr, &interrupted);
      answers.push_back(Trimmed(answer.text));
      confidences.push_back(answer.confidence);
    }
    return answers;
  };
}

// How far the model's confidences can be believed; with --calibrate the map that mends them is written.
Json ConfidenceObject(const Job& job, const char* kind, const Confidences& confidences,
                      const std::vector<double>& scores, double right_from) {
  if (confidences.empty() || confidences.size() != scores.size()) return {};
  const ConfidenceReport report = MeasureConfidence(
      confidences, scores, {.right_from = right_from, .kind = kind, .file = job.arguments.eval.calibrate});
  Json object = {{"n", report.n},
                 {"right_from", right_from},
                 {"right", report.right},
                 {"ece", report.ece},
                 {"brier", report.brier}};
  if (report.is_calibrated) {
    object["ece_calibrated"] = report.ece_calibrated;
    object["brier_calibrated"] = report.brier_calibrated;
  }
  object["reliability"] = Json::array();
  for (const ConfidenceReport::Bin& bin : report.bins)
    object["reliability"].push_back({{"n", bin.n}, {"confidence", bin.confidence}, {"right", bin.right}});
  return object;
}

void TellUnknown(int64_t unknown, Console& console) {
  if (unknown > 0) console.Note(Count(unknown) + " predictions belong to nothing in the shards");
}

// "0.973 (0.941-1.005)"
std::string Number(double value, const Interval& interval, const Console& console) {
  char text[64];
  std::snprintf(text, sizeof text, "%.3f", value);
  std::string number = console.Bold(text);
  if (std::isnan(interval.low)) return number;
  std::snprintf(text, sizeof text, " (%.3f-%.3f)", interval.low, interval.high);
  return number + console.Dim(text);
}

Json CaptionObject(const CaptionMetrics& metrics) {
  const CaptionReport& report = metrics.report;
  Json object = {{"task", "caption"},
                 {"n", report.n},
                 {"failed", metrics.failed},
                 {"without_caption", metrics.without},
                 {"unknown", metrics.unknown},
                 {"cider_d", report.total.cider_d},
                 {"bleu1", report.total.bleu[0]},
                 {"bleu2", report.total.bleu[1]},
                 {"bleu3", report.total.bleu[2]},
                 {"bleu4", report.total.bleu[3]},
                 {"rouge_l", report.total.rouge_l},
                 {"meteor_exact_stem", report.total.meteor}};
  Json ci = Json::object();
  AddInterval(ci, "cider_d", report.intervals.cider_d);
  for (size_t n = 0; n < 4; ++n) AddInterval(ci, "bleu" + std::to_string(n + 1), report.intervals.bleu[n]);
  AddInterval(ci, "rouge_l", report.intervals.rouge_l);
  AddInterval(ci, "meteor_exact_stem", report.intervals.meteor);
  object["ci95"] = ci;
  object["seconds"] = Rounded(metrics.seconds);
  return object;
}

Json GroupsObject(const std::vector<VqaMetrics::Group>& groups) {
  Json list = Json::array();
  for (const VqaMetrics::Group& group : groups)
    list.push_back(
        {{"type", Printable(group.name)}, {"n", group.n}, {"accuracy", group.accuracy}, {"majority", group.majority}});
  return list;
}

void PrintGroups(const char* title, const std::vector<VqaMetrics::Group>& groups, size_t most, Console& console) {
  console.Line(console.Dim(title));
  for (size_t i = 0; i < groups.size() && i < most; ++i)
    console.Line("  " + Percent(groups[i].accuracy) + console.Dim("  guessing " + Percent(groups[i].majority)) +
                 "  of " + Count(groups[i].n) + "  " + Printable(groups[i].name));
  if (groups.size() > most)
    console.Line(console.Dim("  and " + Count(static_cast<int64_t>(groups.size() - most)) + " more (--json)"));
}

// A model that compares pictures with texts looks for the thing; one that writes is asked for "yes" or "no".
PresenceJudge JudgeOf(const Job& job, const Model& model) {
  if (Can(model, "match")) {
    return [grounder = Grounder(model)](const Image& image, std::span<const std::string> things) {
      const Grounder::Sight sight = grounder.See(image);
      std::vector<double> scores;
      for (const std::string& thing : things) scores.push_back(grounder.Find(sight, thing).score);
      return scores;
    };
  }
  return [chat = ChatWith(model, job.arguments)](const Image& image, std::span<const std::string> things) {
    static const std::vector<std::string> kChoices = {"yes", "no"};
    std::vector<double> scores;
    for (const std::string& thing : things) {
      const std::string article = std::string("aeiou").find(thing[0]) != std::string::npos ? "an " : "a ";
      const Message message{.text = "Is there " + article + thing + " in the picture?", .images = {image}};
      const std::vector<ChoiceScore> said = chat.Choose({&message, 1}, kChoices);
      scores.push_back(said[0].text == "yes" ? said[0].probability : said[1].probability);
    }
    return scores;
  };
}

}  // namespace

int64_t EvalCaption(const Job& job) {
  const EvalArguments& eval = job.arguments.eval;
  std::optional<CiderD> loaded;
  if (!eval.frequencies.empty()) loaded = CiderD::Load(eval.frequencies);
  const CiderD* frequencies = loaded ? &*loaded : nullptr;
  const auto& shards = job.arguments.shards;
  Confidences confidences;
  const CaptionMetrics metrics =
      eval.predictions.empty()
          ? EvaluateCaptions(CaptionerOf(job, confidences), shards, job.options, frequencies)
          : EvaluateCaptions(ReadCaptionPredictions(eval.predictions), shards, job.options, frequencies);
  job.console.EndProgress();
  TellUnknown(metrics.unknown, job.console);
  std::vector<double> ciders;
  for (const CaptionScores& each : metrics.report.each) ciders.push_back(each.cider_d);
  const Json confidence = ConfidenceObject(job, "caption", confidences, ciders, kRightCider);
  if (job.arguments.json) {
    Json object = CaptionObject(metrics);
    if (!confidence.empty()) object["confidence"] = confidence;
    job.console.Json(object);
    return metrics.failed;
  }
  const CaptionReport& report = metrics.report;
  const auto line = [&](const char* name, double value, const Interval& interval) {
    job.console.Line(PadRight(name, 20) + Number(value, interval, job.console));
  };
  line("CIDEr-D", report.total.cider_d, report.intervals.cider_d);
  for (size_t n = 0; n < 4; ++n)
    line(("BLEU-" + std::to_string(n + 1)).c_str(), report.total.bleu[n], report.intervals.bleu[n]);
  line("ROUGE-L", report.total.rouge_l, report.intervals.rouge_l);
  line("METEOR (exact, stem)", report.total.meteor, report.intervals.meteor);
  job.console.Line(job.console.Dim(Count(report.n) + " captions, in " + Duration(metrics.seconds)));
  return metrics.failed;
}

int64_t EvalVqa(const Job& job) {
  constexpr size_t kTypesShown = 10;
  const EvalArguments& eval = job.arguments.eval;
  const VqaOptions rules{.rule = eval.is_official ? AnswerRule::kOfficial : AnswerRule::kEven, .train = eval.train};
  const auto& shards = job.arguments.shards;
  Confidences confidences;
  const VqaMetrics metrics = eval.predictions.empty()
                                 ? EvaluateAnswers(AnswererOf(job, confidences), shards, job.options, rules)
                                 : EvaluateAnswers(ReadAnswerPredictions(eval.predictions), shards, job.options, rules);
  job.console.EndProgress();
  TellUnknown(metrics.unknown, job.console);
  const Json confidence = ConfidenceObject(job, "answer", confidences, metrics.each, kRightAnswer);
  if (job.arguments.json) {
    Json object = {{"task", "vqa"},
                   {"n", metrics.n},
                   {"pictures", metrics.pictures},
                   {"failed", metrics.failed},
                   {"without_question", metrics.without},
                   {"unknown", metrics.unknown},
                   {"accuracy", metrics.accuracy},
                   {"majority", metrics.majority},
                   {"majority_by_question_type", metrics.majority_by_type},
                   {"by_answer_type", GroupsObject(metrics.by_answer_type)},
                   {"by_question_type", GroupsObject(metrics.by_question_type)}};
    AddInterval(object["ci95"] = Json::object(), "accuracy", metrics.accuracy_interval);
    if (!confidence.empty()) object["confidence"] = confidence;
    object["seconds"] = Rounded(metrics.seconds);
    job.console.Json(object);
    return metrics.failed;
  }
  job.console.Line("accuracy " + WithInterval(metrics.accuracy, metrics.accuracy_interval, job.console) + " of " +
                   Count(metrics.n) + " questions about " + Count(metrics.pictures) + " pictures");
  job.console.Line(job.console.Dim("always the most frequent answer " + Percent(metrics.majority) +
                                   "; by the first two words of the question " + Percent(metrics.majority_by_type)));
  PrintGroups("by answer", metrics.by_answer_type, kTypesShown, job.console);
  PrintGroups("by question", metrics.by_question_type, kTypesShown, job.console);
  return metrics.failed;
}

int64_t EvalPope(const Job& job) {
  UseThreads(job.arguments);
  const Model model = LoadModel(job.arguments, kModelOfWords);
  const PopeMetrics metrics = EvaluatePope(JudgeOf(job, model), job.arguments.shards, job.options);
  job.console.EndProgress();
  Json object = {{"task", "pope"},
                 {"model", Printable(model.info().name)},
                 {"n", metrics.pictures},
                 {"failed", metrics.failed},
                 {"without_things", metrics.without}};
  for (const PopeMetrics::Split& split : metrics.splits) {
    Json& own = object[split.name] = {{"n", split.n},
                                      {"accuracy", split.accuracy},
                                      {"precision", split.precision},
                                      {"recall", split.recall},
                                      {"f1", split.f1},
                                      {"yes_share", split.yes_share},
                                      {"roc_auc", split.roc_auc},
                                      {"ece", split.calibration_error}};
    AddInterval(own["ci95"] = Json::object(), "accuracy", split.accuracy_interval);
    if (job.arguments.json) continue;
    job.console.Line(PadRight(split.name, 12) + "accuracy " +
                     WithInterval(split.accuracy, split.accuracy_interval, job.console) + ", precision" +
                     Percent(split.precision) + ", recall" + Percent(split.recall) + ", F1" + Percent(split.f1) +
                     ", yes" + Percent(split.yes_share) + " of " + Count(split.n) + " questions");
  }
  object["seconds"] = Rounded(metrics.seconds);
  if (job.arguments.json) {
    job.console.Json(object);
  } else {
    job.console.Line(job.console.Dim(Count(metrics.pictures) + " pictures, in " + Duration(metrics.seconds)));
  }
  return metrics.failed;
}

}  // namespace fovea::cli
