// Times a language model in a GGUF file, and writes what tools/compare_llama.py compares with llama.cpp.
//
//   gguf_bench speed MODEL.gguf [--threads N] [--prompt N] [--decode N] [--rounds N]   one JSON object: tokens/s of a
//       prompt and of decoding after it, bytes that one token reads, and the memory bandwidth of the same threads
//   gguf_bench logits MODEL.gguf IDS.txt OUT [--plain]   f32 [T,V] of each line of token ids, in OUT.<line>.npy; with
//       --plain all weights are f32, so that no input of a product is rounded
//   gguf_bench make OUT.gguf --type q4_0|q8_0       a model of 1.1 billion seeded weights in the shape of TinyLlama
//
// Rates come from the fastest round. It compares nothing itself.
#include <sys/mman.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "formats/gguf.h"
#include "formats/npy.h"
#include "fovea/error.h"
#include "nn/decode_cache.h"
#include "runtime/loaded_model.h"

namespace fovea {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// A clock for rates: of the wall, or of the processor time of this process, which a busy machine disturbs less. Only
// the former means anything with more than one thread.
bool uses_cpu_time = false;
double Now() {
  if (uses_cpu_time) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

// Bytes a second that these threads read from a buffer as large as the weights and in large pages like them.
double MeasureBandwidth(int64_t bytes) {
  constexpr int64_t kPage = int64_t{2} << 20;
  const int64_t size = (bytes + kPage - 1) / kPage * kPage, count = size / 8;
  const std::unique_ptr<uint64_t, void (*)(void*)> buffer(
      static_cast<uint64_t*>(std::aligned_alloc(kPage, static_cast<size_t>(size))), std::free);
  madvise(buffer.get(), static_cast<size_t>(size), MADV_HUGEPAGE);
  std::fill_n(buffer.get(), count, uint64_t{1});
  std::atomic<uint64_t> total = 0;
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    const double start = Now();
    base::ParallelFor(count / 64, 1 << 10, [&](int64_t begin, int64_t end) {
      uint64_t sums[64] = {};
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t k = 0; k < 64; ++k) sums[k] += buffer.get()[i * 64 + k];
      }
      for (const uint64_t sum : sums) total += sum;
    });
    best = std::min(best, Now() - start);
  }
  if (total != static_cast<uint64_t>(5 * count)) std::cerr << "gguf_bench: the buffer changed\n";
  return static_cast<double>(size) / best;
}

Tensor Ids(std::span<const int64_t> ids) {
  return Tensor::FromValues<int64_t>({1, static_cast<int64_t>(ids.size())}, ids);
}

// Weights that one token reads: everything but the table of words where the head has a matrix of its own.
int64_t BytesPerToken(const models::Model& network) {
  int64_t bytes = 0, words = 0;
  bool has_head = false;
  nn::ForEachParameter(const_cast<models::Model&>(network), [&](const std::string& path, nn::Parameter& parameter) {
    bytes += parameter.size_bytes();
    if (path == "model.embed_tokens.weight") words = parameter.size_bytes();
    has_head |= path == "lm_head.weight";
  });
  return has_head ? bytes - words : bytes;
}

struct SpeedOptions {
  std::string model;
  int threads = 0;
  int64_t prompt = 512, decode = 64;
  int rounds = 3;
};

void Speed(const SpeedOptions& o) {
  const base::ThreadLimit limit(o.threads > 0 ? o.threads : base::MaxThreads());
  const auto load_start = Clock::now();
  const auto model = runtime::LoadedModel::Load(o.model, o.model);
  const double load_s = SecondsSince(load_start);
  const models::Model& network = model->network();
  const models::DecoderSpec spec = network.Decoder();
  std::mt19937 random(1);
  std::vector<int64_t> prompt(static_cast<size_t>(o.prompt));
  for (int64_t& id : prompt) id = static_cast<int64_t>(random() % static_cast<uint64_t>(spec.vocab));
  const int64_t bytes = BytesPerToken(network);
  double prompt_s = 1e9, decode_s = 1e9, bandwidth = 0;
  for (int round = 0; round < o.rounds; ++round) {
    nn::DecodeCache cache(spec.Cache(), {.max_tokens = o.prompt + o.decode + 1});
    nn::DecodeCache* const caches[] = {&cache};
    double start = Now();
    Tensor logits = network.Decode({.ids = Ids(prompt), .caches = caches, .only_last = true}).logits;
    prompt_s = std::min(prompt_s, Now() - start);
    // Each step by itself: the median leaves a neighbour's burst out.
    std::vector<double> steps;
    for (int64_t i = 0; i < o.decode; ++i) {
      const int64_t id = prompt[static_cast<size_t>(i % o.prompt)];
      start = Now();
      logits = network.Decode({.ids = Ids({&id, 1}), .caches = caches, .only_last = true}).logits;
      steps.push_back(Now() - start);
    }
    std::nth_element(steps.begin(), steps.begin() + static_cast<int64_t>(steps.size() / 2), steps.end());
    decode_s = std::min(decode_s, steps[steps.size() / 2]);
    bandwidth = std::max(bandwidth, MeasureBandwidth(bytes));
  }
  std::cout << nlohmann::json({{"engine", "fovea"},
                               {"threads", base::MaxThreads()},
                               {"load_s", load_s},
                               {"prompt_tokens_per_s", static_cast<double>(o.prompt) / prompt_s},
                               {"decode_tokens_per_s", 1 / decode_s},
                               {"bytes_per_token", bytes},
                               {"bandwidth_bytes_per_s", bandwidth},
                               {"bandwidth_share", static_cast<double>(bytes) / decode_s / bandwidth}})
                   .dump()
            << "\n";
}

void Logits(const std::string& path, const std::string& ids_path, const std::string& out, bool is_plain) {
  const auto model = runtime::LoadedModel::Load(path, path);
  if (is_plain) {
    nn::ForEachParameter(const_cast<models::Model&>(model->network()),
                         [](const std::string&, nn::Parameter& parameter) {
                           if (parameter.blocks() != nullptr) parameter.Assign(parameter.Dense());
                         });
  }
  std::ifstream file(ids_path);
  std::string line;
  for (int64_t number = 0; std::getline(file, line); ++number) {
    std::istringstream words(line);
    std::vector<int64_t> ids;
    for (int64_t id; words >> id;) ids.push_back(id);
    const Tensor logits = model->network().Decode({.ids = Ids(ids)}).logits;
    formats::WriteNpy(out + "." + std::to_string(number) + ".npy",
                      logits.To(DType::kF32).Contiguous().View({logits.dim(1), logits.dim(2)}));
  }
}

// Random codes behind one small scale; norms of 1. All matrices share the same bytes.
void Make(const std::string& path, const std::string& type_name) {
  const auto type = BlockTypeOfName(type_name);
  Require(type == BlockType::kQ4_0 || type == BlockType::kQ8_0, "[bench] expected q4_0 or q8_0, got ", type_name);
  constexpr int64_t kDim = 2048, kFfn = 5632, kLayers = 22, kKeys = 256, kVocab = 32000;
  std::vector<uint8_t> blocks(static_cast<size_t>(kVocab * kDim / 32 * BlockBytes(*type)));
  std::mt19937_64 random(1);
  for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random());
  const F16 scale(type == BlockType::kQ4_0 ? 0.004f : 0.0003f);
  for (size_t at = 0; at < blocks.size(); at += static_cast<size_t>(BlockBytes(*type)))
    std::memcpy(blocks.data() + at, &scale.bits, 2);
  const std::vector<float> ones(static_cast<size_t>(kDim), 1.0f);
  std::vector<formats::GgufTensor> tensors;
  const auto matrix = [&](const std::string& name, int64_t rows, int64_t columns) {
    const auto bytes = static_cast<size_t>(rows * columns / 32 * BlockBytes(*type));
    tensors.push_back(
        {.name = name + ".weight", .shape = {rows, columns}, .block = type, .bytes = std::span(blocks).first(bytes)});
  };
  const auto norm = [&](const std::string& name) {
    const auto bytes = std::span(reinterpret_cast<const uint8_t*>(ones.data()), ones.size() * sizeof(float));
    tensors.push_back({.name = name + ".weight", .shape = {kDim}, .block = {}, .dtype = DType::kF32, .bytes = bytes});
  };
  matrix("token_embd", kVocab, kDim);
  matrix("output", kVocab, kDim);
  norm("output_norm");
  for (int64_t i = 0; i < kLayers; ++i) {
    const std::string layer = "blk." + std::to_string(i) + ".";
    norm(layer + "attn_norm");
    norm(layer + "ffn_norm");
    matrix(layer + "attn_q", kDim, kDim);
    matrix(layer + "attn_k", kKeys, kDim);
    matrix(layer + "attn_v", kKeys, kDim);
    matrix(layer + "attn_output", kDim, kDim);
    matrix(layer + "ffn_gate", kFfn, kDim);
    matrix(layer + "ffn_up", kFfn, kDim);
    matrix(layer + "ffn_down", kDim, kFfn);
  }
  const auto number = [](int64_t value) { return static_cast<uint32_t>(value); };
  const std::vector<formats::GgufEntry> entries = {{"general.architecture", std::string("llama")},
                                                   {"general.name", std::string("seeded weights")},
                                                   {"llama.context_length", number(2048)},
                                                   {"llama.embedding_length", number(kDim)},
                                                   {"llama.feed_forward_length", number(kFfn)},
                                                   {"llama.block_count", number(kLayers)},
                                                   {"llama.attention.head_count", number(32)},
                                                   {"llama.attention.head_count_kv", number(4)},
                                                   {"llama.attention.layer_norm_rms_epsilon", 1e-5f},
                                                   {"llama.rope.dimension_count", number(64)},
                                                   {"llama.rope.freq_base", 10000.0f},
                                                   {"llama.vocab_size", number(kVocab)},
                                                   {"tokenizer.ggml.model", std::string("no_vocab")}};
  formats::WriteGguf(path, entries, nullptr, tensors);
}

int Run(int argc, char** argv) {
  CLI::App app("Times a language model in a GGUF file.");
  app.require_subcommand(1);
  SpeedOptions speed;
  auto* speed_command = app.add_subcommand("speed", "tokens a second");
  speed_command->add_option("model", speed.model)->required();
  speed_command->add_option("--threads", speed.threads);
  speed_command->add_option("--prompt", speed.prompt)->check(CLI::Range(1, 100000));
  speed_command->add_option("--decode", speed.decode)->check(CLI::Range(1, 100000));
  speed_command->add_flag("--cpu-time", uses_cpu_time);
  speed_command->add_option("--rounds", speed.rounds)->check(CLI::Range(1, 1000));
  std::string model, ids, out, type = "q4_0";
  auto* logits_command = app.add_subcommand("logits", "logits of lines of token ids");
  logits_command->add_option("model", model)->required();
  logits_command->add_option("ids", ids)->required();
  logits_command->add_option("out", out)->required();
  bool is_plain = false;
  logits_command->add_flag("--plain", is_plain);
  auto* make_command = app.add_subcommand("make", "a model of seeded weights");
  make_command->add_option("out", out)->required();
  make_command->add_option("--type", type);
  CLI11_PARSE(app, argc, argv);
  if (*speed_command) Speed(speed);
  if (*logits_command) Logits(model, ids, out, is_plain);
  if (*make_command) Make(out, type);
  return 0;
}

}  // namespace
}  // namespace fovea

int main(int argc, char** argv) {
  try {
    return fovea::Run(argc, argv);
  } catch (const fovea::Error& error) {
    std::cerr << "gguf_bench: " << error.what() << "\n";
    return 1;
  }
}
