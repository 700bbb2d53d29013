// Late fusion: pictures with texts beside them, compared by two models that know nothing of each other.
//
//   late_fusion examples/late_fusion.tsv
//   late_fusion photos.tsv --image-model my-vit --text-model my-bert
//
// Each line of the table is PICTURE <tab> TEXT <tab> LABEL; pictures are named relative to the table. One model makes a
// vector of the picture, another one of the text. Two items are as alike as
//
//   w cos(picture, picture') + (1 - w) cos(text, text')
//
// and the one number to learn, w, is the one that best puts pairs of one label above pairs of two on half of the items;
// what it is worth is measured on the other half. Without --text-model the text's vector is a count of its letter
// triples: enough to see the recipe work with no model but the bundled one.
//
// Uses the public API only. docs/late-fusion.md explains when this is the right tool. It is no replacement for a model
// that saw pictures and texts together: a text cannot find a picture here unless that picture has a text of its own.
#include <fovea/error.h>
#include <fovea/image.h>
#include <fovea/model.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

struct Item {
  std::string picture, text, label;
  std::vector<float> picture_vector, text_vector;  // L2-normalised
  bool is_held_out = false;                        // not looked at when the weight is chosen
};

[[noreturn]] void Fail(const std::string& message) {
  throw fovea::Error(fovea::ErrorCode::kInvalidArgument, "[late_fusion] " + message);
}

std::vector<Item> ReadTable(const std::string& path) {
  std::ifstream file(path);
  if (!file) Fail("cannot read " + path);
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::vector<Item> items;
  std::map<std::string, int> seen;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    std::istringstream fields(line);
    Item item;
    if (!std::getline(fields, item.picture, '\t') || !std::getline(fields, item.text, '\t') ||
        !std::getline(fields, item.label, '\t') || item.label.empty())
      Fail(path + ":" + std::to_string(number) + ": expected PICTURE<tab>TEXT<tab>LABEL");
    item.picture = (folder / item.picture).string();
    item.is_held_out = seen[item.label]++ % 2 == 1;
    items.push_back(std::move(item));
  }
  if (items.empty()) Fail(path + " holds no items");
  return items;
}

void Normalize(std::vector<float>& v) {
  double sum = 0;
  for (const float x : v) sum += static_cast<double>(x) * x;
  for (float& x : v) x = sum > 0 ? static_cast<float>(x / std::sqrt(sum)) : 0.0f;
}

// How often each letter triple occurs, hashed (FNV-1a) into 512 places.
std::vector<float> CountTriples(const std::string& text) {
  const std::string padded = " " + text + " ";
  std::vector<float> counts(512);
  for (size_t i = 0; i + 3 <= padded.size(); ++i) {
    uint32_t hash = 2166136261u;
    for (size_t j = i; j < i + 3; ++j) hash = (hash ^ static_cast<uint8_t>(padded[j])) * 16777619u;
    counts[hash % counts.size()] += 1.0f;
  }
  Normalize(counts);
  return counts;
}

void Embed(std::vector<Item>& items, const std::string& image_model, const std::string& text_model) {
  const fovea::Model model = fovea::Model::Load(image_model);
  for (Item& item : items) {
    const fovea::Image image = fovea::ReadImage(item.picture);
    item.picture_vector = model.EmbedImages({&image, 1})[0];
  }
  if (text_model.empty()) {
    for (Item& item : items) item.text_vector = CountTriples(item.text);
    return;
  }
  std::vector<std::string> texts;
  for (const Item& item : items) texts.push_back(item.text);
  const auto vectors = fovea::Model::Load(text_model).EmbedTexts(texts);
  for (size_t i = 0; i < items.size(); ++i) items[i].text_vector = vectors[i];
}

double Dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

double Score(const Item& a, const Item& b, double weight) {
  return weight * Dot(a.picture_vector, b.picture_vector) + (1 - weight) * Dot(a.text_vector, b.text_vector);
}

// How likely a pair of one label scores above a pair of two (area under the ROC curve, ties count half), over the pairs
// of one half of the items.
double PairsInOrder(const std::vector<Item>& items, bool held_out, double weight) {
  std::vector<double> alike, different;
  for (size_t i = 0; i < items.size(); ++i) {
    for (size_t j = i + 1; j < items.size(); ++j) {
      if (items[i].is_held_out != held_out || items[j].is_held_out != held_out) continue;
      (items[i].label == items[j].label ? alike : different).push_back(Score(items[i], items[j], weight));
    }
  }
  if (alike.empty() || different.empty())
    Fail("expected two labels, and four items of at least one of them, so that each half holds pairs of both kinds");
  double wins = 0;
  for (const double a : alike) {
    for (const double d : different) wins += a > d ? 1.0 : a == d ? 0.5 : 0.0;
  }
  return wins / static_cast<double>(alike.size()) / static_cast<double>(different.size());
}

// Standard deviation of the cosines over the pairs of the chosen half. One model's lie between 0.1 and 0.6, another
// one's between 0.97 and 0.99: divided by this, both have the same say at a share of one half.
double Spread(const std::vector<Item>& items, std::vector<float> Item::*vector) {
  double sum = 0, squares = 0, count = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    for (size_t j = i + 1; j < items.size(); ++j) {
      if (items[i].is_held_out || items[j].is_held_out) continue;
      const double cosine = Dot(items[i].*vector, items[j].*vector);
      sum += cosine;
      squares += cosine * cosine;
      count += 1;
    }
  }
  const double mean = sum / count;
  return std::sqrt(std::max(squares / count - mean * mean, 1e-12));
}

// The same score as one cosine, so that any vector index can hold the items:
// |fused| = 1 and dot(fused, fused') = w dot(picture, picture') + (1 - w) dot(text, text').
std::vector<float> Fused(const Item& item, double weight) {
  std::vector<float> fused;
  for (const float x : item.picture_vector) fused.push_back(static_cast<float>(std::sqrt(weight)) * x);
  for (const float x : item.text_vector) fused.push_back(static_cast<float>(std::sqrt(1 - weight)) * x);
  return fused;
}

void Run(const std::string& table, const std::string& image_model, const std::string& text_model) {
  std::vector<Item> items = ReadTable(table);
  Embed(items, image_model, text_model);

  PairsInOrder(items, false, 0), PairsInOrder(items, true, 0);  // an error comes before any output
  const double picture_spread = Spread(items, &Item::picture_vector), text_spread = Spread(items, &Item::text_vector);
  std::printf("spread of the cosines: pictures %.2g, texts %.2g\n", picture_spread, text_spread);
  std::printf("share of pairs in order\nshare of the picture   weight w   chosen half   held-out half\n");
  double best_weight = 0, best = -1;
  for (int tenth = 0; tenth <= 10; ++tenth) {
    const double picture = tenth / picture_spread, text = (10 - tenth) / text_spread;
    const double weight = picture / (picture + text), share = PairsInOrder(items, false, weight);
    std::printf("%20.1f   %8.3g   %11.3f   %13.3f\n", tenth / 10.0, weight, share, PairsInOrder(items, true, weight));
    if (share > best) {
      best = share;
      best_weight = weight;
    }
  }
  std::printf("chosen: weight %.3g, %.3f on the held-out half\n", best_weight, PairsInOrder(items, true, best_weight));

  std::vector<std::vector<float>> vectors;
  for (const Item& item : items) vectors.push_back(Fused(item, best_weight));
  std::printf("\nnearest neighbours by the fused vectors of %zu numbers\n", vectors[0].size());
  for (size_t i = 0; i < items.size(); ++i) {
    size_t nearest = i == 0 ? 1 : 0;
    for (size_t j = 0; j < items.size(); ++j) {
      if (j != i && Dot(vectors[i], vectors[j]) > Dot(vectors[i], vectors[nearest])) nearest = j;
    }
    std::printf("%-48.48s %-48.48s %.3f\n", items[i].text.c_str(), items[nearest].text.c_str(),
                Dot(vectors[i], vectors[nearest]));
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string table, image_model = fovea::DefaultModelName(), text_model;
  bool is_understood = true;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool is_image = argument == "--image-model", is_text = argument == "--text-model";
    if ((is_image || is_text) && i + 1 < argc) {
      (is_image ? image_model : text_model) = argv[++i];
    } else if (table.empty() && argument[0] != '-') {
      table = argument;
    } else {
      is_understood = false;
    }
  }
  if (!is_understood || table.empty()) {
    std::fprintf(stderr, "usage: late_fusion TABLE [--image-model NAME] [--text-model NAME]\n");
    return 2;
  }
  try {
    Run(table, image_model, text_model);
  } catch (const fovea::Error& error) {
    std::fprintf(stderr, "late_fusion: %s\n", error.what());
    return 1;
  }
  return 0;
}
