#include "base/parallel.h"

#include <omp.h>

#include <algorithm>

namespace fovea::base {

int MaxThreads() { return omp_get_max_threads(); }

ThreadLimit::ThreadLimit(int threads) : previous_(omp_get_max_threads()) { omp_set_num_threads(std::max(1, threads)); }

ThreadLimit::~ThreadLimit() { omp_set_num_threads(previous_); }

namespace internal {

void ParallelForErased(int64_t count, int64_t grain, RangeFunction function, void* context) {
  if (count <= 0) return;
  const int64_t most = (count + std::max<int64_t>(grain, 1) - 1) / std::max<int64_t>(grain, 1);
  const int64_t threads = omp_in_parallel() ? 1 : std::min<int64_t>(most, omp_get_max_threads());
  if (threads <= 1) {
    function(context, 0, count);
    return;
  }
  std::exception_ptr first;
  std::mutex first_mutex;
#pragma omp parallel num_threads(static_cast <int>(threads))
  {
    const int64_t team = omp_get_num_threads();
    const int64_t rank = omp_get_thread_num();
    const int64_t begin = count * rank / team;
    const int64_t end = count * (rank + 1) / team;
    try {
      if (begin < end) function(context, begin, end);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(first_mutex);
      if (!first) first = std::current_exception();
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace internal
}  // namespace fovea::base
