// Search as people meet it: a library file of the shards' pictures, asked through the function that answers `fovea
// search`. Queries are asked of the library with and without their matches, which a filter takes away, so that nothing
// is indexed twice. Everything but the vectors and captions is streamed.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "eval/samples.h"
#include "fovea/eval.h"
#include "fovea/library.h"
#include "library/search.h"

namespace fovea {
namespace {

using Words = std::set<std::string>;

Words WordsOf(const std::vector<std::string>& texts) {
  Words words;
  for (const std::string& text : texts) {
    std::string word;
    for (const char c : base::AsciiLower(text) + " ") {
      if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (static_cast<uint8_t>(c) & 0x80) != 0) {
        word += c;
      } else if (!word.empty()) {
        words.insert(std::move(word));
        word.clear();
      }
    }
  }
  return words;
}

int64_t Shared(const Words& a, const Words& b) {
  return std::ranges::count_if(a, [&](const std::string& word) { return b.contains(word); });
}

// A folder for the library file, gone at the end.
class Scratch {
 public:
  Scratch() : path_((std::filesystem::temp_directory_path() / "fovea-eval-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) Fail(ErrorCode::kIo, "[search] cannot make a folder in ", path_);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string File(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct Picture {
  std::string path;
  int64_t file_id = 0, content_id = 0;
  std::vector<std::string> captions;
  Words words;  // of all captions
};

// A query, and the pictures that are taken away when it is asked without its matches.
struct Query {
  std::string text;
  std::vector<float> vector;
  std::set<size_t> matches, kin;
};

struct Answer {
  bool is_empty = true, has_match = false;
  double precision = 0;
  double best = 0;  // score of the best hit, weak ones included
};

class SearchEvaluation {
 public:
  SearchEvaluation(const Model& model, const SearchEvaluationOptions& search)
      : model_(model), search_(search), store_(scratch_.File("library.db"), library::Database::Mode::kCreate) {
    background_ = library::BackgroundOf(model);
    library::Transaction transaction(store_.db());
    model_id_ = store_.PutModel({.fingerprint = model.info().fingerprint,
                                 .name = model.info().name,
                                 .embedding_dim = model.info().embedding_dim});
    root_id_ = store_.PutRoot("/");
    transaction.Commit();
  }

  void Add(std::span<eval::Sample> batch) {
    std::vector<Image> images;
    for (const eval::Sample& sample : batch) images.push_back(sample.image);
    std::vector<Analysis> analyses = model_.Analyze(images, {.top_k = 5});
    if (search_.labeler != nullptr) {
      auto labels = search_.labeler->Classify(images, {.top_k = 5});
      for (size_t i = 0; i < labels.size(); ++i) analyses[i].labels = std::move(labels[i]);
    }
    std::vector<CaptionRecord> captions;
    if (search_.captioner != nullptr) {
      for (const Image& image : images) captions.push_back(search_.captioner->tell(image));
    }
    library::Transaction transaction(store_.db());
    for (size_t i = 0; i < batch.size(); ++i) {
      Picture picture{.path = base::StrCat("/", pictures_.size()), .captions = std::move(batch[i].captions)};
      library::ContentRecord content{.hash = picture.path, .info = {}, .analysis = std::move(analyses[i])};
      picture.content_id = store_.PutContent(content, model_id_);
      if (!captions.empty()) store_.PutCaption(picture.content_id, captions[i], search_.captioner->fingerprint);
      store_.PutFile(picture.path, root_id_, {}, picture.content_id);
      picture.file_id = store_.FindFile(picture.path, model_id_)->id;
      picture.words = WordsOf(picture.captions);
      pictures_.push_back(std::move(picture));
    }
    transaction.Commit();
  }

  int64_t pictures() const { return static_cast<int64_t>(pictures_.size()); }

  std::vector<Query> WordQueries() const {
    std::vector<Query> queries;
    for (const std::string& line : search_.queries) {
      if (line.empty() || line[0] == '#') continue;
      const size_t tab = line.find('\t');
      Require(tab != std::string::npos && tab > 0 && tab + 1 < line.size(),
              "[search] expected a query, a tab and its marks, got \"", base::PrintableUtf8(line), "\"");
      Query query{.text = line.substr(0, tab), .vector = {}, .matches = {}, .kin = {}};
      const Words marks = WordsOf({line.substr(tab + 1)});
      for (size_t i = 0; i < pictures_.size(); ++i)
        if (Shared(marks, pictures_[i].words) > 0) query.matches.insert(i);
      query.kin = query.matches;
      queries.push_back(std::move(query));
    }
    return queries;
  }

  std::vector<Query> CaptionQueries() const {
    std::vector<Query> queries;
    for (const size_t i : Spread(pictures_.size())) {
      Query query{.text = pictures_[i].captions[0], .vector = {}, .matches = {i}, .kin = {i}};
      std::vector<std::string> content;
      for (const library::QueryTerm& term : library::ContentTerms(library::ParseQuery(query.text)))
        content.push_back(term.text);
      const Words words = WordsOf(content);
      const int64_t alike = std::min<int64_t>(2, static_cast<int64_t>(words.size()));
      for (size_t k = 0; k < pictures_.size(); ++k)
        if (Shared(words, pictures_[k].words) >= alike) query.kin.insert(k);
      queries.push_back(std::move(query));
    }
    return queries;
  }

  std::vector<Query> ForeignQueries() const {
    std::vector<std::string> captions;
    const auto accept = [](eval::Sample& sample) {
      sample.captions = eval::CaptionsOf(sample);
      return !sample.captions.empty();
    };
    eval::WalkShards(search_.foreign, {}, false, accept, [&](std::span<eval::Sample> batch) {
      for (eval::Sample& sample : batch) captions.push_back(std::move(sample.captions[0]));
    });
    std::vector<Query> queries;
    for (const size_t i : Spread(captions.size()))
      queries.push_back({.text = captions[i], .vector = {}, .matches = {}, .kin = {}});
    return queries;
  }

  SearchMetrics::Kind Measure(std::vector<Query> queries, const std::function<void()>& on_query) {
    std::vector<std::string> texts;
    for (const Query& query : queries) texts.push_back(query.text);
    std::vector<std::vector<float>> vectors = model_.EmbedTexts(texts);
    SearchMetrics::Kind kind;
    std::vector<double> present, removed;
    int64_t returned = 0, empty = 0, answered = 0;
    for (size_t i = 0; i < queries.size(); ++i) {
      queries[i].vector = std::move(vectors[i]);
      if (!queries[i].matches.empty()) {
        const Answer answer = Ask(queries[i], false);
        present.push_back(answer.best);
        returned += answer.has_match ? 1 : 0;
        answered += answer.is_empty ? 0 : 1;
        kind.precision += answer.precision;
      }
      if (queries[i].kin.size() < pictures_.size()) {
        const Answer answer = Ask(queries[i], true);
        removed.push_back(answer.best);
        empty += answer.is_empty ? 1 : 0;
      }
      on_query();
    }
    const auto share = [](int64_t part, size_t all) {
      return static_cast<double>(part) / static_cast<double>(std::max<size_t>(1, all));
    };
    kind.present = static_cast<int64_t>(present.size());
    kind.removed = static_cast<int64_t>(removed.size());
    kind.returned = share(returned, present.size());
    kind.empty = share(empty, removed.size());
    kind.precision /= answered > 0 ? static_cast<double>(answered) : std::nan("");
    kind.area = Area(present, removed);
    return kind;
  }

 private:
  // At most search_.captions of `count` places, evenly spread.
  std::vector<size_t> Spread(size_t count) const {
    std::vector<size_t> places;
    const auto wanted = static_cast<size_t>(std::max<int64_t>(1, search_.captions));
    for (size_t i = 0; i < count && search_.captions > 0; i += std::max<size_t>(1, (count + wanted - 1) / wanted))
      places.push_back(i);
    return places;
  }

  Answer Ask(const Query& query, bool without_matches) {
    library::Question question = library::AskInWords(query.text, {});
    question.text = query.vector;
    library::Allowed allowed;
    if (without_matches) {
      allowed.is_all = false;
      for (size_t i = 0; i < pictures_.size(); ++i) {
        if (query.kin.contains(i)) continue;
        allowed.files.insert(pictures_[i].file_id);
        allowed.contents.insert(pictures_[i].content_id);
      }
    }
    const library::VectorIndex* index = cache_.Refresh(store_, model_.info().fingerprint, model_.info().embedding_dim);
    const std::vector<SearchHit> hits = library::SearchFor(store_, index, background_.get(), question,
                                                           std::move(allowed), {.limit = search_.limit, .all = true});
    Answer answer;
    int64_t strong = 0, right = 0;
    for (const SearchHit& hit : hits) {
      answer.best = std::max(answer.best, hit.score);
      if (hit.is_weak) continue;
      ++strong;
      right += query.matches.contains(static_cast<size_t>(std::stoll(hit.path.substr(1)))) ? 1 : 0;
    }
    answer.is_empty = strong == 0;
    answer.has_match = right > 0;
    answer.precision = strong > 0 ? static_cast<double>(right) / static_cast<double>(strong) : 0;
    return answer;
  }

  static double Area(const std::vector<double>& present, const std::vector<double>& removed) {
    double above = 0;
    for (const double p : present) {
      for (const double r : removed) above += p > r ? 1 : p == r ? 0.5 : 0;
    }
    return above / std::max(1.0, static_cast<double>(present.size()) * static_cast<double>(removed.size()));
  }

  const Model& model_;
  const SearchEvaluationOptions& search_;
  Scratch scratch_;
  library::Store store_;
  library::EmbeddingCache cache_;
  std::shared_ptr<const library::Background> background_;
  int64_t model_id_ = 0, root_id_ = 0;
  std::vector<Picture> pictures_;
};

}  // namespace

SearchMetrics EvaluateSearch(const Model& model, const std::vector<std::string>& shards,
                             const SearchEvaluationOptions& search, const EvaluateOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  SearchEvaluation evaluation(model, search);
  const auto accept = [](eval::Sample& sample) {
    sample.captions = eval::CaptionsOf(sample);
    return !sample.captions.empty();
  };
  const eval::WalkReport walk =
      eval::WalkShards(shards, options, true, accept, [&](std::span<eval::Sample> batch) { evaluation.Add(batch); });
  Require(walk.used > 0, "[search] expected pictures with captions, found none");
  int64_t done = walk.used;
  const auto on_query = [&] {
    if (options.on_progress) options.on_progress(++done);
  };
  SearchMetrics metrics{.pictures = evaluation.pictures(), .failed = walk.failed};
  metrics.words = evaluation.Measure(evaluation.WordQueries(), on_query);
  metrics.captions = evaluation.Measure(evaluation.CaptionQueries(), on_query);
  if (!search.foreign.empty()) metrics.foreign = evaluation.Measure(evaluation.ForeignQueries(), on_query);
  metrics.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return metrics;
}

}  // namespace fovea
