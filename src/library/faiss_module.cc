// The FAISS module: an inverted file (IVF) with 8-bit codes. Built as a shared object that exports one function; see
// faiss_module.h.
//
// IVF rather than HNSW: it is built in seconds instead of minutes and adds a byte for each dimension instead of a
// graph. The codes lose some precision, which the caller repairs by ranking the candidates with the exact vectors.
#include "library/faiss_module.h"

#include <faiss/IndexFlat.h>
#include <faiss/IndexScalarQuantizer.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <vector>

namespace {

struct Ivf {
  Ivf(int64_t dim, int64_t lists)
      : coarse(dim),
        index(&coarse, static_cast<size_t>(dim), static_cast<size_t>(lists), faiss::ScalarQuantizer::QT_8bit,
              faiss::METRIC_INNER_PRODUCT, /*encode_residual=*/true) {
    index.cp.niter = 8;  // clusters need not be perfect: recall is bought with probes
    index.cp.seed = 1234;
    index.cp.min_points_per_centroid = 1;
  }
  faiss::IndexFlatIP coarse;
  faiss::IndexIVFScalarQuantizer index;
};

template <typename Body>
bool Guarded(char* error, Body&& body) {
  try {
    body();
    return true;
  } catch (const std::exception& e) {
    std::snprintf(error, fovea::library::kFaissErrorBytes, "%s", e.what());
  } catch (...) {
    std::snprintf(error, fovea::library::kFaissErrorBytes, "unknown failure");
  }
  return false;
}

void* Create(const float* sample, int64_t count, int64_t dim, int64_t lists, char* error) {
  std::unique_ptr<Ivf> ivf;
  const bool ok = Guarded(error, [&] {
    ivf = std::make_unique<Ivf>(dim, lists);
    ivf->index.train(count, sample);
  });
  return ok ? ivf.release() : nullptr;
}

bool Add(void* index, const float* rows, int64_t count, int64_t first_id, char* error) {
  return Guarded(error, [&] {
    std::vector<faiss::Index::idx_t> ids(static_cast<size_t>(count));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = first_id + static_cast<int64_t>(i);
    static_cast<Ivf*>(index)->index.add_with_ids(count, rows, ids.data());
  });
}

bool Search(const void* index, const float* query, int64_t k, int64_t probes, int64_t* ids, char* error) {
  return Guarded(error, [&] {
    std::vector<float> scores(static_cast<size_t>(k));
    faiss::IVFSearchParameters parameters;
    parameters.nprobe = static_cast<size_t>(probes);
    parameters.max_codes = 0;
    static_cast<const Ivf*>(index)->index.search(1, query, k, scores.data(), ids, &parameters);
  });
}

void Destroy(void* index) { delete static_cast<Ivf*>(index); }

}  // namespace

extern "C" __attribute__((visibility("default"))) const fovea::library::FaissModule* fovea_faiss_module() {
  static constexpr fovea::library::FaissModule kModule = {fovea::library::kFaissModuleVersion, Create, Add, Search,
                                                          Destroy};
  return &kModule;
}
