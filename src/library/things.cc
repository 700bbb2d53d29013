#include "library/things.h"

#include <string_view>
#include <unordered_map>

#include "base/strings.h"
#include "fovea/grounding.h"

namespace fovea {
namespace {

struct Word {
  std::string text;  // lower case
  size_t begin, end;
};

struct Entry {
  std::string name;  // singular
  const char* kind;
  bool is_plural;
};

// Every form of every word of the list; "_" has become a space.
const std::unordered_map<std::string, Entry>& Dictionary() {
  static const auto dictionary = [] {
    std::unordered_map<std::string, Entry> made;
    for (const library::ThingsOfKind& things : library::ThingsTable()) {
      for (const std::string& word : base::Split(things.words, ' ')) {
        std::vector<std::string> forms = base::Split(word, '/');
        for (std::string& form : forms) {
          for (char& c : form) c = c == '_' ? ' ' : c;
        }
        for (size_t i = 0; i < forms.size(); ++i) made.emplace(forms[i], Entry{forms[0], things.kind, i > 0});
      }
    }
    return made;
  }();
  return dictionary;
}

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Words, and everything else that is not white space as words of its own.
std::vector<Word> WordsOf(const std::string& text) {
  std::vector<Word> words;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == ' ' || text[at] == '\t' || text[at] == '\n') {
      ++at;
      continue;
    }
    const size_t begin = at;
    while (at < text.size() &&
           (IsLetter(text[at]) || (text[at] == '-' && at > begin && at + 1 < text.size() && IsLetter(text[at + 1]))))
      ++at;
    if (at == begin) ++at;
    words.push_back({base::AsciiLower(std::string_view(text).substr(begin, at - begin)), begin, at});
  }
  return words;
}

bool IsIn(std::string_view word, std::string_view list) {  // of words with a space on both sides
  return list.find(" " + std::string(word) + " ") != std::string_view::npos;
}

// Words that begin a part which a sentence can do without.
bool BeginsPart(const std::string& word) {
  return IsIn(word,
              " with beside near in on at by behind under over above below inside outside along against through across "
              "around beneath between into onto from toward towards and or holding wearing carrying next of ");
}
bool IsWordOfPart(const std::string& word) {  // between its beginning and its thing, beside adjectives
  return IsIn(word, " a an the his her its their some two three four several many another front to of top side back ");
}

}  // namespace

std::vector<Mention> ThingsIn(const std::string& text) {
  const std::vector<Word> words = WordsOf(text);
  const auto& dictionary = Dictionary();
  std::vector<Mention> things;
  size_t last_end = 0;  // words up to here belong to the last thing
  for (size_t i = 0; i < words.size(); ++i) {
    size_t next = i + 1;
    auto found = dictionary.end();
    if (next < words.size()) found = dictionary.find(words[i].text + " " + words[next].text);
    if (found != dictionary.end()) {
      ++next;
    } else {
      found = dictionary.find(words[i].text);
    }
    if (found == dictionary.end()) continue;
    const Entry& entry = found->second;
    // Of nouns side by side the last one is meant: a coffee table is a table.
    const bool goes_on = !things.empty() && last_end == i && !things.back().is_plural;
    const size_t begin = goes_on ? things.back().begin : words[i].begin;
    const size_t end = words[next - 1].end;
    if (goes_on) things.pop_back();
    things.push_back({.name = entry.name,
                      .phrase = text.substr(begin, end - begin),
                      .kind = entry.kind,
                      .begin = begin,
                      .end = end,
                      .is_plural = entry.is_plural});
    last_end = next;
    i = next - 1;
  }
  return things;
}

std::vector<Mention> AssumedThings(const std::string& question) {
  constexpr size_t kMostAdjectives = 3;
  const std::vector<Word> words = WordsOf(question);
  std::vector<Mention> assumed;
  size_t previous_end = 0;
  for (Mention& thing : ThingsIn(question)) {
    size_t at = 0;
    while (at < words.size() && words[at].begin < thing.begin) ++at;
    bool is_definite = false;
    for (size_t back = 1; back <= kMostAdjectives + 1 && back <= at && words[at - back].begin >= previous_end; ++back) {
      const std::string& word = words[at - back].text;
      is_definite = IsIn(word, " the this that these those his her its their my your both ");
      if (is_definite || IsIn(word, " a an any is are there of in on what which how many much ")) break;
    }
    previous_end = thing.end;
    if (is_definite && IsIn(thing.kind, " person animal plant food object ")) assumed.push_back(std::move(thing));
  }
  return assumed;
}

std::string WithoutUnsupported(const std::string& text, std::span<const Match> matches) {
  constexpr size_t kMostBetween = 4, kMostBefore = 7;
  std::string shorter = text;
  for (size_t m = matches.size(); m-- > 0;) {  // from the end, so that places before stay valid
    const Mention& thing = matches[m].thing;
    if (matches[m].is_supported || thing.end > shorter.size()) continue;
    const std::vector<Word> words = WordsOf(shorter);
    size_t at = 0;
    while (at < words.size() && words[at].begin < thing.begin) ++at;
    size_t after = at;
    while (after < words.size() && words[after].begin < thing.end) ++after;
    const bool is_end = after == words.size() || IsIn(words[after].text, " . , ! ; ");
    if (at == words.size() || (!is_end && !BeginsPart(words[after].text))) continue;
    // Back to where the part begins; no other thing may stand between.
    const size_t previous_end = m > 0 ? matches[m - 1].thing.end : 0;
    size_t begin = at;
    bool is_found = false;
    for (size_t back = 1;
         back <= (is_found ? kMostBefore : kMostBetween) && back <= at && words[at - back].begin >= previous_end;
         ++back) {
      const std::string& word = words[at - back].text;
      if (BeginsPart(word)) {
        begin = at - back;
        is_found = true;  // and on: "next to", "in front of" begin earlier
      } else if (is_found && !IsWordOfPart(word)) {
        break;
      }
    }
    if (!is_found || begin == 0) continue;
    const size_t from = words[begin - 1].end, to = words[after - 1].end;
    shorter.erase(from, to - from);
  }
  return shorter;
}

}  // namespace fovea
