#include "fovea/contact_sheet.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "media/encode.h"
#include "media/resize.h"

namespace fovea {
namespace {

constexpr int64_t kMostSide = 320;  // px
constexpr int kQuality = 82;

constexpr char kHead[] = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="Fovea"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>)";
constexpr char kStyle[] = R"(</title><style>
:root { color-scheme: light dark; --line: #8884; --soft: #888; --doubt: #b45309; }
body { font: 16px/1.45 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; max-width: 80rem; }
h1 { margin: 0; font-size: 1.6rem; } header p { margin: .2rem 0 1.5rem; color: var(--soft); }
main { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
figure { margin: 0; border: 1px solid var(--line); border-radius: .6rem; overflow: hidden; }
figure img, .none { display: block; width: 100%; height: 15rem; object-fit: contain; background: #8881; }
figcaption { padding: .7rem .9rem .9rem; overflow-wrap: anywhere; }
p { margin: 0 0 .4rem; } .caption { font-size: 1.05rem; } .question { color: var(--soft); margin-bottom: 0; }
.name, .sure { color: var(--soft); font-size: .85rem; } .doubtful { color: var(--doubt); font-style: italic; } .error { color: #c00; }
meter { width: 3.5rem; height: .6rem; vertical-align: middle; }
</style></head><body><header><h1>)";

std::string Escaped(const std::string& text) {
  std::string safe;
  for (const char c : base::PrintableUtf8(text)) {
    switch (c) {
      case '&': safe += "&amp;"; break;
      case '<': safe += "&lt;"; break;
      case '>': safe += "&gt;"; break;
      case '"': safe += "&quot;"; break;
      default: safe += c;
    }
  }
  return safe;
}

std::string Base64(std::span<const uint8_t> bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t left = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < left ? bytes[i + k] : 0u);
    for (size_t k = 0; k < 4; ++k) text += k <= left ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::string Thumbnail(const Image& image) {
  const double scale =
      std::min(1.0, static_cast<double>(kMostSide) / static_cast<double>(std::max(image.width, image.height)));
  const auto side = [&](int64_t size) { return std::max<int64_t>(1, std::llround(scale * static_cast<double>(size))); };
  const Image small = media::Resize(image, {.width = side(image.width), .height = side(image.height)});
  return "data:image/jpeg;base64," + Base64(media::EncodeJpeg(small, kQuality));
}

std::string Sureness(double confidence) {
  if (confidence < 0) return "";
  const long percent = std::lround(100 * std::min(confidence, 1.0));
  return base::StrCat("<p class=\"sure\"><meter min=\"0\" max=\"100\" value=\"", percent, "\"></meter> ", percent,
                      " %</p>");
}

}  // namespace

ContactSheet::ContactSheet(std::string title, std::string subtitle)
    : title_(std::move(title)), subtitle_(std::move(subtitle)) {}

void ContactSheet::Add(const SheetEntry& entry) {
  std::string alt = entry.name;
  body_ += "<figure>";
  for (const SheetEntry::Line& line : entry.lines) {
    if (line.label.empty()) alt = line.text;
  }
  body_ += entry.image.empty() ? "<div class=\"none\"></div>"
                               : "<img alt=\"" + Escaped(alt) + "\" src=\"" + Thumbnail(entry.image) + "\">";
  body_ += "<figcaption>";
  for (const SheetEntry::Line& line : entry.lines) {
    if (!line.label.empty()) body_ += "<p class=\"question\">" + Escaped(line.label) + "</p>";
    body_ += std::string("<p class=\"") + (line.label.empty() ? "caption" : "answer") +
             (line.is_doubtful ? " doubtful" : "") + "\">" + Escaped(line.text) + "</p>" + Sureness(line.confidence);
  }
  if (!entry.error.empty()) body_ += "<p class=\"error\">" + Escaped(entry.error) + "</p>";
  body_ += "<p class=\"name\">" + Escaped(entry.name) + "</p></figcaption></figure>\n";
  ++count_;
}

void ContactSheet::Write(const std::string& path) const {
  base::WriteTextFileAtomically(path, kHead + Escaped(title_) + kStyle + Escaped(title_) + "</h1><p>" +
                                          Escaped(subtitle_) + "</p></header><main>\n" + body_ +
                                          "</main></body></html>\n");
}

}  // namespace fovea
