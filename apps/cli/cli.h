// What the files of the command line share: the parsed arguments, the table of commands, and the stop flag.
//
// A command is one row of a table: its name, its definition (options and help, CLI11) and the function that runs it.
// Help, shell completion and the man page are all read from the definitions, so that they cannot differ. Commands parse
// nothing and print through Console; everything they know about pictures and models comes from include/fovea.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace fovea::cli {

class Console;

// Exit codes of the program.
enum Exit : int {
  kDone = 0,
  kSomeFailed = 1,  // each failure was named on stderr, the rest is done
  kWrongUsage = 2,
  kInterrupted = 130,  // Ctrl-C; the work so far is kept
};

// What `fovea eval` alone takes.
struct EvalArguments {
  std::vector<std::string> train;  // shards to learn from
  std::string label_field;
  std::string queries;               // file of queries and marks
  std::vector<std::string> foreign;  // shards with captions that nothing fits
  int64_t neighbours = 20;
  double penalty = -1;  // below 0: chosen
  int64_t max_samples = 0;
  double held_back = 0;
  std::string calibrate;
  int64_t resamples = 1000;
  int64_t seed = 0;
  bool by_class = false;
  std::string predictions;  // file of what was written (caption, vqa)
  std::string frequencies;  // of documents, for CIDEr-D
  bool is_official = false;
};

// What the commands that write text take.
struct GenerateArguments {
  double min_confidence = 0;  // below it: "not sure"
  bool no_check = false;      // what a question takes for granted is not looked for
  std::string question, system;
  std::vector<std::string> images;  // of a chat
  // Absent: what the model asks for.
  std::optional<int64_t> max_tokens, beams, top_k;
  std::optional<double> length_penalty, temperature, top_p, min_p, repetition_penalty;
  int64_t max_context = 0, seed = 0;
  int64_t max_ram = 0;  // bytes; 0: no limit
  bool is_dry_run = false;
  std::vector<std::string> stop;
  std::string json_schema, grammar;  // files
  std::string regex;
  std::vector<std::string> choices;
  std::string cache_type = "f32";
};

// What becomes of captions.
struct CaptionArguments {
  std::string xmp;  // where they are written: "sidecar", "embed"; "" for nowhere
  bool undo = false;
  std::string ground;           // "mark", "drop"; "" for nothing
  std::string draw;             // file or folder of pictures with boxes
  std::string style = "plain";  // or "screen-reader"
  int64_t sentences = 1;
  bool speak = false;
  std::vector<std::string> questions;  // asked beside the caption
  std::string html;                    // contact sheet
  bool for_library = false;            // captions enter the library
  std::string captioner;               // model that writes them
};

// Everything that can be asked for on the command line; each command reads the fields it defines.
struct Arguments {
  std::vector<std::string> inputs;     // pictures or folders
  std::string model;                   // name or folder
  std::string precision = "f32";       // that the model computes in: "f32" or "bf16"
  std::string output;                  // file or folder that is written
  std::string type;                    // of weights: "f32", "bf16", "f16"
  std::string labels, labels_file;     // zero-shot classes
  std::vector<std::string> templates;  // sentences around them
  std::string golden;                  // reference numbers to verify with
  std::vector<std::string> texts;
  std::string text_file;
  std::string database;
  std::vector<std::string> words;
  std::string image;                  // to search by
  std::vector<std::string> without;   // what must not be there
  std::string after, before, folder;  // filters of a search
  int64_t min_width = 0, min_height = 0;
  std::string task;  // to evaluate
  EvalArguments eval;
  GenerateArguments generate;
  CaptionArguments caption;
  std::string recipe;                 // of a training run
  std::vector<std::string> settings;  // key=value, on top of the recipe
  bool resume = false;
  std::vector<std::string> shards;  // labelled data
  std::string shell;                // to complete for
  std::string repo;                 // OWNER/NAME on a hub
  std::string revision = "main";
  std::vector<std::string> include;  // patterns of files to fetch
  bool allow_pickle = false;
  bool offline = false;
  int64_t max_bytes = 50'000'000'000;
  int64_t top = 5;     // labels a picture
  int64_t limit = 20;  // search results
  bool all = false;
  bool architectures = false;  // what can be loaded, instead of what is there
  bool json = false;
  bool quiet = false;
  int64_t threads = 0;  // 0: as many as the process may use
};

struct Command {
  const char* name;
  const char* summary;  // one line
  const char* example;  // one that works, for the end of the help
  void (*define)(CLI::App& command, Arguments& arguments);
  Exit (*run)(const Arguments& arguments, Console& console);
  bool computes = false;  // runs a model
};

// All commands, in the order of the help. `completion` and `man` are among them.
std::span<const Command> Commands();

// Defines options and commands on `app`; parsing fills `arguments`, which must outlive it.
void DefineCommandLine(CLI::App& app, Arguments& arguments);

// Set by Ctrl-C and SIGTERM: finish what is in flight, then stop.
extern std::atomic<bool> interrupted;
// Set by SIGTERM beside it: a command that would go on after Ctrl-C ends.
extern std::atomic<bool> terminated;
// Clears the flag and listens again: for a command that goes on after Ctrl-C.
void ListenForInterrupts();

Exit Classify(const Arguments& arguments, Console& console);
Exit Embed(const Arguments& arguments, Console& console);
Exit Index(const Arguments& arguments, Console& console);
Exit Search(const Arguments& arguments, Console& console);
Exit Caption(const Arguments& arguments, Console& console);
Exit Ask(const Arguments& arguments, Console& console);
Exit ChatCommand(const Arguments& arguments, Console& console);
Exit Train(const Arguments& arguments, Console& console);
Exit Eval(const Arguments& arguments, Console& console);
std::vector<std::string> EvalTasks();  // the names that `fovea eval` takes
Exit Verify(const Arguments& arguments, Console& console);
Exit Info(const Arguments& arguments, Console& console);
Exit Models(const Arguments& arguments, Console& console);
Exit Pull(const Arguments& arguments, Console& console);
Exit Remove(const Arguments& arguments, Console& console);
Exit Convert(const Arguments& arguments, Console& console);
Exit Quantize(const Arguments& arguments, Console& console);
Exit Doctor(const Arguments& arguments, Console& console);
Exit Completion(const Arguments& arguments, Console& console);
Exit Man(const Arguments& arguments, Console& console);

}  // namespace fovea::cli
