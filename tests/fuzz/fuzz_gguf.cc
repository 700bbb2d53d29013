// GGUF from memory: metadata, every list of it, and every byte of every tensor.
#include "formats/gguf.h"
#include "fuzzing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  fuzzing::Try([&] {
    const auto file = formats::GgufFile::Parse({data, size}, "input", fuzzing::InputOwner());
    for (const std::string& key : file.metadata().Keys()) {
      fuzzing::Try([&] { file.metadata().Require<int64_t>(key); });
      fuzzing::Try([&] { file.metadata().Require<double>(key); });
      fuzzing::Try([&] { file.metadata().Require<std::string>(key); });
      fuzzing::Try([&] { file.metadata().Require<std::vector<bool>>(key); });
      fuzzing::Try([&] { file.metadata().Require<std::vector<double>>(key); });
      fuzzing::Try([&] { file.metadata().Require<std::vector<int64_t>>(key); });
      fuzzing::Try([&] { file.metadata().Require<std::vector<std::string>>(key); });
    }
    volatile uint8_t last = 0;
    for (const auto& tensor : file.tensors()) {
      for (const uint8_t byte : tensor.bytes) last = byte;
      if (!tensor.block) fuzzing::Touch(file.Plain(tensor));
    }
    (void)last;
  });
  return 0;
}
