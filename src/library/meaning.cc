// Search by meaning: what a model that reads text finds in the pictures, joined with what labels, names and folders
// say.
//
// Candidates are the pictures nearest to the query's vector and the files that match some of its words. Each gets
//
//   P(picture)  from its z against the background texts and the size of the library (background.h, relevance.h)
//   P(words)    the mean over the words of the weight of their best match (word_search.h)
//   P = 1 - (1 - P(picture)) (1 - P(words))
//
// as independent evidence is joined; the share of each piece in "why" is its share of -log(1 - P). A hit is relevant
// when P(picture) or P reaches 0.5, where chance finds would begin, or when all words match and do so well. A picture
// to be alike is another z, over the similarities to pictures of the library, and both are added as independent normal
// variables are: "like this, at night" asks for pictures that are rather alike and rather at night, so a copy of the
// picture counts no more than a picture that is clearly alike.
#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "base/error.h"
#include "library/relevance.h"
#include "library/search.h"
#include "library/word_search.h"

namespace fovea::library {
namespace {

constexpr int64_t kSample = 4096;
constexpr double kRelevant = 0.5, kRelevantShare = 0.25;
constexpr double kAlikeEnough = 4;  // z of a picture that is clearly alike

// z of pictures for a question.
class PictureZ {
 public:
  PictureZ(const VectorIndex& index, const Background& background, const Question& question)
      : index_(index), background_(background), text_(background.Centred(question.text)) {
    direction_.assign(static_cast<size_t>(index.dim()), 0.0f);
    if (!question.image.empty()) {
      image_ = question.image;
      ordinary_ = OrdinaryOf(index.SampleScores(image_, kSample));
    }
    const auto add = [&](const std::vector<float>& vector, double deviation) {
      for (size_t d = 0; d < vector.size(); ++d) direction_[d] += static_cast<float>(vector[d] / deviation);
    };
    add(text_, TypicalDeviation());
    add(image_, ordinary_.deviation);
  }

  // The pictures with the largest inner product with this are those with the largest z, nearly.
  const std::vector<float>& direction() const { return direction_; }

  double Of(std::span<const float> picture) const {
    if (image_.empty()) return background_.Z(text_, picture);
    double alike = 0;
    for (size_t d = 0; d < image_.size(); ++d) alike += static_cast<double>(image_[d]) * picture[d];
    alike = std::min(kAlikeEnough, (alike - ordinary_.median) / ordinary_.deviation);
    return (alike + background_.Z(text_, picture)) / std::sqrt(2.0);
  }

 private:
  // Of a picture of this library, for the weight of words beside a picture.
  double TypicalDeviation() const {
    double sum = 0;
    const auto rows = index_.SampleRows(32);
    for (const auto& row : rows) sum += background_.Deviation(row);
    return rows.empty() ? 1 : sum / static_cast<double>(rows.size());
  }

  const VectorIndex& index_;
  const Background& background_;
  std::vector<float> direction_, text_, image_;
  Ordinary ordinary_;
};

struct Candidate {
  int64_t file_id = 0, content_id = 0;
  std::string path;
  double z = -std::numeric_limits<double>::infinity();
  double picture = 0, words = 0;  // probabilities
  const WordHit* word_hit = nullptr;

  double Score() const { return 1 - (1 - picture) * (1 - words); }
};

class MeaningSearch {
 public:
  MeaningSearch(Store& store, const VectorIndex& index, const Background& background, const Question& question,
                const Allowed& allowed, const SearchOptions& options)
      : store_(store),
        index_(index),
        question_(question),
        allowed_(allowed),
        options_(options),
        z_(index, background, question),
        pictures_(std::max<int64_t>(1, allowed.is_all ? index.size() : static_cast<int64_t>(allowed.contents.size()))) {
  }

  std::vector<SearchHit> Run() {
    FindByPicture();
    std::unique_ptr<WordSearch> words;
    if (!question_.terms.empty()) {
      std::vector<QueryTerm> terms = question_.terms;
      for (QueryTerm& term : terms) term.is_whole = true;
      words = std::make_unique<WordSearch>(store_.db(), terms, WordSearch::Options{.limit = Most(), .any_term = true});
      FindByWords(*words);
    }
    return Hits(words.get());
  }

 private:
  // Candidates of each kind.
  int64_t Most() const { return 4 * options_.limit + 64; }

  // The best pictures that have a file: content whose files are gone is kept for a while, and must not count as found.
  struct Live {
    double z;
    int64_t content_id;
    std::vector<Store::PathOfFile> files;
  };
  std::vector<Live> BestLive() const {
    for (int64_t k = Most();; k *= 4) {
      const std::vector<VectorHit> found =
          allowed_.is_all ? index_.Search(z_.direction(), k)
                          : index_.SearchAmong(z_.direction(), k, [&](int64_t id) { return allowed_.HasContent(id); });
      std::vector<Live> best;
      for (const VectorHit& hit : found) {
        Live live{
            .z = z_.Of(index_.RowOf(hit.id)), .content_id = hit.id, .files = store_.FilesOfContent(hit.id, Most())};
        if (std::isfinite(live.z) && !live.files.empty()) best.push_back(std::move(live));
      }
      if (static_cast<int64_t>(best.size()) < Most() && static_cast<int64_t>(found.size()) == k) continue;
      std::sort(best.begin(), best.end(),
                [](const Live& x, const Live& y) { return x.z != y.z ? x.z > y.z : x.content_id < y.content_id; });
      return best;
    }
  }

  void FindByPicture() {
    std::vector<Live> best = BestLive();
    std::vector<double> z;
    for (const Live& live : best) z.push_back(live.z);
    const std::vector<double> probabilities = Probabilities(z, pictures_);
    ranked_ = static_cast<int64_t>(best.size());
    for (size_t i = 0; i < best.size(); ++i) {
      if (allowed_.rules_out && allowed_.rules_out(best[i].content_id)) continue;
      for (Store::PathOfFile& file : best[i].files) {
        if (!allowed_.HasFile(file.file_id)) continue;
        candidates_[file.file_id] = {.file_id = file.file_id,
                                     .content_id = best[i].content_id,
                                     .path = std::move(file.path),
                                     .z = z[i],
                                     .picture = probabilities[i]};
      }
    }
  }

  void FindByWords(WordSearch& words) {
    std::unordered_set<int64_t> wanted;
    for (const auto& [id, candidate] : candidates_) wanted.insert(id);
    word_hits_ = words.Run(allowed_, wanted);
    for (const WordHit& hit : word_hits_) {
      if (!allowed_.HasFileOf(hit.file_id, hit.content_id)) continue;
      const std::span<const float> row = index_.RowOf(hit.content_id);
      Candidate& candidate = candidates_[hit.file_id];
      candidate.word_hit = &hit;
      candidate.words = std::clamp(hit.score, 0.0, 0.999);
      if (candidate.file_id != 0) continue;
      candidate.file_id = hit.file_id;
      candidate.content_id = hit.content_id;
      auto path = store_.db().Query("SELECT path FROM file WHERE id = ?", hit.file_id);
      if (path.Next()) candidate.path = path.Bytes(0);
      if (row.empty()) continue;
      candidate.z = z_.Of(row);
      candidate.picture = ProbabilityBelow(candidate.z, ranked_, pictures_);
    }
  }

  bool IsRelevant(const Candidate& candidate) const {
    if (candidate.Score() >= kRelevant) return true;
    // A caption adds to the evidence, but is too often wrong to be believed against the picture.
    return candidate.word_hit != nullptr && candidate.word_hit->MatchesAll() && !candidate.word_hit->NeedsCaption() &&
           candidate.words >= kRelevantShare * word_hits_[0].score;
  }

  std::vector<SearchHit> Hits(WordSearch* words) {
    struct Ranked {
      const Candidate* candidate;
      bool is_relevant;
    };
    std::vector<Ranked> ranked;
    for (const auto& [id, candidate] : candidates_) {
      const bool is_relevant = IsRelevant(candidate);
      if (is_relevant || options_.all) ranked.push_back({&candidate, is_relevant});
    }
    std::sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) {
      if (a.is_relevant != b.is_relevant) return a.is_relevant;
      const double left = a.candidate->Score(), right = b.candidate->Score();
      if (left != right) return left > right;
      return a.candidate->z != b.candidate->z ? a.candidate->z > b.candidate->z : a.candidate->path < b.candidate->path;
    });
    if (static_cast<int64_t>(ranked.size()) > options_.limit) ranked.resize(static_cast<size_t>(options_.limit));
    std::vector<SearchHit> hits;
    for (const Ranked& entry : ranked) {
      hits.push_back({.path = entry.candidate->path,
                      .score = entry.candidate->Score(),
                      .why = Why(*entry.candidate, words),
                      .is_weak = !entry.is_relevant});
    }
    return hits;
  }

  std::string Why(const Candidate& candidate, WordSearch* words) const {
    const char* kind = question_.image.empty() ? "fits the words" : "similar picture that fits the words";
    const std::string picture = base::StrCat(kind, " (", TwoDigits(candidate.picture), ")");
    if (candidate.word_hit == nullptr) return picture;
    const std::string word_text = words->Why(*candidate.word_hit);
    const auto weight = [](double probability) { return -std::log1p(-std::min(probability, 0.999)); };
    const double by_picture = weight(candidate.picture), by_words = weight(candidate.words);
    const double sum = by_picture + by_words;
    const auto percent = static_cast<int>(std::lround(100 * (sum > 0 ? by_picture / sum : 0)));
    if (percent == 0) return word_text;
    return percent >= 50 ? base::StrCat(picture, " ", percent, " %; ", word_text, " ", 100 - percent, " %")
                         : base::StrCat(word_text, " ", 100 - percent, " %; ", picture, " ", percent, " %");
  }

  Store& store_;
  const VectorIndex& index_;
  const Question& question_;
  const Allowed& allowed_;
  const SearchOptions& options_;
  const PictureZ z_;
  const int64_t pictures_;
  int64_t ranked_ = 0;
  std::unordered_map<int64_t, Candidate> candidates_;  // by file
  std::vector<WordHit> word_hits_;
};

}  // namespace

std::vector<SearchHit> SearchByMeaning(Store& store, const VectorIndex& index, const Background& background,
                                       const Question& question, const Allowed& allowed, const SearchOptions& options) {
  if (options.limit <= 0) return {};
  return MeaningSearch(store, index, background, question, allowed, options).Run();
}

}  // namespace fovea::library
