// WebDataset shards: streamed and indexed. Both must see the same files, and checksums are repaired first, since no
// fuzzer guesses them.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "formats/webdataset.h"
#include "fuzzing.h"

namespace {

void RepairChecksums(std::vector<uint8_t>& bytes) {
  for (size_t at = 0; at + 512 <= bytes.size(); at += 512) {
    if (bytes[at + 257] != 'u') continue;  // no header of the ustar family
    unsigned sum = 8 * ' ';
    for (size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? 0 : bytes[at + i];
    char field[8];
    std::snprintf(field, sizeof(field), "%06o", sum);
    std::copy(field, field + 7, &bytes[at + 148]);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  std::vector<uint8_t> bytes(data, data + size);
  RepairChecksums(bytes);
  size_t streamed = 0, indexed = 0;
  bool is_whole = false;
  fuzzing::Try([&] {
    formats::WebDatasetReader reader(std::make_unique<formats::SpanSource>(bytes), "input");
    formats::WebDatasetReader::Sample sample;
    while (reader.Next(sample)) streamed += sample.files.size();
    is_whole = true;
  });
  fuzzing::Try([&] {
    const auto index = formats::WebDatasetIndex::Parse(bytes, "input");
    volatile uint8_t last = 0;
    for (const auto& sample : index.samples()) {
      indexed += sample.files.size();
      for (const auto& file : sample.files) {
        for (const uint8_t byte : index.Bytes(file)) last = byte;
      }
    }
    (void)last;
    if (!is_whole || streamed != indexed) std::abort();
  });
  return 0;
}
