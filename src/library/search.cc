// Search by vector is a lookup and a stop rule. Search by words streams all matches of FTS5 in order of row, beside one
// cursor for each word and column that tells where the word matched: nothing is tokenized a second time, and memory
// does not grow with the number of matches.
#include "library/search.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <unordered_set>

#include "base/error.h"
#include "library/words.h"

namespace fovea::library {
namespace {

// All reads inside see one state of the library.
class Snapshot {
 public:
  explicit Snapshot(Database& db) : db_(db) { db_.Run("BEGIN"); }
  ~Snapshot() {
    try {
      db_.Run("COMMIT");
    } catch (const Error&) {  // nothing was written: nothing is lost
    }
  }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

 private:
  Database& db_;
};

std::string TwoDigits(double score) {
  char text[16];
  std::snprintf(text, sizeof(text), "%.2f", score);
  return text;
}

float MedianOf(std::vector<float>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

const VectorIndex* EmbeddingCache::Refresh(Store& store, const std::string& fingerprint, int64_t dim) {
  const Snapshot snapshot(store.db());
  const int64_t model_id = store.FindModel(fingerprint);
  if (model_id == 0) return nullptr;
  const int64_t epoch = store.EmbeddingEpoch();
  if (index_ == nullptr || index_->dim() != dim || model_id != model_id_ || epoch != epoch_) {
    index_ = std::make_unique<VectorIndex>(dim, options_);
    model_id_ = model_id;
    epoch_ = epoch;
    last_seq_ = 0;
  }
  store.ForEachEmbedding(model_id, dim, last_seq_,
                         [&](int64_t seq, int64_t content_id, std::span<const float> embedding) {
                           index_->Add(content_id, embedding);
                           last_seq_ = seq;
                         });
  return index_.get();
}

float RelevanceFloor(std::vector<float> sample, float best) {
  if (sample.empty()) return best;
  const float ordinary = MedianOf(sample);
  const float middle = ordinary + 0.5f * (best - ordinary);
  if (sample.size() < 16) return middle;
  for (float& value : sample) value = std::abs(value - ordinary);
  const float deviation =
      std::max(0.01f, 1.4826f * MedianOf(sample));  // 1.4826: equals the standard deviation of a normal distribution
  return std::max(middle, ordinary + 3 * deviation);
}

std::vector<SearchHit> SearchByVector(Store& store, const VectorIndex& index, std::span<const float> query,
                                      const SearchOptions& options) {
  constexpr int64_t kSample = 4096;
  // The picture itself or a copy of it says nothing of how near the others could be.
  constexpr float kSamePicture = 0.97f;
  std::vector<SearchHit> hits;
  if (options.limit <= 0 || index.size() == 0) return hits;
  const Snapshot snapshot(store.db());
  // Some contents have no file any more: ask for more until there are enough.
  for (int64_t k = std::min(options.limit, index.size()) + 16;; k *= 4) {
    hits.clear();
    const std::vector<VectorHit> found = index.Search(query, k);
    if (found.empty()) return hits;
    const auto best =
        std::find_if(found.begin(), found.end(), [](const VectorHit& hit) { return hit.score < kSamePicture; });
    const float floor = options.all ? -std::numeric_limits<float>::infinity()
                                    : RelevanceFloor(index.SampleScores(query, kSample),
                                                     (best != found.end() ? *best : found[0]).score);
    bool has_stopped = k >= index.size();
    for (const VectorHit& hit : found) {
      const int64_t room = options.limit - static_cast<int64_t>(hits.size());
      has_stopped |= hit.score < floor || room <= 0;
      if (hit.score < floor || room <= 0) break;
      const double score = std::clamp(static_cast<double>(hit.score), 0.0, 1.0);
      for (std::string& path : store.PathsOfContent(hit.id, room)) {
        hits.push_back({std::move(path), score, "similar picture (" + TwoDigits(score) + ")"});
      }
    }
    if (has_stopped) return hits;
  }
}

namespace {

constexpr double kNameEvidence = 0.8, kFolderEvidence = 0.6, kBm25Share = 0.1, kRelevantShare = 0.25;

// Rows of `words` where one term matches in one column, in order; asked about ascending rows.
class ColumnMatches {
 public:
  ColumnMatches(Database& db, const char* column, const QueryTerm& term, size_t number)
      : rows_(db.Query(base::StrCat("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid -- ", column, number),
                       base::StrCat(column, " : ", term.Fts()))) {
    Advance();
  }
  bool Contains(int64_t row) {
    while (row_ < row) Advance();
    return row_ == row;
  }

 private:
  void Advance() { row_ = rows_.Next() ? rows_.Int(0) : std::numeric_limits<int64_t>::max(); }
  Cursor rows_;
  int64_t row_ = 0;
};

// One word of the query and where it matches.
struct TermMatches {
  TermMatches(Database& db, const QueryTerm& query_term, size_t number)
      : term(query_term), names(db, "name", query_term, number), folders(db, "folders", query_term, number) {
    for (auto rows = db.Query("SELECT rowid FROM label_words WHERE label_words MATCH ?", term.Fts()); rows.Next();)
      labels.insert(rows.Int(0));
  }
  QueryTerm term;
  ColumnMatches names, folders;
  std::unordered_set<int64_t> labels;  // ids
};

struct Evidence {
  enum class Source { kNone, kLabel, kName, kFolder };
  Source source = Source::kNone;
  double weight = 0;
  int64_t label_id = 0;
};

struct WordHit {
  int64_t file_id;
  double score;
  std::vector<Evidence> evidence;  // one for each term
};

bool IsBetter(const WordHit& a, const WordHit& b) {
  return a.score != b.score ? a.score > b.score : a.file_id < b.file_id;
}

class WordSearch {
 public:
  WordSearch(Database& db, std::vector<QueryTerm> terms, int64_t limit) : db_(db), limit_(static_cast<size_t>(limit)) {
    for (size_t i = 0; i < terms.size(); ++i) {
      match_ += (i == 0 ? "" : " AND ") + terms[i].Fts();
      terms_.push_back(std::make_unique<TermMatches>(db, terms[i], i));
    }
  }

  // The best hits, best first.
  std::vector<WordHit> Run() {
    std::vector<WordHit> best;  // heap, worst on top
    for (auto rows = db_.Query(
             "SELECT w.rowid, bm25(words, 10.0, 5.0, 3.0), f.content_id FROM words w JOIN file f ON f.id = w.rowid "
             "WHERE words MATCH ? ORDER BY w.rowid",
             match_);
         rows.Next();) {
      WordHit hit = Judge(rows.Int(0), -rows.Double(1), rows.Int(2));
      if (best.size() == limit_ && !IsBetter(hit, best.front())) continue;
      if (best.size() == limit_) {
        std::pop_heap(best.begin(), best.end(), IsBetter);
        best.pop_back();
      }
      best.push_back(std::move(hit));
      std::push_heap(best.begin(), best.end(), IsBetter);
    }
    std::sort_heap(best.begin(), best.end(), IsBetter);
    return best;
  }

  // "label: golden retriever (0.91), folder: beach"
  std::string Why(const WordHit& hit) {
    std::vector<std::string> reasons;
    for (size_t i = 0; i < terms_.size(); ++i) {
      std::string reason = Reason(hit, hit.evidence[i], terms_[i]->term);
      if (std::find(reasons.begin(), reasons.end(), reason) == reasons.end()) reasons.push_back(std::move(reason));
    }
    return base::Join(reasons);
  }

 private:
  WordHit Judge(int64_t file_id, double bm25, int64_t content_id) {
    WordHit hit{file_id, 0, std::vector<Evidence>(terms_.size())};
    for (size_t i = 0; i < terms_.size(); ++i) {
      // Both cursors must move on, whichever decides.
      const bool in_folders = terms_[i]->folders.Contains(file_id), in_name = terms_[i]->names.Contains(file_id);
      if (in_folders) hit.evidence[i] = {Evidence::Source::kFolder, kFolderEvidence};
      if (in_name) hit.evidence[i] = {Evidence::Source::kName, kNameEvidence};
    }
    for (auto rows =
             db_.Query("SELECT label_id, score FROM picture_label WHERE content_id = ? ORDER BY rank", content_id);
         rows.Next();) {
      for (size_t i = 0; i < terms_.size(); ++i) {
        Evidence& evidence = hit.evidence[i];
        const bool is_better = rows.Double(1) > evidence.weight || evidence.source == Evidence::Source::kNone;
        if (is_better && terms_[i]->labels.contains(rows.Int(0)))
          evidence = {Evidence::Source::kLabel, rows.Double(1), rows.Int(0)};
      }
    }
    double sum = 0;
    for (const Evidence& evidence : hit.evidence) sum += evidence.weight;
    bm25 = std::max(bm25, 0.0);
    hit.score = (1 - kBm25Share) * sum / static_cast<double>(terms_.size()) + kBm25Share * bm25 / (1 + bm25);
    return hit;
  }

  std::string Reason(const WordHit& hit, const Evidence& evidence, const QueryTerm& term) {
    if (evidence.source == Evidence::Source::kLabel) {
      auto row = db_.Query("SELECT name FROM label WHERE id = ?", evidence.label_id);
      return row.Next() ? base::StrCat("label: ", row.Text(0), " (", TwoDigits(evidence.weight), ")") : "label";
    }
    if (evidence.source == Evidence::Source::kFolder) return "folder: " + MatchedFolder(hit.file_id, term);
    return "file name";
  }

  // The folder that FTS5 marks: folders stand one on a line, inner words after a tab.
  std::string MatchedFolder(int64_t file_id, const QueryTerm& term) {
    auto row = db_.Query("SELECT highlight(words, 2, char(1), char(2)) FROM words WHERE words MATCH ? AND rowid = ?",
                         "folders : " + term.Fts(), file_id);
    if (!row.Next()) return "";
    const std::vector<std::string> lines = base::Split(row.Text(0), '\n');
    const auto marked = std::find_if(lines.begin(), lines.end(),
                                     [](const std::string& line) { return line.find('\1') != std::string::npos; });
    std::string name = marked == lines.end() ? "" : base::Split(*marked, '\t')[0];
    std::erase_if(name, [](char c) { return c == '\1' || c == '\2'; });
    return name;
  }

  Database& db_;
  const size_t limit_;
  std::string match_;
  std::vector<std::unique_ptr<TermMatches>> terms_;
};

}  // namespace

std::vector<SearchHit> SearchByWords(Store& store, const std::string& words, const SearchOptions& options) {
  std::vector<SearchHit> hits;
  std::vector<QueryTerm> terms = ParseQuery(words);
  if (terms.empty() || options.limit <= 0) return hits;
  const Snapshot snapshot(store.db());
  WordSearch search(store.db(), std::move(terms), options.limit);
  const std::vector<WordHit> found = search.Run();
  for (const WordHit& hit : found) {
    if (!options.all && hit.score < kRelevantShare * found[0].score) break;
    auto row = store.db().Query("SELECT path FROM file WHERE id = ?", hit.file_id);
    row.Next();
    hits.push_back({std::string(row.Bytes(0)), hit.score, search.Why(hit)});
  }
  return hits;
}

}  // namespace fovea::library
