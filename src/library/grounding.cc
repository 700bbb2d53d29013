// Things in pictures, found with a two-tower model: the picture is seen whole and in 25 overlapping parts, and each
// part is compared with the name of the thing and with some four hundred everyday texts (background.h). z says by how
// many standard deviations the name fits better.
//
// How likely the thing is there follows from z of the whole and of the best part by a logistic function, whose three
// numbers stand in calibration.json of the model's folder (`fovea eval pope` fits them); models without one get those
// of fovea-photos, since z means about the same for all models.
#include "fovea/grounding.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "library/background.h"
#include "media/draw.h"
#include "runtime/loaded_model.h"

namespace fovea {
namespace {

// Parts of a picture, in sixths of its sides.
constexpr int64_t kCells = 6;
struct Part {
  int64_t left, top, side;
};

const std::vector<Part>& Parts() {
  static const std::vector<Part> parts = [] {
    std::vector<Part> made = {{0, 0, kCells}};
    for (const int64_t side : {4, 3}) {
      for (int64_t top = 0; top + side <= kCells; ++top) {
        for (int64_t left = 0; left + side <= kCells; ++left) made.push_back({left, top, side});
      }
    }
    return made;
  }();
  return parts;
}

// A rectangle of cells in pixels.
Region Frame(int64_t left, int64_t top, int64_t right, int64_t bottom, int64_t width, int64_t height) {
  const int64_t x = left * width / kCells, y = top * height / kCells;
  return {x, y, std::max<int64_t>(1, right * width / kCells - x), std::max<int64_t>(1, bottom * height / kCells - y)};
}

Image Cut(const Image& image, const Region& region) {
  Image part = Image::Allocate(region.width, region.height);
  for (int64_t y = 0; y < region.height; ++y) {
    std::memcpy(part.mutable_row(y), image.row(region.top + y) + 3 * region.left,
                static_cast<size_t>(3 * region.width));
  }
  return part;
}

// Where the parts that hold it fit best: the frame around the places whose mean z over their parts is in the upper half
// between the middle and the best. What fits the whole picture nearly as well as its best part fills it. `z`: of
// Parts().
Region RegionOf(const std::vector<double>& z, int64_t width, int64_t height) {
  constexpr double kFillsPicture = 0.85;
  if (z[0] >= kFillsPicture * *std::max_element(z.begin() + 1, z.end())) return {0, 0, width, height};
  std::vector<double> heat(kCells * kCells), count(kCells * kCells);
  for (size_t p = 1; p < Parts().size(); ++p) {
    const Part& part = Parts()[p];
    for (int64_t cell = 0; cell < part.side * part.side; ++cell) {
      const int64_t place = (part.top + cell / part.side) * kCells + part.left + cell % part.side;
      heat[static_cast<size_t>(place)] += z[p];
      ++count[static_cast<size_t>(place)];
    }
  }
  for (size_t i = 0; i < heat.size(); ++i) heat[i] /= count[i];
  std::vector<double> sorted = heat;
  std::ranges::sort(sorted);
  const double limit = (sorted.back() + sorted[sorted.size() / 2]) / 2;
  int64_t left = kCells, top = kCells, right = 0, bottom = 0;
  for (int64_t cell = 0; cell < kCells * kCells; ++cell) {
    if (heat[static_cast<size_t>(cell)] < limit) continue;
    left = std::min(left, cell % kCells);
    right = std::max(right, cell % kCells + 1);
    top = std::min(top, cell / kCells);
    bottom = std::max(bottom, cell / kCells + 1);
  }
  return Frame(left, top, right, bottom, width, height);
}

std::string WithArticle(const std::string& thing) {
  return (!thing.empty() && std::strchr("aeiou", thing[0]) != nullptr ? "an " : "a ") + thing;
}

// P(there) = 1 / (1 + exp(-(bias + whole z + part z'))), z of the whole picture and z' of its best part.
struct PresenceFit {
  double bias = -1.45, whole = 0.4, part = 0.78;
};

PresenceFit FitOf(const std::string& folder) {
  PresenceFit fit;
  const std::string path = folder + "/calibration.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return fit;
  const base::Config config = base::Config::FromFile(path);
  if (!config.Has("presence")) return fit;
  const base::Config presence = config.Object("presence");
  fit.bias = presence.Require<double>("bias");
  fit.whole = presence.Require<double>("whole");
  fit.part = presence.Require<double>("part");
  return fit;
}

}  // namespace

struct Grounder::Sight::Views {
  std::vector<std::vector<float>> vectors;  // of Parts()
  std::vector<double> deviations;           // of the background texts at each
};

struct Grounder::Impl {
  explicit Impl(const Model& model_in)
      : model(model_in), background(library::BackgroundOf(model_in)), fit(FitOf(model_in.info().path)) {}

  // The vector of a thing, ready for z.
  const std::vector<float>& TextOf(const std::string& thing) const {
    const std::lock_guard lock(mutex);
    const auto known = texts.find(thing);
    if (known != texts.end()) return known->second;
    const std::string named = WithArticle(thing);
    const std::array<std::string, 2> sentences = {named, "a photo of " + named};
    const std::vector<std::vector<float>> vectors = model.EmbedTexts(sentences);
    std::vector<float> mean = vectors[0];
    double squares = 0;
    for (size_t d = 0; d < mean.size(); ++d) {
      mean[d] += vectors[1][d];
      squares += static_cast<double>(mean[d]) * mean[d];
    }
    for (float& value : mean) value = static_cast<float>(value / std::sqrt(std::max(squares, 1e-12)));
    return texts.emplace(thing, background->Centred(mean)).first->second;
  }

  std::vector<double> Z(const Sight::Views& views, const std::string& thing) const {
    const std::vector<float>& text = TextOf(thing);
    std::vector<double> z;
    for (size_t v = 0; v < views.vectors.size(); ++v) {
      double sum = 0;
      for (size_t d = 0; d < text.size(); ++d) sum += static_cast<double>(text[d]) * views.vectors[v][d];
      z.push_back(sum / views.deviations[v]);
    }
    return z;
  }

  const Model model;
  const std::shared_ptr<const library::Background> background;
  const PresenceFit fit;
  mutable std::mutex mutex;  // guards what follows
  mutable std::unordered_map<std::string, std::vector<float>> texts;
};

Grounder::Grounder(const Model& model) {
  const auto& can = model.info().capabilities;
  if (std::ranges::find(can, "match") == can.end()) {
    Fail(ErrorCode::kUnimplemented, "[grounding] the model ", base::PrintableUtf8(model.info().name),
         " compares no pictures with texts");
  }
  impl_ = std::make_shared<Impl>(model);
}

Grounder::Sight Grounder::See(const Image& image) const {
  Require(!image.empty(), "[grounding] expected a picture with pixels");
  std::vector<Image> parts;
  for (const Part& p : Parts())
    parts.push_back(Cut(image, Frame(p.left, p.top, p.left + p.side, p.top + p.side, image.width, image.height)));
  auto views = std::make_shared<Sight::Views>();
  views->vectors = impl_->model.EmbedImages(parts);
  for (const auto& vector : views->vectors) views->deviations.push_back(impl_->background->Deviation(vector));
  Sight sight;
  sight.width_ = image.width;
  sight.height_ = image.height;
  sight.views_ = std::move(views);
  return sight;
}

Match Grounder::Find(const Sight& sight, const std::string& thing) const {
  Require(sight.views_ != nullptr, "[grounding] expected a picture that See has seen");
  const std::vector<double> z = impl_->Z(*sight.views_, thing);
  const auto best = std::max_element(z.begin() + 1, z.end());
  Match match{.thing = {.name = thing, .phrase = thing, .kind = "", .begin = 0, .end = thing.size()},
              .region = RegionOf(z, sight.width(), sight.height()),
              .whole_z = z[0],
              .part_z = *best};
  const PresenceFit& fit = impl_->fit;
  match.score = 1 / (1 + std::exp(-(fit.bias + fit.whole * z[0] + fit.part * *best)));
  match.is_supported = match.score >= kLeastSupport;
  return match;
}

std::vector<Match> Grounder::Ground(const Sight& sight, const std::string& text) const {
  std::vector<Match> matches;
  for (Mention& mention : ThingsIn(text)) {
    Match match = Find(sight, mention.name);
    match.thing = std::move(mention);
    matches.push_back(std::move(match));
  }
  return matches;
}

Image DrawMatches(const Image& image, std::span<const Match> matches) {
  static constexpr std::array<media::Colour, 6> kColours = {
      {{230, 75, 25}, {0, 130, 200}, {60, 160, 75}, {145, 30, 180}, {200, 150, 0}, {0, 128, 128}}};
  Image drawn = Cut(image, {0, 0, image.width, image.height});
  const int64_t scale = std::max<int64_t>(1, std::min(image.width, image.height) / 300);
  for (size_t i = 0; i < matches.size(); ++i) {
    const Match& match = matches[i];
    const media::Colour& colour = kColours[i % kColours.size()];
    // Regions are often the same part: each frame stands a little inside the one before.
    const int64_t inset = 3 * scale * static_cast<int64_t>(i);
    const Region& r = match.region;
    if (r.width <= 2 * inset + 8 || r.height <= 2 * inset + 8) continue;
    media::DrawBox(drawn, {r.left + inset, r.top + inset, r.width - 2 * inset, r.height - 2 * inset},
                   {.colour = colour, .thickness = 2 * scale, .is_dashed = !match.is_supported});
  }
  for (size_t i = 0, row = 0; i < matches.size(); ++i, ++row) {
    const Match& match = matches[i];
    const std::string text =
        base::StrCat(match.thing.phrase, ' ', std::lround(100 * match.score), " %", match.is_supported ? "" : " ?");
    const int64_t inset = 3 * scale * static_cast<int64_t>(i);
    media::DrawLabel(drawn, match.region.left + inset,
                     match.region.top + inset + static_cast<int64_t>(row) * 14 * scale,
                     {.text = text, .bar = kColours[i % kColours.size()], .scale = scale});
  }
  return drawn;
}

}  // namespace fovea
