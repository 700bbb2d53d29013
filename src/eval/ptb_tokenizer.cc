// A lexer by longest match: at each place every rule is tried, the longest match wins, and the first of equals. A rule
// may look ahead; what it looks at counts for its length, but is left for the next token. This is how the reference's
// generated lexer decides, so that only the rules have to agree, which are written here as PCRE2 patterns.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "eval/ptb_tokenizer.h"

#include <pcre2.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>

#include "base/error.h"
#include "text/unicode.h"

namespace fovea::eval {
namespace {

#define APOS "['\\x{2019}]"
#define ANY_APOS "['`\\x{2018}\\x{2019}\\x{201B}]"
#define LETTER "[\\p{L}\\p{M}]"
#define ALNUM "[\\p{L}\\p{Nd}]"
// Words may hold points and the like between letters: "x!y".
#define WORD LETTER "[\\p{L}\\p{M}\\p{Nd}]*(?:[.!?]" LETTER "[\\p{L}\\p{M}\\p{Nd}]*)*"
#define NUMBER "(?:\\d+(?:[.:,]\\d+)*|\\d*(?:[.,]\\d+)+)"
// Words and numbers joined by hyphens: "10-year-old", "d'avignon".
#define PART "(?:[dol]" APOS "(?=" ALNUM "))?(?:" NUMBER "(?!" ALNUM ")|" ALNUM "+)"
#define JOINED "(?:[-+]" NUMBER "(?!" ALNUM ")|" PART ")(?:[-_\\x{2010}\\x{2011}]" PART ")*"
// The same with points and commas inside: "u.s.-based", "1,000-seat".
#define HYPHENATED ALNUM "[\\p{L}\\p{Nd}.,]*(?:-(?:" ALNUM "+(?:\\.\\d+)?|[a-z](?:\\.[a-z])+\\.))+"
#define ADDRESS "[^\\s\"'`<>|(){},!]"

// The abbreviations that keep their point, and the words behind which a single letter with a point was the end of a
// sentence and no initial: measured, by asking the reference about all words of up to four letters and those of 50,000
// captions (longer ones from lists of abbreviations).
#define ABBREVIATIONS                                                                                                  \
  "(?:ph|ed)\\.d|adj|adm|adv|ala?|alex|apr|ariz|assn|assoc|asst|attys?|aug|ave|bancorp|bhd|bldg|blvd|brig|bros|calif|" \
  "capt|cf|cie|"                                                                                                       \
  "cmdr|col?|colo|comdr|conn|corp|cos|cpl|ct|dak|dec|dept|det|drs?|elec|ens|esq|est|etc|ext|feb|fla|fri|ft|ga|gen|"    \
  "govs?|hon|inc|ind|insp|intl|invt|jan|jos|jr|jul|jun|kans?|ky|lieut|lt|ltd|maj|mar|md|messrs|mfg|mich|minn|mlle|"    \
  "mme|mon?|mont|mrs?|ms|msgr|mt|mtg|natl|neb|nev|nov|oct|okla|penn|pfc|ph|plc|ppte|ppty|pres|profs?|ptes?|ptys?|pvt|" \
  "rd|reps?|rev|rt|sens?|sept?|seq|sfc|sgt|spc|sq|sr|ste?|supts?|sys|tel|tenn|thu|thurs|treas|tues?|univ|va|vs|vt|"    \
  "wed|wisc?|wm|wyo|(?-i:Ark|Az|Del|Ill|La|Mass|Miss|Ore|Pa|Tex|Wash)"
#define SENTENCE_STARTS                                                                                           \
  "A|About|According|After|An|As|At|But|He|However|In|It|Last|Many|More|Now|One|Other|Since|Some|That|The|Their|" \
  "Then|There|These|They|This|We|What|When|While|Yet|You"

// Group 1 is the token; what is behind it is only looked at.
constexpr const char* kRules[] = {
    "(c\\+\\+|[cf]#)",
    // Two words written as one.
    "(can)not",
    "(gon|wan)na",
    "(got)ta",
    "(lem|gim)me",
    "(" APOS "t)(?:was|is)",
    // Words, before the endings that are tokens of their own.
    "(" WORD ")" APOS "(?:[msd]|re|ve|ll)",
    "([a-z]*[a-mo-z])n" ANY_APOS "t",
    "(" WORD ")",
    // Apostrophes that belong to a word.
    "(" APOS "n" APOS "?|" APOS "em|" APOS "till?|" APOS "cause|" APOS "[2-9]0s)",
    "((?:[ldj]|dunkin|somethin|ol)" APOS ")",
    "((?:c" APOS "mon)|e'er|s'mores|ev'ry|li'l|nat'l|cont'd\\.?|cap" APOS "n|c" APOS "est)",
    "((?-i:[A-HJ-XZn])" ANY_APOS LETTER "{2,})",
    "(" LETTER "+[aeiouy]" ANY_APOS "(?-i:[aeiouA-Z])" LETTER "*)",
    "(y" APOS ")" LETTER,
    "(" APOS "\\d\\d)\\s",
    // The endings.
    "(" APOS "(?:[msd]|re|ve|ll))[^a-z]",
    "(n" ANY_APOS "t)[^a-z]",
    // Addresses, names and entities of the web.
    "((?:https?|ftp)://" ADDRESS "+[^\\s\"'`<>|(){},!?.:;&-])",
    "((?:www\\.(?:[a-z0-9-]+\\.)+[a-z]{2,4}|(?:[a-z0-9]+\\.)+(?:com|net|org|edu))(?:/" ADDRESS
    "*[^\\s\"'`<>|(){},!?.-])?)",
    "([a-z0-9]" ADDRESS "*@(?:[^\\s\"<>|(){}.]+\\.)*[^\\s\"<>|(){}\\[\\].,;:]+)",
    "(@[a-z_][a-z_0-9]*)",
    "(#" LETTER "[\\p{L}\\p{Nd}_]*[\\p{L}\\p{Nd}])",
    "(&(?:amp|lt|gt|quot|apos|#\\d+);)",
    // Numbers, dates, fractions, telephone numbers, money.
    "([-+]?" NUMBER ")",
    "(\\d{1,2}[-/]\\d{1,2}[-/]\\d{2,4})",
    "((?:\\d{1,4}[- \\x{A0}])?\\d{1,4}[/\\x{2044}]\\d{1,4})",
    "([\\x{BC}-\\x{BE}\\x{2153}\\x{2154}])",
    "([\\x{B2}\\x{B3}\\x{B9}\\x{2070}\\x{2074}-\\x{2079}]+|[\\x{2080}-\\x{2089}]+)",
    "((?:\\(\\d{2,3}\\)[ \\x{A0}]?|\\+{0,2}(?:\\d{2,4}[- \\x{A0}])?\\d{2,4}[- \\x{A0}])\\d{3,4}[- \\x{A0}]?\\d{3,5})",
    "((?:\\+{0,2}\\d{2,4}\\.)?\\d{2,4}\\.\\d{3,4}\\.\\d{3,5})",
    "((?-i:[A-Z])*\\$|#)",
    "([\\x{A2}-\\x{A5}\\x{20A0}\\x{20A4}\\x{20AA}\\x{20AC}])",
    // Words with slashes, hyphens, ampersands.
    "(" ALNUM "+(?:-[a-z]+){0,2}(?:/" ALNUM "+(?:-[a-z]+){0,2}){1,2})",
    "(" HYPHENATED ")[^a-z0-9.+]",
    "(" JOINED ")",
    "((?-i:[A-Z]+(?:[+&][A-Z]+)+))",
    // Points that belong to a word. At the end of a caption a single letter loses its point.
    "([a-z])\\.\\s+(?-i:" SENTENCE_STARTS ")\\s",
    "([a-z])\\.\\s*$",
    "((?:" ABBREVIATIONS ")\\.)",
    "((?:arts?|ca|figs?|nos?|op|pp|prop)\\.)\\s?\\d",
    "([a-z](?:\\.[a-z])*\\.)",
    "([a-z](?:\\.[a-z])*)\\s",
    "(" WORD "\\.)[,;:]",
    "(" HYPHENATED "\\.)[,;:]",
    "(" JOINED "\\.)[,;:]",
    // Marks and quotes.
    "([(){}\\[\\]])",
    "(<<|>>|[<>])",
    "(-+|[\\x{2013}-\\x{2015}])",
    "(\\.{3,}|\\x{2026}|\\.[ \\x{A0}](?:\\.[ \\x{A0}])+\\.)",
    "(@+|#+|_+|\\*+)",
    "([?!]+)",
    "([.,;:=/\\x{A1}\\x{BF}\\x{3001}\\x{3002}])",
    "([\"'`\\x{2018}-\\x{201F}\\x{2039}\\x{203A}\\x{AB}\\x{BB}]{1,2})",
    // Symbols that stand alone. What no rule takes is dropped.
    "([+%&~^|\\\\\\x{A6}-\\x{A9}\\x{AC}\\x{AE}-\\x{BA}\\x{D7}\\x{F7}\\x{2020}-\\x{2023}\\x{2030}-\\x{2038}\\x{203B}"
    "\\x{203E}-\\x{2042}\\x{2044}\\x{2100}-\\x{214F}\\x{2190}-\\x{2BFF}\\x{3003}-\\x{3006}\\x{3008}-\\x{3020}])",
};

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};

std::vector<std::unique_ptr<pcre2_code, FreeCode>> CompileRules() {
  std::vector<std::unique_ptr<pcre2_code, FreeCode>> codes;
  for (const char* rule : kRules) {
    int error = 0;
    PCRE2_SIZE at = 0;
    codes.emplace_back(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(rule), PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_UCP | PCRE2_CASELESS | PCRE2_ANCHORED, &error, &at, nullptr));
    if (codes.back() == nullptr)
      Fail(ErrorCode::kInternal, "[captions] rule ", rule, " does not compile: error ", error, " at ", at);
    pcre2_jit_compile(codes.back().get(), PCRE2_JIT_COMPLETE);  // without it, the same but slower
  }
  return codes;
}

// End of the token that begins at `begin`, or `begin` when no rule knows it.
size_t TokenEnd(std::string_view text, size_t begin) {
  static const auto codes = CompileRules();
  thread_local const std::unique_ptr<pcre2_match_data, FreeMatch> match(pcre2_match_data_create(8, nullptr));
  size_t longest = begin, end = begin;
  for (const auto& code : codes) {
    const int found = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), begin,
                                  PCRE2_NO_UTF_CHECK, match.get(), nullptr);
    if (found < 2) continue;
    const PCRE2_SIZE* spans = pcre2_get_ovector_pointer(match.get());
    if (spans[1] <= longest) continue;
    longest = spans[1];
    end = spans[3];
  }
  return end;
}

bool IsAsciiLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// End of a word of plain letters between white space, which is what most words are: no rule can make more of it.
size_t PlainWordEnd(std::string_view text, size_t begin) {
  static const std::set<std::string, std::less<>> kJoined = {"cannot", "gonna", "wanna", "gotta", "lemme", "gimme"};
  size_t end = begin;
  while (IsAsciiLetter(text[end])) ++end;  // the text ends with a line break
  if (text[end] != ' ' && text[end] != '\n' && !(text[end] == ',' && text[end + 1] == ' ')) return begin;
  return kJoined.contains(base::AsciiLower(text.substr(begin, end - begin))) ? begin : end;
}

bool IsDropped(std::string_view token) {
  static const std::set<std::string_view> kPunctuation = {".", "?", "!", ",", ":", "-", "--", ";", "---", "----"};
  static const std::u32string_view kQuotesAndDashes =
      U"\"'`\u2018\u2019\u201A\u201B\u201C\u201D\u201E\u201F\u2039\u203A"
      U"\u00AB\u00BB\u2013\u2014\u2015";
  if (kPunctuation.contains(token)) return true;
  if (token == "\u2026" || token.starts_with("...") || token.starts_with(". ") || token.starts_with(".\u00A0"))
    return true;
  for (size_t at = 0; at < token.size();) {
    if (kQuotesAndDashes.find(text::NextCodePoint(token, at)) == std::u32string_view::npos) return false;
  }
  return true;
}

// What the reference writes in place of some tokens.
std::string Written(std::string_view token) {
  struct Replacement {
    std::string_view from, to;
  };
  static constexpr std::array kWhole = {
      Replacement{"&amp;", "&"},    Replacement{"&lt;", "<"},       Replacement{"&gt;", ">"},
      Replacement{"{", "-lcb-"},    Replacement{"}", "-rcb-"},      Replacement{"[", "-lsb-"},
      Replacement{"]", "-rsb-"},    Replacement{"\u00A2", "cents"}, Replacement{"\u00A3", "#"},
      Replacement{"\u00A4", "$"},   Replacement{"\u20AC", "$"},     Replacement{"\u20A0", "$"},
      Replacement{"\u00BC", "1/4"}, Replacement{"\u00BD", "1/2"},   Replacement{"\u00BE", "3/4"},
      Replacement{"\u2153", "1/3"}, Replacement{"\u2154", "2/3"},
  };
  for (const Replacement& replacement : kWhole) {
    if (token == replacement.from) return std::string(replacement.to);
  }
  std::string written;
  for (size_t at = 0; at < token.size();) {
    const char32_t c = text::NextCodePoint(token, at);
    if (c == '(') {
      written += "-lrb-";
    } else if (c == ')') {
      written += "-rrb-";
    } else if (c == ' ') {
      written += "\u00A0";
    } else if (c == 0x2019 || c == 0x2018) {
      written += '\'';
    } else if (c != 0xAD) {
      text::AppendLower(written, c);
    }
  }
  return written;
}

}  // namespace

std::vector<std::string> CaptionTokens(std::string_view caption) {
  std::string line = text::ReplaceInvalidUtf8(caption);
  std::ranges::replace_if(
      line, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  line += '\n';  // the rules look at what follows
  std::vector<std::string> tokens;
  for (size_t at = 0; at < line.size();) {
    size_t end = PlainWordEnd(line, at);
    if (end == at) end = TokenEnd(line, at);
    if (end == at) {
      at += text::Utf8Length(line[at]);
      continue;
    }
    const std::string_view token = std::string_view(line).substr(at, end - at);
    if (!IsDropped(token) && token != "&quot;" && token != "&apos;") tokens.push_back(Written(token));
    at = end;
  }
  return tokens;
}

std::vector<std::string> SplitTokens(const std::vector<std::string>& tokens) {
  std::vector<std::string> words;
  for (const std::string& token : tokens) {
    size_t begin = 0;
    for (size_t space; (space = token.find("\u00A0", begin)) != std::string::npos; begin = space + 2) {
      if (space > begin) words.push_back(token.substr(begin, space - begin));
    }
    if (begin < token.size()) words.push_back(token.substr(begin));
  }
  return words;
}

}  // namespace fovea::eval
