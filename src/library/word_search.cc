// Streams all matches of FTS5 in order of row, beside one cursor for each word and column that tells where the word
// matched: nothing is tokenized a second time, and memory does not grow with the number of matches.
#include "library/word_search.h"

#include <algorithm>
#include <cstdio>
#include <limits>

#include "base/error.h"

namespace fovea::library {
namespace {

constexpr double kNameEvidence = 0.8, kFolderEvidence = 0.6, kCaptionEvidence = 0.7, kBm25Share = 0.1;

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

std::string TwoDigits(double score) {
  char text[16];
  std::snprintf(text, sizeof(text), "%.2f", score);
  return text;
}

bool IsBetter(const WordHit& a, const WordHit& b) {
  return a.score != b.score ? a.score > b.score : a.file_id < b.file_id;
}

}  // namespace

// One word of the query and where it matches.
struct WordSearch::TermMatches {
  TermMatches(Database& db, const QueryTerm& query_term, size_t number, bool has_captions)
      : term(query_term), names(db, "name", query_term, number), folders(db, "folders", query_term, number) {
    for (auto rows = db.Query("SELECT rowid FROM label_words WHERE label_words MATCH ?", term.Fts()); rows.Next();)
      labels.insert(rows.Int(0));
    if (!has_captions) return;
    for (auto rows = db.Query("SELECT rowid FROM caption_words WHERE caption_words MATCH ?", term.Fts()); rows.Next();)
      captions.insert(rows.Int(0));
  }
  QueryTerm term;
  ColumnMatches names, folders;
  std::unordered_set<int64_t> labels;    // ids
  std::unordered_set<int64_t> captions;  // ids of content
};

WordSearch::~WordSearch() = default;

bool WordHit::MatchesAll() const {
  return std::all_of(evidence.begin(), evidence.end(),
                     [](const WordEvidence& e) { return e.source != WordEvidence::Source::kNone; });
}

bool WordHit::NeedsCaption() const {
  return std::any_of(evidence.begin(), evidence.end(),
                     [](const WordEvidence& e) { return e.source == WordEvidence::Source::kCaption; });
}

WordSearch::WordSearch(Database& db, const std::vector<QueryTerm>& terms, const Options& options)
    : db_(db), has_captions_(db.Scalar("PRAGMA user_version", 0) >= 3), limit_(static_cast<size_t>(options.limit)) {
  for (size_t i = 0; i < terms.size(); ++i) {
    match_ += (i == 0 ? "" : options.any_term ? " OR " : " AND ") + terms[i].Fts();
    terms_.push_back(std::make_unique<TermMatches>(db, terms[i], i, has_captions_));
  }
}

void WordSearch::ForEach(const Allowed& allowed, const std::function<void(WordHit)>& hit) {
  for (auto rows = db_.Query(
           "SELECT w.rowid, bm25(words, 10.0, 5.0, 3.0), f.content_id FROM words w JOIN file f ON f.id = w.rowid "
           "WHERE words MATCH ? ORDER BY w.rowid",
           match_);
       rows.Next();) {
    // Judged whether allowed or not: the cursors of the terms must move on.
    WordHit judged = Judge(rows.Int(0), -rows.Double(1), rows.Int(2));
    if (allowed.HasFile(judged.file_id)) hit(std::move(judged));
  }
}

std::vector<WordHit> WordSearch::Run(const Allowed& allowed, const std::unordered_set<int64_t>& wanted) {
  std::vector<WordHit> best;  // heap, worst on top
  std::vector<WordHit> others;
  ForEach(allowed, [&](WordHit hit) {
    best.push_back(std::move(hit));
    std::push_heap(best.begin(), best.end(), IsBetter);
    if (best.size() <= limit_) return;
    std::pop_heap(best.begin(), best.end(), IsBetter);
    if (wanted.contains(best.back().file_id)) others.push_back(std::move(best.back()));
    best.pop_back();
  });
  std::sort_heap(best.begin(), best.end(), IsBetter);
  std::sort(others.begin(), others.end(), IsBetter);
  std::move(others.begin(), others.end(), std::back_inserter(best));
  return best;
}

std::string WordSearch::Why(const WordHit& hit) {
  std::vector<std::string> reasons;
  for (size_t i = 0; i < terms_.size(); ++i) {
    std::string reason = Reason(hit, hit.evidence[i], terms_[i]->term);
    if (std::find(reasons.begin(), reasons.end(), reason) == reasons.end()) reasons.push_back(std::move(reason));
  }
  return base::Join(reasons);
}

WordHit WordSearch::Judge(int64_t file_id, double bm25, int64_t content_id) {
  WordHit hit{.file_id = file_id, .content_id = content_id, .evidence = std::vector<WordEvidence>(terms_.size())};
  for (size_t i = 0; i < terms_.size(); ++i) {
    // Both cursors must move on, whichever decides.
    const bool in_folders = terms_[i]->folders.Contains(file_id), in_name = terms_[i]->names.Contains(file_id);
    if (in_folders) hit.evidence[i] = {WordEvidence::Source::kFolder, kFolderEvidence};
    if (in_name) hit.evidence[i] = {WordEvidence::Source::kName, kNameEvidence};
  }
  for (auto rows =
           db_.Query("SELECT label_id, score FROM picture_label WHERE content_id = ? ORDER BY rank", content_id);
       rows.Next();) {
    for (size_t i = 0; i < terms_.size(); ++i) {
      WordEvidence& evidence = hit.evidence[i];
      const bool is_better = rows.Double(1) > evidence.weight || evidence.source == WordEvidence::Source::kNone;
      if (is_better && terms_[i]->labels.contains(rows.Int(0)))
        evidence = {WordEvidence::Source::kLabel, rows.Double(1), rows.Int(0)};
    }
  }
  JudgeCaption(hit);
  double sum = 0;
  for (const WordEvidence& evidence : hit.evidence) sum += evidence.weight;
  bm25 = std::max(bm25, 0.0);
  hit.score = (1 - kBm25Share) * sum / static_cast<double>(terms_.size()) + kBm25Share * bm25 / (1 + bm25);
  return hit;
}

void WordSearch::JudgeCaption(WordHit& hit) {
  const bool is_there = std::any_of(terms_.begin(), terms_.end(),
                                    [&](const auto& term) { return term->captions.contains(hit.content_id); });
  if (!is_there) return;
  const double confidence = [&] {
    auto row = db_.Query("SELECT confidence FROM caption WHERE content_id = ?", hit.content_id);
    return row.Next() ? row.Double(0) : 0.0;
  }();
  for (size_t i = 0; i < terms_.size(); ++i) {
    WordEvidence& evidence = hit.evidence[i];
    const double weight = kCaptionEvidence * confidence;
    if (terms_[i]->captions.contains(hit.content_id) && weight > evidence.weight)
      evidence = {WordEvidence::Source::kCaption, weight};
  }
}

std::string WordSearch::Reason(const WordHit& hit, const WordEvidence& evidence, const QueryTerm& term) {
  if (evidence.source == WordEvidence::Source::kLabel) {
    auto row = db_.Query("SELECT name FROM label WHERE id = ?", evidence.label_id);
    return row.Next() ? base::StrCat("label: ", row.Text(0), " (", TwoDigits(evidence.weight), ")") : "label";
  }
  if (evidence.source == WordEvidence::Source::kCaption) {
    auto row = db_.Query("SELECT text FROM caption WHERE content_id = ?", hit.content_id);
    return row.Next() ? base::StrCat("caption: ", row.Text(0), " (", TwoDigits(evidence.weight), ")") : "caption";
  }
  if (evidence.source == WordEvidence::Source::kFolder) return "folder: " + MatchedFolder(hit.file_id, term);
  return "file name";
}

// The folder that FTS5 marks: folders stand one on a line, inner words after a tab.
std::string WordSearch::MatchedFolder(int64_t file_id, const QueryTerm& term) {
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

}  // namespace fovea::library
