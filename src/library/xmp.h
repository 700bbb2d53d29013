// Properties of pictures: read from and written into pictures and XMP sidecars, in memory, by the XMP module.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace fovea::library {

struct XmpFile {
  std::span<const uint8_t> bytes;
  bool is_sidecar;
  const std::string& name;  // for errors
};

struct XmpProperty {
  std::string key;  // as Exiv2 spells it: "Xmp.dc.description"
  std::string value;
  bool is_lang_alt = false;
};

// Those of the keys that have a text. An empty sidecar has none. Throws kUnimplemented without the module, kCorruptData
// for a sidecar that is no XMP or a picture whose metadata cannot be read.
std::map<std::string, std::string> ReadXmp(const XmpFile& file, const std::vector<std::string>& keys);

// The bytes of the file with the properties set and all others kept. Throws as ReadXmp, and kUnimplemented for a
// picture whose format takes no XMP.
std::vector<uint8_t> WithXmp(const XmpFile& file, const std::vector<XmpProperty>& properties);

}  // namespace fovea::library
