// GIF files of arbitrary bytes.
#include "fuzz_image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return fovea::fuzzing::ReadImageBytes(data, size, {{0, "GIF89a"}});
}
