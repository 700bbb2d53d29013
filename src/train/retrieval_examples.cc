#include "train/retrieval_examples.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "media/encode.h"
#include "media/resize.h"
#include "train/report.h"

namespace fovea::train {
namespace {

constexpr int64_t kThumbnail_px = 96;
constexpr int kQuality = 80;

std::string Base64(const std::vector<uint8_t>& bytes) {
  static constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t j = 0; j < 3; ++j) three = three << 8 | (i + j < bytes.size() ? bytes[i + j] : 0);
    for (size_t j = 0; j < 4; ++j) text += i + j > bytes.size() ? '=' : kLetters[three >> (18 - 6 * j) & 63];
  }
  return text;
}

std::string Thumbnail(const Loader& loader, const SamplePlace& place, const std::string& key) {
  try {
    const Image image = loader.Original(place);
    const double scale = static_cast<double>(kThumbnail_px) / static_cast<double>(std::max(image.width, image.height));
    const auto side = [&](int64_t size) {
      return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(size) * scale));
    };
    const Image small = media::Resize(image, {.width = side(image.width), .height = side(image.height)});
    return base::StrCat("<img alt='", EscapedHtml(key), "' title='", EscapedHtml(key), "' src='data:image/jpeg;base64,",
                        Base64(media::EncodeJpeg(small, kQuality)), "'>");
  } catch (const Error&) {
    return EscapedHtml(key);
  }
}

}  // namespace

std::string RetrievalExamplesHtml(const RetrievalExamples& examples, const Loader& loader, int64_t captions_shown,
                                  int64_t pictures_shown) {
  const auto M = static_cast<int64_t>(examples.captions.size()), N = static_cast<int64_t>(examples.keys.size());
  captions_shown = std::min(captions_shown, M);
  pictures_shown = std::min(pictures_shown, N);
  std::string rows;
  for (int64_t shown = 0; shown < captions_shown; ++shown) {
    const int64_t m = shown * M / captions_shown;
    const float* text = examples.texts.data() + m * examples.dim;
    std::vector<float> scores(static_cast<size_t>(N));
    for (int64_t n = 0; n < N; ++n) {
      const float* image = examples.images.data() + n * examples.dim;
      scores[static_cast<size_t>(n)] = std::inner_product(text, text + examples.dim, image, 0.0f);
    }
    std::vector<int64_t> order(static_cast<size_t>(N));
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + pictures_shown, order.end(), [&](int64_t a, int64_t b) {
      const float x = scores[static_cast<size_t>(a)], y = scores[static_cast<size_t>(b)];
      return x != y ? x > y : a < b;
    });
    rows += "<tr><td>" + EscapedHtml(examples.captions[static_cast<size_t>(m)]) + "</td>";
    for (int64_t i = 0; i < pictures_shown; ++i) {
      const auto n = static_cast<size_t>(order[static_cast<size_t>(i)]);
      const bool is_right = examples.owner[static_cast<size_t>(m)] == static_cast<int64_t>(n);
      rows += base::StrCat("<td", is_right ? " class='right'" : "", ">",
                           Thumbnail(loader, examples.places[n], examples.keys[n]), "</td>");
    }
    rows += "</tr>\n";
  }
  return "<h2>What is found for captions of the validation data (the caption's own picture has a frame)</h2>"
         "<style>.right img{outline:3px solid #0b6}</style><table>\n" +
         rows + "</table>\n";
}

}  // namespace fovea::train
