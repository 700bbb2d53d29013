// What is sure is said plainly, what is likely with "probably", the rest with "perhaps" or not at all: somebody who
// cannot look for themselves must be able to tell them apart.
#include "fovea/describe.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/strings.h"

namespace fovea {
namespace {

constexpr double kSure = 0.7, kLikely = 0.4;                   // of a caption
constexpr double kPlainThing = 0.5, kPlainThingOfDoubt = 0.8;  // of a thing, when the caption is likely, or less
constexpr double kSureLabel = 0.6, kLikelyLabel = 0.25;        // of a class
constexpr double kSureSetting = 0.6, kLikelySetting = 0.35;    // of a setting
constexpr double kNobody = 0.25;                               // of a person
constexpr size_t kMostText = 200;                              // bytes that are told of a text

const std::vector<std::string>& SettingNames() {
  static const std::vector<std::string> names = {
      "a beach",       "a city street",   "a kitchen",   "a living room", "a bedroom",      "a bathroom",
      "an office",     "a restaurant",    "a shop",      "a park",        "a forest",       "a field of grass",
      "the mountains", "a lake or river", "the sea",     "a snowy place", "a sports field", "a stage",
      "the night sky", "a country road",  "a garden",    "a farm",        "a station",      "an airport",
      "a playground",  "a swimming pool", "a plain wall"};
  return names;
}

std::string Capitalised(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

// Without a point at its end, and small at its beginning unless that is a name ("I", "NASA").
std::string Bare(std::string text) {
  while (!text.empty() && (text.back() == '.' || text.back() == ' ' || text.back() == '!')) text.pop_back();
  const bool is_word = text.size() < 2 || !std::isupper(static_cast<unsigned char>(text[1]));
  if (!text.empty() && is_word) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

std::string WithArticle(const std::string& name) {
  return (std::strchr("aeiouAEIOU", name[0]) != nullptr ? "an " : "a ") + name;
}

// "a, b and c"
std::string Listed(const std::vector<std::string>& items) {
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) text += (i == 0 ? "" : i + 1 == items.size() ? " and " : ", ") + items[i];
  return text;
}

std::string Lead(const Scene& scene) {
  const std::string caption = Bare(scene.caption);
  std::vector<std::string> missing;
  for (const Match& match : scene.things) {
    if (!match.is_supported) missing.push_back(match.thing.phrase);
  }
  std::string text = scene.confidence >= kSure     ? Capitalised(caption)
                     : scene.confidence >= kLikely ? "Probably " + caption
                                                   : "Perhaps " + caption + ", but this is not sure";
  if (!missing.empty()) text += " (not confirmed: " + Listed(missing) + ")";
  return text + ".";
}

// Who and what is there, people first: things of the caption, then what the classes add.
std::string Contents(const Scene& scene) {
  std::vector<std::string> people, things, perhaps;
  std::set<std::string> named;
  bool people_named = false;
  // What a doubtful caption names must be seen clearly to be said plainly.
  const double plain = scene.confidence >= kSure ? 0 : scene.confidence >= kLikely ? kPlainThing : kPlainThingOfDoubt;
  for (const Match& match : scene.things) {
    const Mention& thing = match.thing;
    if (!match.is_supported || !named.insert(thing.name).second || thing.kind == "body" || thing.kind == "place")
      continue;
    people_named |= thing.kind == "person";
    (match.score < plain      ? perhaps
     : thing.kind == "person" ? people
                              : things)
        .push_back(thing.is_plural || thing.kind == "substance" ? thing.phrase : WithArticle(thing.phrase));
  }
  for (const Label& label : scene.labels) {
    if (label.score < kLikelyLabel) break;
    const std::string name = label.name.substr(0, label.name.find(','));
    if (base::AsciiLower(scene.caption).find(base::AsciiLower(name)) != std::string::npos) continue;
    bool is_named = false;
    // A dining table is the table of the caption.
    for (const std::string& known : named) is_named |= name.ends_with(" " + known);
    for (const Mention& thing : ThingsIn(name)) is_named |= named.contains(thing.name);
    if (is_named || !named.insert(name).second) continue;
    (label.score >= kSureLabel ? things : perhaps).push_back(WithArticle(name));
  }
  people.insert(people.end(), things.begin(), things.end());
  std::string text;
  if (!people.empty()) text = "It shows " + Listed(people);
  if (!perhaps.empty()) text += (text.empty() ? "It shows perhaps " : ", and perhaps ") + Listed(perhaps);
  if (!people_named && scene.person < kNobody) text += text.empty() ? "No people were found" : "; no people were found";
  return text.empty() ? text : text + ".";
}

std::string Surroundings(const Scene& scene) {
  std::string text;
  if (!scene.setting.name.empty() && scene.setting.score >= kLikelySetting) {
    text =
        (scene.setting.score >= kSureSetting ? "The setting is probably " : "The setting may be ") + scene.setting.name;
  }
  if (!scene.text.empty()) {
    std::string shown = scene.text;
    if (shown.size() > kMostText) shown = shown.substr(0, shown.find_last_of(' ', kMostText)) + " ...";
    text += (text.empty() ? "The text in it reads: \"" : "; the text in it reads: \"") + shown + "\"";
  }
  return text.empty() ? text : text + ".";
}

}  // namespace

SceneReader::SceneReader(const Model& words, std::optional<Model> labeler)
    : words_(words),
      labeler_(std::move(labeler)),
      settings_(words_.PrepareLabels(SettingNames(), {.templates = {"{}", "a photo of {}"}})) {}

void SceneReader::Read(const Image& image, const Grounder& grounder, const Grounder::Sight& sight, Scene& scene) const {
  scene.setting = words_.Classify({&image, 1}, settings_, {.top_k = 1}).front().front();
  scene.person = grounder.Find(sight, "person").score;
  if (labeler_) scene.labels = labeler_->Classify({&image, 1}, {.top_k = 3}).front();
}

std::string Describe(const Scene& scene, int64_t sentences) {
  Require(sentences == 1 || sentences == 3, "[describe] expected 1 or 3 sentences, got ", sentences);
  Require(!Bare(scene.caption).empty(), "[describe] expected a caption, got none");
  std::string text = Lead(scene);
  if (sentences == 1) return text;
  for (const std::string& more : {Contents(scene), Surroundings(scene)}) {
    if (!more.empty()) text += " " + more;
  }
  return text;
}

}  // namespace fovea
