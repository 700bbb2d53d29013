// The model of words as a witness of what another model has said: what a caption names, what a question takes for
// granted, and what a picture holds besides, for people who do not see it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "commands/told.h"
#include "fovea/describe.h"
#include "fovea/grounding.h"

namespace fovea::cli {

class Witness {
 public:
  // Loads the bundled model of words. Throws kNotFound when it is not on this machine.
  explicit Witness(const Arguments& arguments);

  // One picture, looked at when it is first asked about.
  class View {
   public:
    View(const Witness& witness, const Image& image) : witness_(&witness), image_(&image) {}
    const Image& image() const { return *image_; }
    std::vector<Match> Ground(const std::string& text);
    // Things that the question takes for granted and that are not found.
    std::vector<std::string> Absent(const std::string& question);
    // For a screen reader: the caption as it is known.
    std::string Describe(const std::string& caption, double confidence, Console& console);

   private:
    const Grounder::Sight& Sight();
    const Witness* witness_;
    const Image* image_;
    std::optional<Grounder::Sight> sight_;
  };

  // What --ground and --draw tell of the matches.
  void Tell(const std::string& path, const Image& image, const std::vector<Match>& matches, Json& object,
            std::string& lines, const Console& console) const;
  // --draw into one file, or a folder of them.
  void DrawInto(const std::string& place, int64_t pictures);

 private:
  std::string FileFor(const std::string& path) const;

  const Model words_;
  const Grounder grounder_;
  const int64_t sentences_;
  mutable std::shared_ptr<const SceneReader> reader_;  // made for the first description
  std::string draw_;
  bool draws_into_folder_ = false;
};

}  // namespace fovea::cli
