// A picture told to somebody who does not see it: people, things, setting and text in one or three sentences, hedged
// where the models are not sure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fovea/grounding.h"
#include "fovea/model.h"

namespace fovea {

// What is known of a picture.
struct Scene {
  std::string caption;        // by a model that writes
  double confidence = 0;      // in it, 0..1
  std::vector<Match> things;  // of the caption
  std::vector<Label> labels;  // classes that another model sees, best first
  Label setting;              // "a kitchen"; name "" for none
  double person = 0.5;        // whether somebody is in it, 0..1
  std::string text;           // read in it, "" for none
};

// Fills labels, setting and person. Cheap to copy.
class SceneReader {
 public:
  // `words`: a model that compares pictures with texts. `labeler`: one with classes, or none.
  SceneReader(const Model& words, std::optional<Model> labeler);
  void Read(const Image& image, const Grounder& grounder, const Grounder::Sight& sight, Scene& scene) const;

 private:
  Model words_;
  std::optional<Model> labeler_;
  LabelSet settings_;
};

// One sentence (the caption, hedged), or up to three: the caption; who and what else is there; the setting and text.
// Throws kInvalidArgument for another number of sentences or an empty caption.
std::string Describe(const Scene& scene, int64_t sentences);

}  // namespace fovea
