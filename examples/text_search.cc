// Text-to-text search with a sentence encoder: which line of a file says nearly the same as a question?
//
//   text_search MODEL LINES.txt "two dogs playing in the snow" [K]
//
// MODEL is a folder such as all-MiniLM-L6-v2. Every line becomes a vector of length 1, so that the dot product is the
// cosine; the K best lines (default 5) are printed. Links only the public API.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "fovea/error.h"
#include "fovea/model.h"

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s MODEL LINES.txt QUESTION [K]\n", argv[0]);
    return 2;
  }
  try {
    const fovea::Model model = fovea::Model::Load(argv[1]);
    std::ifstream file(argv[2]);
    if (!file) throw fovea::Error(fovea::ErrorCode::kNotFound, std::string("cannot read ") + argv[2]);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);

    const std::vector<std::vector<float>> vectors = model.EmbedTexts(lines);
    const std::string question = argv[3];
    const std::vector<float> query = model.EmbedTexts({&question, 1}).at(0);

    std::vector<float> scores;
    for (const auto& vector : vectors)
      scores.push_back(std::inner_product(vector.begin(), vector.end(), query.begin(), 0.0f));
    std::vector<size_t> order(lines.size());
    std::iota(order.begin(), order.end(), size_t{0});
    const size_t shown = std::min<size_t>(order.size(), argc > 4 ? std::strtoul(argv[4], nullptr, 10) : 5);
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
                      [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    for (size_t i = 0; i < shown; ++i) std::printf("%.3f  %s\n", scores[order[i]], lines[order[i]].c_str());
  } catch (const fovea::Error& error) {
    std::fprintf(stderr, "text_search: %s\n", error.what());
    return 1;
  }
}
