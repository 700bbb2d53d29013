// Words: what of a file's name and folders goes into the word index, and how a person's query becomes one that FTS5
// runs safely.
//
// FTS5's unicode61 tokenizer already folds case and accents and breaks at punctuation. What it does not see are the
// words inside "dogOnBeach2019"; they are written beside the name, so that both "dog" and "dogonbeach" find it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fovea::library {

// "dogOnBeach2019.jpg" -> "dogOnBeach2019.jpg", a tab, "dog On Beach 2019.jpg"; text without inner words stays as it
// is. Valid UTF-8 without control characters (but that tab) for any bytes.
std::string IndexedText(std::string_view name);

// One line for each folder between `root` (its own name included) and the file: the folder's name as IndexedText. Both
// absolute.
std::string IndexedFolders(std::string_view path, std::string_view root);

// One word of a query, or a phrase that was written in quotes.
struct QueryTerm {
  std::string text;
  bool is_phrase = false;
  bool is_negative = false;  // written with a "-" before it: must not be there
  bool is_whole = false;     // a word counts only whole, or with a plural's "s" more or less

  // As FTS5 reads it: quoted, words with `*` so that prefixes count (unless is_whole).
  std::string Fts() const;
};

// At most kMaxQueryTerms terms; pieces that hold no letter or digit are left out. Any bytes are safe.
std::vector<QueryTerm> ParseQuery(std::string_view query);
inline constexpr size_t kMaxQueryTerms = 32;

// Without the terms that only join others ("a", "the", "of", ...), unless there are no others.
std::vector<QueryTerm> ContentTerms(std::vector<QueryTerm> terms);

// The folder (last component) and name of an absolute path.
std::string_view FileName(std::string_view path);
std::string_view ParentFolder(std::string_view path);

}  // namespace fovea::library
