// The linear layer on oneDNN's inner_product: bias and activation are applied while the result is still in cache, and
// the compiled primitive is kept.
#include <mutex>
#include <string_view>

#include "base/error.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/panels.h"
#include "kernels/onednn.h"

namespace fovea::kernels {
namespace {

using dnnl::memory;
constexpr char kWho[] = "linear";
// Rows for which a weight's layout is chosen; it serves any number of rows.
constexpr int64_t kTypicalRows = 128;
// Rows from which products are the cost, not reading the weight.
constexpr int64_t kWorthRounding = 8;

struct LinearPrimitive {
  dnnl::inner_product_forward primitive;
  memory::desc source, weight, bias, result, scratchpad;
  bool is_generic;  // oneDNN found no kernel made for this layout
};

struct Problem {
  int64_t rows, in_features, out_features;
  memory::data_type type;
  bool has_bias;
  Act act;
  memory::data_type result_type = type;
};

dnnl::inner_product_forward::primitive_desc DescribeLinear(const Problem& p, const memory::desc& weight) {
  const memory::desc source({p.rows, p.in_features}, p.type, memory::format_tag::ab);
  const memory::desc result({p.rows, p.out_features}, p.result_type, memory::format_tag::ab);
  const memory::desc bias({p.out_features}, memory::data_type::f32, memory::format_tag::a);
  dnnl::primitive_attr attr = UserScratchpad();
  dnnl::post_ops post_ops;
  AppendActivation(p.act, post_ops);
  attr.set_post_ops(post_ops);
  const auto kind = dnnl::prop_kind::forward_inference;
  const auto desc = p.has_bias ? dnnl::inner_product_forward::desc(kind, source, weight, bias, result)
                               : dnnl::inner_product_forward::desc(kind, source, weight, result);
  return {desc, attr, Engine()};
}

bool IsGeneric(const dnnl::inner_product_forward::primitive_desc& desc) {
  return std::string_view(desc.impl_info_str()).find("ref") != std::string_view::npos;
}

LinearPrimitive MakeLinear(const Problem& p, const memory::desc& weight) {
  return GuardOneDnn(kWho, [&] {
    const auto desc = DescribeLinear(p, weight);
    return LinearPrimitive{dnnl::inner_product_forward(desc),
                           desc.src_desc(),
                           desc.weights_desc(),
                           desc.bias_desc(),
                           desc.dst_desc(),
                           desc.scratchpad_desc(),
                           IsGeneric(desc)};
  });
}

memory::desc PlainWeight(int64_t out_features, int64_t in_features, memory::data_type type) {
  return memory::desc({out_features, in_features}, type, memory::format_tag::ab);
}

// The problem and the exact layout of the weight.
ProblemKey MakeKey(const Problem& p, const memory::desc& weight) {
  std::vector<int64_t> parts = {p.rows,
                                p.in_features,
                                p.out_features,
                                static_cast<int64_t>(p.type),
                                p.has_bias,
                                static_cast<int64_t>(p.act),
                                static_cast<int64_t>(p.result_type)};
  const dnnl_blocking_desc_t& blocks = weight.data.format_desc.blocking;
  for (int axis = 0; axis < 2; ++axis) {
    parts.push_back(blocks.strides[axis]);
    parts.push_back(weight.data.padded_dims[axis]);
  }
  for (int block = 0; block < blocks.inner_nblks; ++block) {
    parts.push_back(blocks.inner_blks[block]);
    parts.push_back(blocks.inner_idxs[block]);
  }
  return ProblemKey(std::move(parts));
}

std::shared_ptr<const LinearPrimitive> CachedLinear(const Problem& p, const memory::desc& weight) {
  static auto& cache = *new PrimitiveCache<ProblemKey, LinearPrimitive>;
  return cache.Get(MakeKey(p, weight), [&] { return MakeLinear(p, weight); });
}

void Execute(const LinearPrimitive& linear, const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y) {
  GuardOneDnn(kWho, [&] {
    std::unordered_map<int, memory> arguments = {{DNNL_ARG_SRC, OneDnnMemory(linear.source, x.raw())},
                                                 {DNNL_ARG_WEIGHTS, OneDnnMemory(linear.weight, weight.raw())},
                                                 {DNNL_ARG_DST, OneDnnMemory(linear.result, y.mutable_raw())},
                                                 {DNNL_ARG_SCRATCHPAD, Scratchpad(linear.scratchpad)}};
    if (bias.defined()) arguments.emplace(DNNL_ARG_BIAS, OneDnnMemory(linear.bias, bias.raw()));
    linear.primitive.execute(Stream(), arguments);
    Stream().wait();
  });
}

DType ComputeType(DType dtype) { return dtype == DType::kBF16 && PrefersBf16() ? DType::kBF16 : DType::kF32; }

// Runs with operands of the compute type on a weight in PyTorch order.
void RunPlain(const Tensor& x, const Tensor& weight, const Tensor& bias, Act act, Tensor& y) {
  const DType compute = ComputeType(x.dtype());
  const Tensor added = bias.defined() ? bias.To(DType::kF32) : bias;
  Tensor result = y.dtype() == compute ? y : Tensor::Empty(y.shape(), compute);
  const Problem problem{x.dim(0), x.dim(1), y.dim(1), OneDnnType(compute), bias.defined(), act};
  const memory::desc layout = PlainWeight(problem.out_features, problem.in_features, problem.type);
  Execute(*CachedLinear(problem, layout), x.To(compute), weight.To(compute), added, result);
  if (y.dtype() != compute) y.CopyFrom(result.To(y.dtype()));
}

}  // namespace

// Each form is made when it is first used.
struct PackedLinear::State {
  Tensor weight;
  bool rounds_inputs = false;
  std::once_flag once_panels, once_blocks;
  PanelWeight panels;
  Tensor blocks;  // bf16 in oneDNN's layout, plain when it has no kernel for that
  memory::desc desc;

  const PanelWeight& Panels() {
    std::call_once(once_panels, [&] { panels = PackPanels(weight); });
    return panels;
  }

  void MakeBlocks() {
    const Tensor converted = weight.To(DType::kBF16);
    const Problem problem{kTypicalRows, weight.dim(1), weight.dim(0), memory::data_type::bf16, true, Act::kIdentity};
    GuardOneDnn(kWho, [&] {
      const memory::desc plain = PlainWeight(weight.dim(0), weight.dim(1), problem.type);
      const auto preferred =
          DescribeLinear(problem, memory::desc({weight.dim(0), weight.dim(1)}, problem.type, memory::format_tag::any));
      desc = IsGeneric(preferred) ? plain : preferred.weights_desc();
      if (desc == plain) {
        blocks = converted;
        return;
      }
      blocks = Tensor::Empty({static_cast<int64_t>(desc.get_size())}, DType::kU8);
      memory from = OneDnnMemory(plain, converted.raw()), to = OneDnnMemory(desc, blocks.mutable_raw());
      dnnl::reorder(from, to).execute(Stream(), from, to);
      Stream().wait();
    });
  }

  // False when oneDNN has no fast kernel for this number of rows.
  bool RunBf16(const Tensor& x, const Tensor& bias, Act act, Tensor& y) {
    std::call_once(once_blocks, [&] { MakeBlocks(); });
    const Problem problem{
        x.dim(0), x.dim(1), y.dim(1), memory::data_type::bf16, bias.defined(), act, OneDnnType(y.dtype())};
    const auto linear = CachedLinear(problem, desc);
    if (linear->is_generic) return false;
    Execute(*linear, x, blocks, bias.defined() ? bias.To(DType::kF32) : bias, y);
    return true;
  }
};

PackedLinear::PackedLinear(const Tensor& weight, bool rounds_inputs) : state_(std::make_shared<State>()) {
  Require(weight.rank() == 2 && (weight.dtype() == DType::kF32 || weight.dtype() == DType::kBF16),
          "[linear] expected an f32 or bf16 weight [O,I], got ", weight.dtype(), weight.shape());
  state_->weight = weight.Contiguous();
  state_->rounds_inputs = rounds_inputs;
}

const Tensor& PackedLinear::weight() const {
  Require(state_ != nullptr, "[linear] expected a weight, got none");
  return state_->weight;
}

void Linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Act act, Tensor& y) {
  if (y.numel() == 0 || x.dim(1) == 0) return ref::Linear(x, weight, bias, act, y);
  RunPlain(x, weight, bias, act, y);
}

bool LinearInBf16(const Tensor& x, const PackedLinear& weight, const Tensor& bias, Act act, Tensor& y) {
  return HasNativeBf16() && weight.state_->RunBf16(x, bias, act, y);
}

void Linear(const Tensor& x, const PackedLinear& weight, const Tensor& bias, Act act, Tensor& y) {
  if (y.numel() == 0 || x.dim(1) == 0) return ref::Linear(x, weight.weight(), bias, act, y);
  PackedLinear::State& state = *weight.state_;
  const bool rounds = x.dtype() == DType::kBF16 || (state.rounds_inputs && x.dim(0) >= kWorthRounding);
  if (rounds && PrefersBf16() && LinearInBf16(x.To(DType::kBF16), weight, bias, act, y)) return;
  const Tensor added = bias.defined() ? bias.To(DType::kF32) : bias;
  Tensor result = y.dtype() == DType::kF32 ? y : Tensor::Empty(y.shape());
  PanelLinear(x.To(DType::kF32), state.Panels(), added, act, result);
  if (y.dtype() != DType::kF32) y.CopyFrom(result.To(y.dtype()));
}

}  // namespace fovea::kernels
