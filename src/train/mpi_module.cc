// The MPI module: see mpi_module.h. Built when MPI is found, loaded when a run was started by mpirun.
#include "train/mpi_module.h"

#include <mpi.h>

#include <algorithm>
#include <cstdio>

namespace fovea::train {
namespace {

// Elements a call moves at most: counts are int.
constexpr int64_t kMost = int64_t{1} << 28;

bool Check(int code, char* error) {
  if (code == MPI_SUCCESS) return true;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  std::snprintf(error, kMpiErrorBytes, "%s", text);
  return false;
}

bool Start(int32_t* rank, int32_t* size, char* error) {
  int is_running = 0, is_over = 0, provided = 0, r = 0, s = 0;
  MPI_Finalized(&is_over);
  if (is_over != 0) {
    std::snprintf(error, kMpiErrorBytes, "MPI was finished by an earlier run of this process");
    return false;
  }
  MPI_Initialized(&is_running);
  if (is_running == 0 && !Check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), error)) return false;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (!Check(MPI_Comm_rank(MPI_COMM_WORLD, &r), error) || !Check(MPI_Comm_size(MPI_COMM_WORLD, &s), error))
    return false;
  *rank = r;
  *size = s;
  return true;
}

template <typename T>
bool Sum(T* values, int64_t count, MPI_Datatype type, char* error) {
  for (int64_t begin = 0; begin < count; begin += kMost) {
    const int part = static_cast<int>(std::min(kMost, count - begin));
    if (!Check(MPI_Allreduce(MPI_IN_PLACE, values + begin, part, type, MPI_SUM, MPI_COMM_WORLD), error)) return false;
  }
  return true;
}

bool SumF32(float* values, int64_t count, char* error) { return Sum(values, count, MPI_FLOAT, error); }
bool SumF64(double* values, int64_t count, char* error) { return Sum(values, count, MPI_DOUBLE, error); }

bool GatherF32(const float* mine, int64_t count, float* all, char* error) {
  if (count > kMost) {
    std::snprintf(error, kMpiErrorBytes, "%lld numbers are too many to gather at once", static_cast<long long>(count));
    return false;
  }
  const int part = static_cast<int>(count);
  return Check(MPI_Allgather(mine, part, MPI_FLOAT, all, part, MPI_FLOAT, MPI_COMM_WORLD), error);
}

bool Barrier(char* error) { return Check(MPI_Barrier(MPI_COMM_WORLD), error); }

void Finish() { MPI_Finalize(); }

}  // namespace
}  // namespace fovea::train

extern "C" __attribute__((visibility("default"))) const fovea::train::MpiModule* fovea_mpi_module() {
  using namespace fovea::train;
  static const MpiModule module = {kMpiModuleVersion, Start, SumF32, SumF64, GatherF32, Barrier, Finish};
  return &module;
}
