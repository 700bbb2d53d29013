// Features of towers that do not change during a run, computed once and read from files ever after.
//
// One file for each tower below the output folder: a row for each sample of the training data (pictures) or for each
// different caption (texts), mapped, never held in memory. A file carries a fingerprint of the weights that made it, of
// the preparation and of the data; one that does not fit is made anew. Pictures must not be augmented: the features are
// those of the whole picture.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "train/data/loader.h"

namespace fovea::train {

class FeatureCache {
 public:
  struct Options {
    std::string folder;                     // where the files lie
    LoaderOptions loader;                   // of the training data, in order, not augmented
    bool is_writer = true;                  // false: another process makes the files
    std::function<void()> barrier = [] {};  // waits for all processes
    std::function<void(const std::string&)> on_note = [](const std::string&) {};
  };
  // `fingerprint`: of what makes the features; that of the data is added.
  explicit FeatureCache(Options options);

  // Makes or opens the file `name`. `encode`: [B,D] of the pictures of a batch, or of captions.
  void AddPictures(const std::string& name, const std::string& fingerprint,
                   const std::function<Tensor(const Tensor& pixels)>& encode);
  void AddTexts(const std::string& name, const std::string& fingerprint,
                const std::function<Tensor(std::span<const std::string>)>& encode);

  bool Has(const std::string& name) const { return files_.contains(name); }
  // Rows [B,D] of samples; of captions. Throws kCorruptData for one that is not there.
  Tensor Pictures(const std::string& name, std::span<const SamplePlace> places) const;
  Tensor Texts(const std::string& name, std::span<const std::string> captions) const;

 private:
  std::string File(const std::string& name) const { return options_.folder + "/" + name + ".features.safetensors"; }
  bool IsMade(const std::string& name, const std::string& fingerprint, int64_t rows) const;
  void Open(const std::string& name, const std::string& fingerprint, int64_t rows);
  int64_t RowOf(const SamplePlace& place) const { return first_row_[static_cast<size_t>(place.path)] + place.index; }
  void IndexCaptions();
  Tensor Gathered(const std::string& name, std::span<const int64_t> rows) const;

  Options options_;
  std::string data_fingerprint_;
  std::vector<int64_t> first_row_;  // by path of the data
  int64_t samples_ = 0;
  std::map<std::string, int64_t> caption_rows_;  // by hash
  std::vector<SamplePlace> caption_places_;      // where each first occurs
  std::vector<int64_t> caption_numbers_;         // which of the captions there
  std::map<std::string, Tensor> files_;          // [N,D], mapped
};

}  // namespace fovea::train
