// `fovea chat` as a process: Ctrl-C stops an answer and not the program, and the memory that a plan names is what a
// request takes.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/file.h"
#include "cli_run.h"
#include "fovea/chat.h"
#include "tiny_vlm.h"

namespace fovea::e2e {
namespace {

using nlohmann::json;

// A pipe of which the program reads one end.
struct Pipe {
  Pipe() { EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0); }
  ~Pipe() { Close(); }
  void Write(const std::string& text) const {
    EXPECT_EQ(::write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void Close() {
    for (int& end : ends) {
      if (end >= 0) ::close(end);
      end = -1;
    }
  }
  int ends[2] = {-1, -1};
};

// A running fovea that reads `input`.
class ChatProcess {
 public:
  ChatProcess(const std::vector<std::string>& arguments, int input) {
    const std::string binary = testing::FoveaBinary();
    std::vector<char*> argv = {const_cast<char*>(binary.c_str())};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::dup2(input, STDIN_FILENO);
    ::dup2(::open(folder_.File("out").c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
    ::dup2(::open(folder_.File("err").c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
    ::execv(binary.c_str(), argv.data());
    ::_exit(127);
  }

  void Signal(int number) const { ::kill(pid_, number); }
  std::string Output() const {
    std::ifstream file(folder_.File("out"), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  // Waits until more than `count` bytes were written.
  void AwaitOutput(size_t count) const {
    for (int i = 0; i < 30'000 && Output().size() <= count; ++i) ::usleep(2000);
    ASSERT_GT(Output().size(), count);
  }
  Result Wait() {
    int status = 0;
    struct rusage usage {};
    ::wait4(pid_, &status, 0, &usage);
    peak_bytes = usage.ru_maxrss * 1024;
    return {.exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
            .out = Output(),
            .err = base::ReadTextFile(folder_.File("err"))};
  }

  int64_t peak_bytes = 0;  // of memory that was resident

 private:
  testing::TemporaryFolder folder_;
  pid_t pid_;
};

// Answers of 8000 letters, each a token.
std::vector<std::string> EndlessChat(const testing::TemporaryFolder& folder) {
  WriteTinyVlm(folder.path());
  json config = json::parse(base::ReadTextFile(folder.File("config.json")));
  config["text_config"]["max_position_embeddings"] = 100000;
  base::WriteTextFileAtomically(folder.File("config.json"), config.dump());
  base::WriteTextFileAtomically(folder.File("long.gbnf"), "root ::= [a-v]{8000}");
  return {"chat", "--grammar", folder.File("long.gbnf"), "--max-tokens", "90000", "--model", folder.path()};
}

TEST(CliChat, CtrlCStopsTheAnswerAndNotTheProgram) {
  const testing::TemporaryFolder folder;
  Pipe pipe;
  ChatProcess process(EndlessChat(folder), pipe.ends[0]);
  pipe.Write("ab\n");
  process.AwaitOutput(100);
  process.Signal(SIGINT);
  // The next message is answered, and stopped in turn.
  pipe.Write("cd\n");
  while (process.Output().find('\n') == std::string::npos) ::usleep(2000);
  process.AwaitOutput(process.Output().find('\n') + 100);
  process.Signal(SIGINT);
  pipe.Close();
  const Result result = process.Wait();
  EXPECT_EQ(result.exit, 0) << result.err;
  const std::vector<std::string> lines = base::Split(result.out, '\n');
  ASSERT_EQ(lines.size(), 3u);  // nothing behind the second line end
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_GT(lines[i].size(), 90u);
    EXPECT_LT(lines[i].size(), 8000u);
  }
  EXPECT_NE(result.err.find("(stopped)"), std::string::npos) << result.err;
}

TEST(CliChat, SigTermEndsTheProgram) {
  const testing::TemporaryFolder folder;
  Pipe pipe;
  ChatProcess process(EndlessChat(folder), pipe.ends[0]);
  pipe.Write("ab\n");
  process.AwaitOutput(100);
  process.Signal(SIGTERM);
  const Result result = process.Wait();
  EXPECT_EQ(result.exit, 130) << result.err;
  EXPECT_LT(result.out.size(), 8000u);
}

// A LLaMA of 27 million weights: memory of a run, less that of a plan (the program and the file in memory), against the
// plan. The factor of 1.5 is for tables that were read from the file, caches that grow by doubling, and the allocator.
TEST(CliChat, TakesTheMemoryThatWasPlanned) {
  const testing::TemporaryFolder folder;
  const int64_t dim = 512, ffn = 1408, layers = 7, vocab = 2048, kv = 512;
  base::WriteTextFileAtomically(folder.File("config.json"), json({{"model_type", "llama"},
                                                                  {"hidden_size", dim},
                                                                  {"intermediate_size", ffn},
                                                                  {"num_hidden_layers", layers},
                                                                  {"num_attention_heads", 8},
                                                                  {"num_key_value_heads", 8},
                                                                  {"vocab_size", vocab},
                                                                  {"max_position_embeddings", 4096},
                                                                  {"rms_norm_eps", 1e-5},
                                                                  {"bos_token_id", 1},
                                                                  {"eos_token_id", 2},
                                                                  {"tie_word_embeddings", false}})
                                                                .dump());
  WriteTinyTokenizer(folder.path());
  std::vector<NamedTensor> weights;
  const auto matrix = [&](const std::string& name, int64_t rows, int64_t columns) {
    weights.push_back({name + ".weight", testing::RandomUniform({rows, columns}, weights.size(), -0.03f, 0.03f)});
  };
  const auto norm = [&](const std::string& name) { weights.push_back({name + ".weight", Tensor::Full({dim}, 1.0f)}); };
  matrix("model.embed_tokens", vocab, dim);
  matrix("lm_head", vocab, dim);
  norm("model.norm");
  for (int64_t i = 0; i < layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    norm(layer + "input_layernorm");
    norm(layer + "post_attention_layernorm");
    for (const char* name : {"q_proj", "o_proj"}) matrix(layer + "self_attn." + name, dim, dim);
    for (const char* name : {"k_proj", "v_proj"}) matrix(layer + "self_attn." + name, kv, dim);
    for (const char* name : {"gate_proj", "up_proj"}) matrix(layer + "mlp." + name, ffn, dim);
    matrix(layer + "mlp.down_proj", dim, ffn);
  }
  formats::WriteSafetensors(folder.File("model.safetensors"), weights);
  const std::string text(2000, 'a');
  base::WriteTextFileAtomically(folder.File("message"), text + "\n");
  const std::vector<std::string> arguments = {"chat", "--max-tokens", "20", "--model", folder.path()};
  std::vector<std::string> dry = arguments;
  dry.emplace_back("--dry-run");
  const auto peak_of = [&](const std::vector<std::string>& command) {
    const int message = ::open(folder.File("message").c_str(), O_RDONLY | O_CLOEXEC);
    ChatProcess process(command, message);
    const Result result = process.Wait();
    ::close(message);
    EXPECT_EQ(result.exit, 0) << result.err;
    return process.peak_bytes;
  };
  const Message asked{.role = "user", .text = text, .images = {}};
  const RequestPlan plan = Chat(Model::Load(folder.path())).Plan({&asked, 1}, {.max_tokens = 20});
  EXPECT_GT(plan.prompt_tokens, 1999);
  const auto measured = static_cast<double>(peak_of(arguments) - peak_of(dry));
  const auto planned = static_cast<double>(plan.memory_bytes());
  EXPECT_GT(measured, planned / 1.5) << plan.weight_bytes << " " << plan.cache_bytes << " " << plan.activation_bytes;
  EXPECT_LT(measured, planned * 1.5) << plan.weight_bytes << " " << plan.cache_bytes << " " << plan.activation_bytes;
}

}  // namespace
}  // namespace fovea::e2e
