// Captions written beside and into pictures, for `fovea caption --xmp` and `--undo`.
#pragma once

#include <optional>

#include "commands/told.h"
#include "fovea/chat.h"
#include "fovea/picture_text.h"

namespace fovea::cli {

// Captions as XMP. Pictures that have one need none: a run that was interrupted goes on where it stopped.
class XmpTexts {
 public:
  XmpTexts(const Arguments& arguments, const Model& model, const GenerateSettings& settings);

  // What is to be told instead of a new text, if there is no need for one, and the text that stands there.
  struct Presence {
    Told told;
    std::string text;
    double confidence = -1;  // below 0: a person's text
  };
  std::optional<Presence> Present(const std::string& path, const Console& console) const;

  void Write(const std::string& path, const std::string& text, double confidence, Told& told, const Console& console);

 private:
  PictureTexts texts_;
  PictureText text_;
};

Exit UndoTexts(const Arguments& arguments, Console& console);

}  // namespace fovea::cli
