// The functions of Library that ask a model: indexing and search.
#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "fovea/library.h"
#include "library/index_job.h"
#include "library/library_impl.h"
#include "runtime/label_set.h"
#include "runtime/loaded_model.h"

namespace fovea {
namespace {

// Whether the model compares pictures with texts.
bool ReadsText(const Model& model) {
  const auto& all = model.info().capabilities;
  return std::find(all.begin(), all.end(), "match") != all.end();
}

// The words of a query as one text, without quotes and without what must not be there.
std::string TextOf(const std::string& words) {
  std::string text;
  for (const library::QueryTerm& term : library::ParseQuery(words)) {
    if (!term.is_negative) text += (text.empty() ? "" : " ") + term.text;
  }
  return text;
}

// Embeds what the question says in words.
void AddTexts(const Model& model, const SearchQuery& query, library::Question& question) {
  std::vector<std::string> texts;
  for (const auto& terms : question.without) {
    std::string text;
    for (const library::QueryTerm& term : terms) text += (text.empty() ? "" : " ") + term.text;
    texts.push_back(std::move(text));
  }
  const std::string text = TextOf(query.words);
  if (!text.empty()) texts.push_back(text);
  std::vector<std::vector<float>> vectors = model.EmbedTexts(texts);
  if (!text.empty()) {
    question.text = std::move(vectors.back());
    vectors.pop_back();
  }
  question.without_vectors = std::move(vectors);
}

}  // namespace

std::shared_ptr<const library::Background> library::BackgroundOf(const Model& model) {
  const Tensor features =
      runtime::EncodeLabels(model.impl(), BackgroundTexts(), {.templates = {"{}"}}).features;  // [K,D]
  const float* values = features.data<float>();
  return std::make_shared<Background>(std::vector<float>(values, values + features.numel()), features.dim(1));
}

IndexReport Library::Index(const std::vector<std::string>& folders, const Model& model, const IndexOptions& options) {
  Require(!impl_->read_only, "[library] ", base::PrintableUtf8(impl_->file), " was opened for reading only");
  const ModelInfo& info = model.info();
  const int64_t labels = options.labels_per_picture;
  const Model* labeler = options.labeler != nullptr && options.labeler->info().classes > 0 ? options.labeler : nullptr;
  const int64_t own_labels = labeler == nullptr && info.classes > 0 ? labels : 0;
  std::error_code no_path;
  const library::Analyzer analyzer{
      .analyze =
          [&](std::span<const Image> images) {
            std::vector<Analysis> analyses = model.Analyze(images, {.top_k = own_labels});
            if (labeler == nullptr || labels == 0) return analyses;
            std::vector<std::vector<Label>> named = labeler->Classify(images, {.top_k = labels});
            for (size_t i = 0; i < analyses.size(); ++i) analyses[i].labels = std::move(named[i]);
            return analyses;
          },
      .model = {.fingerprint = info.fingerprint,
                .name = info.name,
                .embedding_dim = info.embedding_dim,
                .path = std::filesystem::absolute(info.path, no_path).lexically_normal().string(),
                .reads_text = ReadsText(model)},
  };
  const library::Decoder decoder{
      .probe = [](std::span<const uint8_t> bytes, const std::string& name) { return ProbeImage(bytes, name); },
      .decode = [&](std::span<const uint8_t> bytes, const std::string& name,
                    ImageInfo* header) { return DecodeImage(bytes, name, options.decode, header); },
  };
  std::vector<std::string> roots = folders;
  if (roots.empty()) {
    const std::lock_guard lock(impl_->mutex);
    roots = impl_->reader.Roots();
  }
  Require(!roots.empty(), "[library] ", base::PrintableUtf8(impl_->file),
          " has no folders yet; hint: name the folders to index");
  IndexReport report = library::RunIndexJob(impl_->file, roots, analyzer, {.index = options, .decoder = decoder});
  if (!report.cancelled && ReadsText(model)) library::BackgroundOf(model);  // so that the first search need not
  return report;
}

std::vector<SearchHit> Library::Search(const SearchQuery& query, const Model* model,
                                       const SearchOptions& options) const {
  library::Question question = library::AskInWords(query.words, query.without);
  const bool reads_text = model != nullptr && ReadsText(*model);
  const bool has_words = !TextOf(query.words).empty() || !question.without.empty();
  if (query.image != nullptr) {
    if (model == nullptr) Fail(ErrorCode::kUnimplemented, "[library] expected a model to search by a picture");
    if (model->info().embedding_dim <= 0) {
      Fail(ErrorCode::kUnimplemented, "[library] model ", base::PrintableUtf8(model->info().name),
           " makes no embeddings to search with");
    }
    question.image = model->EmbedImages({query.image, 1})[0];
  }
  if (reads_text && has_words) AddTexts(*model, query, question);
  const std::lock_guard lock(impl_->mutex);
  library::Allowed allowed = library::ApplyFilter(impl_->reader, query.filter);
  if (question.image.empty() && question.text.empty() && question.without_vectors.empty())
    return library::SearchFor(impl_->reader, nullptr, nullptr, question, std::move(allowed), options);
  const ModelInfo& info = model->info();
  const library::VectorIndex* index = impl_->embeddings.Refresh(impl_->reader, info.fingerprint, info.embedding_dim);
  if (index == nullptr || index->size() == 0) {
    const std::vector<library::ModelCoverage> seen_by = impl_->reader.Models();
    if (seen_by.empty()) return {};
    Fail(ErrorCode::kInvalidArgument, "[library] ", base::PrintableUtf8(impl_->file),
         " holds no picture that the model ", base::PrintableUtf8(info.name), " has seen; it was indexed with ",
         base::PrintableUtf8(seen_by[0].model.name), "; hint: search with that one, or index with this one");
  }
  const library::Background* background = nullptr;
  if (reads_text && has_words) {
    auto& cached = impl_->backgrounds[info.fingerprint];
    if (cached == nullptr) cached = library::BackgroundOf(*model);
    background = cached.get();
  }
  return library::SearchFor(impl_->reader, index, background, question, std::move(allowed), options);
}

std::vector<SearchHit> Library::SearchByImage(const Image& image, const Model& model,
                                              const SearchOptions& options) const {
  return Search({.image = &image}, &model, options);
}

}  // namespace fovea
