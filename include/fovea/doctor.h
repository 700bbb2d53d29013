// What this machine has and what is missing, for `fovea doctor` and for bug reports.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fovea/model.h"

namespace fovea {

// A library that Fovea uses.
struct LibraryFact {
  std::string name;     // "oneDNN"
  std::string version;  // as the library itself states it, "" when it is missing
  std::string job;      // what Fovea uses it for
  bool is_found;
};

// A folder on the model search path.
struct FolderFact {
  std::string path;
  bool exists;
};

struct MachineReport {
  std::string version;                // of Fovea
  std::string system;                 // kernel and machine, e.g. "Linux 6.1.0 x86_64"
  std::string cpu;                    // model name of the processor
  int cores;                          // that this process may run on
  int64_t memory_bytes;               // of the machine
  std::vector<std::string> features;  // vector extensions of the processor: "avx2", "avx512f", ...
  std::string simd;                   // instruction set that our kernels chose, e.g. "AVX2"
  std::vector<LibraryFact> libraries;
  std::vector<std::string> formats;       // picture formats that can be read here
  std::vector<FolderFact> model_folders;  // ModelSearchPath()
  std::vector<ModelListing> models;       // ListModels()
  std::vector<std::string> problems;      // what is missing and how to cure it; empty when all is well
};

// Looks at the machine; takes some milliseconds. Throws nothing but what ListModels() throws.
MachineReport ExamineMachine();

}  // namespace fovea
