#include "library/xmp.h"

#include <array>
#include <mutex>

#include "base/error.h"
#include "base/module.h"
#include "library/xmp_module.h"

namespace fovea::library {
namespace {

// Loaded once and kept.
const XmpModule& Module() {
  static const XmpModule* const module = [] {
    const auto entry = reinterpret_cast<XmpModuleEntry>(base::FindModuleEntry(kXmpModuleFile, kXmpModuleEntry));
    return entry != nullptr && entry()->version == kXmpModuleVersion ? entry() : nullptr;
  }();
  if (module == nullptr) {
    Fail(ErrorCode::kUnimplemented, "[xmp] texts cannot be written beside or into pictures: ", kXmpModuleFile,
         " is not there; hint: install libexiv2-dev and build Fovea again");
  }
  return *module;
}

std::mutex& ModuleMutex() {
  static std::mutex mutex;
  return mutex;
}

XmpBytes BytesOf(const XmpFile& file) {
  return {file.bytes.data(), static_cast<int64_t>(file.bytes.size()), file.is_sidecar};
}

}  // namespace

std::map<std::string, std::string> ReadXmp(const XmpFile& file, const std::vector<std::string>& keys) {
  const XmpModule& module = Module();
  struct Found {
    const std::vector<std::string>& keys;
    std::map<std::string, std::string> texts;
  } found{keys, {}};
  std::vector<const char*> names;
  for (const std::string& key : keys) names.push_back(key.c_str());
  std::array<char, kXmpErrorBytes> error{};
  const std::lock_guard lock(ModuleMutex());
  const bool is_read = module.read(
      BytesOf(file), names.data(), static_cast<int64_t>(names.size()),
      [](void* context, int64_t key, const char* text) {
        auto& all = *static_cast<Found*>(context);
        all.texts[all.keys[static_cast<size_t>(key)]] = text;
      },
      &found, error.data());
  if (!is_read)
    Fail(ErrorCode::kCorruptData, "[xmp] ", base::PrintableUtf8(file.name), ": ", base::PrintableUtf8(error.data()));
  return found.texts;
}

std::vector<uint8_t> WithXmp(const XmpFile& file, const std::vector<XmpProperty>& properties) {
  const XmpModule& module = Module();
  std::vector<XmpEdit> edits;
  for (const XmpProperty& p : properties) edits.push_back({p.key.c_str(), p.value.c_str(), p.is_lang_alt});
  std::vector<uint8_t> bytes;
  std::array<char, kXmpErrorBytes> error{};
  const std::lock_guard lock(ModuleMutex());
  const bool is_written = module.write(
      BytesOf(file), edits.data(), static_cast<int64_t>(edits.size()),
      [](void* context, const uint8_t* data, int64_t size) {
        static_cast<std::vector<uint8_t>*>(context)->assign(data, data + size);
      },
      &bytes, error.data());
  if (!is_written) {
    Fail(file.is_sidecar ? ErrorCode::kCorruptData : ErrorCode::kUnimplemented, "[xmp] ",
         base::PrintableUtf8(file.name), ": ", base::PrintableUtf8(error.data()));
  }
  return bytes;
}

}  // namespace fovea::library
