// One thread pool for the whole process: OpenMP's, because oneDNN uses it too.
//
// The number of threads is a property of the calling thread (omp_set_num_threads), not of the library: a job that runs
// several single-threaded workers beside each other gives each worker a ThreadLimit(1).
#pragma once

#include <cstdint>
#include <exception>
#include <mutex>

namespace fovea::base {

// Threads that a ParallelFor started from this thread may use.
int MaxThreads();

// Limits the parallel regions that this thread starts (ours and oneDNN's) while in scope. Not inherited by new threads.
class ThreadLimit {
 public:
  explicit ThreadLimit(int threads);
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int previous_;
};

namespace internal {
using RangeFunction = void (*)(void* context, int64_t begin, int64_t end);
void ParallelForErased(int64_t count, int64_t grain, RangeFunction function, void* context);
}  // namespace internal

// Calls body(begin, end) over disjoint ranges that cover [0, count), each at least `grain` long but the last. The split
// depends on `count`, `grain` and the number of threads alone, so results are the same from run to run. Runs inline
// when one range is enough or when already inside a parallel region. The first exception thrown by a body is rethrown
// here.
template <typename Body>
void ParallelFor(int64_t count, int64_t grain, Body&& body) {
  auto call = [](void* context, int64_t begin, int64_t end) {
    (*static_cast<std::remove_reference_t<Body>*>(context))(begin, end);
  };
  internal::ParallelForErased(count, grain, call, const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace fovea::base
