// What each command takes: the one source of --help, shell completion and the man page.
//
// The type name of an option says what it holds, for people and for completion: FILE, DIR, IMAGE and MODEL are
// completed as such, "a|b|c" as a choice of words.
#include <CLI/CLI.hpp>
#include <algorithm>

#include "cli.h"
#include "commands/common.h"
#include "fovea/model.h"

namespace fovea::cli {
namespace {

constexpr int64_t kMostThreads = 256;
constexpr int64_t kMostResults = 1'000'000;

// Checks without a description of their own: the type name already says it.
CLI::Validator Range(int64_t low, int64_t high) { return CLI::Validator(CLI::Range(low, high)).description(""); }
CLI::Validator OneOf(const std::vector<std::string>& words) {
  return CLI::Validator(CLI::IsMember(words)).description("");
}

void DefineJson(CLI::App& command, Arguments& arguments) {
  command.add_flag("--json", arguments.json, "print JSON Lines, one object each");
}

void DefineModel(CLI::App& command, Arguments& arguments) {
  command
      .add_option(
          "--model", arguments.model,
          "name of a model, OWNER/NAME of one that was pulled, or a folder (default: " + DefaultModelName() + ")")
      ->type_name("MODEL");
  command
      .add_option(
          "--precision", arguments.precision,
          "bf16 rounds the weights of linear layers: half the memory, and faster where the processor is (default: f32)")
      ->type_name("f32|bf16")
      ->check(OneOf({"f32", "bf16"}));
}

void DefineThreads(CLI::App& command, Arguments& arguments) {
  command.add_option("--threads", arguments.threads, "cores to use (default: all)")
      ->type_name("N")
      ->check(Range(1, kMostThreads));
}

void DefineQuiet(CLI::App& command, Arguments& arguments) {
  command.add_flag("--quiet", arguments.quiet, "no progress on stderr");
}

void DefineJobOptions(CLI::App& command, Arguments& arguments) {
  DefineModel(command, arguments);
  DefineJson(command, arguments);
  DefineQuiet(command, arguments);
  DefineThreads(command, arguments);
}

CLI::Option* DefineDatabase(CLI::App& command, Arguments& arguments) {
  return command
      .add_option("--db", arguments.database, "file of the library (default: ~/.local/share/fovea/library.db)")
      ->type_name("FILE");
}

void DefineClassify(CLI::App& command, Arguments& arguments) {
  command.add_option("IMAGE", arguments.inputs, "pictures, or folders of pictures")->type_name("IMAGE")->required();
  command.add_option("--top", arguments.top, "how many classes to show (default: 5)")
      ->type_name("K")
      ->check(Range(1, kMostResults));
  auto* labels =
      command.add_option("--labels", arguments.labels, "classes of yours, a,b,c (needs a model that reads text)")
          ->type_name("WORDS");
  command.add_option("--labels-file", arguments.labels_file, "the same, one a line")
      ->type_name("FILE")
      ->excludes(labels);
  command
      .add_option("--template", arguments.templates,
                  "sentence around a label, {} for the label; several are averaged (default: \"a photo of a {}\")")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  DefineJobOptions(command, arguments);
}

void DefineEmbed(CLI::App& command, Arguments& arguments) {
  auto* images = command.add_option("IMAGE", arguments.inputs, "pictures, or folders of pictures")->type_name("IMAGE");
  auto* texts =
      command.add_option("--text", arguments.texts, "texts instead of pictures (needs a model that reads text)")
          ->type_name("TEXT");
  auto* file = command.add_option("--text-file", arguments.text_file, "texts instead of pictures, one a line")
                   ->type_name("FILE");
  texts->excludes(images)->excludes(file);
  file->excludes(images);
  command
      .add_option("--out", arguments.output, "write a float32 array [N,D] in input order; NaN where an input failed")
      ->type_name("X.npy");
  DefineJobOptions(command, arguments);
  command.callback([images, texts, file] {
    if (images->count() + texts->count() + file->count() == 0) throw CLI::RequiredError("IMAGE");
  });
}

void DefineIndex(CLI::App& command, Arguments& arguments) {
  command.add_option("DIR", arguments.inputs, "folders to add or refresh (default: all folders of the library)")
      ->type_name("DIR");
  command.add_flag("--captions", arguments.caption.for_library,
                   "have a model write a caption for each picture, which search then finds by its words");
  command
      .add_option("--captioner", arguments.caption.captioner,
                  std::string("with --captions: the model that writes (default: ") + kModelThatTells + ")")
      ->type_name("MODEL");
  DefineDatabase(command, arguments);
  DefineJobOptions(command, arguments);
}

void DefineSearchFilter(CLI::App& command, Arguments& arguments) {
  command.add_option("--after", arguments.after, "taken on this day (or in this month, year) or later: 2024-05")
      ->type_name("DATE");
  command.add_option("--before", arguments.before, "taken before this day (or month, year)")->type_name("DATE");
  command.add_option("--folder", arguments.folder, "in this folder or below")->type_name("DIR");
  command.add_option("--min-width", arguments.min_width, "at least so many pixels wide")
      ->type_name("PX")
      ->check(Range(0, INT64_MAX));
  command.add_option("--min-height", arguments.min_height, "at least so many pixels high")
      ->type_name("PX")
      ->check(Range(0, INT64_MAX));
}

void DefineSearch(CLI::App& command, Arguments& arguments) {
  command.add_option("WORDS", arguments.words, "what to find; -WORD for what must not be there");
  command.add_option("--not", arguments.without, "what must not be there, in words; may be repeated")
      ->type_name("WORDS")
      ->allow_extra_args(false);
  command.add_option("--image", arguments.image, "find pictures like this one")->type_name("IMAGE");
  DefineSearchFilter(command, arguments);
  command.add_option("-k,--limit", arguments.limit, "at most this many results (default: 20)")
      ->type_name("N")
      ->check(Range(1, kMostResults));
  command.add_flag("--all", arguments.all, "weak matches, too");
  DefineDatabase(command, arguments);
  command
      .add_option("--model", arguments.model,
                  "name of a model, OWNER/NAME of one that was pulled, or a folder (default: that of the library)")
      ->type_name("MODEL");
  DefineJson(command, arguments);
  DefineThreads(command, arguments);
  command.allow_extras();  // -dog is no option that we know
  command.callback([&command, &arguments] {
    std::vector<std::string> unknown;
    for (const std::string& word : command.remaining()) {
      if (word == "--") continue;  // what follows are words
      const bool is_word = word.size() > 1 && word[0] == '-' && word[1] != '-';
      (is_word ? arguments.words : unknown).push_back(word);
    }
    if (!unknown.empty()) throw CLI::ExtrasError(unknown);
    if (arguments.words.empty() && arguments.without.empty() && arguments.image.empty() && arguments.after.empty() &&
        arguments.before.empty() && arguments.folder.empty() && arguments.min_width + arguments.min_height == 0) {
      throw CLI::RequiredError("WORDS, --image or a filter");
    }
  });
}

void DefineSampling(CLI::App& command, Arguments& arguments) {
  GenerateArguments& g = arguments.generate;
  command
      .add_option("--max-tokens", g.max_tokens, "at most this many tokens of answer (default: the model's, else 256)")
      ->type_name("N")
      ->check(Range(1, 1'000'000));
  command.add_option("--beams", g.beams, "beam search over so many sequences (default: the model's, else 1: none)")
      ->type_name("N")
      ->check(Range(1, 256));
  command
      .add_option("--length-penalty", g.length_penalty,
                  "of beams: above 0 favours longer texts (default: the model's, else 1)")
      ->type_name("X");
  command
      .add_option("--temperature", g.temperature,
                  "0: always the likeliest token; 1: as the model says (default: the model's, else 0)")
      ->type_name("T");
  command.add_option("--top-k", g.top_k, "draw from the so many likeliest tokens")->type_name("N");
  command.add_option("--top-p", g.top_p, "draw from the likeliest tokens that make up this probability")
      ->type_name("P");
  command.add_option("--min-p", g.min_p, "draw from tokens at least this share as likely as the likeliest")
      ->type_name("P");
  command.add_option("--repetition-penalty", g.repetition_penalty, "above 1: less of what was said")->type_name("X");
  command.add_option("--seed", g.seed, "the same seed, the same text (default: 0)")
      ->type_name("N")
      ->check(Range(0, INT64_MAX));
  command.add_option("--stop", g.stop, "end before this text")->type_name("TEXT")->allow_extra_args(false);
  command.add_option("--json-schema", g.json_schema, "the answer is JSON of this schema")->type_name("FILE");
  command.add_option("--grammar", g.grammar, "the answer follows this grammar (GBNF)")->type_name("FILE");
  command.add_option("--regex", g.regex, "the answer matches this regular expression")->type_name("PATTERN");
  command.add_option("--max-context", g.max_context, "tokens of prompt and answer (default: what the model takes)")
      ->type_name("N")
      ->check(Range(0, 100'000'000));
  command
      .add_option("--max-ram", g.max_ram,
                  "memory for weights, cache and work; answers get shorter to fit, e.g. 2GB (default: no limit)")
      ->type_name("SIZE")
      ->transform(CLI::AsSizeValue(true).description(""));
  command.add_flag("--dry-run", g.is_dry_run, "say what it would cost (tokens, memory, time), and do nothing");
  command.add_option("--cache-type", g.cache_type, "of keys and values kept (default: f32)")
      ->type_name("f32|bf16|int8")
      ->check(OneOf({"f32", "bf16", "int8"}));
}

// What caption and ask share.
void DefineTelling(CLI::App& command, Arguments& arguments) {
  command
      .add_option("--min-confidence", arguments.generate.min_confidence,
                  "say \"not sure\" below this confidence (default: 0)")
      ->type_name("X")
      ->check(CLI::Validator(CLI::Range(0.0, 1.0)).description(""));
  command.add_flag("--no-check", arguments.generate.no_check,
                   "answer as if what a question takes for granted were there");
  command.add_flag("--speak", arguments.caption.speak, "say it aloud (with espeak-ng)");
}

void DefineCaption(CLI::App& command, Arguments& arguments) {
  command.add_option("IMAGE", arguments.inputs, "pictures, or folders of pictures")->type_name("IMAGE")->required();
  // A flag, so that `--xmp FOLDER` does not take the folder for a place.
  auto* xmp = command
                  .add_flag("--xmp{sidecar}", arguments.caption.xmp,
                            "write each caption into PICTURE.xmp beside the picture; --xmp=embed: into the picture")
                  ->check(OneOf({"sidecar", "embed"}));
  auto* ground =
      command
          .add_flag("--ground{mark}", arguments.caption.ground,
                    "tie each thing to a region and a score, and mark what is not found; --ground=drop: leave it out")
          ->check(OneOf({"mark", "drop"}));
  command
      .add_option("--draw", arguments.caption.draw,
                  "with --ground: the picture with boxes as JPEG; a folder when there are several pictures")
      ->type_name("FILE")
      ->needs(ground);
  auto* style = command
                    .add_option("--style", arguments.caption.style,
                                "screen-reader: people, things, setting and text, hedged where unsure")
                    ->type_name("plain|screen-reader")
                    ->check(OneOf({"plain", "screen-reader"}));
  command.add_option("--sentences", arguments.caption.sentences, "with --style screen-reader: 1 or 3 (default: 1)")
      ->type_name("1|3")
      ->check(CLI::Validator(CLI::IsMember(std::vector<int64_t>{1, 3})).description(""))
      ->needs(style);
  command.add_option("--ask", arguments.caption.questions, "also answer this question; may be repeated")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command.add_option("--html", arguments.caption.html, "write a page with the pictures, captions and answers")
      ->type_name("FILE.html");
  DefineTelling(command, arguments);
  command.add_flag("--undo", arguments.caption.undo, "take back what --xmp wrote, byte for byte")->excludes(xmp);
  DefineSampling(command, arguments);
  DefineJobOptions(command, arguments);
}

void DefineAsk(CLI::App& command, Arguments& arguments) {
  command.add_option("IMAGE", arguments.inputs, "pictures, or folders of pictures")->type_name("IMAGE")->required();
  command.add_option("--question", arguments.generate.question, "what to ask about each picture")
      ->type_name("TEXT")
      ->required();
  auto* choice = command.add_option("--choice", arguments.generate.choices,
                                    "a text that may be the answer (several times); with a probability for each");
  choice->type_name("TEXT")->allow_extra_args(false);
  DefineTelling(command, arguments);
  DefineSampling(command, arguments);
  for (const char* bound : {"--json-schema", "--grammar", "--regex"}) choice->excludes(command.get_option(bound));
  DefineJobOptions(command, arguments);
}

void DefineChat(CLI::App& command, Arguments& arguments) {
  command.add_option("--image", arguments.generate.images, "a picture to show with the first message")
      ->type_name("IMAGE")
      ->allow_extra_args(false);
  command.add_option("--system", arguments.generate.system, "what the model is told before the conversation")
      ->type_name("TEXT");
  DefineSampling(command, arguments);
  DefineModel(command, arguments);
  DefineQuiet(command, arguments);
  DefineThreads(command, arguments);
}

void DefineTrain(CLI::App& command, Arguments& arguments) {
  command.add_option("RECIPE", arguments.recipe, "JSON file that says what to train, on what and how")
      ->type_name("RECIPE.json")
      ->required();
  command
      .add_option("--set", arguments.settings, "a value that wins over the recipe's, as optimizer.learning_rate=1e-4")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  command.add_flag("--resume", arguments.resume, "go on from the last checkpoint in the output folder");
  DefineJson(command, arguments);
  DefineQuiet(command, arguments);
  DefineThreads(command, arguments);
}

void DefineEval(CLI::App& command, Arguments& arguments) {
  EvalArguments& eval = arguments.eval;
  std::string tasks;
  for (const std::string& task : EvalTasks()) tasks += (tasks.empty() ? "" : "|") + task;
  command.add_option("TASK", arguments.task, "what to measure (docs/evaluation.md)")
      ->type_name(tasks)
      ->required()
      ->check(OneOf(EvalTasks()));
  command.add_option("--data", arguments.shards, "what to measure on, WebDataset shards")
      ->type_name("SHARD.tar")
      ->required();
  command.add_option("--train", eval.train, "shards to learn from (knn, linear-probe; vqa: for guessing)")
      ->type_name("SHARD.tar");
  command.add_option("--labels-file", arguments.labels_file, "classes as words, one a line (classify)")
      ->type_name("FILE");
  command
      .add_option("--template", arguments.templates,
                  "sentence around a label, {} for the label; several are averaged (default: \"a photo of a {}\")")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command
      .add_option("--label-field", eval.label_field,
                  "which label of a sample is its class (default: class_index, else name)")
      ->type_name("NAME");
  command.add_option("--k", eval.neighbours, "neighbours that vote (knn; default: 20)")
      ->type_name("N")
      ->check(Range(1, kMostResults));
  command.add_option("--penalty", eval.penalty, "L2 penalty (linear-probe; default: the best on held-out pictures)")
      ->type_name("X")
      ->check(CLI::Validator(CLI::Range(0.0, 1e9)).description(""));
  command
      .add_option(
          "--queries", eval.queries,
          "queries and the words that mark a caption as a match, TAB between (search; bench/search_queries.tsv)")
      ->type_name("FILE");
  command
      .add_option("--predictions", eval.predictions,
                  "what was written, lines {\"key\",\"caption\"} (caption) or {\"key\",\"question\",\"answer\"} (vqa)")
      ->type_name("FILE.jsonl");
  command
      .add_option("--frequencies", eval.frequencies,
                  "document frequencies for CIDEr-D (caption; default: those of the references)")
      ->type_name("FILE");
  command
      .add_option(
          "--calibrate", eval.calibrate,
          "learn how far confidence can be believed and write it there (caption, vqa; calibration.json of a model)")
      ->type_name("FILE");
  command.add_flag("--official", eval.is_official, "compare answers exactly as VQA's own script does (vqa)");
  command
      .add_option("--beams", arguments.generate.beams,
                  "beam search over so many sequences; 1: none (caption, vqa; default: as the model says)")
      ->type_name("N")
      ->check(Range(1, 256));
  command.add_option("--max-tokens", arguments.generate.max_tokens, "tokens of a text at most (caption, vqa)")
      ->type_name("N")
      ->check(Range(1, 1'000'000));
  command
      .add_option("--captioner", arguments.caption.captioner,
                  "model whose captions of the pictures are looked up, too (search; default: none)")
      ->type_name("MODEL");
  command.add_option("--foreign", eval.foreign, "shards whose captions no picture of --data fits (search)")
      ->type_name("SHARD.tar");
  command.add_option("--max-samples", eval.max_samples, "stop after so many samples (default: all)")
      ->type_name("N")
      ->check(Range(1, INT64_MAX));
  command
      .add_option("--held-back", eval.held_back,
                  "only the samples that training with this data.validation_share leaves out")
      ->type_name("SHARE")
      ->check(CLI::Validator(CLI::Range(0.0, 1.0)).description(""));
  command.add_option("--resamples", eval.resamples, "of the bootstrap for the intervals, 0: none (default: 1000)")
      ->type_name("N")
      ->check(Range(0, kMostResults));
  command.add_option("--seed", eval.seed, "of the bootstrap (default: 0)")->type_name("N")->check(Range(0, INT64_MAX));
  command.add_flag("--by-class", eval.by_class, "say for each class how much of it was found");
  DefineJobOptions(command, arguments);
  command.callback([&arguments] {
    const bool learns = arguments.task == "knn" || arguments.task == "linear-probe";
    if (learns && arguments.eval.train.empty()) throw CLI::RequiredError("--train");
  });
}

void DefineVerify(CLI::App& command, Arguments& arguments) {
  command.add_option("MODEL", arguments.model, "name of a model, or its folder")->type_name("MODEL")->required();
  command
      .add_option("--golden", arguments.golden,
                  "reference numbers made by tools/make_golden.py (default: golden.safetensors in the folder)")
      ->type_name("FILE");
  DefineJson(command, arguments);
  DefineThreads(command, arguments);
}

void DefineInfo(CLI::App& command, Arguments& arguments) {
  command
      .add_option(
          "MODEL", arguments.model,
          "name of a model, OWNER/NAME of one that was pulled, or a folder (default: " + DefaultModelName() + ")")
      ->type_name("MODEL");
  DefineJson(command, arguments);
}

void DefineModels(CLI::App& command, Arguments& arguments) {
  command.add_flag("--architectures", arguments.architectures, "list what can be loaded instead of what is there");
  DefineJson(command, arguments);
}

void DefineConvert(CLI::App& command, Arguments& arguments) {
  command.add_option("MODEL", arguments.model, "name of a model, OWNER/NAME of one that was pulled, or a folder")
      ->type_name("MODEL")
      ->required();
  command.add_option("OUT", arguments.output, "folder to write")->type_name("DIR")->required();
  command.add_option("--type", arguments.type, "type of the stored weights")
      ->type_name("f32|bf16|f16")
      ->required()
      ->check(OneOf({"f32", "bf16", "f16"}));
  DefineJson(command, arguments);
}

void DefineQuantize(CLI::App& command, Arguments& arguments) {
  command
      .add_option("MODEL", arguments.model,
                  "name of a model, OWNER/NAME of one that was pulled, a folder, or a GGUF file")
      ->type_name("MODEL")
      ->required();
  command.add_option("OUT", arguments.output, "folder to write; a file OUT.gguf for q8_0 and q4_0")
      ->type_name("OUT")
      ->required();
  command.add_option("--type", arguments.type, "type of the stored weights; q8_0 and q4_0: language models as GGUF")
      ->type_name("int8|bf16|f16|q8_0|q4_0")
      ->required()
      ->check(OneOf({"int8", "int4", "bf16", "f16", "q8_0", "q4_0"}));
  DefineJson(command, arguments);
}

void DefineRepo(CLI::App& command, Arguments& arguments) {
  command.add_option("OWNER/NAME", arguments.repo, "the model, as the hub names it")->type_name("REPO")->required();
}

void DefinePull(CLI::App& command, Arguments& arguments) {
  DefineRepo(command, arguments);
  command.add_option("--revision", arguments.revision, "branch, tag or commit (default: main)")->type_name("REV");
  command
      .add_option("--include", arguments.include,
                  "files to fetch, shell patterns, instead of configuration, tokenizer, preprocessor and safetensors")
      ->type_name("PATTERN");
  command.add_flag("--allow-pickle", arguments.allow_pickle,
                   "fetch pytorch_model*.bin when there are no safetensors (read without executing anything)");
  command.add_flag("--offline", arguments.offline, "make no connection: say what is there and what is missing");
  command.add_option("--max-bytes", arguments.max_bytes, "refuse models that are larger (default: 50 GB)")
      ->type_name("N")
      ->check(Range(1, INT64_MAX));
  DefineJson(command, arguments);
  DefineQuiet(command, arguments);
}

void DefineRemove(CLI::App& command, Arguments& arguments) {
  DefineRepo(command, arguments);
  DefineJson(command, arguments);
}

void DefineCompletion(CLI::App& command, Arguments& arguments) {
  command.add_option("SHELL", arguments.shell, "bash, zsh or fish")
      ->type_name("bash|zsh|fish")
      ->required()
      ->check(OneOf({"bash", "zsh", "fish"}));
}

constexpr Command kCommands[] = {
    {"classify", "Name what is in pictures", "fovea classify --top 3 samples/cat.jpg", DefineClassify, Classify, true},
    {"embed", "Turn pictures or texts into vectors, close together when they are alike",
     "fovea embed samples --out samples.npy", DefineEmbed, Embed, true},
    {"index", "Add folders of pictures to a library, or refresh them", "fovea index ~/Pictures", DefineIndex, Index,
     true},
    {"search", "Find pictures in a library, by words, by a picture, or by both",
     "fovea search a dog on the beach -ball", DefineSearch, Search, true},
    {"caption", "Describe pictures in a sentence", "fovea caption --model path/to/model samples/cat.jpg", DefineCaption,
     Caption, true},
    {"ask", "Answer a question about pictures",
     "fovea ask samples/cat.jpg --question \"What animal is this?\" --model path/to/model", DefineAsk, Ask, true},
    {"chat", "Talk with a model, about pictures too", "fovea chat --model path/to/model --image samples/cat.jpg",
     DefineChat, ChatCommand, true},
    {"train", "Train or fine-tune a model", "fovea train recipe.json --set epochs=5", DefineTrain, Train, true},
    {"eval", "Measure a model on pictures with labels, captions or answers", "fovea eval classify --data imagenet.tar",
     DefineEval, Eval, true},
    {"verify", "Compare a model with its reference, stage by stage", "fovea verify path/to/model", DefineVerify, Verify,
     true},
    {"info", "Show what a model is and needs", "fovea info efficientnet-lite2", DefineInfo, Info},
    {"models", "List the models on this machine", "fovea models", DefineModels, Models},
    {"pull", "Fetch a model from a hub, once, and check it", "fovea pull google/vit-base-patch16-224", DefinePull,
     Pull},
    {"rm", "Remove a model that was pulled", "fovea rm google/vit-base-patch16-224", DefineRemove, Remove},
    {"convert", "Save a model with its weights in another type",
     "fovea convert efficientnet-lite2 lite2-bf16 --type bf16", DefineConvert, Convert},
    {"quantize", "Store a model smaller and say what it costs",
     "fovea quantize efficientnet-lite2 lite2-int8 --type int8", DefineQuantize, Quantize},
    {"doctor", "Show what this machine has and what is missing", "fovea doctor", DefineJson, Doctor},
    {"completion", "Print a completion script for a shell", "source <(fovea completion bash)", DefineCompletion,
     Completion},
    {"man", "Print the manual page", "fovea man | man -l -", [](CLI::App&, Arguments&) {}, Man},
};

// CLI11's help without its shouting: no REQUIRED, no type beside a positional.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() {
    column_width(26);
    label("Positionals", "Arguments");
    label("Subcommands", "Commands");
    label("SUBCOMMAND", "COMMAND");
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_positional())
      return option->get_expected_max() >= CLI::detail::expected_max_vector_size ? "..." : "";
    std::string text = option->get_type_size() == 0 ? "" : " " + option->get_type_name();
    if (option->get_expected_max() >= CLI::detail::expected_max_vector_size) text += "...";
    return option->get_required() ? text + " (required)" : text;
  }
};

}  // namespace

std::span<const Command> Commands() { return kCommands; }

void DefineCommandLine(CLI::App& app, Arguments& arguments) {
  app.formatter(std::make_shared<HelpFormatter>());
  app.description("Fovea sees, searches and describes pictures: offline, on this machine.");
  app.set_version_flag("--version", std::string("fovea ") + Version(), "print the version and exit");
  app.set_help_flag("-h,--help", "print this help and exit");
  app.require_subcommand(1);
  app.footer("Example:\n  fovea classify samples/cat.jpg\n\nfovea COMMAND --help tells more about a command.");
  for (const Command& command : Commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    sub->group("Commands");
    sub->footer(std::string("Example:\n  ") + command.example);
    command.define(*sub, arguments);
  }
}

}  // namespace fovea::cli
