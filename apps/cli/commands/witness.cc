#include "commands/witness.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "commands/programs.h"
#include "fovea/image.h"

namespace fovea::cli {
namespace {

// A folder that is gone at the end of the scope.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fovea-XXXXXX").native();
    if (::mkdtemp(pattern.data()) == nullptr) throw Error(ErrorCode::kIo, "cannot make a folder in " + pattern);
    path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string File(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// What Tesseract reads, where it is installed: words of which it is sure.
std::string ReadText(const Image& image) {
  constexpr double kLeastConfidence = 70;
  constexpr size_t kColumns = 12;
  const std::string program = FindProgram("tesseract");
  if (program.empty()) return "";
  const ScratchFolder folder;
  WritePng(folder.File("picture.png"), image);
  std::istringstream table(RunProgram({program, folder.File("picture.png"), "stdout", "--psm", "11", "tsv"}));
  std::string text;
  for (std::string line; std::getline(table, line);) {
    std::vector<std::string> columns;
    std::istringstream fields(line);
    for (std::string field; std::getline(fields, field, '\t');) columns.push_back(field);
    if (columns.size() != kColumns) continue;
    const std::string& word = columns[kColumns - 1];
    // Letters and digits, of other alphabets too; marks alone are mostly no text.
    const auto letters = std::ranges::count_if(word, [](const char c) {
      constexpr unsigned char kFirstLetters = 0xC3;  // of UTF-8 beyond ASCII
      const auto byte = static_cast<unsigned char>(c);
      return byte < 0x80 ? std::isalnum(byte) != 0 : byte >= kFirstLetters;
    });
    if (letters >= 2 && std::strtod(columns[kColumns - 2].c_str(), nullptr) >= kLeastConfidence)
      text += (text.empty() ? "" : " ") + word;
  }
  return text;
}

}  // namespace

Witness::Witness(const Arguments& arguments)
    : words_(Model::Load(kModelOfWords)), grounder_(words_), sentences_(arguments.caption.sentences) {}

const Grounder::Sight& Witness::View::Sight() {
  if (!sight_) sight_ = witness_->grounder_.See(*image_);
  return *sight_;
}

std::vector<Match> Witness::View::Ground(const std::string& text) { return witness_->grounder_.Ground(Sight(), text); }

std::vector<std::string> Witness::View::Absent(const std::string& question) {
  std::vector<std::string> absent;
  for (const Mention& thing : AssumedThings(question)) {
    double score = witness_->grounder_.Find(Sight(), thing.name).score;
    if (thing.kind == "person") score = std::max(score, witness_->grounder_.Find(Sight(), "person").score);
    if (score < Grounder::kLeastAssumed) absent.push_back(thing.name);
  }
  return absent;
}

std::string Witness::View::Describe(const std::string& caption, double confidence, Console& console) {
  if (!witness_->reader_) {
    witness_->reader_ = std::make_shared<SceneReader>(
        witness_->words_, witness_->sentences_ > 1 ? LoadLabeler(witness_->words_, console) : std::nullopt);
  }
  Scene scene{.caption = caption, .confidence = confidence, .things = Ground(caption)};
  if (witness_->sentences_ > 1) {
    witness_->reader_->Read(*image_, witness_->grounder_, Sight(), scene);
    scene.text = ReadText(*image_);
  }
  return fovea::Describe(scene, witness_->sentences_);
}

void Witness::DrawInto(const std::string& place, int64_t pictures) {
  draw_ = place;
  std::error_code error;
  draws_into_folder_ = pictures != 1 || std::filesystem::is_directory(draw_, error);
  if (!draws_into_folder_) return;
  error.clear();
  std::filesystem::create_directories(draw_, error);
  if (error) throw Error(ErrorCode::kIo, "cannot make the folder " + Printable(draw_) + ": " + error.message());
}

std::string Witness::FileFor(const std::string& path) const {
  if (!draws_into_folder_) return draw_;
  return (std::filesystem::path(draw_) / (std::filesystem::path(path).filename().native() + ".jpg")).native();
}

void Witness::Tell(const std::string& path, const Image& image, const std::vector<Match>& matches, Json& object,
                   std::string& lines, const Console& console) const {
  Json things = Json::array();
  for (const Match& match : matches) {
    const Region& r = match.region;
    things.push_back({{"thing", Printable(match.thing.phrase)},
                      {"score", FourDigits(match.score)},
                      {"supported", match.is_supported},
                      {"box", {r.left, r.top, r.width, r.height}}});
    lines += "\n  " + Percent(match.score) + "  " + Printable(match.thing.phrase) +
             console.Dim("  at " + std::to_string(r.left) + "," + std::to_string(r.top) + " " +
                         std::to_string(r.width) + "x" + std::to_string(r.height));
    if (!match.is_supported) lines += console.Yellow("  not found in the picture");
  }
  object["grounded"] = things;
  if (draw_.empty()) return;
  const std::string file = FileFor(path);
  WriteJpeg(file, DrawMatches(image, matches));
  object["drawn"] = Printable(file);
  lines += console.Dim("\n  drawn in " + Printable(file));
}

}  // namespace fovea::cli
