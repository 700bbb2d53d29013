// `fovea doctor`: facts about the machine, each asked of the part that knows it. Optional parts (libheif) are looked
// for the way the code that uses them does, by loading them, so that the answer is what will really happen.
#include "fovea/doctor.h"

#include <dlfcn.h>
#include <gif_lib.h>
#include <spng.h>
#include <sqlite3.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <tiffio.h>
#include <webp/decode.h>
#include <zlib.h>

// jpeglib.h needs these before it.
#include <cstddef>
#include <cstdio>

#include <jpeglib.h>

#include <algorithm>
#include <dnnl.hpp>
#include <filesystem>
#include <fstream>

#include "base/cpu.h"
#include "base/simd.h"
#include "base/strings.h"
#include "hub/digest.h"
#include "hub/http.h"

namespace fovea {
namespace {

#define FOVEA_TEXT_OF_(x) #x
#define FOVEA_TEXT_OF(x) FOVEA_TEXT_OF_(x)

std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name"))
      return base::PrintableUtf8(line.substr(std::min(line.size(), line.find(':') + 2)));
  }
  return "unknown processor";
}

// libheif answers which codecs it was built with.
struct HeifFacts {
  std::string version;
  bool has_hevc = false, has_av1 = false;
};

HeifFacts AskLibheif() {
  HeifFacts facts;
  void* library = ::dlopen("libheif.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return facts;
  const auto version = reinterpret_cast<const char* (*)()>(::dlsym(library, "heif_get_version"));
  const auto decodes = reinterpret_cast<int (*)(int)>(::dlsym(library, "heif_have_decoder_for_format"));
  if (version != nullptr) facts.version = version();
  constexpr int kHevc = 1, kAv1 = 4;  // enum heif_compression_format
  facts.has_hevc = decodes != nullptr && decodes(kHevc) != 0;
  facts.has_av1 = decodes != nullptr && decodes(kAv1) != 0;
  return facts;
}

std::string PackedVersion(int packed) {
  return base::StrCat(packed >> 16, '.', (packed >> 8) & 0xFF, '.', packed & 0xFF);
}

// "LIBTIFF, Version 4.5.0\nCopyright ..." -> "4.5.0"
std::string TiffVersion() {
  const std::string text = base::Split(TIFFGetVersion(), '\n').front();
  return text.substr(text.rfind(' ') + 1);
}

std::vector<LibraryFact> Libraries(const HeifFacts& heif) {
  const dnnl_version_t* dnnl = dnnl_version();
  std::vector<LibraryFact> libraries = {
      {"oneDNN", base::StrCat(dnnl->major, '.', dnnl->minor, '.', dnnl->patch), "matrix products and convolutions",
       true},
      {"SQLite", sqlite3_libversion(), "the library of pictures", true},
      {"libjpeg-turbo", FOVEA_TEXT_OF(LIBJPEG_TURBO_VERSION), "JPEG", true},
      {"libspng", spng_version_string(), "PNG", true},
      {"libwebp", PackedVersion(WebPGetDecoderVersion()), "WebP", true},
      {"libtiff", TiffVersion(), "TIFF", true},
      {"giflib", base::StrCat(GIFLIB_MAJOR, '.', GIFLIB_MINOR, '.', GIFLIB_RELEASE), "GIF", true},
      {"libheif", heif.version, "HEIC and AVIF", !heif.version.empty()},
      {"libcurl", hub::CurlVersion(), "fetching models", !hub::CurlVersion().empty()},
      {"OpenSSL", hub::CryptoVersion(), "checking what was fetched", !hub::CryptoVersion().empty()},
      {"zlib", zlibVersion(), "compressed weights and pictures", true},
  };
  return libraries;
}

}  // namespace

MachineReport ExamineMachine() {
  MachineReport report;
  report.version = Version();
  utsname system{};
  if (::uname(&system) == 0) report.system = base::StrCat(system.sysname, ' ', system.release, ' ', system.machine);
  struct sysinfo memory {};
  report.memory_bytes = ::sysinfo(&memory) == 0 ? static_cast<int64_t>(memory.totalram) * memory.mem_unit : 0;
  report.cpu = CpuName();
  report.cores = base::AvailableCores();
  report.features = base::CpuFeatures();
  report.simd = base::DispatchedTargetName();
  if (base::IsaLimit() == base::MaxIsa::kAvx2) report.simd += " (limited by FOVEA_MAX_ISA)";

  const HeifFacts heif = AskLibheif();
  report.libraries = Libraries(heif);
  report.formats = {"jpeg", "png", "webp", "tiff", "gif", "bmp"};
  if (heif.has_hevc) report.formats.emplace_back("heic");
  if (heif.has_av1) report.formats.emplace_back("avif");
  if (!heif.has_hevc || !heif.has_av1) {
    report.problems.emplace_back(heif.version.empty()
                                     ? "HEIC and AVIF pictures cannot be read: libheif is missing; install libheif1"
                                     : "libheif lacks a decoder for HEIC or AVIF; install libde265-0 and libdav1d6");
  }

  if (hub::CurlVersion().empty() || hub::CryptoVersion().empty())
    report.problems.emplace_back("models cannot be pulled: install libcurl4 and libssl3");

  for (const std::string& folder : ModelSearchPath()) {
    std::error_code ignored;
    report.model_folders.push_back({folder, std::filesystem::is_directory(folder, ignored)});
  }
  report.models = ListModels();
  const auto is_default = [](const ModelListing& model) { return model.name == DefaultModelName(); };
  if (std::none_of(report.models.begin(), report.models.end(), is_default)) {
    report.problems.push_back(base::StrCat("the model ", DefaultModelName(),
                                           " is in none of the folders; set FOVEA_MODELS to the folder that holds it"));
  }
  return report;
}

}  // namespace fovea
