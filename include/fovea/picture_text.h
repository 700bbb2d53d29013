// Texts that a model wrote about pictures, put where other programs read them: as XMP, in a file beside the picture or
// inside it, with a note of who wrote them. What a person wrote is never replaced, and everything can be undone.
//
//   auto texts = fovea::PictureTexts::Open(fovea::PictureTexts::DefaultFile());
//   if (texts.Look("cat.jpg", text).kind == fovea::TextState::Kind::kNone) texts.Write("cat.jpg", text);
//   texts.Undo({"cat.jpg"}, {});
//
// A sidecar is PICTURE.xmp ("cat.jpg.xmp"). A text of a person counts wherever it stands: in the picture (XMP, IPTC,
// EXIF), in that sidecar, or in one of the other common name ("cat.xmp").
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fovea/error.h"

namespace fovea {

enum class TextPlace {
  kSidecar,   // a file beside the picture, which stays as it is
  kEmbedded,  // the picture's own XMP: JPEG, PNG, WebP, TIFF
};

// Which property is meant.
enum class TextKind {
  kDescription,  // dc:description, the caption
  kAltText,      // Iptc4xmpCore:AltTextAccessibility, for people who do not see the picture
};

struct PictureText {
  TextKind kind = TextKind::kDescription;
  TextPlace place = TextPlace::kSidecar;
  std::string text;
  double confidence = 0;    // 0..1
  std::string model;        // its name
  std::string fingerprint;  // of the model
  std::string settings;     // what else the text depends on; a run with the same need not write again
};

// What stands there about a picture.
struct TextState {
  enum class Kind {
    kNone,      // nothing: it may be written
    kSame,      // what this model wrote with these settings, in this place
    kOtherRun,  // what another model or other settings wrote: it may be replaced
    kPerson,    // somebody's own text, or one of ours that somebody has changed
  };
  Kind kind = Kind::kNone;
  std::string text;
  double confidence = 0;  // kSame, kOtherRun
  std::string file;       // where it stands
};

struct UndoReport {
  int64_t restored = 0;   // pictures and sidecars that are what they were
  int64_t removed = 0;    // sidecars that were not there before
  int64_t unchanged = 0;  // nothing to undo any more
};

class PictureTexts {
 public:
  // `journal`: a file that remembers what was there before; made when it is missing. Throws kIo, kCorruptData.
  static PictureTexts Open(const std::string& journal);
  ~PictureTexts();
  PictureTexts(PictureTexts&&) noexcept;
  PictureTexts& operator=(PictureTexts&&) noexcept;

  // What stands there for the kind, place, model and settings of `text`, whose own words and confidence do not count.
  // Throws kUnimplemented without Exiv2, kCorruptData for a sidecar that is no XMP, kIo, kNotFound.
  TextState Look(const std::string& picture, const PictureText& text) const;

  // Writes the text with its origin and returns the file it stands in. The journal is on disk before the file changes,
  // and the file changes at once: `kill -9` at any moment leaves the old one or the new one, and both can be undone.
  // The pixels of a picture that is written into are compared with those it had. Throws as Look, kInvalidArgument when
  // a person's text is there, kUnimplemented for a format that cannot hold it.
  std::string Write(const std::string& picture, const PictureText& text);

  // Brings back, byte for byte, what Write changed at or below the paths (pictures or folders). A file that was changed
  // since is left alone and given to `on_failure`.
  UndoReport Undo(const std::vector<std::string>& paths,
                  const std::function<void(const std::string& file, const Error& error)>& on_failure);

  // $XDG_DATA_HOME/fovea/texts.db, else ~/.local/share/fovea/texts.db
  static std::string DefaultFile();

 private:
  struct Impl;
  explicit PictureTexts(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fovea
