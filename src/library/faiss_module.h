// The border between Fovea and its optional FAISS module: plain C types, so that the two need agree on nothing else.
//
// FAISS brings BLAS and LAPACK along (40 MB); it lives in a module of its own that is loaded when a library outgrows
// exact search, so that every other start stays fast and Fovea runs without it.
#pragma once

#include <cstdint>

namespace fovea::library {

inline constexpr int32_t kFaissModuleVersion = 1;
inline constexpr char kFaissModuleFile[] = "fovea_faiss.so";
inline constexpr char kFaissModuleEntry[] = "fovea_faiss_module";

// An index finds candidates only: ids whose inner product with the query is probably among the largest. The caller
// ranks them exactly. Functions that can fail return false or nullptr and write a reason to `error` (of
// kFaissErrorBytes).
inline constexpr int64_t kFaissErrorBytes = 512;

struct FaissModule {
  int32_t version;
  // Learns `lists` clusters of vectors from `sample` [count,dim].
  void* (*create)(const float* sample, int64_t count, int64_t dim, int64_t lists, char* error);
  // Adds rows [count,dim] with ids first_id, first_id + 1, ...
  bool (*add)(void* index, const float* rows, int64_t count, int64_t first_id, char* error);
  // Writes up to `k` ids, -1 for none, looking into the `probes` nearest lists. Safe from several threads at once.
  bool (*search)(const void* index, const float* query, int64_t k, int64_t probes, int64_t* ids, char* error);
  void (*destroy)(void* index);
};

using FaissModuleEntry = const FaissModule* (*)();

}  // namespace fovea::library
