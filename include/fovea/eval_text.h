// Measuring what models write: captions (CIDEr-D, BLEU, ROUGE-L, METEOR) and answers (VQA accuracy).
//
//   fovea::CaptionReport r = fovea::MeasureCaptions({{"a dog runs", {"A dog runs.", "A brown dog on grass."}}, ...});
//   r.total.cider_d   // 0.97
//
// Captions are counted in Penn Treebank tokens without punctuation, as pycocoevalcap counts them; the numbers are equal
// to its numbers. SPICE is not computed: it needs a parser of sentences.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fovea/eval.h"

namespace fovea {

// ---- captions

// The words that the metrics count: "The man isn't here." gives the, man, is, n't, here.
std::vector<std::string> CaptionWords(const std::string& caption);

// CIDEr-D (Vedantam et al. 2015): n-grams of 1 to 4 words, weighted by how rare they are among the pictures that the
// document frequencies come from. Usable for one caption at a time, from several threads; as the reward of
// self-critical training, prepare the references of a picture once and score every sample against them (microseconds
// each).
class CiderD {
 public:
  // Document frequencies of the references themselves: [pictures][captions]. With one picture every score is 0.
  static CiderD FromReferences(std::span<const std::vector<std::string>> references);
  // Those of a file that Save wrote: a line "fovea-cider 1 PICTURES", then "COUNT<tab>word word ..." for each n-gram.
  // Throws kNotFound, kIo, kCorruptData.
  static CiderD Load(const std::string& path);
  void Save(const std::string& path) const;

  int64_t pictures() const;
  int64_t ngrams() const;

  // The references of one picture. Belongs to the CiderD that prepared it, which may be gone meanwhile.
  class References;
  References Prepare(std::span<const std::string> captions) const;
  // 0..10; 0 without references.
  double Score(const std::string& caption, const References& references) const;
  double ScoreWords(std::span<const std::string> words, const References& references) const;

 private:
  struct Frequencies;
  explicit CiderD(std::shared_ptr<const Frequencies> frequencies) : frequencies_(std::move(frequencies)) {}
  std::shared_ptr<const Frequencies> frequencies_;
};

class CiderD::References {
 public:
  int64_t size() const;

 private:
  friend class CiderD;
  struct Vectors;
  std::shared_ptr<const Vectors> vectors_;
};

struct CaptionScores {
  std::array<double, 4> bleu = {};  // BLEU-1 to BLEU-4, 0..1; the closest reference decides the brevity penalty
  double rouge_l = 0;               // 0..1
  double meteor = 0;                // 0..1, METEOR 1.5 with exact words and stems only: not that of papers
  double cider_d = 0;               // 0..10; papers give 100 times this number
};
struct CaptionReport {
  int64_t n = 0;
  CaptionScores total;              // BLEU and METEOR of the sums of counts, the others means
  std::vector<CaptionScores> each;  // [n]
  struct Intervals {
    std::array<Interval, 4> bleu;
    Interval rouge_l, meteor, cider_d;
  } intervals;
};
struct JudgedCaption {
  std::string caption;
  std::vector<std::string> references;  // of the same picture, at least one
};
// Document frequencies from all references, or of `frequencies`. Uses resamples and seed of `options`.
// Throws kInvalidArgument when there is no caption, or one without a reference.
CaptionReport MeasureCaptions(std::span<const JudgedCaption> captions, const EvaluateOptions& options = {},
                              const CiderD* frequencies = nullptr);

// Captions by key of a sample: a file of lines {"key": ..., "caption": ...}. Throws kNotFound, kIo, and kCorruptData
// naming the line, also for a key that comes twice.
std::map<std::string, std::string> ReadCaptionPredictions(const std::string& path);

struct CaptionMetrics {
  CaptionReport report;
  int64_t failed = 0;             // pictures without a caption to judge
  int64_t without = 0;            // samples without references: passed over
  int64_t unknown = 0;            // predictions whose key no sample has
  std::vector<std::string> keys;  // [report.n]
  double seconds = 0;
};
// Over WebDataset shards, whose captions are the references (see EvaluateRetrieval): what a file predicts, or what a
// model writes, batch by batch. Throws kInvalidArgument when nothing can be judged, kNotFound, kCorruptData for a
// shard, and what `caption` throws.
using Captioner = std::function<std::vector<std::string>(std::span<const Image> images)>;
CaptionMetrics EvaluateCaptions(const std::map<std::string, std::string>& predictions,
                                const std::vector<std::string>& shards, const EvaluateOptions& options = {},
                                const CiderD* frequencies = nullptr);
CaptionMetrics EvaluateCaptions(const Captioner& caption, const std::vector<std::string>& shards,
                                const EvaluateOptions& options = {}, const CiderD* frequencies = nullptr);

// ---- answers

// An answer as VQA's evaluation compares them: without punctuation and articles, numbers from none to ten as digits,
// apostrophes put back into contractions ("dont"). "The two dogs!" gives "2 dogs".
std::string NormaliseAnswer(const std::string& answer);

enum class AnswerRule {
  // Answers of people are normalised like predictions, and fewer than four of them are enough: with one, the share
  // of equal answers is asked for; see VqaAccuracy. Equal to kOfficial where ten people answered in normal form.
  kEven,
  // As vqaEval.py does it: people's answers lose their punctuation only where they disagree, and fewer than four
  // can never give 1.
  kOfficial,
};
// VQA accuracy (Antol et al. 2015), 0..1: leave out each person's answer in turn, min(1, equal answers among the others
// / 3), and take the mean. With kEven and n people, 3 becomes min(3, n - 1), and a single answer must be equal.
double VqaAccuracy(const std::string& answer, std::span<const std::string> people, AnswerRule rule = AnswerRule::kEven);

// Answers by key and question: a file of lines {"key", "question", "answer"}. Throws as ReadCaptionPredictions.
using AnswerPredictions = std::map<std::pair<std::string, std::string>, std::string>;
AnswerPredictions ReadAnswerPredictions(const std::string& path);

struct VqaOptions {
  AnswerRule rule = AnswerRule::kEven;
  std::vector<std::string> train;  // shards that the baselines learn from; empty: the questions that are judged
};
struct VqaMetrics {
  int64_t n = 0;         // questions that were judged
  int64_t pictures = 0;  // that they belong to
  int64_t failed = 0;    // questions without an answer, and samples that cannot be read
  int64_t without = 0;   // samples without questions: passed over
  int64_t unknown = 0;   // predictions that no question asks for
  double accuracy = 0;   // mean over questions, 0..1
  Interval accuracy_interval;
  std::vector<double> each;     // accuracy of each question, in order
  double majority = 0;          // of always giving the most frequent answer
  double majority_by_type = 0;  // of giving the most frequent answer to questions that begin with the same two words
  struct Group {
    std::string name;
    int64_t n = 0;
    double accuracy = 0;
    double majority = 0;  // of the group's own most frequent answer (question types: that of majority_by_type)
  };
  std::vector<Group> by_question_type;  // first two words, the most frequent group first
  std::vector<Group> by_answer_type;    // "yes/no", "number", "other", by what most people answered
  double seconds = 0;
};
// Over WebDataset shards with questions (KEY.json's "qa"). An answerer gets one picture and its questions. Throws as
// EvaluateCaptions.
using Answerer = std::function<std::vector<std::string>(const Image& image, std::span<const std::string> questions)>;
VqaMetrics EvaluateAnswers(const AnswerPredictions& predictions, const std::vector<std::string>& shards,
                           const EvaluateOptions& options = {}, const VqaOptions& vqa = {});
VqaMetrics EvaluateAnswers(const Answerer& answer, const std::vector<std::string>& shards,
                           const EvaluateOptions& options = {}, const VqaOptions& vqa = {});

// ---- confidence

// Whether a confidence of 0.8 means that eight of ten such texts are right, where a text counts as right when its score
// (CIDEr-D of a caption, VQA accuracy of an answer) is at least `right_from`.
struct ConfidenceOptions {
  double right_from = 0.5;
  std::string kind;  // "caption", "answer": which map of the file
  // "": none. Else a map from confidence to the share that is right is fitted to the means of 12 bins of equal mass
  // (isotonic regression) and written there: calibration.json of a model's folder.
  std::string file;
};
struct ConfidenceReport {
  struct Bin {
    int64_t n = 0;
    double confidence = 0, right = 0;  // mean; share
  };
  int64_t n = 0;
  double right = 0;       // share of n
  double ece = 0;         // expected calibration error, 15 bins of equal width
  double brier = 0;       // mean of (confidence - right)^2
  std::vector<Bin> bins;  // those of ece that hold something
  // With a file: the same after calibration, where each half is mapped by what was fitted to the other.
  bool is_calibrated = false;
  double ece_calibrated = 0, brier_calibrated = 0;
};
// Equally many confidences in [0,1] and scores, at least one, with a file at least two. Throws kInvalidArgument, kIo.
ConfidenceReport MeasureConfidence(std::span<const double> confidences, std::span<const double> scores,
                                   const ConfidenceOptions& options);

}  // namespace fovea
