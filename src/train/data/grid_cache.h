// Pictures as the frozen beginning of a picture tower sees them, computed once and kept in memory as f16, and batches
// made of them: data.cache_grids of a recipe.
//
// Most of the time of a convolutional tower goes into its first blocks, which gain least from training. With them
// frozen, what they give never changes, and each epoch costs only the rest. Augmentation happens on the grid: a crop of
// whole places, and a mirrored picture, whose grid is kept beside that of the picture itself. Captions are drawn anew
// every epoch; beside them weak labels can stand, "a photo of a {class}" with a class drawn from what a classifier,
// which shares the beginning of the tower, believes about the picture.
//
// It does not decode anything after it is built, and pictures that cannot be read are left out.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "media/preprocess.h"
#include "nn/entry.h"
#include "train/data/batches.h"
#include "train/data/random.h"
#include "train/data/samples.h"
#include "train/recipe.h"

namespace fovea::train {

class GridCache {
 public:
  struct Options {
    SampleFilter filter;
    media::PreprocessSpec preprocess;
    GridRecipe grids;
    WeakLabelRecipe weak_labels;
    const models::Model* model = nullptr;    // TrunkBlocks() >= grids.blocks
    const models::Model* teacher = nullptr;  // with weak labels: a classifier whose first blocks are those of `model`
    std::vector<std::string> class_names;    // of the teacher
    std::function<void(const std::string& note)> on_note = {};
  };
  // Looks at every picture of the filter. With grids.file, what was computed is kept there, and taken from there when
  // it was made from the same pictures with the same weights. Throws kInvalidArgument when model and teacher differ in
  // their first blocks; what opening a shard throws.
  explicit GridCache(const Options& options);

  struct Sample {
    std::string key;
    std::vector<std::string> captions;
    std::vector<Question> questions;
    std::vector<std::pair<std::string, float>> classes;  // the teacher's, most probable first
  };
  const std::vector<Sample>& samples() const { return samples_; }
  int64_t views() const { return static_cast<int64_t>(grids_.size()); }  // 2 with mirrored pictures
  // f16 [P,Q,C] of sample `index`; view 1 is mirrored.
  Tensor Grid(int64_t view, int64_t index) const;

 private:
  struct Chunk;
  void Compute(const Options& options, const Chunk& chunk);
  bool Load(const Options& options, const Chunk& first);
  void Save(const Options& options) const;
  std::string Fingerprint(const Options& options) const;

  std::vector<Sample> samples_;
  std::vector<std::vector<Tensor>> grids_;  // by view: f16 [up to 32,P,Q,C]
};

// An endless stream of batches in a random order that depends on the seed and the epoch alone.
class GridBatches final : public BatchSource {
 public:
  struct Options {
    GridRecipe grids;
    WeakLabelRecipe weak_labels;
    int64_t captions_per_picture = 1;
    // For decoders: batches have texts, as many captions and questions of each picture as there are, up to
    // captions_per_picture and questions.per_picture, instead of caption sets.
    bool has_texts = false;
    QuestionRecipe questions = {};
    bool keeps_end_marks = true;
    uint64_t seed = 0;
  };
  GridBatches(const GridCache& cache, Options options, const DataPosition& start);

  bool Next(int64_t size, Batch& batch) override;
  const DataPosition& position() const override { return position_; }
  double seconds_waited() const override { return 0; }

 private:
  void Shuffle();
  void AddTexts(const GridCache::Sample& sample, Random& random, Batch& batch) const;
  void AddCaptions(const GridCache::Sample& sample, Random& random, Batch& batch) const;

  const GridCache& cache_;
  Options options_;
  DataPosition position_;
  std::vector<int64_t> order_;
};

}  // namespace fovea::train
