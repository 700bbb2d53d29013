// HEIC and AVIF files of arbitrary bytes.
#include "fuzz_image.h"

// libheif 1.15 forgets a small buffer inside its decoders when a bit stream is damaged; nothing on our side can free
// it.
extern "C" const char* __lsan_default_suppressions() { return "leak:libdav1d.so\nleak:libde265.so\n"; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return fovea::fuzzing::ReadImageBytes(data, size,
                                        {{0, std::string_view("\0\0\0\x20"
                                                              "ftyp",
                                                              8)}});
}
