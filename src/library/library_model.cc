// The functions of Library that ask a model: indexing and search by picture.
#include "base/error.h"
#include "fovea/library.h"
#include "library/index_job.h"
#include "library/library_impl.h"

namespace fovea {

IndexReport Library::Index(const std::vector<std::string>& folders, const Model& model, const IndexOptions& options) {
  Require(!impl_->read_only, "[library] ", base::PrintableUtf8(impl_->file), " was opened for reading only");
  const ModelInfo& info = model.info();
  const int64_t labels = info.classes > 0 ? options.labels_per_picture : 0;
  const library::Analyzer analyzer{
      .analyze = [&](std::span<const Image> images) { return model.Analyze(images, {.top_k = labels}); },
      .model = {.fingerprint = info.fingerprint, .name = info.name, .embedding_dim = info.embedding_dim},
  };
  const library::Decoder decoder{
      .probe = [](std::span<const uint8_t> bytes, const std::string& name) { return ProbeImage(bytes, name); },
      .decode = [&](std::span<const uint8_t> bytes, const std::string& name,
                    ImageInfo* header) { return DecodeImage(bytes, name, options.decode, header); },
  };
  return library::RunIndexJob(impl_->file, folders, analyzer, {.index = options, .decoder = decoder});
}

std::vector<SearchHit> Library::SearchByImage(const Image& image, const Model& model,
                                              const SearchOptions& options) const {
  const ModelInfo& info = model.info();
  if (info.embedding_dim <= 0)
    Fail(ErrorCode::kUnimplemented, "[library] model ", info.name, " makes no embeddings to search with");
  const std::vector<std::vector<float>> query = model.EmbedImages({&image, 1});
  const std::lock_guard lock(impl_->mutex);
  const library::VectorIndex* index = impl_->embeddings.Refresh(impl_->reader, info.fingerprint, info.embedding_dim);
  if (index == nullptr) return {};
  return library::SearchByVector(impl_->reader, *index, query[0], options);
}

}  // namespace fovea
