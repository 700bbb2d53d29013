// `fovea caption` and `fovea ask`: what pictures show, said, proved, spoken, and written where other programs read it.
#include <algorithm>
#include <functional>
#include <optional>

#include "commands/caption_xmp.h"
#include "commands/language.h"
#include "commands/programs.h"
#include "commands/told.h"
#include "commands/witness.h"
#include "fovea/contact_sheet.h"
#include "fovea/image.h"
#include "pictures.h"

namespace fovea::cli {
namespace {

constexpr const char* kNotSure = "not sure";

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

Told TellPlan(const RequestPlan& plan) { return {{{"plan", PlanObject(plan)}}, PlanText(plan)}; }

// Says texts aloud with espeak-ng.
class Speaker {
 public:
  Speaker() : program_(FindProgram("espeak-ng")) {
    if (program_.empty())
      throw Error(ErrorCode::kNotFound, "espeak-ng is not installed, which speaks; hint: apt-get install espeak-ng");
  }
  void Say(const std::string& text) const { RunProgram({program_, "-v", "en", "--stdin"}, text + "\n"); }

 private:
  const std::string program_;
};

// A text and how far it can be relied on.
struct Said {
  std::string text;
  double confidence = 0;
  std::vector<std::string> absent;  // what the question takes for granted and is not found
  bool is_sure = true;

  std::string Shown() const {
    if (is_sure) return text;
    std::string why;
    for (const std::string& thing : absent) why += (why.empty() ? ": no " : ", no ") + thing;
    return kNotSure + (why.empty() ? why : why + " found in the picture");
  }
};

// Answers one question after another about pictures.
class Answerer {
 public:
  Answerer(const Arguments& arguments, const Chat& chat)
      : arguments_(arguments), chat_(chat), settings_(SettingsOf(arguments.generate, chat)) {}

  // Nothing: the work was interrupted. A question that takes something for granted which is not found in the picture is
  // not answered as if it were there.
  std::optional<Said> Ask(const Image& image, const std::string& question, Witness::View* view) const {
    const Message message{.text = question, .images = {image}};
    const Answer made = chat_.Reply({&message, 1}, settings_, nullptr, &interrupted);
    if (made.finish_reason == "cancelled" && interrupted) return std::nullopt;
    Said said{.text = Trimmed(made.text), .confidence = made.confidence};
    if (view != nullptr) said.absent = view->Absent(question);
    said.is_sure = said.absent.empty() && said.confidence >= arguments_.generate.min_confidence;
    return said;
  }

  // The witness for these questions: none when they take nothing for granted, or it is not wanted or not there.
  std::unique_ptr<Witness> WitnessFor(const std::vector<std::string>& questions, Console& console) const {
    const bool assumes =
        std::ranges::any_of(questions, [](const std::string& question) { return !AssumedThings(question).empty(); });
    if (!assumes || arguments_.generate.no_check) return nullptr;
    try {
      return std::make_unique<Witness>(arguments_);
    } catch (const Error& error) {
      console.Note("what questions take for granted is not checked: " + Printable(error.message()));
      return nullptr;
    }
  }

  RequestPlan Plan(const Image& image, const std::string& question) const {
    const Message message{.text = question, .images = {image}};
    return chat_.Plan({&message, 1}, settings_);
  }

 private:
  const Arguments& arguments_;
  const Chat& chat_;
  const GenerateSettings settings_;
};

Told TellSaid(const char* key, const Said& said, const Console& console) {
  Told told = Tell(key, said.is_sure ? said.text : kNotSure, said.confidence, console);
  if (said.is_sure) return told;
  told.object["guess"] = Printable(said.text);
  if (!said.absent.empty()) told.object["absent"] = said.absent;
  told.line = Printable(said.Shown()) +
              console.Dim("  (a guess: " + Printable(said.text) + ", " + Trimmed(Percent(said.confidence)) + ")");
  return told;
}

SheetEntry::Line SheetLine(const std::string& label, const Said& said) {
  return {.label = label, .text = said.Shown(), .confidence = said.confidence, .is_doubtful = !said.is_sure};
}

// Gives each picture to `tell`, in order; the pictures are worked on one after the other, the model uses all cores.
// Nothing from `tell`: the work was interrupted. `on_failure` gets what failed.
Exit ForEachInput(const std::vector<Input>& inputs, const Arguments& arguments, Console& console,
                  const std::function<std::optional<Told>(const std::string& path)>& tell,
                  const std::function<void(const std::string& path, const Error& error)>& on_failure = nullptr) {
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
      if (on_failure) on_failure(input.path, error);
    }
    console.Progress(i + 1, total, failed);
  }
  console.EndProgress();
  return ExitFor(failed, console);
}

// `fovea caption`: everything that is made of one picture.
class CaptionJob {
 public:
  CaptionJob(const Arguments& arguments, const Model& model, int64_t pictures, Console& console)
      : arguments_(arguments),
        wants_(arguments.caption),
        console_(console),
        chat_(ChatWith(model, arguments)),
        settings_(SettingsOf(arguments.generate, chat_)),
        answerer_(arguments, chat_) {
    if (wants_.speak) speaker_.emplace();
    if (!wants_.ground.empty() || wants_.style != "plain") {
      witness_ = std::make_unique<Witness>(arguments);
      if (!wants_.draw.empty()) witness_->DrawInto(wants_.draw, pictures);
      checks_questions_ = !arguments.generate.no_check;
    } else {
      witness_ = answerer_.WitnessFor(wants_.questions, console);
      checks_questions_ = witness_ != nullptr;
    }
    if (!wants_.xmp.empty()) xmp_.emplace(arguments, model, settings_);
    if (!wants_.html.empty())
      sheet_.emplace("What is in these pictures", "said by the model " + model.info().name + ", not by a person");
  }

  std::optional<Told> Tell(const std::string& path) {
    if (xmp_) {
      if (std::optional<XmpTexts::Presence> present = xmp_->Present(path, console_)) {
        if (sheet_) {
          sheet_->Add({.name = path,
                       .image = ReadImage(path),
                       .lines = {{.label = "", .text = present->text, .confidence = present->confidence}}});
        }
        return std::move(present->told);
      }
    }
    const Image image = ReadImage(path);
    std::optional<Witness::View> view;
    if (witness_) view.emplace(*witness_, image);
    const Answer made = chat_.Caption(image, settings_, &interrupted);
    if (made.finish_reason == "cancelled" && interrupted) return std::nullopt;

    Said said{.text = Trimmed(made.text), .confidence = made.confidence};
    said.is_sure = said.confidence >= arguments_.generate.min_confidence;
    Json object = Json::object();
    std::string lines;
    Improve(path, view, said, object, lines);
    Told told = TellSaid("caption", said, console_);
    told.object.update(object);
    SheetEntry entry{.name = path, .image = sheet_ ? image : Image(), .lines = {SheetLine("", said)}};
    if (!AnswerAll(image, view, told.object, lines, entry)) return std::nullopt;
    if (xmp_ && said.is_sure) xmp_->Write(path, said.text, said.confidence, told, console_);
    if (xmp_ && !said.is_sure) told.object["status"] = "unsure";
    told.line += lines;
    if (speaker_) speaker_->Say(said.Shown());
    if (sheet_) sheet_->Add(entry);
    return told;
  }

  void Fail(const std::string& path, const Error& error) {
    if (sheet_) sheet_->Add({.name = path, .image = {}, .lines = {}, .error = error.message()});
  }

  void Finish() const {
    if (!sheet_) return;
    sheet_->Write(wants_.html);
    console_.Note(Printable(wants_.html) + ": a page with " + Count(sheet_->size()) +
                  (sheet_->size() == 1 ? " picture" : " pictures"));
  }

 private:
  // --ground, --style: the text may become another one, which then stands beside what was said.
  void Improve(const std::string& path, std::optional<Witness::View>& view, Said& said, Json& object,
               std::string& lines) {
    const std::string first = said.text;
    if (!wants_.ground.empty()) {
      const std::vector<Match> matches = view->Ground(first);
      std::vector<Match> shown;  // each thing once, however often it is named
      for (const Match& match : matches) {
        const auto is_same = [&](const Match& other) { return other.thing.name == match.thing.name; };
        if (std::ranges::none_of(shown, is_same)) shown.push_back(match);
      }
      witness_->Tell(path, view->image(), shown, object, lines, console_);
      if (wants_.ground == "drop") said.text = WithoutUnsupported(first, matches);
    }
    if (wants_.style == "screen-reader") said.text = view->Describe(said.text, said.confidence, console_);
    if (said.text != first) object["said"] = Printable(first);
  }

  // --ask: false when the work was interrupted.
  bool AnswerAll(const Image& image, std::optional<Witness::View>& view, Json& object, std::string& lines,
                 SheetEntry& entry) {
    if (wants_.questions.empty()) return true;
    object["answers"] = Json::array();
    for (const std::string& question : wants_.questions) {
      const std::optional<Said> said = answerer_.Ask(image, question, view && checks_questions_ ? &*view : nullptr);
      if (!said) return false;
      Json answer = {{"question", Printable(question)}};
      const Told told = TellSaid("answer", *said, console_);
      answer.update(told.object);
      object["answers"].push_back(answer);
      lines += "\n  " + console_.Dim(Printable(question)) + "  " + told.line;
      entry.lines.push_back(SheetLine(question, *said));
    }
    return true;
  }

  const Arguments& arguments_;
  const CaptionArguments& wants_;
  Console& console_;
  const Chat chat_;
  const GenerateSettings settings_;
  const Answerer answerer_;
  std::unique_ptr<Witness> witness_;
  bool checks_questions_ = false;
  std::optional<Speaker> speaker_;
  std::optional<XmpTexts> xmp_;
  std::optional<ContactSheet> sheet_;
};

}  // namespace

Exit Caption(const Arguments& arguments, Console& console) {
  if (arguments.caption.undo) return UndoTexts(arguments, console);
  const Model model = LoadWriter(arguments, "caption pictures");
  const std::vector<Input> inputs = ExpandInputs(arguments.inputs);
  if (arguments.generate.is_dry_run) {
    const Chat chat = ChatWith(model, arguments);
    return ForEachInput(inputs, arguments, console, [&](const std::string& path) -> std::optional<Told> {
      return TellPlan(chat.PlanCaption(ReadImage(path), SettingsOf(arguments.generate, chat)));
    });
  }
  CaptionJob job(arguments, model, static_cast<int64_t>(inputs.size()), console);
  const Exit exit = ForEachInput(
      inputs, arguments, console, [&](const std::string& path) { return job.Tell(path); },
      [&](const std::string& path, const Error& error) { job.Fail(path, error); });
  job.Finish();
  return exit;
}

Exit Ask(const Arguments& arguments, Console& console) {
  const Chat chat = OpenChat(arguments, "answer questions");
  const std::string& question = arguments.generate.question;
  const std::vector<std::string>& choices = arguments.generate.choices;
  const Answerer answerer(arguments, chat);
  if (arguments.generate.is_dry_run) {
    return ForEachInput(ExpandInputs(arguments.inputs), arguments, console,
                        [&](const std::string& path) -> std::optional<Told> {
                          return TellPlan(answerer.Plan(ReadImage(path), question));
                        });
  }
  std::optional<Speaker> speaker;
  if (arguments.caption.speak) speaker.emplace();
  const std::unique_ptr<Witness> witness =
      choices.empty() ? answerer.WitnessFor({question}, console) : std::unique_ptr<Witness>();
  const auto tell = [&](const std::string& path) -> std::optional<Told> {
    const Image image = ReadImage(path);
    Told told;
    std::string shown;
    if (choices.empty()) {
      std::optional<Witness::View> view;
      if (witness) view.emplace(*witness, image);
      const std::optional<Said> said = answerer.Ask(image, question, view ? &*view : nullptr);
      if (!said) return std::nullopt;
      told = TellSaid("answer", *said, console);
      shown = said->Shown();
    } else {
      const Message message{.text = question, .images = {image}};
      told = TellChoices(chat.Choose({&message, 1}, choices), console);
      shown = told.object["answer"];
    }
    Json object = {{"question", Printable(question)}};
    object.update(told.object);
    told.object = std::move(object);
    if (speaker) speaker->Say(shown);
    return told;
  };
  return ForEachInput(ExpandInputs(arguments.inputs), arguments, console, tell);
}

}  // namespace fovea::cli
