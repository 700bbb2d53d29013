// `fovea classify` and `fovea embed`: what a model sees in pictures, and texts as vectors.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "commands/common.h"
#include "fovea/model.h"
#include "pictures.h"

namespace fovea::cli {
namespace {

// Runs `see` over all inputs and gives each success to `print`; failures are told, counted and, with --json, printed in
// their place.
Exit RunPictures(const Arguments& arguments, Console& console, const std::function<Analysis(const Image&)>& see,
                 const std::vector<Input>& inputs, const std::function<void(const Input&, const Outcome&)>& print) {
  const auto total = static_cast<int64_t>(inputs.size());
  int64_t failed = 0;
  console.BeginProgress(total);
  ForEachPicture(inputs, UseThreads(arguments), see, [&](int64_t index, const Outcome& outcome) {
    const Input& input = inputs[static_cast<size_t>(index)];
    if (outcome.error) {
      ++failed;
      console.Failure(input.path, outcome.error->message());
      if (arguments.json) console.Json(FailureObject(input.path, *outcome.error));
    }
    print(input, outcome);
    console.Progress(index + 1, total, failed);
    return !console.is_closed() && !console.has_write_error();
  });
  console.EndProgress();
  return ExitFor(failed, console);
}

// a,b,c without the spaces around them.
std::vector<std::string> SplitLabels(const std::string& text) {
  std::vector<std::string> labels;
  std::istringstream stream(text);
  for (std::string label; std::getline(stream, label, ',');) {
    const size_t begin = label.find_first_not_of(" \t"), end = label.find_last_not_of(" \t");
    if (begin != std::string::npos) labels.push_back(label.substr(begin, end - begin + 1));
  }
  return labels;
}

void PrintLabels(const Input& input, const std::vector<Label>& labels, Console& console) {
  std::string block = console.Bold(Printable(input.path));
  int width = 0;
  for (const Label& label : labels) width = std::max(width, std::min<int>(36, static_cast<int>(label.name.size())));
  for (size_t i = 0; i < labels.size(); ++i) {
    const double score = labels[i].score;
    const std::string bar = console.Bar(score, 24);
    std::string line = PadRight(Printable(labels[i].name), bar.empty() ? 0 : width);
    if (i == 0) line = console.Bold(line);
    block += "\n  " + Percent(score) + "  " + line;
    if (!bar.empty()) block += "  " + (i == 0 ? console.Green(bar) : console.Dim(bar));
  }
  console.Line(block);
}

}  // namespace

Exit Classify(const Arguments& arguments, Console& console) {
  const bool has_labels = !arguments.labels.empty() || !arguments.labels_file.empty();
  const Model model = LoadModel(arguments, has_labels ? kModelOfWords : nullptr);
  std::optional<LabelSet> labels;
  if (has_labels) {
    if (!Can(model, "match")) {
      throw Error(ErrorCode::kUnimplemented,
                  "the model " + Printable(model.info().name) +
                      " has no text tower, so it cannot compare pictures with labels of yours; hint: leave out "
                      "--labels to use the model's own classes");
    }
    LabelOptions options;
    if (!arguments.templates.empty()) options.templates = arguments.templates;
    labels = model.PrepareLabels(
        arguments.labels.empty() ? LinesOf(arguments.labels_file, false) : SplitLabels(arguments.labels), options);
  } else if (!Can(model, "classify")) {
    throw Error(ErrorCode::kUnimplemented, "the model " + Printable(model.info().name) + " has no classes" +
                                               (Can(model, "match") ? "; hint: give it some with --labels a,b,c" : ""));
  }
  const auto see = [&](const Image& image) {
    const ClassifyOptions options{.top_k = arguments.top};
    auto best = labels ? model.Classify({&image, 1}, *labels, options) : model.Classify({&image, 1}, options);
    return Analysis{.labels = std::move(best.at(0))};
  };
  return RunPictures(arguments, console, see, ExpandInputs(arguments.inputs),
                     [&](const Input& input, const Outcome& outcome) {
                       if (outcome.error) return;
                       if (!arguments.json) return PrintLabels(input, outcome.analysis.labels, console);
                       Json object = PathObject(input.path);
                       object["labels"] = Json::array();
                       for (const Label& label : outcome.analysis.labels) {
                         object["labels"].push_back(
                             {{"label", label.name}, {"score", ShortestDouble(label.score)}, {"index", label.index}});
                       }
                       object["ms"] = std::round(outcome.ms * 100) / 100;
                       console.Json(object);
                     });
}

namespace {

void PrintEmbedding(Json object, const std::string& shown, const std::vector<float>& embedding, bool json,
                    Console& console) {
  if (json) {
    Json& values = object["embedding"] = Json::array();
    for (const float value : embedding) values.push_back(ShortestDouble(value));
    return console.Json(object);
  }
  std::string line = console.Bold(Printable(shown)) + "  [" + std::to_string(embedding.size()) + "] ";
  for (size_t i = 0; i < std::min<size_t>(embedding.size(), 6); ++i)
    line += Json(ShortestDouble(embedding[i])).dump() + " ";
  console.Line(line + "...");
}

Exit EmbedTexts(const Model& model, const Arguments& arguments, Console& console) {
  if (!Can(model, "embed_text")) {
    throw Error(ErrorCode::kUnimplemented, "the model " + Printable(model.info().name) +
                                               " has no text tower, so it cannot embed text; hint: it embeds pictures: "
                                               "fovea embed IMAGE...");
  }
  constexpr size_t kAtOnce = 256;
  UseThreads(arguments);
  const std::vector<std::string> texts = arguments.texts.empty() ? LinesOf(arguments.text_file, true) : arguments.texts;
  const auto total = static_cast<int64_t>(texts.size());
  std::optional<NpyWriter> file;
  if (!arguments.output.empty()) file.emplace(arguments.output, total, model.info().embedding_dim);
  console.BeginProgress(total);
  for (size_t begin = 0; begin < texts.size() && !interrupted && !console.is_closed(); begin += kAtOnce) {
    const auto part = std::span(texts).subspan(begin, std::min(kAtOnce, texts.size() - begin));
    const auto embeddings = model.EmbedTexts(part);
    for (size_t i = 0; i < part.size(); ++i) {
      if (file) file->Append(embeddings[i]);
      if (!file || arguments.json)
        PrintEmbedding({{"text", Printable(part[i])}}, part[i], embeddings[i], arguments.json, console);
    }
    console.Progress(static_cast<int64_t>(begin + part.size()), total, 0);
  }
  console.EndProgress();
  if (file) file->Finish();
  return ExitFor(0, console);
}

}  // namespace

Exit Embed(const Arguments& arguments, Console& console) {
  const Model model = LoadModel(arguments);
  if (!arguments.texts.empty() || !arguments.text_file.empty()) return EmbedTexts(model, arguments, console);
  const int64_t dim = model.info().embedding_dim;
  if (dim == 0 || !Can(model, "embed_image"))
    throw Error(ErrorCode::kUnimplemented, "the model " + Printable(model.info().name) + " gives no embedding");
  const std::vector<Input> inputs = ExpandInputs(arguments.inputs);
  std::optional<NpyWriter> file;
  if (!arguments.output.empty()) file.emplace(arguments.output, static_cast<int64_t>(inputs.size()), dim);
  const auto see = [&](const Image& image) {
    return Analysis{.embedding = std::move(model.EmbedImages({&image, 1}).at(0))};
  };
  int64_t missing = 0;
  const Exit exit = RunPictures(arguments, console, see, inputs, [&](const Input& input, const Outcome& outcome) {
    const std::vector<float>& embedding = outcome.analysis.embedding;
    if (file) file->Append(embedding);
    if (outcome.error) {
      ++missing;
    } else if (!file || arguments.json) {
      PrintEmbedding(PathObject(input.path), input.path, embedding, arguments.json, console);
    }
  });
  if (file) {
    file->Finish();
    console.Note(
        Printable(arguments.output) + ": float32 [" + std::to_string(inputs.size()) + ", " + std::to_string(dim) + "]" +
        (missing > 0 ? ", NaN in " + std::to_string(missing) + (missing == 1 ? " row" : " rows") + " for what failed"
                     : ""));
  }
  return exit;
}

}  // namespace fovea::cli
