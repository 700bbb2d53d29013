// Where training pictures come from: WebDataset shards and folders, behind one interface, and the shuffled stream of
// references to them.
//
// A reference costs a few bytes and decodes nothing; a shard is mapped, never read whole. The shuffle buffer holds
// references, so its memory does not depend on the size of the pictures, and resuming skips over thousands of samples
// in no time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "fovea/image.h"

namespace fovea::train {

// What somebody asked about a picture, and what one or several people answered.
struct Question {
  std::string text;
  std::vector<std::string> answers;  // at least one
};

// One shard or one folder, opened. Safe to read from several threads.
class SampleSet {
 public:
  virtual ~SampleSet() = default;
  virtual int64_t size() const = 0;
  virtual std::string Key(int64_t index) const = 0;
  virtual Image Picture(int64_t index) const = 0;
  // The class as text, "" when there is none. `field`: for shards the key below "labels" (or beside it) of KEY.json, or
  // "cls" for the file KEY.cls; a folder's class is the name of its sub-folder.
  virtual std::string Label(int64_t index, const std::string& field) const = 0;
  // KEY.json's "captions" (or "caption"), else the lines of KEY.txt.
  virtual std::vector<std::string> Captions(int64_t index) const = 0;
  // KEY.json's "qa"; words that underscores join ("coffee_table") are set apart. None where a set holds no such files.
  virtual std::vector<Question> Questions(int64_t /*index*/) const { return {}; }
  // Changes when the files do: from names, sizes and times.
  virtual std::string Fingerprint() const = 0;
};

// `path`: a .tar shard, a folder, or texts without pictures: a .txt file with one text a line, or a .jsonl file with an
// object a line as KEY.json has it. Throws kNotFound, kIo, kCorruptData.
std::shared_ptr<const SampleSet> OpenSamples(const std::string& path);

struct SampleRef {
  std::shared_ptr<const SampleSet> set;
  int64_t index = 0;
  int64_t label = -1;  // -1: none
  int64_t path = 0;    // of the filter's paths
};

// Where a sample lies: number `index` of the filter's path number `path`.
struct SamplePlace {
  int64_t path = 0, index = 0;
};

// What a stream runs over: paths, which of their samples count, and how labels become numbers.
struct SampleFilter {
  std::vector<std::string> paths;
  std::string label_field;     // "" with `needs_label` false
  bool needs_label = false;    // samples without a known class are left out
  bool needs_caption = false;  // samples without a caption are left out
  // For decoders. The caption is this field of KEY.json (as Label reads it) instead of "captions"; and before it stands
  // a prompt: the same text everywhere, then the content of a field.
  std::string target_field, prompt, prompt_field;
  std::map<std::string, int64_t> classes;
  // A share of the samples, chosen by a hash of the key, belongs to validation.
  double validation_share = 0;
  bool takes_validation = false;  // the validation part, else the rest
  // Questions count beside captions; another share of the samples keeps its questions for validation.
  bool takes_questions = false;
  double question_validation_share = 0;
};

// All captions of a sample: its target field when the filter names one.
std::vector<std::string> CaptionsOf(const SampleFilter& filter, const SampleSet& set, int64_t index);

// The questions of a sample that belong to the filter's part; none unless it takes questions.
std::vector<Question> QuestionsOf(const SampleFilter& filter, const SampleSet& set, int64_t index);

// True when the sample belongs to the filter's part; sets `ref.label`.
bool Accepts(const SampleFilter& filter, SampleRef& ref);

// How many samples of each class there are (before `classes` filters), by name. Without labels: one entry "".
std::map<std::string, int64_t> CountLabels(const SampleFilter& filter);
int64_t CountSamples(const SampleFilter& filter);

// The samples of one epoch in a random order: shards in random order, samples through a buffer of `buffer` references.
// buffer 0: as they lie. The same (filter, seed, epoch) gives the same order.
class SampleStream {
 public:
  SampleStream(const SampleFilter& filter, int64_t buffer, uint64_t seed, int64_t epoch);
  bool Next(SampleRef& ref);

 private:
  bool NextInOrder(SampleRef& ref);

  const SampleFilter& filter_;
  size_t buffer_size_;
  uint64_t state_;
  std::vector<std::pair<std::string, int64_t>> paths_;  // with their numbers in the filter
  size_t next_path_ = 0;
  std::shared_ptr<const SampleSet> set_;
  int64_t next_index_ = 0;
  std::vector<SampleRef> buffer_;
};

}  // namespace fovea::train
