// `fovea caption` and `fovea ask`: what pictures show, said, and written where other programs read it.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "commands/common.h"
#include "commands/language.h"
#include "fovea/grounding.h"
#include "fovea/image.h"
#include "fovea/picture_text.h"
#include "pictures.h"

namespace fovea::cli {
namespace {

double FourDigits(double value) { return std::round(value * 1e4) / 1e4; }

// What was made of one picture, for people and for programs.
struct Told {
  Json object;  // without the path
  std::string line;
};

Told Tell(const char* key, const std::string& text, double confidence, const Console& console) {
  return {{{key, text}, {"confidence", FourDigits(confidence)}},
          Printable(text) + "  " + console.Dim(Percent(confidence))};
}

// The likeliest of closed choices, with the probability of each.
Told TellChoices(const std::vector<ChoiceScore>& scores, const Console& console) {
  Told told = Tell("answer", scores[0].text, scores[0].probability, console);
  told.object["choices"] = Json::array();
  for (size_t i = 0; i < scores.size(); ++i) {
    told.object["choices"].push_back(
        {{"text", Printable(scores[i].text)}, {"probability", FourDigits(scores[i].probability)}});
    if (i > 0)
      told.line += console.Dim("  " + Printable(scores[i].text) + " " + Trimmed(Percent(scores[i].probability)));
  }
  return told;
}

// Gives each picture to `tell`, in order; the pictures are worked on one after the other, the model uses all cores.
// Nothing from `tell`: the work was interrupted.
Exit ForEachInput(const std::vector<Input>& inputs, const Arguments& arguments, Console& console,
                  const std::function<std::optional<Told>(const std::string& path)>& tell) {
  const auto total = static_cast<int64_t>(inputs.size());
  int64_t failed = 0;
  console.BeginProgress(total);
  for (int64_t i = 0; i < total && !interrupted && !console.is_closed(); ++i) {
    const Input& input = inputs[static_cast<size_t>(i)];
    try {
      if (input.error) throw *input.error;
      const std::optional<Told> told = tell(input.path);
      if (!told) break;
      if (arguments.json) {
        Json object = PathObject(input.path);
        object.update(told->object);
        console.Json(object);
      } else {
        console.Line(console.Bold(Printable(input.path)) + "  " + told->line);
      }
    } catch (const Error& error) {
      ++failed;
      console.Failure(input.path, error.message());
      if (arguments.json) console.Json(FailureObject(input.path, error));
    }
    console.Progress(i + 1, total, failed);
  }
  console.EndProgress();
  return ExitFor(failed, console);
}

// "fovea-tell" of "models/fovea-tell": where a model lies on this machine is nobody's business.
std::string ModelName(const Model& model) {
  const std::string& name = model.info().name;
  std::error_code error;
  if (!std::filesystem::exists(name, error)) return name;
  const std::filesystem::path path = std::filesystem::canonical(name, error);
  return error ? "a model" : path.filename().native();
}

// What decides a text beside picture and model, so that a later run knows whether it would write the same.
std::string SettingsText(const Arguments& arguments) {
  const GenerateArguments& g = arguments.generate;
  Json settings = {{"max_tokens", g.max_tokens}, {"beams", g.beams}};
  if (g.beams > 1) settings["length_penalty"] = g.length_penalty;
  if (g.temperature > 0) {
    settings.update(
        {{"temperature", g.temperature}, {"top_k", g.top_k}, {"top_p", g.top_p}, {"min_p", g.min_p}, {"seed", g.seed}});
  }
  if (g.repetition_penalty != 1) settings["repetition_penalty"] = g.repetition_penalty;
  if (!g.stop.empty()) settings["stop"] = g.stop;
  if (!g.grammar.empty() || !g.json_schema.empty() || !g.regex.empty()) settings["bounded"] = true;
  if (arguments.caption.ground == "drop") settings["without_unsupported"] = true;
  return settings.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Captions as XMP. Pictures that have one need none: a run that was interrupted goes on where it stopped.
class XmpTexts {
 public:
  XmpTexts(const Arguments& arguments, const Model& model)
      : texts_(PictureTexts::Open(PictureTexts::DefaultFile())),
        text_{.place = arguments.caption.xmp == "embed" ? TextPlace::kEmbedded : TextPlace::kSidecar,
              .model = ModelName(model),
              .fingerprint = model.info().fingerprint,
              .settings = SettingsText(arguments)} {}

  // What is to be told instead of a new text, if there is no need for one.
  std::optional<Told> Present(const std::string& path, const Console& console) const {
    const TextState state = texts_.Look(path, text_);
    if (state.kind == TextState::Kind::kPerson) {
      return Told{{{"status", "kept"}, {"text", Printable(state.text)}, {"xmp", Printable(state.file)}},
                  console.Dim("left alone: " + Printable(state.file) + " has a person's text, \"" +
                              Printable(state.text) + "\"")};
    }
    if (state.kind != TextState::Kind::kSame) return std::nullopt;
    Told told = Tell("caption", state.text, state.confidence, console);
    told.object.update({{"status", "unchanged"}, {"xmp", Printable(state.file)}});
    told.line += console.Dim("  already in " + Printable(state.file));
    return told;
  }

  void Write(const std::string& path, const std::string& text, double confidence, Told& told, const Console& console) {
    text_.text = text;
    text_.confidence = confidence;
    const std::string file = texts_.Write(path, text_);
    told.object.update({{"status", "written"}, {"xmp", Printable(file)}});
    told.line += console.Dim("  -> " + Printable(file));
  }

 private:
  PictureTexts texts_;
  PictureText text_;
};

// A caption's things, looked for in the picture by the model of words, and drawn.
class Proof {
 public:
  Proof(const Arguments& arguments, int64_t pictures)
      : grounder_(Model::Load(kModelOfWords)),
        drops_(arguments.caption.ground == "drop"),
        draw_(arguments.caption.draw) {
    std::error_code error;
    draws_into_folder_ = pictures != 1 || std::filesystem::is_directory(draw_, error);
    if (draw_.empty() || !draws_into_folder_) return;
    error.clear();
    std::filesystem::create_directories(draw_, error);
    if (error) throw Error(ErrorCode::kIo, "cannot make the folder " + Printable(draw_) + ": " + error.message());
  }

  // May shorten the text; what it finds is added to what is told.
  void Ground(const std::string& path, const Image& image, std::string& text, Json& object, std::string& lines,
              const Console& console) const {
    std::vector<Match> matches = grounder_.Ground(grounder_.See(image), text);
    Json things = Json::array();
    std::vector<std::string> missing;
    for (const Match& match : matches) {
      const Region& r = match.region;
      things.push_back({{"thing", Printable(match.thing.phrase)},
                        {"score", FourDigits(match.score)},
                        {"supported", match.is_supported},
                        {"box", {r.left, r.top, r.width, r.height}}});
      lines += "\n  " + Percent(match.score) + "  " + Printable(match.thing.phrase) +
               console.Dim("  at " + std::to_string(r.left) + "," + std::to_string(r.top) + " " +
                           std::to_string(r.width) + "x" + std::to_string(r.height));
      if (match.is_supported) continue;
      missing.push_back(Printable(match.thing.phrase));
      lines += console.Yellow("  not found in the picture");
    }
    object["grounded"] = things;
    if (!draw_.empty()) {
      const std::string file = FileFor(path);
      WriteJpeg(file, DrawMatches(image, matches));
      object["drawn"] = Printable(file);
      lines += console.Dim("\n  drawn in " + Printable(file));
    }
    if (!drops_ || missing.empty()) return;
    const std::string shorter = WithoutUnsupported(text, matches);
    if (shorter == text) return;
    object["said"] = Printable(text);
    text = shorter;
  }

 private:
  std::string FileFor(const std::string& path) const {
    if (!draws_into_folder_) return draw_;
    return (std::filesystem::path(draw_) / (std::filesystem::path(path).filename().native() + ".jpg")).native();
  }

  const Grounder grounder_;
  const bool drops_;
  const std::string draw_;
  bool draws_into_folder_;
};

Exit UndoTexts(const Arguments& arguments, Console& console) {
  PictureTexts texts = PictureTexts::Open(PictureTexts::DefaultFile());
  int64_t failed = 0;
  const UndoReport report = texts.Undo(arguments.inputs, [&](const std::string& file, const Error& error) {
    ++failed;
    console.Failure(file, error.message());
    if (arguments.json) console.Json(FailureObject(file, error));
  });
  if (arguments.json) {
    console.Json({{"restored", report.restored},
                  {"removed", report.removed},
                  {"unchanged", report.unchanged},
                  {"failed", failed}});
  } else {
    const auto counted = [](int64_t count, const char* one, const char* many) {
      return Count(count) + " " + (count == 1 ? one : many);
    };
    console.Line(counted(report.restored, "file", "files") + " as before, " +
                 counted(report.removed, "sidecar", "sidecars") + " removed" +
                 (failed > 0 ? ", " + Count(failed) + " left alone" : ""));
  }
  return ExitFor(failed, console);
}

}  // namespace

Exit Caption(const Arguments& arguments, Console& console) {
  if (arguments.caption.undo) return UndoTexts(arguments, console);
  const Model model = LoadWriter(arguments, "caption pictures");
  const Chat chat = ChatWith(model, arguments);
  const GenerateSettings settings = SettingsOf(arguments.generate);
  const std::vector<Input> inputs = ExpandInputs(arguments.inputs);
  std::optional<Proof> proof;
  if (!arguments.caption.ground.empty()) proof.emplace(arguments, static_cast<int64_t>(inputs.size()));
  std::optional<XmpTexts> xmp;
  if (!arguments.caption.xmp.empty()) xmp.emplace(arguments, model);
  return ForEachInput(inputs, arguments, console, [&](const std::string& path) -> std::optional<Told> {
    if (xmp) {
      if (std::optional<Told> present = xmp->Present(path, console)) return present;
    }
    const Image image = ReadImage(path);
    const Answer made = chat.Caption(image, settings, &interrupted);
    if (made.finish_reason == "cancelled" && interrupted) return std::nullopt;
    std::string text = Trimmed(made.text), lines;
    Json grounded = Json::object();
    if (proof) proof->Ground(path, image, text, grounded, lines, console);
    Told told = Tell("caption", text, made.confidence, console);
    told.object.update(grounded);
    if (xmp) xmp->Write(path, text, made.confidence, told, console);
    told.line += lines;
    return told;
  });
}

Exit Ask(const Arguments& arguments, Console& console) {
  const Chat chat = OpenChat(arguments, "answer questions");
  const GenerateSettings settings = SettingsOf(arguments.generate);
  const std::vector<std::string>& choices = arguments.generate.choices;
  return ForEachInput(ExpandInputs(arguments.inputs), arguments, console,
                      [&](const std::string& path) -> std::optional<Told> {
                        const Message message{.text = arguments.generate.question, .images = {ReadImage(path)}};
                        Told told;
                        if (choices.empty()) {
                          const Answer made = chat.Reply({&message, 1}, settings, nullptr, &interrupted);
                          if (made.finish_reason == "cancelled" && interrupted) return std::nullopt;
                          told = Tell("answer", Trimmed(made.text), made.confidence, console);
                        } else {
                          told = TellChoices(chat.Choose({&message, 1}, choices), console);
                        }
                        Json object = {{"question", Printable(arguments.generate.question)}};
                        object.update(told.object);
                        told.object = std::move(object);
                        return told;
                      });
}

}  // namespace fovea::cli
