// The public face of the library: opens the store and passes questions on. One connection answers all questions, one at
// a time; an index job opens its own.
#include "fovea/library.h"

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "library/library_impl.h"
#include "library/scan.h"

namespace fovea {

Library::Library(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Library::~Library() = default;
Library::Library(Library&&) noexcept = default;
Library& Library::operator=(Library&&) noexcept = default;

Library Library::Open(const std::string& file, const LibraryOptions& options) {
  if (!options.read_only && file == DefaultFile()) {
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(file).parent_path(), error);
    if (error)
      Fail(ErrorCode::kIo, "[library] cannot make the folder of ", base::PrintableUtf8(file), ": ", error.message());
  }
  return Library(std::make_unique<Impl>(file, options.read_only));
}

std::vector<SearchHit> Library::SearchByWords(const std::string& words, const SearchOptions& options) const {
  const library::Question question = library::AskInWords(words, {});
  if (question.terms.empty() && question.without.empty()) return {};
  const std::lock_guard lock(impl_->mutex);
  return library::SearchFor(impl_->reader, nullptr, nullptr, question, {}, options);
}

std::vector<LibraryModel> Library::Models() const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<LibraryModel> models;
  for (const library::ModelCoverage& coverage : impl_->reader.Models()) {
    models.push_back({.name = coverage.model.name,
                      .path = coverage.model.path,
                      .fingerprint = coverage.model.fingerprint,
                      .reads_text = coverage.model.reads_text,
                      .pictures = coverage.contents,
                      .is_complete = impl_->reader.IsComplete(coverage.id)});
  }
  return models;
}

std::optional<PhotoRecord> Library::Find(const std::string& path) const {
  const std::lock_guard lock(impl_->mutex);
  std::optional<PhotoRecord> record = impl_->reader.Describe(path);
  return record.has_value() ? record : impl_->reader.Describe(library::AbsolutePath(path));
}

int64_t Library::size() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->reader.CountPictures();
}

std::string Library::DefaultFile() {
  const char* data = std::getenv("XDG_DATA_HOME");
  if (data != nullptr && data[0] == '/') return std::string(data) + "/fovea/library.db";
  const char* home = std::getenv("HOME");
  Require(home != nullptr && home[0] != '\0', "[library] no HOME in the environment; hint: name the library file");
  return std::string(home) + "/.local/share/fovea/library.db";
}

}  // namespace fovea
