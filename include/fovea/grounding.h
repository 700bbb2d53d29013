// What a text names, and whether it is in the picture: every thing of a sentence is tied to a region and a score by a
// model that puts pictures and texts into one space (CLIP, SigLIP, fovea-photos).
//
//   fovea::Grounder grounder(fovea::Model::Load("fovea-photos"));
//   for (const auto& match : grounder.Ground(grounder.See(image), "a cat on a sofa")) ...   // cat, sofa
//
// A text is compared with the whole picture and with overlapping parts of it; what counts is how much better it fits
// than everyday texts that have nothing to do with it (as in search, docs/search.md). There is no detector behind it:
// regions are coarse.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fovea/image.h"
#include "fovea/model.h"

namespace fovea {

// A thing that a text names.
struct Mention {
  std::string name;           // in the singular: "table"
  std::string phrase;         // as it is written, with the nouns before it: "coffee tables"
  std::string kind;           // "person", "animal", "food", "plant", "object", "place", "body", "substance"
  size_t begin = 0, end = 0;  // of the phrase in the text, bytes
  bool is_plural = false;
};

// The things that an English text names, by a list of some 1,200 words for what can be seen
// (src/library/things_table.cc): there is no grammar behind it, so a word counts wherever it stands.
std::vector<Mention> ThingsIn(const std::string& text);

// The things that a question takes for granted: "what colour is the elephant on the left?" assumes an elephant, "is
// there an elephant?" does not. People, animals, plants, food and objects only.
std::vector<Mention> AssumedThings(const std::string& question);

// A part of a picture, px of the upright original.
struct Region {
  int64_t left = 0, top = 0, width = 0, height = 0;
};

struct Match {
  Mention thing;
  Region region;     // where it fits best
  double score = 0;  // 0..1: how likely it is there, when as many things are there as are not
  double whole_z = 0,
         part_z = 0;          // the evidence: how well the picture and its best part fit (src/library/background.h)
  bool is_supported = false;  // the score is not below kLeastSupport
};

class Grounder {
 public:
  // Below it a thing that a caption names is called unsupported.
  static constexpr double kLeastSupport = 0.25;
  // Below it a question that takes a thing for granted is not answered.
  static constexpr double kLeastAssumed = 0.3;

  // Throws kUnimplemented when the model compares no pictures with texts.
  explicit Grounder(const Model& model);

  // A picture as the model sees it, whole and in parts. Cheap to copy.
  class Sight {
   public:
    int64_t width() const { return width_; }
    int64_t height() const { return height_; }

   private:
    friend class Grounder;
    struct Views;
    int64_t width_ = 0, height_ = 0;  // px
    std::shared_ptr<const Views> views_;
  };
  Sight See(const Image& image) const;

  // The things that the text names, in its order.
  std::vector<Match> Ground(const Sight& sight, const std::string& text) const;

  // One thing, in the singular: "elephant".
  Match Find(const Sight& sight, const std::string& thing) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

// The text without the parts that name unsupported things, where a part can be cut out without breaking the sentence:
// "a man sits on a bench beside a dog." -> "a man sits on a bench." Otherwise the text as it is.
std::string WithoutUnsupported(const std::string& text, std::span<const Match> matches);

// The picture with a box around each region, labelled "name 93 %"; dashed where it is unsupported.
Image DrawMatches(const Image& image, std::span<const Match> matches);

}  // namespace fovea
