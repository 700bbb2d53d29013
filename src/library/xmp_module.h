// The border between Fovea and its optional XMP module: plain C types, so that the two need agree on nothing else.
//
// Exiv2 reads and writes the metadata of pictures. It is one large C++ library more, wanted only by those who have
// texts written beside their pictures; so it lives in a module of its own that is loaded for them.
#pragma once

#include <cstdint>

namespace fovea::library {

inline constexpr int32_t kXmpModuleVersion = 1;
inline constexpr char kXmpModuleFile[] = "fovea_xmp.so";
inline constexpr char kXmpModuleEntry[] = "fovea_xmp_module";

inline constexpr int64_t kXmpErrorBytes = 512;

// Our own properties: who wrote a text, and how. Exiv2 calls them Xmp.fovea.NAME.
inline constexpr char kXmpNamespace[] = "http://ns.fovea/text/1.0/";
inline constexpr char kXmpPrefix[] = "fovea";

// A whole file: a picture, or a packet of XMP (a sidecar).
struct XmpBytes {
  const uint8_t* data;
  int64_t size;
  bool is_sidecar;
};

// `key` as Exiv2 spells it ("Xmp.dc.description"). `is_lang_alt`: the text is one in several languages, of which
// "x-default" is set.
struct XmpEdit {
  const char* key;
  const char* value;
  bool is_lang_alt;
};

// Functions return false and write a reason to `error` (of kXmpErrorBytes) when they fail. `context` is handed back to
// the callbacks, whose pointers hold during the call only. For one thread at a time.
struct XmpModule {
  int32_t version;
  // Calls found(context, i, text) for each of the keys that has a text.
  bool (*read)(XmpBytes file, const char* const* keys, int64_t count,
               void (*found)(void* context, int64_t key, const char* text), void* context, char* error);
  // The file with its properties set; those it has besides stay.
  bool (*write)(XmpBytes file, const XmpEdit* edits, int64_t count,
                void (*made)(void* context, const uint8_t* data, int64_t size), void* context, char* error);
};

using XmpModuleEntry = const XmpModule* (*)();

}  // namespace fovea::library
