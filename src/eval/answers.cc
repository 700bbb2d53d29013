// VQA: how answers are compared (the rules of the data set's own evaluation), and the walk over questions in shards.
#include <algorithm>
#include <array>
#include <chrono>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/key_share.h"
#include "eval/bootstrap.h"
#include "eval/predictions.h"
#include "eval/samples.h"
#include "fovea/eval_text.h"
#include "text/unicode.h"

namespace fovea {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Points go unless a digit follows; other marks leave a space, but nothing where one stands beside white space, or
// where a number holds a comma. The choice is made once for each mark, on the whole answer, as the reference does it.
std::string WithoutPunctuation(const std::string& answer) {
  static constexpr std::string_view kMarks = ";/[]\"{}()=+\\_-><@`,?!";
  constexpr int kMostPoints = 32;  // the reference hands a flag over as a count
  bool has_number = false;
  for (size_t i = 1; i + 1 < answer.size(); ++i)
    has_number |= answer[i] == ',' && IsDigit(answer[i - 1]) && IsDigit(answer[i + 1]);
  std::string text = answer;
  for (const char mark : kMarks) {
    const bool vanishes = has_number || answer.find(std::string{mark, ' '}) != std::string::npos ||
                          answer.find(std::string{' ', mark}) != std::string::npos;
    if (vanishes) {
      std::erase(text, mark);
    } else {
      std::ranges::replace(text, mark, ' ');
    }
  }
  std::string kept;
  int points = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool goes = text[i] == '.' && !(i + 1 < text.size() && IsDigit(text[i + 1])) && points < kMostPoints;
    points += goes ? 1 : 0;
    if (!goes) kept += text[i];
  }
  return kept;
}

// Contractions by what is left of them when one apostrophe is missing.
const std::unordered_map<std::string, std::string>& Contractions() {
  static const auto contractions = [] {
    static constexpr std::string_view kWords[] = {
        "'ow's'at",     "'twas",      "ain't",        "aren't",     "can't",        "could've",      "couldn't",
        "couldn't've",  "didn't",     "doesn't",      "don't",      "hadn't",       "hadn't've",     "hasn't",
        "haven't",      "he'd",       "he'd've",      "he's",       "how'd",        "how'll",        "how's",
        "isn't",        "it'd",       "it'd've",      "it'll",      "ma'am",        "might've",      "mightn't",
        "mightn't've",  "must've",    "mustn't",      "needn't",    "not've",       "o'clock",       "oughtn't",
        "shan't",       "she'd've",   "should've",    "shouldn't",  "shouldn't've", "somebody'd've", "somebody'll",
        "somebody's",   "someone'd",  "someone'd've", "someone'll", "someone's",    "something'd",   "something'd've",
        "something'll", "that's",     "there'd",      "there'd've", "there're",     "there's",       "they'd",
        "they'd've",    "they'll",    "they're",      "they've",    "wasn't",       "we'd've",       "we've",
        "weren't",      "what'll",    "what're",      "what's",     "what've",      "when's",        "where'd",
        "where's",      "where've",   "who'd",        "who'd've",   "who'll",       "who's",         "who've",
        "why'll",       "why're",     "why's",        "won't",      "would've",     "wouldn't",      "wouldn't've",
        "y'all",        "y'all'd've", "y'all'll",     "you'd",      "you'd've",     "you'll",        "you're",
        "you've"};
    std::unordered_map<std::string, std::string> made;
    for (const std::string_view word : kWords) {
      for (size_t at = word.find('\''); at != std::string_view::npos; at = word.find('\'', at + 1))
        made.emplace(std::string(word.substr(0, at)).append(word.substr(at + 1)), word);
    }
    made.emplace("somebody'd", "somebodyd");  // the other way round in the reference
    return made;
  }();
  return contractions;
}

std::string WithDigitsAndArticles(const std::string& answer) {
  static const std::unordered_map<std::string_view, std::string_view> kNumbers = {
      {"none", "0"}, {"zero", "0"}, {"one", "1"},   {"two", "2"},   {"three", "3"}, {"four", "4"},
      {"five", "5"}, {"six", "6"},  {"seven", "7"}, {"eight", "8"}, {"nine", "9"},  {"ten", "10"}};
  std::string text;
  const std::string valid = text::ReplaceInvalidUtf8(answer);
  std::string word;
  const auto end_word = [&] {
    if (const auto number = kNumbers.find(word); number != kNumbers.end()) word = number->second;
    if (!word.empty() && word != "a" && word != "an" && word != "the") {
      const auto contraction = Contractions().find(word);
      text += (text.empty() ? "" : " ") + (contraction != Contractions().end() ? contraction->second : word);
    }
    word.clear();
  };
  for (size_t at = 0; at < valid.size();) {
    const char32_t c = text::NextCodePoint(valid, at);
    if (text::IsWhitespace(c)) {
      end_word();
    } else {
      text::AppendLower(word, c);
    }
  }
  end_word();
  return text;
}

std::string Trimmed(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return c == '\n' || c == '\t'; }, ' ');
  const size_t begin = text.find_first_not_of(" \r\f\v"), end = text.find_last_not_of(" \r\f\v");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

// ---- questions

struct Question {
  int64_t picture = 0;
  std::string question;
  std::vector<std::string> people;  // answers, as they are in the shard
  std::string usual;                // what most of them answered, in normal form; the first of equals
  std::string type, answer_type;
  double accuracy = 0;
};

std::string TypeOf(const std::string& question) {
  std::string words, word;
  int count = 0;
  for (const char c : base::AsciiLower(question) + " ") {
    if (c == ' ' || c == '?' || c == ',' || c == '\t' || c == '\n') {
      if (word.empty()) continue;
      words += (words.empty() ? "" : " ") + word;
      word.clear();
      if (++count == 2) break;
    } else {
      word += c;
    }
  }
  return words;
}

std::string AnswerTypeOf(const std::string& usual) {
  if (usual == "yes" || usual == "no") return "yes/no";
  const bool is_number = std::ranges::any_of(usual, IsDigit) &&
                         std::ranges::all_of(usual, [](char c) { return IsDigit(c) || c == '.' || c == ','; });
  return is_number ? "number" : "other";
}

// The most frequent key; the first in order of equals, "" when there is none.
std::string MostFrequent(const std::map<std::string, int64_t>& counts) {
  const auto best = std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; });
  return best == counts.end() ? "" : best->first;
}

// The questions of a sample that have answers.
std::vector<Question> QuestionsOf(const eval::Sample& sample) {
  std::vector<Question> questions;
  const auto qa = sample.notes.find("qa");
  if (qa == sample.notes.end() || !qa->is_array()) return questions;
  for (const auto& entry : *qa) {
    if (!entry.is_object()) continue;
    const auto question = entry.find("question"), answers = entry.find("answers");
    if (question == entry.end() || !question->is_string() || answers == entry.end() || !answers->is_array()) continue;
    Question one{.question = question->get<std::string>()};
    std::map<std::string, int64_t> counts;
    std::vector<std::string> order;
    for (const auto& answer : *answers) {
      if (!answer.is_string()) continue;
      one.people.push_back(answer.get<std::string>());
      order.push_back(NormaliseAnswer(one.people.back()));
      ++counts[order.back()];
    }
    if (order.empty()) continue;
    one.usual = *std::ranges::max_element(order, {}, [&](const std::string& answer) { return counts[answer]; });
    one.type = TypeOf(one.question);
    one.answer_type = AnswerTypeOf(one.usual);
    questions.push_back(std::move(one));
  }
  return questions;
}

// What a guesser without eyes would answer.
struct Prior {
  std::map<std::string, int64_t> all;
  std::map<std::string, std::map<std::string, int64_t>> by_type;
  std::string most_frequent;
  std::map<std::string, std::string> most_frequent_of;

  void Add(const Question& question) {
    for (const std::string& answer : question.people) {
      const std::string normal = NormaliseAnswer(answer);
      ++all[normal];
      ++by_type[question.type][normal];
    }
  }
  void Finish() {
    most_frequent = MostFrequent(all);
    for (const auto& [type, counts] : by_type) most_frequent_of[type] = MostFrequent(counts);
  }
  const std::string& Of(const std::string& type) const {
    const auto found = most_frequent_of.find(type);
    return found == most_frequent_of.end() ? most_frequent : found->second;
  }
};

std::vector<VqaMetrics::Group> Groups(const std::vector<Question>& questions, const VqaOptions& vqa, const Prior& prior,
                                      bool by_answer) {
  std::map<std::string, VqaMetrics::Group> groups;
  std::map<std::string, std::map<std::string, int64_t>> answers;
  for (const Question& question : questions) {
    const std::string& name = by_answer ? question.answer_type : question.type;
    VqaMetrics::Group& group = groups[name];
    group.name = name;
    ++group.n;
    group.accuracy += question.accuracy;
    if (by_answer) ++answers[name][question.usual];
  }
  std::map<std::string, std::string> guesses;
  for (const auto& [name, group] : groups) guesses[name] = by_answer ? MostFrequent(answers[name]) : prior.Of(name);
  for (const Question& question : questions) {
    const std::string& name = by_answer ? question.answer_type : question.type;
    groups[name].majority += VqaAccuracy(guesses[name], question.people, vqa.rule);
  }
  std::vector<VqaMetrics::Group> sorted;
  for (auto& [name, group] : groups) {
    group.accuracy /= static_cast<double>(group.n);
    group.majority /= static_cast<double>(group.n);
    sorted.push_back(std::move(group));
  }
  std::ranges::stable_sort(sorted, std::greater(), &VqaMetrics::Group::n);
  return sorted;
}

void Summarise(const std::vector<Question>& questions, const EvaluateOptions& options, const VqaOptions& vqa,
               VqaMetrics& metrics) {
  Prior prior;
  if (vqa.train.empty()) {
    for (const Question& question : questions) prior.Add(question);
  } else {
    const auto learn = [&](eval::Sample& sample) {
      if (base::IsHeldBack(sample.key, options.held_back))
        return false;  // judged, where the shards are those of training
      for (const Question& question : QuestionsOf(sample)) prior.Add(question);
      return false;
    };
    eval::WalkShards(vqa.train, {}, false, learn, [](std::span<eval::Sample>) {});
    Require(!prior.all.empty(), "[vqa] expected questions in the training shards, found none");
  }
  prior.Finish();
  metrics.n = static_cast<int64_t>(questions.size());
  std::vector<double> sums(static_cast<size_t>(metrics.pictures)), counts(sums.size());
  for (const Question& question : questions) {
    metrics.accuracy += question.accuracy;
    metrics.each.push_back(question.accuracy);
    metrics.majority += VqaAccuracy(prior.most_frequent, question.people, vqa.rule);
    metrics.majority_by_type += VqaAccuracy(prior.Of(question.type), question.people, vqa.rule);
    sums[static_cast<size_t>(question.picture)] += question.accuracy;
    counts[static_cast<size_t>(question.picture)] += 1;
  }
  for (double* share : {&metrics.accuracy, &metrics.majority, &metrics.majority_by_type})
    *share /= static_cast<double>(metrics.n);
  metrics.accuracy_interval = eval::BootstrapMeans(sums, counts, 1, options)[0];
  metrics.by_question_type = Groups(questions, vqa, prior, false);
  metrics.by_answer_type = Groups(questions, vqa, prior, true);
}

// `answer` gives the answers to a sample's questions, and takes out those that have none, which it tells of.
using Answers = std::function<std::vector<std::string>(eval::Sample& sample, std::vector<Question>& questions)>;

VqaMetrics Evaluate(const std::vector<std::string>& shards, const EvaluateOptions& options, const VqaOptions& vqa,
                    bool needs_pictures, const Answers& answer) {
  const auto start = std::chrono::steady_clock::now();
  VqaMetrics metrics;
  std::vector<Question> judged;
  const auto accept = [](eval::Sample& sample) { return !QuestionsOf(sample).empty(); };
  const eval::WalkReport walk =
      eval::WalkShards(shards, options, needs_pictures, accept, [&](std::span<eval::Sample> batch) {
        for (eval::Sample& sample : batch) {
          std::vector<Question> questions = QuestionsOf(sample);
          const size_t asked = questions.size();
          const std::vector<std::string> answers = answer(sample, questions);
          Require(answers.size() == questions.size(), "[vqa] expected ", questions.size(), " answers, got ",
                  answers.size());
          metrics.failed += static_cast<int64_t>(asked - questions.size());
          if (questions.empty()) continue;
          for (size_t i = 0; i < questions.size(); ++i) {
            questions[i].picture = metrics.pictures;
            questions[i].accuracy = VqaAccuracy(answers[i], questions[i].people, vqa.rule);
            judged.push_back(std::move(questions[i]));
          }
          ++metrics.pictures;
        }
      });
  Require(!judged.empty(), "[vqa] expected questions with answers to judge, found none");
  metrics.failed += walk.failed;
  metrics.without = walk.passed_over;
  Summarise(judged, options, vqa, metrics);
  metrics.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return metrics;
}

}  // namespace

std::string NormaliseAnswer(const std::string& answer) {
  return WithDigitsAndArticles(WithoutPunctuation(Trimmed(answer)));
}

double VqaAccuracy(const std::string& answer, std::span<const std::string> people, AnswerRule rule) {
  Require(!people.empty(), "[vqa] expected answers of people, got none");
  const std::string given = NormaliseAnswer(answer);
  const bool is_official = rule == AnswerRule::kOfficial;
  const bool differ = std::ranges::any_of(people, [&](const std::string& other) { return other != people[0]; });
  const auto matches = std::ranges::count_if(people, [&](const std::string& other) {
    if (!is_official) return NormaliseAnswer(other) == given;
    return (differ ? WithoutPunctuation(other) : other) == given;
  });
  const auto n = static_cast<double>(people.size()), m = static_cast<double>(matches);
  if (!is_official && people.size() == 1) return m;
  const double enough = is_official ? 3 : std::min(3.0, n - 1);
  // m of the n are equal: leaving one of those out leaves m - 1.
  return (m * std::min(1.0, (m - 1) / enough) + (n - m) * std::min(1.0, m / enough)) / n;
}

AnswerPredictions ReadAnswerPredictions(const std::string& path) {
  AnswerPredictions predictions;
  eval::ForEachPrediction(path, {"key", "question", "answer"}, [&](std::vector<std::string> fields) {
    return predictions.emplace(std::pair(std::move(fields[0]), std::move(fields[1])), std::move(fields[2])).second;
  });
  return predictions;
}

VqaMetrics EvaluateAnswers(const AnswerPredictions& predictions, const std::vector<std::string>& shards,
                           const EvaluateOptions& options, const VqaOptions& vqa) {
  std::set<std::pair<std::string, std::string>> asked;
  VqaMetrics metrics =
      Evaluate(shards, options, vqa, false, [&](eval::Sample& sample, std::vector<Question>& questions) {
        std::vector<std::string> answers;
        std::erase_if(questions, [&](const Question& question) {
          const auto found = predictions.find({sample.key, question.question});
          if (found == predictions.end()) {
            if (options.on_failure)
              options.on_failure(sample.key, base::StrCat("[vqa] ", base::PrintableUtf8(sample.key), ": \"",
                                                          base::PrintableUtf8(question.question), "\" has no answer"));
            return true;
          }
          asked.insert(found->first);
          answers.push_back(found->second);
          return false;
        });
        return answers;
      });
  metrics.unknown = static_cast<int64_t>(predictions.size() - asked.size());
  return metrics;
}

VqaMetrics EvaluateAnswers(const Answerer& answer, const std::vector<std::string>& shards,
                           const EvaluateOptions& options, const VqaOptions& vqa) {
  return Evaluate(shards, options, vqa, true, [&](eval::Sample& sample, std::vector<Question>& questions) {
    std::vector<std::string> texts;
    for (const Question& question : questions) texts.push_back(question.question);
    return answer(sample.image, texts);
  });
}

}  // namespace fovea
