// Retrieval over WebDataset shards: pictures are found by their captions and captions by their pictures. Pictures are
// streamed and embedded in batches; what stays in memory is one vector for each picture and caption.
#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "eval/bootstrap.h"
#include "eval/samples.h"
#include "fovea/eval.h"

namespace fovea {
namespace {

// recall_at_1, recall_at_5, recall_at_10 and the median of some ranks, which are reordered.
std::vector<double> Measures(std::vector<int64_t>& ranks) {
  const auto n = static_cast<double>(ranks.size());
  std::vector<double> measures;
  for (const int64_t k : {1, 5, 10})
    measures.push_back(static_cast<double>(std::ranges::count_if(ranks, [&](int64_t rank) { return rank <= k; })) / n);
  const auto middle = ranks.begin() + static_cast<int64_t>(ranks.size() / 2);
  std::nth_element(ranks.begin(), middle, ranks.end());
  const auto upper = static_cast<double>(*middle);
  measures.push_back(
      ranks.size() % 2 == 1 ? upper : (upper + static_cast<double>(*std::max_element(ranks.begin(), middle))) / 2);
  return measures;
}

// `ranks_of` [pictures]: the ranks that come with each picture, its own or those of its texts.
RetrievalMetrics::Intervals IntervalsOf(const std::vector<std::vector<int64_t>>& ranks_of,
                                        const EvaluateOptions& options) {
  const auto intervals =
      eval::Bootstrap(static_cast<int64_t>(ranks_of.size()), 4, options, [&](std::span<const int64_t> drawn) {
        std::vector<int64_t> ranks;
        for (const int64_t picture : drawn) {
          const std::vector<int64_t>& own = ranks_of[static_cast<size_t>(picture)];
          ranks.insert(ranks.end(), own.begin(), own.end());
        }
        return Measures(ranks);
      });
  return {intervals[0], intervals[1], intervals[2], intervals[3]};
}

void Append(std::vector<float>& values, const std::vector<std::vector<float>>& rows) {
  for (const std::vector<float>& row : rows) values.insert(values.end(), row.begin(), row.end());
}

}  // namespace

RetrievalMetrics EvaluateRetrieval(const Model& model, const std::vector<std::string>& shards,
                                   const EvaluateOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto& capabilities = model.info().capabilities;
  if (std::ranges::find(capabilities, "match") == capabilities.end())
    Fail(ErrorCode::kUnimplemented, "[retrieval] the model ", base::PrintableUtf8(model.info().name),
         " compares no pictures with texts");
  std::vector<float> images, texts;  // [N,D], [M,D]
  std::vector<int64_t> owner;        // [M]
  int64_t pictures = 0;
  const auto accept = [](eval::Sample& sample) {
    sample.captions = eval::CaptionsOf(sample);
    return !sample.captions.empty();
  };
  const eval::WalkReport walk = eval::WalkShards(shards, options, true, accept, [&](std::span<eval::Sample> batch) {
    std::vector<Image> batch_images;
    std::vector<std::string> batch_texts;
    for (eval::Sample& sample : batch) {
      batch_images.push_back(std::move(sample.image));
      batch_texts.insert(batch_texts.end(), sample.captions.begin(), sample.captions.end());
      owner.insert(owner.end(), sample.captions.size(), pictures++);
    }
    Append(images, model.EmbedImages(batch_images));
    Append(texts, model.EmbedTexts(batch_texts));
  });
  Require(walk.used > 0, "[retrieval] expected pictures with captions, found none");

  RetrievalMetrics metrics{.report = MeasureRetrieval(images, texts, model.info().embedding_dim, owner),
                           .failed = walk.failed,
                           .without = walk.passed_over};
  std::vector<std::vector<int64_t>> image_ranks(static_cast<size_t>(pictures)), text_ranks(image_ranks.size());
  for (size_t n = 0; n < image_ranks.size(); ++n) image_ranks[n] = {metrics.report.image_to_text.ranks[n]};
  for (size_t m = 0; m < owner.size(); ++m)
    text_ranks[static_cast<size_t>(owner[m])].push_back(metrics.report.text_to_image.ranks[m]);
  metrics.image_to_text = IntervalsOf(image_ranks, options);
  metrics.text_to_image = IntervalsOf(text_ranks, options);
  metrics.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return metrics;
}

}  // namespace fovea
