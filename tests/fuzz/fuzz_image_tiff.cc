// TIFF files of arbitrary bytes.
#include "fuzz_image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace std::literals;
  // Both byte orders, classic and big, by the first byte.
  static constexpr std::string_view kMagics[] = {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv};
  if (size == 0) return -1;
  const std::string_view magic =
      data[0] == 'I' ? kMagics[size > 2 && data[2] == '+' ? 2 : 0] : kMagics[size > 3 && data[3] == '+' ? 3 : 1];
  return fovea::fuzzing::ReadImageBytes(data, size, {{0, magic}});
}
