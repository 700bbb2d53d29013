// METEOR 1.5 (Denkowski and Lavie 2014) with the modules "exact" and "stem" and the parameters for English: words are
// aligned when they are equal (weight 1) or have one stem (0.6), function words count a quarter of others (delta 0.75),
// and the score is a mean of precision and recall (alpha 0.85) with a penalty for scattered matches (beta 0.2, gamma
// 0.6). Equal to `java -jar meteor-1.5.jar - - -stdio -l en -m "exact stem"`.
//
// It is lower than the METEOR of papers, which matches synonyms (WordNet) and paraphrases (a table of 60 MB) as well,
// and cannot be compared with it.
#pragma once

#include <string>
#include <vector>

namespace fovea::eval {

// What an alignment counts; those of several captions may be added up and scored as one.
struct MeteorCounts {
  double test_length = 0, reference_length = 0;                  // words
  double test_function_words = 0, reference_function_words = 0;  // of them
  double test_matches[2] = {}, reference_matches[2] = {};        // content words by module
  double test_function_matches[2] = {}, reference_function_matches[2] = {};
  double chunks = 0;  // runs of matches that are neighbours on both sides

  MeteorCounts& operator+=(const MeteorCounts& other);
  double Score() const;  // 0..1
  double TestMatches() const;
  double ReferenceMatches() const;
  bool IsWhole() const;  // test and reference are one chunk, which costs nothing
};

// A reference, with what is needed for the alignments to it.
struct MeteorWords {
  explicit MeteorWords(std::vector<std::string> words);
  std::vector<std::string> words, stems;
};

// The counts against the reference with the best score, the first of equals. `references` must not be empty.
MeteorCounts BestMeteor(const MeteorWords& test, const std::vector<MeteorWords>& references);

}  // namespace fovea::eval
