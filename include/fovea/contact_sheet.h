// A page to look at: pictures, small, with what was said about them. One HTML file that needs nothing else, neither the
// pictures nor a network, and runs no script.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fovea/image.h"

namespace fovea {

struct SheetEntry {
  struct Line {
    std::string label;       // a question; "" for the caption
    std::string text;        // UTF-8
    double confidence = -1;  // 0..1; below 0: none
    bool is_doubtful = false;
  };
  std::string name;  // shown below the picture
  Image image;       // empty: there is none to show
  std::vector<Line> lines;
  std::string error;  // instead of lines
};

class ContactSheet {
 public:
  // `subtitle`: who said it.
  ContactSheet(std::string title, std::string subtitle);
  // Keeps a picture of at most 320 px a side, not the entry.
  void Add(const SheetEntry& entry);
  int64_t size() const { return count_; }
  // Writes the page atomically. Throws kIo.
  void Write(const std::string& path) const;

 private:
  std::string title_, subtitle_, body_;
  int64_t count_ = 0;
};

}  // namespace fovea
