// .npy from memory.
#include "formats/npy.h"
#include "fuzzing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  fuzzing::Try([&] { fuzzing::Touch(formats::ParseNpy({data, size}, "input", fuzzing::InputOwner())); });
  return 0;
}
