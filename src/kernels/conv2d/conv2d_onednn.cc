// Convolution by oneDNN.
//
// Pictures stay NHWC in memory (oneDNN reads it natively: measured faster here than its blocked layouts), weights go
// into whatever layout the chosen primitive prefers. Primitives are cached by problem; PackedConv2d also keeps the
// reordered weights, of which there are as many as layouts were asked for (one, in practice: the layout depends on the
// processor, hardly on the picture's size).
#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/onednn.h"

namespace fovea::kernels {
namespace {

using dnnl::memory;

enum class Pass : int64_t { kForward, kBackwardData, kBackwardWeights };

// One convolution as numbers: sizes of the picture, the result and the weights, and everything else that chooses code.
struct Problem {
  Shape x, w, y;
  DType dtype;  // of what goes in
  DType out;    // of what comes out: that, or f32 where bf16 goes in
  Conv2dGeometry geometry;
  bool has_bias;
  Act act;

  ProblemKey Key(Pass pass) const {
    std::vector<int64_t> parts(x.begin(), x.end());
    parts.insert(parts.end(), w.begin(), w.end());
    parts.insert(parts.end(), y.begin(), y.end());
    const Conv2dGeometry& g = geometry;
    for (const int64_t part : {g.stride_y, g.stride_x, g.pad_top, g.pad_left, g.pad_bottom, g.pad_right, g.dilation_y,
                               g.dilation_x, g.groups, static_cast<int64_t>(dtype), static_cast<int64_t>(out),
                               static_cast<int64_t>(has_bias), static_cast<int64_t>(act), static_cast<int64_t>(pass)}) {
      parts.push_back(part);
    }
    return ProblemKey(std::move(parts));
  }
};

// A compiled primitive and the layouts it works in.
struct Compiled {
  dnnl::primitive primitive;
  memory::desc src, weights, dst, scratchpad;
};

memory::dims Nchw(const Shape& nhwc) { return {nhwc[0], nhwc[3], nhwc[1], nhwc[2]}; }

// Weights as oneDNN names them: [O,I,J,K], or [G,O/G,I/G,J,K] when grouped. Same order in memory.
memory::dims WeightDims(const Problem& problem) {
  const int64_t groups = problem.geometry.groups;
  if (groups == 1) return {problem.w[0], problem.w[1], problem.w[2], problem.w[3]};
  return {groups, problem.w[0] / groups, problem.w[1], problem.w[2], problem.w[3]};
}

memory::desc PlainWeights(const Problem& problem, DType dtype) {
  const auto tag = problem.geometry.groups == 1 ? memory::format_tag::oihw : memory::format_tag::goihw;
  return memory::desc(WeightDims(problem), OneDnnType(dtype), tag);
}

// The same dims in a layout of oneDNN's choice.
memory::desc AnyLayout(const memory::desc& plain) {
  return memory::desc(plain.dims(), plain.data_type(), memory::format_tag::any);
}

memory::desc Nhwc(const Shape& shape, DType dtype) {
  return memory::desc(Nchw(shape), OneDnnType(dtype), memory::format_tag::nhwc);
}

// oneDNN has fast code for almost every problem in NHWC; for a few gradients it has only its reference loops there and
// fast code in blocked layouts. Then reorders on both sides cost far less than the reference.
template <typename MakePrimitiveDesc>
auto PickLayout(MakePrimitiveDesc&& make) -> decltype(make(true)) {
  auto in_nhwc = make(true);
  if (std::string_view(in_nhwc.impl_info_str()).find("ref") == std::string_view::npos) return in_nhwc;
  auto in_any = make(false);
  return std::string_view(in_any.impl_info_str()).find("ref") == std::string_view::npos ? in_any : in_nhwc;
}

struct ConvArguments {
  memory::desc src, weights, bias, dst;
  memory::dims strides, dilations, pad_before, pad_after;
};

ConvArguments Arguments(const Problem& problem, Pass pass, bool is_nhwc) {
  const Conv2dGeometry& g = problem.geometry;
  const auto type = [&](Pass made_by) { return pass == made_by ? problem.out : problem.dtype; };
  const memory::desc src = Nhwc(problem.x, type(Pass::kBackwardData)), dst = Nhwc(problem.y, type(Pass::kForward));
  return {.src = is_nhwc ? src : AnyLayout(src),
          .weights = AnyLayout(PlainWeights(problem, type(Pass::kBackwardWeights))),
          .bias = problem.has_bias ? memory::desc({problem.y[3]}, OneDnnType(problem.out), memory::format_tag::x)
                                   : memory::desc(),
          .dst = is_nhwc ? dst : AnyLayout(dst),
          .strides = {g.stride_y, g.stride_x},
          .dilations = {g.dilation_y - 1, g.dilation_x - 1},
          .pad_before = {g.pad_top, g.pad_left},
          .pad_after = {g.pad_bottom, g.pad_right}};
}

dnnl::convolution_forward::primitive_desc ForwardDesc(const Problem& problem, bool is_nhwc) {
  const ConvArguments a = Arguments(problem, Pass::kForward, is_nhwc);
  const dnnl::convolution_forward::desc desc(dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct,
                                             a.src, a.weights, a.bias, a.dst, a.strides, a.dilations, a.pad_before,
                                             a.pad_after);
  dnnl::primitive_attr attr = UserScratchpad();
  dnnl::post_ops post_ops;
  AppendActivation(problem.act, post_ops);
  attr.set_post_ops(post_ops);
  return {desc, attr, Engine()};
}

Compiled Compile(const Problem& problem, Pass pass) {
  Problem hint = problem;
  if (pass != Pass::kForward) hint.out = problem.dtype;
  const auto forward = PickLayout([&](bool is_nhwc) { return ForwardDesc(hint, is_nhwc); });
  if (pass == Pass::kForward) {
    return {dnnl::convolution_forward(forward), forward.src_desc(), forward.weights_desc(), forward.dst_desc(),
            forward.scratchpad_desc()};
  }
  if (pass == Pass::kBackwardData) {
    const auto desc = PickLayout([&](bool is_nhwc) {
      const ConvArguments a = Arguments(problem, pass, is_nhwc);
      const dnnl::convolution_backward_data::desc backward(dnnl::algorithm::convolution_direct, a.src, a.weights, a.dst,
                                                           a.strides, a.dilations, a.pad_before, a.pad_after);
      return dnnl::convolution_backward_data::primitive_desc(backward, UserScratchpad(), Engine(), forward);
    });
    return {dnnl::convolution_backward_data(desc), desc.diff_src_desc(), desc.weights_desc(), desc.diff_dst_desc(),
            desc.scratchpad_desc()};
  }
  const auto desc = PickLayout([&](bool is_nhwc) {
    const ConvArguments a = Arguments(problem, pass, is_nhwc);
    const dnnl::convolution_backward_weights::desc backward(dnnl::algorithm::convolution_direct, a.src, a.weights,
                                                            a.bias, a.dst, a.strides, a.dilations, a.pad_before,
                                                            a.pad_after);
    return dnnl::convolution_backward_weights::primitive_desc(backward, UserScratchpad(), Engine(), forward);
  });
  return {dnnl::convolution_backward_weights(desc), desc.src_desc(), desc.diff_weights_desc(), desc.diff_dst_desc(),
          desc.scratchpad_desc()};
}

std::shared_ptr<const Compiled> GetCompiled(const Problem& problem, Pass pass) {
  static auto& cache = *new PrimitiveCache<ProblemKey, Compiled>;
  return cache.Get(problem.Key(pass), [&] { return Compile(problem, pass); });
}

// Memory in the layout a primitive wants: the caller's own when it is that already, else a buffer of ours.
class Operand {
 public:
  Operand(const memory::desc& given, const void* data, const memory::desc& wanted)
      : given_(OneDnnMemory(given, data)), used_(given_) {
    if (given == wanted) return;
    buffer_ = Tensor::Empty({static_cast<int64_t>(wanted.get_size())}, DType::kU8);
    used_ = OneDnnMemory(wanted, buffer_.raw());
  }
  memory& ToUsed() {
    if (buffer_.defined()) dnnl::reorder(given_, used_).execute(Stream(), given_, used_);
    return used_;
  }
  memory& used() { return used_; }
  void FromUsed() {
    if (buffer_.defined()) dnnl::reorder(used_, given_).execute(Stream(), used_, given_);
  }
  const Tensor& buffer() const { return buffer_; }

 private:
  memory given_, used_;
  Tensor buffer_;
};

void Execute(const Compiled& compiled, std::unordered_map<int, memory> arguments) {
  arguments.emplace(DNNL_ARG_SCRATCHPAD, Scratchpad(compiled.scratchpad));
  compiled.primitive.execute(Stream(), arguments);
}

// Types that oneDNN cannot compute in on this processor go through f32.
bool NeedsF32(DType dtype) { return dtype == DType::kBF16 && !PrefersBf16(); }

Tensor AsF32(const Tensor& tensor) { return tensor.defined() ? tensor.To(DType::kF32) : tensor; }

void StoreConverted(const Tensor& from, Tensor& into) {
  if (into.defined()) into.CopyFrom(from.To(into.dtype()));
}

}  // namespace

struct PackedConv2d::State {
  Tensor weight, bias;
  Conv2dGeometry geometry;
  Act act;
  std::mutex mutex;
  std::vector<std::pair<memory::desc, Tensor>> packed;  // by layout

  // Weights in `wanted` layout, reordered at the first request.
  const void* Packed(const memory::desc& plain, const memory::desc& wanted) {
    if (plain == wanted) return weight.raw();
    const std::lock_guard<std::mutex> lock(mutex);
    for (const auto& [layout, tensor] : packed) {
      if (layout == wanted) return tensor.raw();
    }
    Operand operand(plain, weight.raw(), wanted);
    operand.ToUsed();
    Stream().wait();
    packed.emplace_back(wanted, operand.buffer());
    return packed.back().second.raw();
  }
};

PackedConv2d::PackedConv2d(Tensor weight, Tensor bias, const Conv2dGeometry& geometry, Act act)
    : state_(std::make_unique<State>()) {
  const bool is_wide = NeedsF32(weight.dtype());
  state_->weight = is_wide ? AsF32(weight) : std::move(weight);
  state_->bias = is_wide ? AsF32(bias) : std::move(bias);
  state_->geometry = geometry;
  state_->act = act;
}

PackedConv2d::~PackedConv2d() = default;

const Conv2dGeometry& PackedConv2d::geometry() const { return state_->geometry; }

void PackedConv2d::Run(const Tensor& x, Tensor& y) const {
  if (NeedsF32(x.dtype())) {
    Tensor wide = Tensor::Empty(y.shape());
    Run(AsF32(x), wide);
    return StoreConverted(wide, y);
  }
  const Tensor& bias = state_->bias;
  const Problem problem{x.shape(), state_->weight.shape(), y.shape(),      x.dtype(),
                        y.dtype(), state_->geometry,       bias.defined(), state_->act};
  GuardOneDnn("conv2d", [&] {
    const auto compiled = GetCompiled(problem, Pass::kForward);
    const void* weights = state_->Packed(PlainWeights(problem, x.dtype()), compiled->weights);
    Operand src(Nhwc(x.shape(), x.dtype()), x.raw(), compiled->src),
        dst(Nhwc(y.shape(), y.dtype()), y.mutable_raw(), compiled->dst);
    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, src.ToUsed()},
                                              {DNNL_ARG_WEIGHTS, OneDnnMemory(compiled->weights, weights)},
                                              {DNNL_ARG_DST, dst.used()}};
    if (bias.defined()) arguments.emplace(DNNL_ARG_BIAS, OneDnnMemory(OneDnnDesc(bias), bias.raw()));
    Execute(*compiled, std::move(arguments));
    dst.FromUsed();
    Stream().wait();
  });
}

void Conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dGeometry& geometry, Tensor& y) {
  PackedConv2d(weight, bias, geometry, Act::kIdentity).Run(x, y);
}

void Conv2dBackwardData(const Tensor& dy, const Tensor& weight, const Conv2dGeometry& geometry, Tensor& dx) {
  if (NeedsF32(dy.dtype())) {
    Tensor wide = Tensor::Empty(dx.shape());
    Conv2dBackwardData(AsF32(dy), AsF32(weight), geometry, wide);
    return StoreConverted(wide, dx);
  }
  const Problem problem{dx.shape(), weight.shape(), dy.shape(), dy.dtype(),
                        dx.dtype(), geometry,       false,      Act::kIdentity};
  GuardOneDnn("conv2d", [&] {
    const auto compiled = GetCompiled(problem, Pass::kBackwardData);
    Operand diff_dst(Nhwc(dy.shape(), dy.dtype()), dy.raw(), compiled->dst),
        weights(PlainWeights(problem, weight.dtype()), weight.raw(), compiled->weights);
    Operand diff_src(Nhwc(dx.shape(), dx.dtype()), dx.mutable_raw(), compiled->src);
    Execute(*compiled, {{DNNL_ARG_DIFF_DST, diff_dst.ToUsed()},
                        {DNNL_ARG_WEIGHTS, weights.ToUsed()},
                        {DNNL_ARG_DIFF_SRC, diff_src.used()}});
    diff_src.FromUsed();
    Stream().wait();
  });
}

namespace {

// Pixels of one axis that some window reaches.
int64_t Reached(int64_t size, int64_t windows, int64_t stride, int64_t dilation, int64_t kernel, int64_t pad_before) {
  return std::min(size, (windows - 1) * stride + dilation * (kernel - 1) + 1 - pad_before);
}

// `x` without the last rows and columns that no window reaches, `geometry` to match. oneDNN's AVX2 kernel for the
// gradient of the weights (2.6) adds what it finds there, e.g. for 1x1 with stride 2 over an even width.
Tensor OnlyReached(const Tensor& x, const Shape& dy, const Shape& weight, Conv2dGeometry& geometry) {
  const int64_t height = Reached(x.dim(1), dy[1], geometry.stride_y, geometry.dilation_y, weight[2], geometry.pad_top);
  const int64_t width = Reached(x.dim(2), dy[2], geometry.stride_x, geometry.dilation_x, weight[3], geometry.pad_left);
  if (height <= 0 || width <= 0 || (height == x.dim(1) && width == x.dim(2))) return x;
  if (height < x.dim(1)) geometry.pad_bottom = 0;
  if (width < x.dim(2)) geometry.pad_right = 0;
  return x.Sliced(1, 0, height).Sliced(2, 0, width).Contiguous();
}

}  // namespace

void Conv2dBackwardWeights(const Tensor& all_x, const Tensor& dy, const Conv2dGeometry& all_geometry, Tensor& dweight,
                           Tensor& dbias) {
  Conv2dGeometry geometry = all_geometry;
  const Tensor x = OnlyReached(all_x, dy.shape(), dweight.shape(), geometry);
  if (NeedsF32(dy.dtype())) {
    Tensor wide = Tensor::Empty(dweight.shape()), wide_bias = dbias.defined() ? Tensor::Empty(dbias.shape()) : Tensor();
    Conv2dBackwardWeights(AsF32(x), AsF32(dy), geometry, wide, wide_bias);
    StoreConverted(wide, dweight);
    return StoreConverted(wide_bias, dbias);
  }
  const Problem problem{x.shape(),       dweight.shape(), dy.shape(),      dy.dtype(),
                        dweight.dtype(), geometry,        dbias.defined(), Act::kIdentity};
  GuardOneDnn("conv2d", [&] {
    const auto compiled = GetCompiled(problem, Pass::kBackwardWeights);
    Operand src(Nhwc(x.shape(), x.dtype()), x.raw(), compiled->src),
        diff_dst(Nhwc(dy.shape(), dy.dtype()), dy.raw(), compiled->dst);
    Operand weights(PlainWeights(problem, dweight.dtype()), dweight.mutable_raw(), compiled->weights);
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC, src.ToUsed()}, {DNNL_ARG_DIFF_DST, diff_dst.ToUsed()}, {DNNL_ARG_DIFF_WEIGHTS, weights.used()}};
    if (dbias.defined()) arguments.emplace(DNNL_ARG_DIFF_BIAS, OneDnnMemory(OneDnnDesc(dbias), dbias.mutable_raw()));
    Execute(*compiled, std::move(arguments));
    weights.FromUsed();
    Stream().wait();
  });
}

}  // namespace fovea::kernels
