// The linear layer on panels with Highway. One tile of results, up to kMostRows rows and one panel wide, stays in
// registers over a whole block of inputs. Rows are copied with a stride that is no power of two: rows of 4096 bytes
// would all fall into the same few lines of the first-level cache.
#include "kernels/matmul/panels.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul/panels_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/activation/activation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64  // 32 registers, a second-level cache of a MiB or more
constexpr int64_t kMostRows = 14;
constexpr int64_t kChunkBytes = 640 << 10;
#else
constexpr int64_t kMostRows = 6;
constexpr int64_t kChunkBytes = 192 << 10;
#endif
constexpr int64_t kPanelVectors = 2;
constexpr int64_t kMostInputs = 1024;  // of a block
constexpr int64_t kRowStride =
    kMostInputs + 16;                       // of copied rows; known to the compiler, so that one pointer serves all
constexpr int64_t kWorthAThread = 1 << 18;  // multiplications
constexpr int64_t kLineBytes = 64;

HWY_INLINE int64_t PanelWidth() { return kPanelVectors * static_cast<int64_t>(hn::Lanes(TagF32())); }
HWY_INLINE int64_t DivideUp(int64_t n, int64_t by) { return (n + by - 1) / by; }

// Memory that will be read soon.
struct Ahead {
  const uint8_t* from = nullptr;
  const uint8_t* end = nullptr;
  HWY_INLINE void Fetch() {
    if (from >= end) return;
    __builtin_prefetch(from, 0, 2);
    __builtin_prefetch(from + kLineBytes, 0, 2);
    from += 2 * kLineBytes;
  }
};

// c [kRows, width] = a [kRows, steps] b [steps, width], or += when `adds`. Rows of a are kRowStride apart.
template <int64_t kRows, typename T>
void MultiplyTile(const float* a, const T* b, int64_t steps, bool adds, float* c, int64_t c_row, Ahead ahead) {
  const TagF32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VecF32 left[kRows], right[kRows];
#pragma GCC unroll 14
  for (int64_t r = 0; r < kRows; ++r) {
    left[r] = adds ? hn::LoadU(d, c + r * c_row) : hn::Zero(d);
    right[r] = adds ? hn::LoadU(d, c + r * c_row + lanes) : hn::Zero(d);
  }
  for (int64_t step = 0; step < steps; ++step) {
    ahead.Fetch();
    const VecF32 b_left = LoadF32(d, b), b_right = LoadF32(d, b + lanes);
#pragma GCC unroll 14
    for (int64_t r = 0; r < kRows; ++r) {
      const VecF32 factor = hn::Set(d, a[r * kRowStride]);
      left[r] = hn::MulAdd(factor, b_left, left[r]);
      right[r] = hn::MulAdd(factor, b_right, right[r]);
    }
    ++a;
    b += kPanelVectors * lanes;
  }
#pragma GCC unroll 14
  for (int64_t r = 0; r < kRows; ++r) {
    hn::StoreU(left[r], d, c + r * c_row);
    hn::StoreU(right[r], d, c + r * c_row + lanes);
  }
}

template <typename T>
using TileFunction = void (*)(const float*, const T*, int64_t, bool, float*, int64_t, Ahead);

template <typename T, size_t... kIndex>
constexpr std::array<TileFunction<T>, sizeof...(kIndex)> TileFunctions(std::index_sequence<kIndex...>) {
  return {&MultiplyTile<static_cast<int64_t>(kIndex) + 1, T>...};
}

// Everything one call works on.
struct Call {
  const Tensor& x;
  const PanelWeight& weight;
  const float* bias;
  Act act;
  Tensor& y;

  int64_t rows() const { return x.shape()[0]; }
  int64_t panels() const { return DivideUp(weight.out_features, weight.width); }
  int64_t Inputs(int64_t block) const { return std::min(weight.block, weight.in_features - block * weight.block); }
  template <typename T>
  const T* Panel(int64_t block, int64_t panel) const {
    const int64_t before = panels() * weight.width * block * weight.block;
    return weight.data.data<T>() + before + panel * weight.width * Inputs(block);
  }
};

// Memory of one thread.
struct Scratch {
  Tensor rows, widened, edge;
  Scratch(const Call& call, int64_t chunk)
      : rows(Tensor::Empty({chunk, kRowStride})),
        widened(Tensor::Empty({call.weight.block, call.weight.width})),
        edge(Tensor::Empty({kMostRows, call.weight.width})) {}
};

// The rows of x that are in `scratch`, [first, first + count), and the block of inputs that was copied.
struct Chunk {
  int64_t first, count, block, inputs;
  bool is_last_block;
};

// bias and activation on results [rows, columns] of one panel.
HWY_INLINE void Finish(const Call& call, float* c, int64_t rows, int64_t first_output, int64_t columns) {
  WithFunction(call.act, [&](const auto& function) {
    for (int64_t r = 0; r < rows; ++r) {
      float* row = c + r * call.weight.out_features;
      ForEachVector(columns, [&](auto io, int64_t at) {
        VecF32 sum = io.Load(row + at);
        if (call.bias != nullptr) sum = hn::Add(sum, io.Load(call.bias + first_output + at));
        io.Store(function.Value(io.d, sum), row + at);
      });
    }
  });
}

// One panel for all rows of the chunk. `ahead`: the panel that follows.
template <typename T>
void MultiplyPanel(const Call& call, const Chunk& chunk, int64_t panel, const T* b, Ahead ahead,
                   const Scratch& scratch) {
  constexpr auto kFunctions = TileFunctions<T>(std::make_index_sequence<kMostRows>());
  const int64_t O = call.weight.out_features, width = call.weight.width, first_output = panel * width;
  const int64_t columns = std::min(width, O - first_output);
  const int64_t tiles = DivideUp(chunk.count, kMostRows), ahead_bytes = ahead.end - ahead.from;
  const auto share = [&](int64_t i) { return DivideUp(ahead_bytes * i / tiles, 2 * kLineBytes) * 2 * kLineBytes; };
  float* edge = scratch.edge.template mutable_data<float>();
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t begin = chunk.count * i / tiles, rows = chunk.count * (i + 1) / tiles - begin;
    float* c = call.y.template mutable_data<float>() + (chunk.first + begin) * O + first_output;
    const Ahead part = {ahead.from + share(i), std::min(ahead.from + share(i + 1), ahead.end)};
    const float* a = scratch.rows.template data<float>() + begin * kRowStride;
    const bool adds = chunk.block > 0;
    const auto multiply = kFunctions[static_cast<size_t>(rows - 1)];
    if (columns == width) {
      multiply(a, b, chunk.inputs, adds, c, O, part);
    } else {  // the last panel reaches past the end of the rows of y
      const auto copy = [&](float* to, int64_t to_row, const float* from, int64_t from_row) {
        for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * from_row, columns, to + r * to_row);
      };
      std::fill_n(edge, kMostRows * width, 0.0f);
      if (adds) copy(edge, width, c, O);
      multiply(a, b, chunk.inputs, adds, edge, width, part);
      copy(c, O, edge, width);
    }
    if (chunk.is_last_block) Finish(call, c, rows, first_output, columns);
  }
}

void CopyRows(const Call& call, const Chunk& chunk, const Scratch& scratch) {
  const int64_t I = call.weight.in_features;
  for (int64_t r = 0; r < chunk.count; ++r) {
    std::copy_n(call.x.data<float>() + (chunk.first + r) * I + chunk.block * call.weight.block, chunk.inputs,
                scratch.rows.mutable_data<float>() + r * kRowStride);
  }
}

// Panels [begin, end) for the rows of the chunk.
template <typename T>
void MultiplyChunk(const Call& call, const Chunk& chunk, int64_t begin, int64_t end, const Scratch& scratch) {
  CopyRows(call, chunk, scratch);
  const int64_t count = chunk.inputs * call.weight.width;
  for (int64_t panel = begin; panel < end; ++panel) {
    Ahead ahead;
    if (panel + 1 < end || !chunk.is_last_block) {
      const T* next = panel + 1 < end ? call.Panel<T>(chunk.block, panel + 1) : call.Panel<T>(chunk.block + 1, begin);
      ahead.from = reinterpret_cast<const uint8_t*>(next);
      ahead.end = ahead.from + (panel + 1 < end ? count : call.Inputs(chunk.block + 1) * call.weight.width) * sizeof(T);
    }
    const T* b = call.Panel<T>(chunk.block, panel);
    if constexpr (std::is_same_v<T, BF16>) {
      if (chunk.count > 2 * kMostRows) {  // widened once for all tiles
        float* wide = scratch.widened.template mutable_data<float>();
        ForEachVector(count, [&](auto io, int64_t at) { io.Store(io.Load(b + at), wide + at); });
        MultiplyPanel<float>(call, chunk, panel, wide, ahead, scratch);
        continue;
      }
    }
    MultiplyPanel<T>(call, chunk, panel, b, ahead, scratch);
  }
}

// Panels [begin, end) for rows [first, last).
template <typename T>
void MultiplyPart(const Call& call, int64_t first, int64_t last, int64_t begin, int64_t end) {
  const int64_t most = std::max(kMostRows, kChunkBytes / (call.weight.block * static_cast<int64_t>(sizeof(float))));
  const int64_t chunks = DivideUp(last - first, most), blocks = DivideUp(call.weight.in_features, call.weight.block);
  const Scratch scratch(call, DivideUp(last - first, chunks));
  for (int64_t i = 0; i < chunks; ++i) {
    const int64_t chunk_first = first + (last - first) * i / chunks,
                  chunk_last = first + (last - first) * (i + 1) / chunks;
    for (int64_t block = 0; block < blocks; ++block) {
      const Chunk chunk = {chunk_first, chunk_last - chunk_first, block, call.Inputs(block), block + 1 == blocks};
      MultiplyChunk<T>(call, chunk, begin, end, scratch);
    }
  }
}

// Threads take panels; where there are too few of them for even shares, rows are cut into parts too.
template <typename T>
void MultiplyAll(const Call& call) {
  const int64_t panels = call.panels(), rows = call.rows(), threads = base::MaxThreads();
  int64_t parts = 1;
  while (panels * parts < 4 * threads && rows >= 4 * kMostRows * parts) parts *= 2;
  const int64_t work = DivideUp(rows, parts) * call.weight.in_features * call.weight.width;
  base::ParallelFor(parts * panels, std::max<int64_t>(1, kWorthAThread / work), [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t part = begin / panels, stop = std::min(end, (part + 1) * panels);
      MultiplyPart<T>(call, rows * part / parts, rows * (part + 1) / parts, begin - part * panels,
                      stop - part * panels);
      begin = stop;
    }
  });
}

void MultiplyPanels(const Tensor& x, const PanelWeight& weight, const Tensor& bias, Act act, Tensor& y) {
  const Call call{x, weight, bias.defined() ? bias.data<float>() : nullptr, act, y};
  if (weight.data.dtype() == DType::kBF16) {
    MultiplyAll<BF16>(call);
  } else {
    MultiplyAll<float>(call);
  }
}

template <typename T>
void FillPanels(const Tensor& weight, PanelWeight& to) {
  const int64_t O = to.out_features, I = to.in_features, width = to.width, panels = DivideUp(O, width);
  base::ParallelFor(panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      for (int64_t first = 0; first < I; first += to.block) {
        const int64_t inputs = std::min(to.block, I - first);
        T* out = to.data.mutable_data<T>() + panels * width * first + panel * width * inputs;
        for (int64_t o = 0; o < width; ++o) {
          const T* from = weight.data<T>() + (panel * width + o) * I + first;
          const bool exists = panel * width + o < O;
          for (int64_t i = 0; i < inputs; ++i) out[i * width + o] = exists ? from[i] : T(0.0f);
        }
      }
    }
  });
}

void LayOutPanels(const Tensor& weight, PanelWeight& to) {
  to.width = PanelWidth();
  const int64_t blocks = DivideUp(to.in_features, kMostInputs);
  to.block = DivideUp(to.in_features, blocks);
  to.data = Tensor::Empty({DivideUp(to.out_features, to.width) * to.width * to.in_features}, weight.dtype());
  if (weight.dtype() == DType::kBF16) {
    FillPanels<BF16>(weight, to);
  } else {
    FillPanels<float>(weight, to);
  }
}

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(LayOutPanels);
HWY_EXPORT(MultiplyPanels);

PanelWeight PackPanels(const Tensor& weight) {
  PanelWeight panels{.out_features = weight.dim(0), .in_features = weight.dim(1)};
  FOVEA_DISPATCH(LayOutPanels)(weight, panels);
  return panels;
}

void PanelLinear(const Tensor& x, const PanelWeight& weight, const Tensor& bias, Act act, Tensor& y) {
  FOVEA_DISPATCH(MultiplyPanels)(x, weight, bias, act, y);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
