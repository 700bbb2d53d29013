// CIDEr-D with document frequencies in memory. Words are numbered once; an n-gram is a key of four numbers, so that a
// caption becomes a short sorted list of (n-gram, weight), and a comparison the merge of two of them.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "eval/ptb_tokenizer.h"
#include "fovea/eval_text.h"

namespace fovea {
namespace {

constexpr size_t kLongest = 4;  // words of an n-gram
constexpr double kSigma = 6.0;  // of the penalty for a difference in length
constexpr uint32_t kNone = 0;   // words are numbered from 1
constexpr std::string_view kMagic = "fovea-cider 1 ";

using Gram = std::array<uint32_t, kLongest>;  // behind the last word kNone
struct HashGram {
  size_t operator()(const Gram& gram) const {
    uint64_t hash = 0;
    for (const uint32_t word : gram) hash = (hash ^ word) * 0x9E3779B97F4A7C15u, hash ^= hash >> 29;
    return hash;
  }
};
size_t LengthOf(const Gram& gram) { return static_cast<size_t>(std::ranges::find(gram, kNone) - gram.begin()); }

struct HashText {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using Numbers = std::unordered_map<std::string, uint32_t, HashText, std::equal_to<>>;

// Calls found(gram) for every n-gram in `words`.
template <typename Found>
void ForEachGram(std::span<const uint32_t> words, Found&& found) {
  for (size_t begin = 0; begin < words.size(); ++begin) {
    Gram gram = {};
    for (size_t n = 0; n < kLongest && begin + n < words.size(); ++n) {
      gram[n] = words[begin + n];
      found(gram);
    }
  }
}

// What CIDEr knows of a caption.
struct Weighted {
  Gram gram;
  double weight;  // frequency in the caption times inverse document frequency
};
struct CaptionVector {
  std::vector<Weighted> grams;  // sorted
  std::array<double, kLongest> norm = {};
  double bigrams = 0;  // the reference counts length in them
};

double Similarity(const CaptionVector& caption, const CaptionVector& reference) {
  std::array<double, kLongest> products = {};
  auto other = reference.grams.begin();
  for (const Weighted& own : caption.grams) {
    while (other != reference.grams.end() && other->gram < own.gram) ++other;
    if (other == reference.grams.end()) break;
    if (other->gram == own.gram)
      products[LengthOf(own.gram) - 1] += std::min(own.weight, other->weight) * other->weight;
  }
  const double difference = caption.bigrams - reference.bigrams;
  const double penalty = std::exp(-difference * difference / (2 * kSigma * kSigma));
  double sum = 0;
  for (size_t n = 0; n < kLongest; ++n) {
    const double norms = caption.norm[n] * reference.norm[n];
    sum += (norms != 0 ? products[n] / norms : products[n]) * penalty;
  }
  return sum / kLongest;
}

}  // namespace

struct CiderD::Frequencies {
  Numbers numbers;
  std::unordered_map<Gram, int64_t, HashGram> documents;
  int64_t pictures = 0;

  // Numbers of words; those that are not here get numbers behind, from `more`, which grows.
  std::vector<uint32_t> NumbersOf(std::span<const std::string> words, Numbers& more) const {
    std::vector<uint32_t> found;
    for (const std::string& word : words) {
      if (const auto known = numbers.find(word); known != numbers.end()) {
        found.push_back(known->second);
      } else {
        found.push_back(more.emplace(word, static_cast<uint32_t>(numbers.size() + more.size() + 1)).first->second);
      }
    }
    return found;
  }

  CaptionVector VectorOf(std::span<const uint32_t> words) const {
    std::vector<Gram> grams;
    ForEachGram(words, [&](const Gram& gram) { grams.push_back(gram); });
    std::ranges::sort(grams);
    CaptionVector vector{.bigrams = static_cast<double>(words.size() > 1 ? words.size() - 1 : 0)};
    const double total = std::log(static_cast<double>(pictures));
    for (size_t i = 0; i < grams.size();) {
      size_t end = i;
      while (end < grams.size() && grams[end] == grams[i]) ++end;
      const auto known = documents.find(grams[i]);
      const double in = known == documents.end() ? 1.0 : static_cast<double>(std::max<int64_t>(1, known->second));
      const double weight = static_cast<double>(end - i) * (total - std::log(in));
      vector.grams.push_back({grams[i], weight});
      vector.norm[LengthOf(grams[i]) - 1] += weight * weight;
      i = end;
    }
    for (double& norm : vector.norm) norm = std::sqrt(norm);
    return vector;
  }
};

struct CiderD::References::Vectors {
  std::shared_ptr<const Frequencies> frequencies;
  Numbers more;  // words of the references that the frequencies do not know
  std::vector<CaptionVector> captions;
};

CiderD CiderD::FromReferences(std::span<const std::vector<std::string>> references) {
  auto made = std::make_shared<Frequencies>();
  made->pictures = static_cast<int64_t>(references.size());
  for (const std::vector<std::string>& captions : references) {
    std::vector<Gram> grams;
    for (const std::string& caption : captions) {
      std::vector<uint32_t> words;
      for (const std::string& word : CaptionWords(caption))
        words.push_back(made->numbers.emplace(word, static_cast<uint32_t>(made->numbers.size() + 1)).first->second);
      ForEachGram(words, [&](const Gram& gram) { grams.push_back(gram); });
    }
    std::ranges::sort(grams);
    grams.erase(std::unique(grams.begin(), grams.end()), grams.end());
    for (const Gram& gram : grams) ++made->documents[gram];
  }
  return CiderD(std::move(made));
}

int64_t CiderD::pictures() const { return frequencies_->pictures; }
int64_t CiderD::ngrams() const { return static_cast<int64_t>(frequencies_->documents.size()); }

void CiderD::Save(const std::string& path) const {
  std::vector<std::string_view> words(frequencies_->numbers.size() + 1);
  for (const auto& [word, number] : frequencies_->numbers) words[number] = word;
  std::vector<std::string> lines;
  for (const auto& [gram, count] : frequencies_->documents) {
    std::string line = std::to_string(count);
    for (size_t n = 0; n < LengthOf(gram); ++n) line.append(n == 0 ? "\t" : " ").append(words[gram[n]]);
    lines.push_back(std::move(line));
  }
  std::ranges::sort(lines);  // the same file every time
  std::string text = std::string(kMagic) + std::to_string(frequencies_->pictures) + "\n";
  for (const std::string& line : lines) text.append(line).append("\n");
  base::WriteTextFileAtomically(path, text);
}

CiderD CiderD::Load(const std::string& path) {
  const auto file = base::MappedFile::Open(path);
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  auto made = std::make_shared<Frequencies>();
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    const auto check = [&](bool ok) {
      RequireData(ok, "[cider] ", base::PrintableUtf8(path), " line ", number + 1,
                  ": expected document frequencies as CiderD::Save writes them");
    };
    const auto count_in = [&](std::string_view digits, int64_t low) {
      int64_t count = 0;
      const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
      check(error == std::errc() && stop == digits.data() + digits.size() && count >= low);
      return count;
    };
    if (number == 0) {
      check(line.starts_with(kMagic));
      made->pictures = count_in(line.substr(kMagic.size()), 1);
      continue;
    }
    const size_t tab = line.find('\t');
    check(tab != std::string_view::npos);
    const int64_t count = count_in(line.substr(0, tab), 1);
    check(count <= made->pictures);
    Gram gram = {};
    size_t n = 0;
    for (std::string_view rest = line.substr(tab + 1);; ++n) {
      const size_t space = std::min(rest.find(' '), rest.size());
      check(n < kLongest && space > 0);
      gram[n] =
          made->numbers.emplace(rest.substr(0, space), static_cast<uint32_t>(made->numbers.size() + 1)).first->second;
      if (space == rest.size()) break;
      rest.remove_prefix(space + 1);
    }
    check(made->documents.emplace(gram, count).second);
  }
  RequireData(number > 0, "[cider] ", base::PrintableUtf8(path), " is empty");
  return CiderD(std::move(made));
}

int64_t CiderD::References::size() const { return static_cast<int64_t>(vectors_->captions.size()); }

CiderD::References CiderD::Prepare(std::span<const std::string> captions) const {
  auto vectors = std::make_shared<References::Vectors>();
  vectors->frequencies = frequencies_;
  for (const std::string& caption : captions)
    vectors->captions.push_back(frequencies_->VectorOf(frequencies_->NumbersOf(CaptionWords(caption), vectors->more)));
  References references;
  references.vectors_ = std::move(vectors);
  return references;
}

double CiderD::Score(const std::string& caption, const References& references) const {
  return ScoreWords(CaptionWords(caption), references);
}

double CiderD::ScoreWords(std::span<const std::string> words, const References& references) const {
  const References::Vectors& known = *references.vectors_;
  Require(known.frequencies == frequencies_, "[cider] expected references that this CiderD prepared");
  if (known.captions.empty()) return 0;
  Numbers more = known.more;
  const CaptionVector vector = frequencies_->VectorOf(frequencies_->NumbersOf(words, more));
  double sum = 0;
  for (const CaptionVector& reference : known.captions) sum += Similarity(vector, reference);
  return 10 * sum / static_cast<double>(known.captions.size());
}

}  // namespace fovea
