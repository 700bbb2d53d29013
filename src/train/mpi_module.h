// The border between Fovea and its optional MPI module: plain C types, so that the two need agree on nothing else.
#pragma once

#include <cstdint>

namespace fovea::train {

inline constexpr int32_t kMpiModuleVersion = 1;
inline constexpr char kMpiModuleFile[] = "fovea_mpi.so";
inline constexpr char kMpiModuleEntry[] = "fovea_mpi_module";

// Every process of a run must call the same functions in the same order with the same counts. Functions return false
// when MPI failed and write a reason to `error` (of kMpiErrorBytes).
inline constexpr int64_t kMpiErrorBytes = 512;

struct MpiModule {
  int32_t version;
  bool (*start)(int32_t* rank, int32_t* size, char* error);
  // Element by element over all processes, in place.
  bool (*sum_f32)(float* values, int64_t count, char* error);
  bool (*sum_f64)(double* values, int64_t count, char* error);
  // all [size,count]: row r is what process r gave.
  bool (*gather_f32)(const float* mine, int64_t count, float* all, char* error);
  bool (*barrier)(char* error);
  // Must be the last call, by every process; one that ends without it takes the others down.
  void (*finish)();
};

using MpiModuleEntry = const MpiModule* (*)();

}  // namespace fovea::train
