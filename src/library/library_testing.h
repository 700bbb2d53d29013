// What the tests of this room share: small pictures, a cheap model, and ways to look at a library. For *_test.cc only.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/strings.h"
#include "library/index_job.h"
#include "library/search.h"

namespace fovea::library {

// A 24-bit BMP of width x height pixels, coloured by `seed`: different seeds give different files.
inline std::string Bmp(int64_t width, int64_t height, uint32_t seed) {
  const int64_t stride = (width * 3 + 3) / 4 * 4;
  std::string file(static_cast<size_t>(54 + stride * height), '\0');
  const auto put = [&](size_t at, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) file[at + static_cast<size_t>(i)] = static_cast<char>(value >> (8 * i));
  };
  file[0] = 'B';
  file[1] = 'M';
  put(2, static_cast<uint32_t>(file.size()), 4);
  put(10, 54, 4);
  put(14, 40, 4);
  put(18, static_cast<uint32_t>(width), 4);
  put(22, static_cast<uint32_t>(height), 4);
  put(26, 1, 2);
  put(28, 24, 2);
  uint32_t state = seed * 2654435761u + 1;
  for (size_t i = 54; i < file.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    file[i] = static_cast<char>(state >> 24);
  }
  return file;
}

inline void WriteFile(const std::string& path, std::string_view bytes) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// A model that costs nothing: the embedding is the mean colour of 2x2 tiles, the label the strongest colour. Counts the
// pictures it was shown.
struct CheapModel {
  std::string fingerprint = "cheap-1";
  std::shared_ptr<std::atomic<int64_t>> seen = std::make_shared<std::atomic<int64_t>>(0);

  static Analysis Look(const Image& image) {
    std::vector<float> tiles(12, 1e-3f);
    for (int64_t y = 0; y < image.height; ++y) {
      for (int64_t x = 0; x < image.width; ++x) {
        const auto tile = static_cast<size_t>(2 * y / image.height * 2 + 2 * x / image.width);
        for (size_t c = 0; c < 3; ++c) tiles[tile * 3 + c] += image.row(y)[static_cast<size_t>(x) * 3 + c];
      }
    }
    float norm = 0, colours[3] = {};
    for (size_t i = 0; i < 12; ++i) {
      norm += tiles[i] * tiles[i];
      colours[i % 3] += tiles[i];
    }
    for (float& value : tiles) value /= std::sqrt(norm);
    const auto best = static_cast<size_t>(std::max_element(colours, colours + 3) - colours);
    const char* names[] = {"deep red", "leaf green", "sky blue"};
    return {
        .labels = {{names[best], static_cast<int64_t>(best), colours[best] / (colours[0] + colours[1] + colours[2])}},
        .embedding = tiles};
  }

  Analyzer analyzer() const {
    return {.analyze =
                [seen = seen](std::span<const Image> images) {
                  std::vector<Analysis> analyses;
                  for (const Image& image : images) {
                    ++*seen;
                    analyses.push_back(Look(image));
                  }
                  return analyses;
                },
            .model = {.fingerprint = fingerprint, .name = "cheap", .embedding_dim = 12}};
  }
};

inline JobOptions TestOptions() {
  JobOptions options;
  options.index.schedule.workers = 2;
  options.commit_seconds = 0.05;
  options.decoder.probe = [](std::span<const uint8_t> bytes, const std::string& name) {
    return ProbeImage(bytes, name);
  };
  options.decoder.decode = [](std::span<const uint8_t> bytes, const std::string& name, ImageInfo* info) {
    return DecodeImage(bytes, name, {}, info);
  };
  return options;
}

// Library::SearchByWords on a store.
inline std::vector<SearchHit> FindWords(Store& store, const std::string& words, const SearchOptions& options = {}) {
  return SearchFor(store, nullptr, nullptr, AskInWords(words, {}), {}, options);
}

// Everything a person can see of a library, one line for each file in order of path; without ids, times and order of
// writing.
inline std::string Contents(const std::string& file) {
  Store store(file, Database::Mode::kReadOnly);
  std::string text;
  char number[32];
  for (auto rows = store.db().Query(
           "SELECT f.path, f.size_bytes, f.failure, c.hash, c.width_px, c.height_px, a.embedding, w.labels, w.name, "
           "w.folders, c.id "
           "FROM file f LEFT JOIN content c ON c.id = f.content_id LEFT JOIN analysis a ON a.content_id = c.id "
           "AND a.model_id = (SELECT id FROM model ORDER BY started DESC LIMIT 1) "
           "LEFT JOIN words w ON w.rowid = f.id ORDER BY f.path");
       rows.Next();) {
    for (int column = 0; column < 10; ++column) {
      if (column == 6) {
        for (const char c : rows.Bytes(6)) {
          std::snprintf(number, sizeof(number), "%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
          text += number;
        }
      } else {
        text += rows.Bytes(column);
      }
      text += '|';
    }
    for (auto labels = store.db().Query(
             "SELECT l.name, p.class_index, p.score FROM picture_label p JOIN label l ON l.id = p.label_id "
             "WHERE p.content_id = ? ORDER BY p.rank",
             rows.Int(10));
         labels.Next();) {
      std::snprintf(number, sizeof(number), ":%.9g ", labels.Double(2));
      text += std::string(labels.Text(0)) + number;
    }
    text += '\n';
  }
  return text;
}

// "" when equal, else the first line that differs, shortened: whole libraries would flood the screen.
inline std::string FirstDifference(const std::string& actual, const std::string& expected) {
  const std::vector<std::string> a = base::Split(actual, '\n'), b = base::Split(expected, '\n');
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    const std::string left = i < a.size() ? a[i] : "(nothing)", right = i < b.size() ? b[i] : "(nothing)";
    if (left != right) return "got " + left.substr(0, 300) + "\nexpected " + right.substr(0, 300);
  }
  return "";
}

}  // namespace fovea::library
