// PyTorch checkpoints from memory: the zip and the old layout, and, since a fuzzer seldom keeps a zip directory intact,
// the input as the pickle of an archive that is otherwise sound.
#include <string>

#include "formats/pth.h"
#include "fuzzing.h"

namespace {

template <typename T>
void Append(std::string& text, T value) {
  text.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

// A stored zip archive of x/data.pkl and a storage x/data/0 of 64 bytes.
std::string Archive(std::string_view pickle) {
  const std::string storage(64, '\1');
  std::string archive, directory;
  for (const auto& [name, content] :
       {std::pair<std::string_view, std::string_view>{"x/data.pkl", pickle}, {"x/data/0", storage}}) {
    std::string common(12, '\0');
    Append(common, static_cast<uint32_t>(content.size()));
    Append(common, static_cast<uint32_t>(content.size()));
    Append(common, static_cast<uint32_t>(name.size()));  // and no extra field
    directory.append("PK\1\2\0\0\0\0", 8).append(common).append(10, '\0');
    Append(directory, static_cast<uint32_t>(archive.size()));
    directory.append(name);
    archive.append("PK\3\4\0\0", 6).append(common).append(name).append(content);
  }
  const auto offset = static_cast<uint32_t>(archive.size());
  archive.append(directory).append("PK\5\6\0\0\0\0\2\0\2\0", 12);
  Append(archive, static_cast<uint32_t>(directory.size()));
  Append(archive, offset);
  return archive.append(2, '\0');
}

void Read(const uint8_t* data, size_t size) {
  fovea::fuzzing::Try([&] {
    for (const auto& named : fovea::formats::ParsePth({data, size}, "input", fovea::fuzzing::InputOwner()))
      fovea::fuzzing::Touch(named.tensor);
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Read(data, size);
  const std::string archive = Archive({reinterpret_cast<const char*>(data), size});
  Read(reinterpret_cast<const uint8_t*>(archive.data()), archive.size());
  return 0;
}
