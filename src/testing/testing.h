// What the tests share: seeded tensors, comparison with a tolerance computed from dtype and size, gradient checks
// against central differences, and the places of stored files. Not part of the library.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tensor/tape.h"
#include "tensor/tensor.h"

namespace fovea::testing {

// Root of the source tree, e.g. SourcePath("tests/golden/resize.npy").
std::string SourcePath(const std::string& relative);
// The built command-line program.
std::string FoveaBinary();
// mpirun, or "" when this build has no MPI (tests then skip and say so).
std::string MpiLauncher();
// ../shared/data/NAME beside the source tree, or "" when this machine has no such shard (tests then skip and say so).
std::string ShardPath(const std::string& name);
// A fresh empty folder, removed with everything in it at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Seeded values, the same on every machine.
Tensor RandomNormal(const Shape& shape, uint64_t seed, float scale = 1.0f, DType dtype = DType::kF32);
Tensor RandomUniform(const Shape& shape, uint64_t seed, float low, float high, DType dtype = DType::kF32);
Tensor RandomIntegers(const Shape& shape, uint64_t seed, int64_t low, int64_t high);  // i64 in [low, high)

// Expected rounding error of a sum of `terms` products of magnitude ~`scale` in `dtype`.
float Tolerance(DType dtype, int64_t terms, float scale = 1.0f);

// EXPECTs equal shapes and |actual - expected| <= tolerance everywhere (both converted to f32, NaN equals NaN); reports
// the worst element.
void ExpectClose(const Tensor& actual, const Tensor& expected, float tolerance, const std::string& what = "");

// Compares the tape's gradients of sum(f(inputs) * w), w random, with central differences for every f32 input (for up
// to `max_probes` elements of each). `f` must be differentiable at the given inputs.
void ExpectGradientsMatch(const std::function<Tensor(const std::vector<Tensor>&)>& f, const std::vector<Tensor>& inputs,
                          float step = 1e-2f, float tolerance = 2e-2f, int max_probes = 24);

}  // namespace fovea::testing
