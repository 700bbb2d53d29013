// Measuring models on labelled data.
//
//   fovea::ClassifyMetrics m = fovea::EvaluateClassify(model, {"imagenet.tar"}, {});
//   m.top1   // 0.870
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "fovea/library.h"
#include "fovea/model.h"

namespace fovea {

struct EvaluateOptions {
  // Called now and then with the number of samples done so far.
  std::function<void(int64_t done)> on_progress;
  // Called for each sample that is left out, with its key and the reason.
  std::function<void(const std::string& key, const std::string& reason)> on_failure;
  int64_t max_samples = 0;   // stop after so many, 0: all
  double held_back = 0;      // above 0: only the samples that training with this data.validation_share leaves out
  int64_t resamples = 1000;  // of the bootstrap behind the intervals, 0: no intervals
  uint64_t seed = 0;         // of the bootstrap
};

// Where a measure lies with 95 % confidence as far as the choice of the pictures goes: percentiles of a bootstrap over
// pictures. NaN when there is none.
struct Interval {
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

struct ClassifyMetrics {
  int64_t n = 0;          // pictures that were judged
  int64_t failed = 0;     // pictures that could not be read or have no label of this model
  int64_t classes = 0;    // that could be chosen
  int64_t train_n = 0;    // pictures that were learnt from (EvaluateKnn, EvaluateLinearProbe)
  double top1 = 0;        // share of n whose class is the best one, 0..1
  double top5 = 0;        // share of n whose class is among the best five
  double majority = 0;    // share of n that is of the most frequent class: what guessing it always gives
  double class_mean = 0;  // mean of the classes' own shares found, over those with pictures
  Interval top1_interval, top5_interval;
  // How far the confidence in the best class is from being right (15 bins of equal width, runtime/calibration.h), and
  // its mean; NaN where there are no probabilities (EvaluateKnn, EvaluateLinearProbe).
  double calibration_error = std::numeric_limits<double>::quiet_NaN();
  double confidence = std::numeric_limits<double>::quiet_NaN();
  struct Class {
    std::string name;
    int64_t n = 0;      // pictures of this class
    int64_t found = 0;  // of them with this class as the best one
  };
  std::vector<Class> by_class;  // [classes]
  double seconds = 0;
};

// The label of a sample: KEY.json's value of `field` below "labels" (or beside it), which is the name of a class, or
// the position of one when `field` is "class_index". "": "class_index" where a sample has one, else "name".
//
// Top-1 and top-5 accuracy over WebDataset shards: KEY.(jpg|png|webp|...) with KEY.json. The first form asks for the
// model's own classes; the second for `labels` (Model::PrepareLabels), where the field "" means "name", for positions
// are those of another list. Throws what Model::Classify throws, and kNotFound, kCorruptData for a shard.
ClassifyMetrics EvaluateClassify(const Model& model, const std::vector<std::string>& shards,
                                 const EvaluateOptions& options = {}, const std::string& field = "");
ClassifyMetrics EvaluateClassify(const Model& model, const LabelSet& labels, const std::vector<std::string>& shards,
                                 const EvaluateOptions& options = {}, const std::string& field = "");

// Every distinct value of `field` in the shards, sorted: the classes when nobody lists them.
std::vector<std::string> LabelsInShards(const std::vector<std::string>& shards, const std::string& field);

// ---- measures of what somebody computed already

// What scores say of N samples with V classes.
struct ClassificationReport {
  int64_t n = 0;
  int64_t classes = 0;
  double top1 = 0, top5 = 0;         // share of n, 0..1; a tie goes to the lower class
  std::vector<int64_t> confusion;    // [V,V]: samples of class row whose best class is column
  std::vector<double> class_recall;  // [V] share of a class that was found, 0..1; NaN without samples
  std::vector<int64_t> ranks;        // [N] place of the sample's class, from 1
};
// scores [N,V] row-major, labels [N] in [0,V). Throws kInvalidArgument when sizes or labels do not fit.
ClassificationReport MeasureClassification(std::span<const float> scores, std::span<const int64_t> labels,
                                           int64_t classes);

// Finding pictures by captions and captions by pictures. A picture may have several captions: it is found when the best
// of them is, as in the papers. Ranks count from 1; a tie counts against us.
struct RetrievalDirection {
  double recall_at_1 = 0, recall_at_5 = 0, recall_at_10 = 0;  // 0..1
  double median_rank = 0;
  std::vector<int64_t> ranks;  // of each query: [N] pictures or [M] texts
};
struct RetrievalReport {
  int64_t images = 0, texts = 0;
  RetrievalDirection image_to_text, text_to_image;
};
// images [N,D] and texts [M,D] row-major, compared by dot product (normalise them for cosines); picture_of_text [M]:
// the picture each text belongs to. Every picture needs a text. Time N M D on all threads, no memory beyond the ranks.
// Throws kInvalidArgument.
RetrievalReport MeasureRetrieval(std::span<const float> images, std::span<const float> texts, int64_t dim,
                                 std::span<const int64_t> picture_of_text);

// Retrieval over WebDataset shards: pictures with their captions (KEY.json's "captions", else the lines of KEY.txt), of
// a model that compares pictures with texts. Holds one vector for each picture and caption.
struct RetrievalMetrics {
  RetrievalReport report;
  int64_t failed = 0;   // pictures that could not be read
  int64_t without = 0;  // pictures without a caption: passed over
  // Intervals of recall_at_1, recall_at_5, recall_at_10 and median_rank.
  struct Intervals {
    Interval recall_at_1, recall_at_5, recall_at_10, median_rank;
  };
  Intervals image_to_text, text_to_image;
  double seconds = 0;
};
// Throws kUnimplemented when the model compares no pictures with texts, kInvalidArgument when no sample has a caption,
// and kNotFound, kCorruptData for a shard.
RetrievalMetrics EvaluateRetrieval(const Model& model, const std::vector<std::string>& shards,
                                   const EvaluateOptions& options = {});

// How well a library of pictures answers in words, and how well it stays silent.
//
// Three kinds of queries are put to a library made of the pictures of the shards. `words`: those given, whose matches
// are the pictures with a caption that holds one of the query's marks (whole words, whatever their case); each is asked
// of the whole library, and of the library without its matches. `captions`: the first caption of a picture, whose match
// is that picture; asked of all, and without it and all pictures whose captions hold two of its words. `foreign`:
// captions of other pictures, which have nothing to do with these.
struct SearchMetrics {
  int64_t pictures = 0, failed = 0;
  struct Kind {
    int64_t present = 0;   // queries with a match
    double returned = 0;   // share of them whose answer holds a match
    double precision = 0;  // mean share of the answer that matches, where the answer is not empty; NaN without any
    int64_t removed = 0;   // queries asked without their matches
    double empty = 0;      // share of them whose answer is empty
    double area = 0;       // probability that a query with a match scores above one without (ROC), whatever the limit
  };
  Kind words, captions, foreign;
  double seconds = 0;
};
struct SearchEvaluationOptions {
  // "query TAB mark,mark,..." a line; lines that begin with # are passed over.
  std::vector<std::string> queries;
  std::vector<std::string> foreign;  // shards whose captions nothing in the library fits
  int64_t captions = 400;            // at most so many of each shard's, evenly spread
  int64_t limit = 20;                // pictures an answer may hold
  const Model* labeler = nullptr;    // as IndexOptions::labeler
  // Whose captions are looked up, too, as after Library::Caption; nullptr for none.
  const LibraryCaptioner* captioner = nullptr;
};
// Throws kUnimplemented when the model compares no pictures with texts, kInvalidArgument for a query without marks, and
// kNotFound, kCorruptData for a shard.
SearchMetrics EvaluateSearch(const Model& model, const std::vector<std::string>& shards,
                             const SearchEvaluationOptions& search, const EvaluateOptions& options = {});

// Labelled vectors: values [N,D] row-major, labels [N] in [0,classes).
struct LabelledVectors {
  std::span<const float> values;
  std::span<const int64_t> labels;
};

// How well classes can be told apart by the k nearest training vectors (dot product, votes weighted by
// exp(similarity / temperature), as Wu et al. 2018 and DINO). Vectors are expected L2-normalised.
struct KnnOptions {
  int64_t dim = 0, classes = 0;
  int64_t k = 20;
  double temperature = 0.07;
};
ClassificationReport MeasureKnn(const LabelledVectors& train, const LabelledVectors& test, const KnnOptions& options);

// How well a linear classifier on frozen vectors does: logistic regression with L2 penalty, minimised by full-batch
// L-BFGS from zero (as scikit-learn's, which CLIP's authors used). Deterministic.
struct LinearProbeOptions {
  int64_t dim = 0, classes = 0;
  double penalty = 1.0;  // lambda of lambda/2 |W|^2 added to the sum of the losses; 1/C of scikit-learn
  int64_t iterations = 200;
};
ClassificationReport MeasureLinearProbe(const LabelledVectors& train, const LabelledVectors& test,
                                        const LinearProbeOptions& options);

// Both on the embeddings of a model over shards. Classes are the values of `field` ("" as for EvaluateClassify) in the
// training shards; `probe` and `knn` without dim and classes, which are filled in. A penalty below 0 is chosen: the one
// of 1e-4, 1e-3 ... 1e2 that does best on a fifth of the training pictures, before the fit on all of them.
// options.max_samples holds for each part. `used_penalty` takes the penalty, where one is asked for.
ClassifyMetrics EvaluateKnn(const Model& model, const std::vector<std::string>& train,
                            const std::vector<std::string>& test, const std::string& field, const KnnOptions& knn,
                            const EvaluateOptions& options = {});
ClassifyMetrics EvaluateLinearProbe(const Model& model, const std::vector<std::string>& train,
                                    const std::vector<std::string>& test, const std::string& field,
                                    const LinearProbeOptions& probe, const EvaluateOptions& options = {},
                                    double* used_penalty = nullptr);

// One line of a parity certificate: how far a stage is from the reference.
struct StageReport {
  std::string stage;     // "pixels", "tokens", then the model's stages and outputs in the reference's order of names
  double max_abs = 0;    // largest absolute error; of tokens the number of ids that differ
  double max_rel = 0;    // max_abs by the largest magnitude of the reference
  double tolerance = 0;  // the most max_abs may be
  bool ok = false;
};

// Computes what a golden file holds (tools/make_golden.py writes one for a checkpoint) and compares: pixels from the
// pictures in the file, token ids from its texts, then every stage and output from the stored pixels and ids, so that
// each line shows the error of one part alone. `golden_file` "": golden.safetensors in the model's folder; `model` may
// also be a golden file that carries its own weights, as those of the parity tests do. Throws what Model::Load throws,
// kNotFound when there is no golden file, kCorruptData when it does not fit the model.
std::vector<StageReport> Verify(const std::string& model, const std::string& golden_file = "");

}  // namespace fovea
