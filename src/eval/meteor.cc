#include "eval/meteor.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>
#include <string_view>

#include "eval/stemmer.h"

namespace fovea::eval {
namespace {

constexpr double kAlpha = 0.85, kBeta = 0.2, kGamma = 0.6, kDelta = 0.75;
constexpr double kModuleWeights[2] = {1.0, 0.6};
constexpr size_t kBeam = 40;

// The words of METEOR's list for English that can be tokens of a caption.
bool IsFunctionWord(const std::string& word) {
  static const std::set<std::string_view> kWords = {
      "$",           "'s",           "'t",           "-lrb-",        "-rrb-",
      "a",           "about",        "after",        "all",          "also",
      "an",          "and",          "are",          "as",           "at",
      "be",          "been",         "but",          "by",           "can",
      "could",       "first",        "for",          "from",         "had",
      "has",         "have",         "he",           "her",          "his",
      "i",           "if",           "in",           "into",         "is",
      "it",          "its",          "last",         "more",         "new",
      "no",          "not",          "of",           "on",           "one",
      "or",          "other",        "out",          "over",         "people",
      "s",           "said",         "she",          "so",           "some",
      "than",        "that",         "the",          "their",        "there",
      "they",        "this",         "time",         "to",           "two",
      "up",          "was",          "we",           "were",         "what",
      "when",        "which",        "who",          "will",         "with",
      "would",       "year",         "years",        "you",          "(",
      ")",           "\xE2\x80\x93", "\xE2\x80\x94", "\xE2\x80\x99", "\xE2\x80\x9C",
      "\xE2\x80\x9D"};
  return kWords.contains(word);
}

struct Match {
  int module = 0;
  int test = -1;  // position; -1: none
};

// An alignment of the reference's words from the left up to some place.
struct Partial {
  std::vector<Match> matches;      // by word of the reference
  std::vector<char> test_is_used;  // by word of the test
  int exact = 0, chunks = 0, distance = 0;
  int last_end = -1;  // behind the test's word that was matched last; -1: the last word of the reference has no match
};

// More words that are equal, then fewer chunks, then words that moved less. Matches of stems do not lead the search:
// the reference adds weights below 1 to an integer.
bool IsBetter(const Partial& a, const Partial& b) {
  if (a.exact != b.exact) return a.exact > b.exact;
  if (a.chunks != b.chunks) return a.chunks < b.chunks;
  return a.distance < b.distance;
}

void Take(Partial& path, size_t at, const Match& match) {
  path.matches[at] = match;
  path.test_is_used[static_cast<size_t>(match.test)] = 1;
  path.exact += match.module == 0 ? 1 : 0;
  if (path.last_end != -1 && match.test != path.last_end) ++path.chunks;
  path.last_end = match.test + 1;
}

int Distance(size_t at, const Match& match) { return std::abs(static_cast<int>(at) - match.test); }

void EndChunk(Partial& path) {
  if (path.last_end != -1) ++path.chunks;
  path.last_end = -1;
}

// The best alignment that a beam search over the reference's words finds.
Partial Align(const MeteorWords& test, const MeteorWords& reference) {
  const size_t R = reference.words.size(), T = test.words.size();
  const bool stems = test.words != reference.words;
  std::vector<std::vector<Match>> candidates(R);
  std::vector<int> uses(T, 0);
  for (int module = 0; module < (stems ? 2 : 1); ++module) {
    for (size_t r = 0; r < R; ++r) {
      for (size_t t = 0; t < T; ++t) {
        const bool equal = test.words[t] == reference.words[r];
        if (module == 0 ? !equal : equal || test.stems[t] != reference.stems[r]) continue;
        candidates[r].push_back({module, static_cast<int>(t)});
        ++uses[t];
      }
    }
  }
  // Pairs without an alternative are taken from the start, so that the search leaves their words alone.
  std::vector<char> is_fixed(R, 0);
  Partial start{.matches = std::vector<Match>(R), .test_is_used = std::vector<char>(T, 0)};
  for (size_t r = 0; r < R; ++r) {
    if (candidates[r].size() != 1 || uses[static_cast<size_t>(candidates[r][0].test)] != 1) continue;
    is_fixed[r] = 1;
    start.test_is_used[static_cast<size_t>(candidates[r][0].test)] = 1;
  }
  std::vector<Partial> paths = {start};
  for (size_t r = 0; r < R; ++r) {
    std::stable_sort(paths.begin(), paths.end(), IsBetter);
    if (paths.size() > kBeam) paths.resize(kBeam, start);
    std::vector<Partial> next;
    for (Partial& path : paths) {
      if (is_fixed[r]) {
        Take(path, r, candidates[r][0]);
        path.distance += Distance(r, candidates[r][0]);
        next.push_back(std::move(path));
        continue;
      }
      for (const Match& match : candidates[r]) {
        if (path.test_is_used[static_cast<size_t>(match.test)]) continue;
        next.push_back(path);
        Take(next.back(), r, match);
        // The reference adds the distance to the path that goes on without the match, and to the matches tried later.
        path.distance += Distance(r, match);
      }
      EndChunk(path);
      next.push_back(std::move(path));
    }
    paths.swap(next);
  }
  // The last chunk of each ends only now, which may change the order.
  std::stable_sort(paths.begin(), paths.end(), IsBetter);
  if (paths.size() > kBeam) paths.resize(kBeam, start);
  for (Partial& path : paths) EndChunk(path);
  return *std::min_element(paths.begin(), paths.end(), IsBetter);
}

MeteorCounts Count(const MeteorWords& test, const MeteorWords& reference) {
  MeteorCounts counts{.test_length = static_cast<double>(test.words.size()),
                      .reference_length = static_cast<double>(reference.words.size())};
  for (const std::string& word : test.words) counts.test_function_words += IsFunctionWord(word) ? 1 : 0;
  for (const std::string& word : reference.words) counts.reference_function_words += IsFunctionWord(word) ? 1 : 0;
  const Partial path = Align(test, reference);
  for (size_t r = 0; r < path.matches.size(); ++r) {
    const Match& match = path.matches[r];
    if (match.test < 0) continue;
    (IsFunctionWord(test.words[static_cast<size_t>(match.test)]) ? counts.test_function_matches
                                                                 : counts.test_matches)[match.module] += 1;
    (IsFunctionWord(reference.words[r]) ? counts.reference_function_matches : counts.reference_matches)[match.module] +=
        1;
  }
  counts.chunks = path.chunks;
  return counts;
}

double Weighted(const double (&content)[2], const double (&function)[2]) {
  double sum = 0;
  for (int m = 0; m < 2; ++m) sum += kModuleWeights[m] * (kDelta * content[m] + (1 - kDelta) * function[m]);
  return sum;
}
double Weighted(double length, double function_words) {
  return kDelta * (length - function_words) + (1 - kDelta) * function_words;
}

}  // namespace

MeteorCounts& MeteorCounts::operator+=(const MeteorCounts& other) {
  test_length += other.test_length;
  reference_length += other.reference_length;
  test_function_words += other.test_function_words;
  reference_function_words += other.reference_function_words;
  for (int m = 0; m < 2; ++m) {
    test_matches[m] += other.test_matches[m];
    reference_matches[m] += other.reference_matches[m];
    test_function_matches[m] += other.test_function_matches[m];
    reference_function_matches[m] += other.reference_function_matches[m];
  }
  chunks += other.IsWhole() ? 0 : other.chunks;  // as the reference adds them up
  return *this;
}

double MeteorCounts::TestMatches() const {
  return test_matches[0] + test_matches[1] + test_function_matches[0] + test_function_matches[1];
}
double MeteorCounts::ReferenceMatches() const {
  return reference_matches[0] + reference_matches[1] + reference_function_matches[0] + reference_function_matches[1];
}
bool MeteorCounts::IsWhole() const {
  return TestMatches() == test_length && ReferenceMatches() == reference_length && chunks == 1;
}

double MeteorCounts::Score() const {
  if (TestMatches() == 0) return 0;
  const double precision = Weighted(test_matches, test_function_matches) / Weighted(test_length, test_function_words);
  const double recall =
      Weighted(reference_matches, reference_function_matches) / Weighted(reference_length, reference_function_words);
  const double mean = 1 / ((1 - kAlpha) / precision + kAlpha / recall);
  const double scattered = IsWhole() ? 0 : chunks / ((TestMatches() + ReferenceMatches()) / 2);
  return mean * (1 - kGamma * std::pow(scattered, kBeta));
}

MeteorWords::MeteorWords(std::vector<std::string> given) : words(std::move(given)) {
  for (const std::string& word : words) stems.push_back(EnglishStem(word));
}

MeteorCounts BestMeteor(const MeteorWords& test, const std::vector<MeteorWords>& references) {
  MeteorCounts best;
  double score = -1;
  for (const MeteorWords& reference : references) {
    const MeteorCounts counts = Count(test, reference);
    if (counts.Score() <= score) continue;
    score = counts.Score();
    best = counts;
  }
  return best;
}

}  // namespace fovea::eval
