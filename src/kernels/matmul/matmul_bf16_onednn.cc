// Products of bf16 matrices with f32 results, by oneDNN's matmul: what training in bf16 is made of.
#include "base/error.h"
#include "kernels/matmul/matmul.h"
#include "kernels/onednn.h"

namespace fovea::kernels {
namespace {

using dnnl::memory;
constexpr char kWho[] = "matmul_bf16";

struct Product {
  dnnl::matmul primitive;
  memory::desc a, b, bias, y, scratchpad;
};

memory::desc Desc(const Tensor& t) {
  return memory::desc({t.dim(0), t.dim(1)}, memory::data_type::bf16, {t.strides()[0], t.strides()[1]});
}

Product Make(const Tensor& a, const Tensor& b, bool has_bias) {
  const memory::desc y({a.dim(0), b.dim(1)}, memory::data_type::f32, memory::format_tag::ab);
  const memory::desc bias({1, b.dim(1)}, memory::data_type::f32, memory::format_tag::ab);
  const auto desc = has_bias ? dnnl::matmul::desc(Desc(a), Desc(b), bias, y) : dnnl::matmul::desc(Desc(a), Desc(b), y);
  const dnnl::matmul::primitive_desc primitive(desc, UserScratchpad(), Engine());
  return {dnnl::matmul(primitive), primitive.src_desc(),       primitive.weights_desc(), bias,
          primitive.dst_desc(),    primitive.scratchpad_desc()};
}

// Rows or columns that lie one after another.
Tensor Dense(const Tensor& t) {
  const bool is_plain = t.strides()[1] == 1 && t.strides()[0] == t.dim(1);
  const bool is_transposed = t.strides()[0] == 1 && t.strides()[1] == t.dim(0);
  return is_plain || is_transposed ? t : t.Contiguous();
}

}  // namespace

bool MultipliesBf16() { return HasNativeBf16(); }

void MatMulBf16(const Tensor& a_in, const Tensor& b_in, const Tensor& bias, Tensor& y) {
  FOVEA_DCHECK(a_in.rank() == 2 && b_in.rank() == 2 && y.is_contiguous() && y.dtype() == DType::kF32);
  if (!HasNativeBf16() || y.numel() == 0 || a_in.dim(1) == 0) {
    MatMul(a_in.To(DType::kF32), b_in.To(DType::kF32), y);
    if (!bias.defined()) return;
    for (int64_t row = 0; row < y.dim(0); ++row) {
      for (int64_t n = 0; n < y.dim(1); ++n) y.mutable_data<float>()[row * y.dim(1) + n] += bias.data<float>()[n];
    }
    return;
  }
  const Tensor a = Dense(a_in), b = Dense(b_in);
  static auto& cache = *new PrimitiveCache<ProblemKey, Product>;
  GuardOneDnn(kWho, [&] {
    const auto product = cache.Get(ProblemKey{a.dim(0), a.dim(1), b.dim(1), a.strides()[0], a.strides()[1],
                                              b.strides()[0], b.strides()[1], bias.defined()},
                                   [&] { return Make(a, b, bias.defined()); });
    std::unordered_map<int, memory> arguments = {{DNNL_ARG_SRC, OneDnnMemory(product->a, a.raw())},
                                                 {DNNL_ARG_WEIGHTS, OneDnnMemory(product->b, b.raw())},
                                                 {DNNL_ARG_DST, OneDnnMemory(product->y, y.mutable_raw())},
                                                 {DNNL_ARG_SCRATCHPAD, Scratchpad(product->scratchpad)}};
    if (bias.defined()) arguments.emplace(DNNL_ARG_BIAS, OneDnnMemory(product->bias, bias.raw()));
    product->primitive.execute(Stream(), arguments);
    Stream().wait();
  });
}

}  // namespace fovea::kernels
