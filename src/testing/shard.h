// Small WebDataset shards for tests of evaluation and training. For *_test.cc only.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"

namespace fovea::testing {

// Writes a tar archive of (name, content) in the given order. Names of at most 99 bytes.
inline void WriteShard(const std::string& path, const std::vector<std::pair<std::string, std::string>>& files) {
  std::string bytes;
  for (const auto& [name, content] : files) {
    std::string header(512, '\0');
    header.replace(0, name.size(), name);
    char number[16];
    std::snprintf(number, sizeof number, "%011zo", content.size());
    header.replace(100, 7, "0000644").replace(124, 11, number).replace(136, 11, "00000000000");
    header.replace(148, 8, "        ").replace(156, 1, "0").replace(257, 8, std::string_view("ustar\00000", 8));
    unsigned sum = 0;
    for (const char c : header) sum += static_cast<unsigned char>(c);
    std::snprintf(number, sizeof number, "%06o", sum);
    header.replace(148, 7, std::string_view(number, 7));
    bytes += header + content + std::string((512 - content.size() % 512) % 512, '\0');
  }
  base::WriteTextFileAtomically(path, bytes + std::string(1024, '\0'));
}

}  // namespace fovea::testing
