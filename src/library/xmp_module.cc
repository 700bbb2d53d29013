// The XMP module: Exiv2 behind two functions. Built as a shared object that exports one function; see xmp_module.h.
#include "library/xmp_module.h"

#include <cstdio>
#include <exception>
#include <exiv2/exiv2.hpp>
#include <stdexcept>
#include <string>

namespace {

using fovea::library::XmpBytes;
using fovea::library::XmpEdit;

template <typename Body>
bool Guarded(char* error, Body&& body) {
  try {
    body();
    return true;
  } catch (const std::exception& e) {
    std::snprintf(error, fovea::library::kXmpErrorBytes, "%s", e.what());
  } catch (...) {
    std::snprintf(error, fovea::library::kXmpErrorBytes, "unknown failure");
  }
  return false;
}

void Begin() {
  static const bool once = [] {
    Exiv2::LogMsg::setLevel(Exiv2::LogMsg::mute);  // the library never prints
    Exiv2::XmpParser::initialize();
    Exiv2::XmpProperties::registerNs(fovea::library::kXmpNamespace, fovea::library::kXmpPrefix);
    return true;
  }();
  static_cast<void>(once);
}

Exiv2::XmpData Decoded(XmpBytes sidecar) {
  Exiv2::XmpData data;
  const std::string packet(reinterpret_cast<const char*>(sidecar.data), static_cast<size_t>(sidecar.size));
  if (!packet.empty() && Exiv2::XmpParser::decode(data, packet) != 0) throw std::runtime_error("no XMP packet");
  return data;
}

Exiv2::Image::AutoPtr Opened(XmpBytes picture) {
  auto image = Exiv2::ImageFactory::open(picture.data, static_cast<long>(picture.size));
  image->readMetadata();
  return image;
}

// The text of a value: of several languages "x-default", else any that is not empty.
std::string TextOf(const Exiv2::Value& value) {
  if (const auto* languages = dynamic_cast<const Exiv2::LangAltValue*>(&value)) {
    const auto found = languages->value_.find("x-default");
    if (found != languages->value_.end() && !found->second.empty()) return found->second;
    for (const auto& [language, text] : languages->value_) {
      if (!text.empty()) return text;
    }
    return "";
  }
  return value.toString();
}

std::string Find(const Exiv2::XmpData& data, const std::string& key) {
  const auto found = data.findKey(Exiv2::XmpKey(key));
  return found == data.end() ? "" : TextOf(found->value());
}

bool Read(XmpBytes file, const char* const* keys, int64_t count, void (*found)(void*, int64_t, const char*),
          void* context, char* error) {
  return Guarded(error, [&] {
    Begin();
    Exiv2::Image::AutoPtr image;
    Exiv2::XmpData sidecar;
    if (file.is_sidecar) {
      sidecar = Decoded(file);
    } else {
      image = Opened(file);
    }
    for (int64_t i = 0; i < count; ++i) {
      const std::string key = keys[i];
      std::string text;
      if (key.rfind("Xmp.", 0) == 0) {
        text = Find(image.get() != nullptr ? image->xmpData() : sidecar, key);
      } else if (image.get() != nullptr && key.rfind("Iptc.", 0) == 0) {
        const auto place = image->iptcData().findKey(Exiv2::IptcKey(key));
        if (place != image->iptcData().end()) text = place->toString();
      } else if (image.get() != nullptr) {
        const auto place = image->exifData().findKey(Exiv2::ExifKey(key));
        if (place != image->exifData().end()) text = place->toString();
      }
      if (!text.empty()) found(context, i, text.c_str());
    }
  });
}

void Set(Exiv2::XmpData& data, const XmpEdit& edit) {
  const Exiv2::XmpKey key(edit.key);
  if (!edit.is_lang_alt) {
    data[edit.key] = std::string(edit.value);
    return;
  }
  Exiv2::LangAltValue value;
  const auto before = data.findKey(key);
  if (before != data.end()) {
    if (const auto* old = dynamic_cast<const Exiv2::LangAltValue*>(&before->value())) value = *old;
    data.erase(before);
  }
  value.value_["x-default"] = edit.value;
  data.add(key, &value);
}

bool Write(XmpBytes file, const XmpEdit* edits, int64_t count, void (*made)(void*, const uint8_t*, int64_t),
           void* context, char* error) {
  return Guarded(error, [&] {
    Begin();
    if (file.is_sidecar) {
      Exiv2::XmpData data = Decoded(file);
      for (int64_t i = 0; i < count; ++i) Set(data, edits[i]);
      std::string packet;
      if (Exiv2::XmpParser::encode(packet, data,
                                   Exiv2::XmpParser::omitPacketWrapper | Exiv2::XmpParser::useCompactFormat) != 0)
        throw std::runtime_error("the properties cannot be written as XMP");
      const std::string text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + packet;
      made(context, reinterpret_cast<const uint8_t*>(text.data()), static_cast<int64_t>(text.size()));
      return;
    }
    const Exiv2::Image::AutoPtr image = Opened(file);
    for (int64_t i = 0; i < count; ++i) Set(image->xmpData(), edits[i]);
    image->writeXmpFromPacket(false);
    image->writeMetadata();
    Exiv2::BasicIo& io = image->io();
    if (io.open() != 0) throw std::runtime_error("the new file cannot be read");
    const Exiv2::DataBuf bytes = io.read(static_cast<long>(io.size()));
    made(context, bytes.pData_, bytes.size_);
  });
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const fovea::library::XmpModule* fovea_xmp_module() {
  static constexpr fovea::library::XmpModule kModule = {fovea::library::kXmpModuleVersion, Read, Write};
  return &kModule;
}
