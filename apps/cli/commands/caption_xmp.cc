#include "commands/caption_xmp.h"

#include <filesystem>

namespace fovea::cli {
namespace {

// "fovea-tell" of "models/fovea-tell": where a model lies on this machine is nobody's business.
std::string ModelName(const Model& model) {
  const std::string& name = model.info().name;
  std::error_code error;
  if (!std::filesystem::exists(name, error)) return name;
  const std::filesystem::path path = std::filesystem::canonical(name, error);
  return error ? "a model" : path.filename().native();
}

// What decides a text beside picture and model, so that a later run knows whether it would write the same.
std::string SettingsText(const Arguments& arguments, const GenerateSettings& s) {
  Json settings = {{"max_tokens", s.max_tokens}, {"beams", s.beams}};
  if (s.beams > 1) settings["length_penalty"] = s.length_penalty;
  if (s.temperature > 0) {
    settings.update(
        {{"temperature", s.temperature}, {"top_k", s.top_k}, {"top_p", s.top_p}, {"min_p", s.min_p}, {"seed", s.seed}});
  }
  if (s.repetition_penalty != 1) settings["repetition_penalty"] = s.repetition_penalty;
  if (!s.stop.empty()) settings["stop"] = s.stop;
  if (!s.grammar.empty() || !s.json_schema.empty() || !s.regex.empty()) settings["bounded"] = true;
  if (arguments.caption.style != "plain")
    settings.update({{"style", arguments.caption.style}, {"sentences", arguments.caption.sentences}});
  if (arguments.caption.ground == "drop") settings["without_unsupported"] = true;
  return settings.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

XmpTexts::XmpTexts(const Arguments& arguments, const Model& model, const GenerateSettings& settings)
    : texts_(PictureTexts::Open(PictureTexts::DefaultFile())),
      text_{.kind = arguments.caption.style == "screen-reader" ? TextKind::kAltText : TextKind::kDescription,
            .place = arguments.caption.xmp == "embed" ? TextPlace::kEmbedded : TextPlace::kSidecar,
            .model = ModelName(model),
            .fingerprint = model.info().fingerprint,
            .settings = SettingsText(arguments, settings)} {}

std::optional<XmpTexts::Presence> XmpTexts::Present(const std::string& path, const Console& console) const {
  const TextState state = texts_.Look(path, text_);
  if (state.kind == TextState::Kind::kPerson) {
    return Presence{{{{"status", "kept"}, {"text", Printable(state.text)}, {"xmp", Printable(state.file)}},
                     console.Dim("left alone: " + Printable(state.file) + " has a person's text, \"" +
                                 Printable(state.text) + "\"")},
                    state.text};
  }
  if (state.kind != TextState::Kind::kSame) return std::nullopt;
  Told told = Tell("caption", state.text, state.confidence, console);
  told.object.update({{"status", "unchanged"}, {"xmp", Printable(state.file)}});
  told.line += console.Dim("  already in " + Printable(state.file));
  return Presence{std::move(told), state.text, state.confidence};
}

void XmpTexts::Write(const std::string& path, const std::string& text, double confidence, Told& told,
                     const Console& console) {
  text_.text = text;
  text_.confidence = confidence;
  const std::string file = texts_.Write(path, text_);
  told.object.update({{"status", "written"}, {"xmp", Printable(file)}});
  told.line += console.Dim("  -> " + Printable(file));
}

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

}  // namespace fovea::cli
