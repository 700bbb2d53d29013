// Finding files by words: what their labels, captions, names and folders say.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "library/filter.h"
#include "library/store.h"
#include "library/words.h"

namespace fovea::library {

// Where one word of the query matched best, and how much that is worth: a label as much as its probability, a caption
// 0.7 of its confidence, a file name 0.8, a folder 0.6.
struct WordEvidence {
  enum class Source { kNone, kLabel, kName, kFolder, kCaption };
  Source source = Source::kNone;
  double weight = 0;
  int64_t label_id = 0;
};

struct WordHit {
  int64_t file_id = 0, content_id = 0;
  double score = 0;                    // nine parts the mean of the weights and one part the rank of FTS5 (bm25)
  std::vector<WordEvidence> evidence;  // one for each term
  bool MatchesAll() const;
  bool NeedsCaption() const;  // a word matches in nothing better than the caption
};

class WordSearch {
 public:
  struct Options {
    int64_t limit = 20;
    bool any_term = false;  // files that match some of the terms, too
  };
  // `terms`: at least one.
  WordSearch(Database& db, const std::vector<QueryTerm>& terms, const Options& options);
  ~WordSearch();

  // The best hits among the allowed files, best first; with them those of `wanted` that match, whatever their rank.
  // Runs once.
  std::vector<WordHit> Run(const Allowed& allowed, const std::unordered_set<int64_t>& wanted = {});
  // All hits in order of file; instead of Run.
  void ForEach(const Allowed& allowed, const std::function<void(WordHit)>& hit);

  // "label: golden retriever (0.91), folder: beach"
  std::string Why(const WordHit& hit);

 private:
  struct TermMatches;
  WordHit Judge(int64_t file_id, double bm25, int64_t content_id);
  std::string Reason(const WordHit& hit, const WordEvidence& evidence, const QueryTerm& term);
  void JudgeCaption(WordHit& hit);
  std::string MatchedFolder(int64_t file_id, const QueryTerm& term);

  Database& db_;
  const bool has_captions_;
  const size_t limit_;
  std::string match_;
  std::vector<std::unique_ptr<TermMatches>> terms_;
};

}  // namespace fovea::library
