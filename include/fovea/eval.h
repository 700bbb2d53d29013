// Measuring models on labelled data.
//
//   fovea::ClassifyMetrics m = fovea::EvaluateClassify(model, {"imagenet.tar"}, {});
//   m.top1   // 0.870
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "fovea/model.h"

namespace fovea {

struct ClassifyMetrics {
  int64_t n = 0;       // pictures that were judged
  int64_t failed = 0;  // pictures that could not be read or have no label of this model
  double top1 = 0;     // share of n whose class is the best one, 0..1
  double top5 = 0;     // share of n whose class is among the best five
  double seconds = 0;
};

struct EvaluateOptions {
  // Called now and then with the number of pictures done so far.
  std::function<void(int64_t done)> on_progress;
  // Called for each picture that is left out, with its key and the reason.
  std::function<void(const std::string& key, const std::string& reason)> on_failure;
};

// Top-1 and top-5 accuracy over WebDataset shards: KEY.(jpg|png|webp|...) with KEY.json holding {"labels":
// {"class_index": i}}, or
// {"labels": {"name": class name}}. Throws what Model::Classify throws, and kNotFound, kCorruptData for a shard.
ClassifyMetrics EvaluateClassify(const Model& model, const std::vector<std::string>& shards,
                                 const EvaluateOptions& options = {});

// ---- measures of what somebody computed already

// What scores say of N samples with V classes.
struct ClassificationReport {
  int64_t n = 0;
  int64_t classes = 0;
  double top1 = 0, top5 = 0;         // share of n, 0..1; a tie goes to the lower class
  std::vector<int64_t> confusion;    // [V,V]: samples of class row whose best class is column
  std::vector<double> class_recall;  // [V] share of a class that was found, 0..1; NaN without samples
};
// scores [N,V] row-major, labels [N] in [0,V). Throws kInvalidArgument when sizes or labels do not fit.
ClassificationReport MeasureClassification(std::span<const float> scores, std::span<const int64_t> labels,
                                           int64_t classes);

// Finding pictures by captions and captions by pictures. A picture may have several captions: it is found when the best
// of them is, as in the papers. Ranks count from 1; a tie counts against us.
struct RetrievalDirection {
  double recall_at_1 = 0, recall_at_5 = 0, recall_at_10 = 0;  // 0..1
  double median_rank = 0;
};
struct RetrievalReport {
  int64_t images = 0, texts = 0;
  RetrievalDirection image_to_text, text_to_image;
};
// images [N,D] and texts [M,D] row-major, compared by dot product (normalise them for cosines); picture_of_text [M]:
// the picture each text belongs to. Every picture needs a text. Memory: one row of scores. Throws kInvalidArgument.
RetrievalReport MeasureRetrieval(std::span<const float> images, std::span<const float> texts, int64_t dim,
                                 std::span<const int64_t> picture_of_text);

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
