#include "eval/stemmer.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace fovea::eval {
namespace {

struct Rule {
  std::string_view from, to;
};

class Stem {
 public:
  explicit Stem(std::string_view word) : word_(word) {
    if (word_[0] == '\'') word_.erase(0, 1);
    // A y that is a consonant is written Y: at the beginning, and behind a vowel.
    for (size_t i = 0; i < word_.size(); ++i) {
      if (word_[i] == 'y' && (i == 0 || IsVowel(word_[i - 1]))) word_[i] = 'Y';
    }
    first_ = std::string::npos;
    for (const std::string_view prefix : {"gener", "commun", "arsen"}) {
      if (word_.starts_with(prefix)) first_ = prefix.size();
    }
    if (first_ == std::string::npos) first_ = RegionFrom(0);
    second_ = RegionFrom(first_);
  }

  std::string Finish() {
    std::ranges::replace(word_, 'Y', 'y');
    return std::move(word_);
  }

  // 's and the like.
  void Possessive() {
    for (const std::string_view ending : {"'s'", "'s", "'"}) {
      if (Ends(ending)) return Cut(ending.size());
    }
  }

  // Plurals. False when the word is done with.
  void Plural() {
    if (Ends("sses")) return Cut(2);
    if (Ends("ied") || Ends("ies")) return Cut(word_.size() > 4 ? 2 : 1);
    if (Ends("us") || Ends("ss") || !Ends("s")) return;
    // A vowel not directly before the s.
    if (word_.size() >= 2 && HasVowel(0, word_.size() - 2)) Cut(1);
  }

  void Past() {
    for (const std::string_view ending : {"eedly", "eed"}) {
      if (!Ends(ending)) continue;
      if (InFirst(ending)) Cut(ending.size() - 2);
      return;
    }
    for (const std::string_view ending : {"ingly", "edly", "ing", "ed"}) {
      if (!Ends(ending)) continue;
      if (!HasVowel(0, word_.size() - ending.size())) return;
      Cut(ending.size());
      if (Ends("at") || Ends("bl") || Ends("iz")) {
        word_ += 'e';
      } else if (EndsDouble()) {
        Cut(1);
      } else if (first_ >= word_.size() && IsShortSyllable(word_.size())) {
        word_ += 'e';
      }
      return;
    }
  }

  void FinalY() {
    const size_t n = word_.size();
    if (n > 2 && (word_[n - 1] == 'y' || word_[n - 1] == 'Y') && !IsVowel(word_[n - 2])) word_[n - 1] = 'i';
  }

  void LongSuffixes() {
    static constexpr std::array kRules = {
        Rule{"ational", "ate"}, Rule{"fulness", "ful"}, Rule{"iveness", "ive"}, Rule{"ization", "ize"},
        Rule{"ousness", "ous"}, Rule{"biliti", "ble"},  Rule{"lessli", "less"}, Rule{"tional", "tion"},
        Rule{"alism", "al"},    Rule{"aliti", "al"},    Rule{"ation", "ate"},   Rule{"entli", "ent"},
        Rule{"fulli", "ful"},   Rule{"iviti", "ive"},   Rule{"ousli", "ous"},   Rule{"abli", "able"},
        Rule{"alli", "al"},     Rule{"anci", "ance"},   Rule{"ator", "ate"},    Rule{"enci", "ence"},
        Rule{"izer", "ize"},    Rule{"bli", "ble"},     Rule{"ogi", "og"},      Rule{"li", ""},
    };
    for (const Rule& rule : kRules) {
      if (!Ends(rule.from)) continue;
      if (!InFirst(rule.from)) return;
      const char before = word_.size() > rule.from.size() ? word_[word_.size() - rule.from.size() - 1] : '\0';
      if (rule.from == "ogi" && before != 'l') return;
      if (rule.from == "li" && std::string_view("cdeghkmnrt").find(before) == std::string_view::npos) return;
      return Replace(rule);
    }
  }

  void MoreSuffixes() {
    static constexpr std::array kRules = {Rule{"ational", "ate"}, Rule{"tional", "tion"}, Rule{"alize", "al"},
                                          Rule{"ative", ""},      Rule{"icate", "ic"},    Rule{"iciti", "ic"},
                                          Rule{"ical", "ic"},     Rule{"ness", ""},       Rule{"ful", ""}};
    for (const Rule& rule : kRules) {
      if (!Ends(rule.from)) continue;
      if (InFirst(rule.from) && (rule.from != "ative" || InSecond(rule.from))) Replace(rule);
      return;
    }
  }

  void LastSuffixes() {
    static constexpr std::string_view kEndings[] = {"ement", "ance", "ence", "able", "ible", "ment",
                                                    "ant",   "ent",  "ism",  "ate",  "iti",  "ous",
                                                    "ive",   "ize",  "ion",  "al",   "er",   "ic"};
    for (const std::string_view ending : kEndings) {
      if (!Ends(ending)) continue;
      if (!InSecond(ending)) return;
      if (ending == "ion") {
        const char before = word_.size() > 3 ? word_[word_.size() - 4] : '\0';
        if (before != 's' && before != 't') return;
      }
      return Cut(ending.size());
    }
  }

  void FinalEAndL() {
    if (Ends("e")) {
      if (InSecond("e")) return Cut(1);
      if (!InFirst("e")) return;
      if (!IsShortSyllable(word_.size() - 1)) Cut(1);
    } else if (Ends("l") && InSecond("l") && word_.size() > 1 && word_[word_.size() - 2] == 'l') {
      Cut(1);
    }
  }

  bool IsWhole(std::string_view word) const { return word_ == word; }

 private:
  static bool IsVowel(char c) { return std::string_view("aeiouy").find(c) != std::string_view::npos; }

  // Behind the first non-vowel that follows a vowel, from `begin`.
  size_t RegionFrom(size_t begin) const {
    size_t i = begin;
    while (i < word_.size() && !IsVowel(word_[i])) ++i;
    while (i < word_.size() && IsVowel(word_[i])) ++i;
    return std::min(i + 1, word_.size());
  }
  bool Ends(std::string_view ending) const { return word_.ends_with(ending); }
  bool InFirst(std::string_view ending) const { return word_.size() - ending.size() >= first_; }
  bool InSecond(std::string_view ending) const { return word_.size() - ending.size() >= second_; }
  bool HasVowel(size_t begin, size_t end) const {
    return std::any_of(word_.begin() + static_cast<std::ptrdiff_t>(begin),
                       word_.begin() + static_cast<std::ptrdiff_t>(end), IsVowel);
  }
  bool EndsDouble() const {
    const size_t n = word_.size();
    return n >= 2 && word_[n - 1] == word_[n - 2] &&
           std::string_view("bdfgmnprt").find(word_[n - 1]) != std::string_view::npos;
  }
  // Whether the first `size` letters end in a vowel between non-vowels, the last no w, x or Y; or are a vowel and a
  // non-vowel.
  bool IsShortSyllable(size_t size) const {
    if (size == 2) return IsVowel(word_[0]) && !IsVowel(word_[1]);
    return size > 2 && !IsVowel(word_[size - 3]) && IsVowel(word_[size - 2]) && !IsVowel(word_[size - 1]) &&
           std::string_view("wxY").find(word_[size - 1]) == std::string_view::npos;
  }
  void Cut(size_t count) { word_.resize(word_.size() - count); }
  void Replace(const Rule& rule) {
    Cut(rule.from.size());
    word_ += rule.to;
  }

  std::string word_;
  size_t first_, second_;  // where the regions R1 and R2 begin
};

}  // namespace

std::string EnglishStem(std::string_view word) {
  static constexpr std::array kIrregular = {
      Rule{"skis", "ski"},    Rule{"skies", "sky"},   Rule{"dying", "die"},    Rule{"lying", "lie"},
      Rule{"tying", "tie"},   Rule{"idly", "idl"},    Rule{"gently", "gentl"}, Rule{"ugly", "ugli"},
      Rule{"early", "earli"}, Rule{"only", "onli"},   Rule{"singly", "singl"}, Rule{"sky", "sky"},
      Rule{"news", "news"},   Rule{"howe", "howe"},   Rule{"atlas", "atlas"},  Rule{"cosmos", "cosmos"},
      Rule{"bias", "bias"},   Rule{"andes", "andes"},
  };
  static constexpr std::string_view kDoneAfterPlural[] = {"inning",  "outing",  "canning", "herring",
                                                          "earring", "proceed", "exceed",  "succeed"};
  for (const Rule& rule : kIrregular) {
    if (word == rule.from) return std::string(rule.to);
  }
  if (word.size() <= 2) return std::string(word);
  Stem stem(word);
  stem.Possessive();
  stem.Plural();
  if (std::ranges::any_of(kDoneAfterPlural, [&](std::string_view done) { return stem.IsWhole(done); }))
    return stem.Finish();
  stem.Past();
  stem.FinalY();
  stem.LongSuffixes();
  stem.MoreSuffixes();
  stem.LastSuffixes();
  stem.FinalEAndL();
  return stem.Finish();
}

}  // namespace fovea::eval
