// Scores of captions against references, and the walk over shards that finds both. Counts of BLEU and METEOR are kept
// for each picture, so that totals and every draw of the bootstrap are sums.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/parallel.h"
#include "eval/bootstrap.h"
#include "eval/meteor.h"
#include "eval/predictions.h"
#include "eval/ptb_tokenizer.h"
#include "eval/samples.h"
#include "fovea/eval_text.h"

namespace fovea {
namespace {

using Words = std::vector<std::string>;
constexpr size_t kOrders = 4;

// ---- BLEU (Papineni et al. 2002)

struct BleuCounts {
  std::array<double, kOrders> correct = {}, guessed = {};
  double length = 0, reference_length = 0;
  BleuCounts& operator+=(const BleuCounts& other) {
    for (size_t n = 0; n < kOrders; ++n) {
      correct[n] += other.correct[n];
      guessed[n] += other.guessed[n];
    }
    length += other.length;
    reference_length += other.reference_length;
    return *this;
  }
  std::array<double, kOrders> Scores() const {
    constexpr double kSmall = 1e-9, kTiny = 1e-15;  // the reference's guards against 0
    const double ratio = (length + kTiny) / (reference_length + kSmall);
    std::array<double, kOrders> scores = {};
    double product = 1;
    for (size_t n = 0; n < kOrders; ++n) {
      product *= (correct[n] + kTiny) / (guessed[n] + kSmall);
      scores[n] = std::pow(product, 1.0 / static_cast<double>(n + 1)) * (ratio < 1 ? std::exp(1 - 1 / ratio) : 1);
    }
    return scores;
  }
};

std::map<std::span<const std::string>, int,
         decltype([](auto a, auto b) { return std::ranges::lexicographical_compare(a, b); })>
CountGrams(const Words& words, size_t n) {
  decltype(CountGrams(words, n)) counts;
  for (size_t i = 0; i + n <= words.size(); ++i) ++counts[std::span(words).subspan(i, n)];
  return counts;
}

BleuCounts CountBleu(const Words& words, const std::vector<Words>& references) {
  BleuCounts counts{.length = static_cast<double>(words.size())};
  const auto distance = [&](const Words& reference) {
    const auto difference = static_cast<int64_t>(reference.size()) - static_cast<int64_t>(words.size());
    return std::pair(std::abs(difference), reference.size());
  };
  counts.reference_length = static_cast<double>(
      std::ranges::min_element(references, {}, [&](const Words& reference) { return distance(reference); })->size());
  for (size_t n = 1; n <= kOrders; ++n) {
    counts.guessed[n - 1] = static_cast<double>(words.size() >= n ? words.size() - n + 1 : 0);
    const auto own = CountGrams(words, n);
    auto allowed = CountGrams({}, n);
    for (const Words& reference : references) {
      for (const auto& [gram, count] : CountGrams(reference, n)) allowed[gram] = std::max(allowed[gram], count);
    }
    for (const auto& [gram, count] : own) {
      if (const auto found = allowed.find(gram); found != allowed.end())
        counts.correct[n - 1] += std::min(count, found->second);
    }
  }
  return counts;
}

// ---- ROUGE-L (Lin 2004), as pycocoevalcap: the best precision and the best recall, of any references

double CommonSubsequence(const Words& a, const Words& b) {
  std::vector<int> lengths(b.size() + 1, 0);
  for (const std::string& word : a) {
    int diagonal = 0;
    for (size_t j = 1; j <= b.size(); ++j) {
      const int above = lengths[j];
      lengths[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, lengths[j - 1]);
      diagonal = above;
    }
  }
  return lengths[b.size()];
}

double RougeL(Words words, const std::vector<Words>& references) {
  constexpr double kBeta = 1.2;
  if (words.empty()) words = {""};  // the reference splits an empty text into one empty word
  double precision = 0, recall = 0;
  for (const Words& given : references) {
    const Words& reference = given.empty() ? Words{""} : given;
    const double common = CommonSubsequence(words, reference);
    precision = std::max(precision, common / static_cast<double>(words.size()));
    recall = std::max(recall, common / static_cast<double>(reference.size()));
  }
  if (precision == 0 || recall == 0) return 0;
  return (1 + kBeta * kBeta) * precision * recall / (recall + kBeta * kBeta * precision);
}

// ---- all together

struct Counts {
  BleuCounts bleu;
  eval::MeteorCounts meteor;
  double rouge_l = 0, cider_d = 0;
};

CaptionScores Scores(const Counts& sum, double n) {
  return {
      .bleu = sum.bleu.Scores(), .rouge_l = sum.rouge_l / n, .meteor = sum.meteor.Score(), .cider_d = sum.cider_d / n};
}

CaptionScores Total(std::span<const Counts> counts, std::span<const int64_t> drawn) {
  Counts sum;
  for (const int64_t i : drawn) {
    const Counts& one = counts[static_cast<size_t>(i)];
    sum.bleu += one.bleu;
    sum.meteor += one.meteor;
    sum.rouge_l += one.rouge_l;
    sum.cider_d += one.cider_d;
  }
  return Scores(sum, static_cast<double>(drawn.size()));
}

Counts Count(const JudgedCaption& judged, const CiderD& cider) {
  const Words tokens = eval::CaptionTokens(judged.caption), words = eval::SplitTokens(tokens);
  std::vector<Words> reference_tokens, reference_words;
  std::vector<eval::MeteorWords> reference_stems;
  for (const std::string& reference : judged.references) {
    reference_tokens.push_back(eval::CaptionTokens(reference));
    reference_words.push_back(eval::SplitTokens(reference_tokens.back()));
    reference_stems.emplace_back(reference_tokens.back());
  }
  return {.bleu = CountBleu(words, reference_words),
          .meteor = eval::BestMeteor(eval::MeteorWords(tokens), reference_stems),
          .rouge_l = RougeL(tokens, reference_tokens),
          .cider_d = cider.ScoreWords(words, cider.Prepare(judged.references))};
}

CaptionMetrics Evaluate(const std::vector<std::string>& shards, const EvaluateOptions& options,
                        const CiderD* frequencies, bool needs_pictures,
                        const std::function<void(const eval::Sample&)>& check,
                        const std::function<std::vector<std::string>(std::span<eval::Sample>)>& caption) {
  const auto start = std::chrono::steady_clock::now();
  CaptionMetrics metrics;
  std::vector<JudgedCaption> judged;
  const auto accept = [&](eval::Sample& sample) {
    sample.captions = eval::CaptionsOf(sample);
    if (sample.captions.empty()) return false;
    check(sample);
    return true;
  };
  const eval::WalkReport walk =
      eval::WalkShards(shards, options, needs_pictures, accept, [&](std::span<eval::Sample> batch) {
        const std::vector<std::string> written = caption(batch);
        Require(written.size() == batch.size(), "[captions] expected ", batch.size(), " captions, got ",
                written.size());
        for (size_t i = 0; i < batch.size(); ++i) {
          judged.push_back({written[i], std::move(batch[i].captions)});
          metrics.keys.push_back(batch[i].key);
        }
      });
  Require(walk.used > 0, "[captions] expected samples with reference captions and a caption to judge, found none");
  metrics.report = MeasureCaptions(judged, options, frequencies);
  metrics.failed = walk.failed;
  metrics.without = walk.passed_over;
  metrics.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return metrics;
}

}  // namespace

std::vector<std::string> CaptionWords(const std::string& caption) {
  return eval::SplitTokens(eval::CaptionTokens(caption));
}

CaptionReport MeasureCaptions(std::span<const JudgedCaption> captions, const EvaluateOptions& options,
                              const CiderD* frequencies) {
  Require(!captions.empty(), "[captions] expected captions to judge, got none");
  std::vector<std::vector<std::string>> references;
  for (const JudgedCaption& judged : captions) {
    Require(!judged.references.empty(), "[captions] the caption \"", base::PrintableUtf8(judged.caption),
            "\" has no reference");
    if (frequencies == nullptr) references.push_back(judged.references);
  }
  const CiderD cider = frequencies != nullptr ? *frequencies : CiderD::FromReferences(references);
  const auto n = static_cast<int64_t>(captions.size());
  std::vector<Counts> counts(captions.size());
  base::ParallelFor(n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      counts[static_cast<size_t>(i)] = Count(captions[static_cast<size_t>(i)], cider);
  });
  CaptionReport report{.n = n};
  std::vector<int64_t> all(captions.size());
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<int64_t>(i);
    report.each.push_back(Scores(counts[i], 1));
  }
  report.total = Total(counts, all);
  const auto intervals = eval::Bootstrap(n, kOrders + 3, options, [&](std::span<const int64_t> drawn) {
    const CaptionScores scores = Total(counts, drawn);
    std::vector<double> values(scores.bleu.begin(), scores.bleu.end());
    values.insert(values.end(), {scores.rouge_l, scores.meteor, scores.cider_d});
    return values;
  });
  std::copy_n(intervals.begin(), kOrders, report.intervals.bleu.begin());
  report.intervals.rouge_l = intervals[kOrders];
  report.intervals.meteor = intervals[kOrders + 1];
  report.intervals.cider_d = intervals[kOrders + 2];
  return report;
}

std::map<std::string, std::string> ReadCaptionPredictions(const std::string& path) {
  std::map<std::string, std::string> predictions;
  eval::ForEachPrediction(path, {"key", "caption"}, [&](std::vector<std::string> fields) {
    return predictions.emplace(std::move(fields[0]), std::move(fields[1])).second;
  });
  return predictions;
}

CaptionMetrics EvaluateCaptions(const std::map<std::string, std::string>& predictions,
                                const std::vector<std::string>& shards, const EvaluateOptions& options,
                                const CiderD* frequencies) {
  std::set<std::string> asked;
  const auto check = [&](const eval::Sample& sample) {
    Require(predictions.contains(sample.key), "[captions] ", base::PrintableUtf8(sample.key), " has no prediction");
    Require(asked.insert(sample.key).second, "[captions] ", base::PrintableUtf8(sample.key), " comes twice");
  };
  CaptionMetrics metrics = Evaluate(shards, options, frequencies, false, check, [&](std::span<eval::Sample> batch) {
    std::vector<std::string> written;
    for (const eval::Sample& sample : batch) written.push_back(predictions.at(sample.key));
    return written;
  });
  metrics.unknown = static_cast<int64_t>(predictions.size() - asked.size());
  return metrics;
}

CaptionMetrics EvaluateCaptions(const Captioner& caption, const std::vector<std::string>& shards,
                                const EvaluateOptions& options, const CiderD* frequencies) {
  const auto check = [](const eval::Sample&) {};
  return Evaluate(shards, options, frequencies, true, check, [&](std::span<eval::Sample> batch) {
    std::vector<Image> images;
    for (eval::Sample& sample : batch) images.push_back(std::move(sample.image));
    return caption(images);
  });
}

}  // namespace fovea
