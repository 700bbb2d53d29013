// What a Library holds. Functions that need a model stand in library_model.cc, so that the rest links without one.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "fovea/library.h"
#include "library/search.h"
#include "library/store.h"

namespace fovea {

struct Library::Impl {
  Impl(const std::string& file_in, bool is_read_only)
      : file(file_in),
        read_only(is_read_only),
        reader(file_in, is_read_only ? library::Database::Mode::kReadOnly : library::Database::Mode::kCreate) {}

  const std::string file;
  const bool read_only;

  std::mutex mutex;  // guards what follows
  library::Store reader;
  library::EmbeddingCache embeddings;
  std::map<std::string, std::shared_ptr<const library::Background>> backgrounds;  // by fingerprint of the model
};

}  // namespace fovea
