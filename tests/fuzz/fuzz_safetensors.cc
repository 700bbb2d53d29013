// Safetensors from memory: header, ranges, and every byte of every tensor.
#include "formats/safetensors.h"
#include "fuzzing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  fuzzing::Try([&] {
    const auto file = formats::SafetensorsFile::Parse({data, size}, "input", fuzzing::InputOwner());
    for (const auto& named : file.GetAll()) fuzzing::Touch(named.tensor);
  });
  return 0;
}
