#include "runtime/request_cost.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/parallel.h"
#include "nn/parameter.h"
#include "ops/matmul.h"

namespace fovea::runtime {
namespace {

template <typename Function>
void ForEach(const models::Model& network, Function&& function) {
  nn::ForEachParameter(const_cast<models::Model&>(network),
                       [&](const std::string&, nn::Parameter& parameter) { function(parameter); });
}

bool IsWordTable(const models::DecoderSpec& spec, const Shape& shape) {
  return shape.rank() == 2 && shape[0] == spec.vocab && shape[1] == spec.hidden_size;
}

// Bytes of a parameter where it is multiplied with.
int64_t ComputeBytes(const nn::Parameter& parameter) {
  if (parameter.blocks() != nullptr || !parameter.is_packed()) return parameter.size_bytes();
  return parameter.shape().numel() * (parameter.rounds_inputs() ? 2 : 4);
}

// What one token of the decoder is multiplied with. A word table alone is the head too.
struct Work {
  int64_t elements = 0, bytes = 0;
};
Work WorkOf(const models::Model& network) {
  const models::DecoderSpec spec = network.Decoder();
  Work work, table;
  int tables = 0;
  ForEach(network, [&](const nn::Parameter& parameter) {
    const Work one{parameter.shape().numel(), ComputeBytes(parameter)};
    if (IsWordTable(spec, parameter.shape())) {
      ++tables;
      table = one;
    } else if (parameter.shape().rank() >= 2) {
      work.elements += one.elements;
      work.bytes += one.bytes;
    }
  });
  if (tables > 0) {
    work.elements += table.elements;
    work.bytes += table.bytes;
  }
  return work;
}

template <typename Action>
double SecondsOf(Action&& action) {
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const auto start = std::chrono::steady_clock::now();
    action();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// Multiplications and additions a second of products like those of a prompt.
double OperationsPerSecond() {
  static const double rate = [] {
    constexpr int64_t kRows = 256, kSize = 768;
    const Tensor x = Tensor::Zeros({kRows, kSize}), weight = Tensor::Zeros({kSize, kSize});
    return 2.0 * kRows * kSize * kSize / SecondsOf([&] { MatMul(x, weight); });
  }();
  return rate;
}

// Bytes a second that all threads read from memory.
double BytesPerSecond() {
  static const double rate = [] {
    const std::vector<uint64_t> buffer(size_t{4} << 20, 1);
    std::vector<uint64_t> sums(64, 0);
    const double seconds = SecondsOf([&] {
      base::ParallelFor(64, 1, [&](int64_t begin, int64_t end) {
        const size_t part = buffer.size() / 64;
        for (int64_t k = begin; k < end; ++k) {
          uint64_t sum = 0;
          for (size_t i = 0; i < part; ++i) sum += buffer[static_cast<size_t>(k) * part + i];
          sums[static_cast<size_t>(k)] += sum;
        }
      });
    });
    volatile uint64_t kept = sums[0];
    (void)kept;
    return static_cast<double>(buffer.size() * sizeof(uint64_t)) / seconds;
  }();
  return rate;
}

}  // namespace

int64_t WeightBytes(const models::Model& network) {
  const models::DecoderSpec spec = network.CanDecode() ? network.Decoder() : models::DecoderSpec{};
  int64_t bytes = 0, table = 0;
  int tables = 0;
  ForEach(network, [&](const nn::Parameter& parameter) {
    bytes += ComputeBytes(parameter);
    if (!IsWordTable(spec, parameter.shape())) return;
    ++tables;
    // A table that is the head too is read by rows and packed for products.
    table = parameter.blocks() != nullptr || parameter.is_packed() ? 0 : parameter.shape().numel() * 4;
  });
  return bytes + (tables == 1 ? table : 0);
}

int64_t CacheBytes(const models::DecoderSpec& spec, int64_t tokens, int64_t element_bytes) {
  const int64_t heads = spec.layers * spec.kv_heads;
  const int64_t scales = element_bytes == 1 ? 2 * 4 : 0;
  return tokens * heads * ((spec.key_dim + spec.value_dim) * element_bytes + scales);
}

int64_t ActivationBytes(const models::Model& network, int64_t rows) {
  const models::DecoderSpec spec = network.Decoder();
  int64_t widest = spec.hidden_size;
  ForEach(network, [&](const nn::Parameter& parameter) {
    const Shape& shape = parameter.shape();
    if (shape.rank() == 2 && shape[0] != spec.vocab && shape[1] != spec.vocab)
      widest = std::max({widest, shape[0], shape[1]});
  });
  // Of a layer: its input, what attention reads and writes, and three tensors as wide as the widest matrix. Of one
  // token: its scores, twice, and the list from which one is drawn (16 bytes each).
  return rows * 4 * (6 * spec.hidden_size + 3 * widest) + spec.vocab * (2 * 4 + 16);
}

double ReadSeconds(const models::Model& network, int64_t tokens) {
  return 2.0 * static_cast<double>(WorkOf(network).elements * tokens) / OperationsPerSecond();
}

double WriteSeconds(const models::Model& network) {
  return static_cast<double>(WorkOf(network).bytes) / BytesPerSecond();
}

}  // namespace fovea::runtime
