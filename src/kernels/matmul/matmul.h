// Matrix products: general batched ones, and the linear layer with its prepacked weight and fused bias and activation.
//
// On AVX2 oneDNN's inner_product, matmul and sgemm all end in the same generated GEMM and reach the same speed for the
// shapes of transformers ([50..600 x 512..3072]: 85-95 % of what the cores can do), and a PyTorch-order weight [O,I] is
// as good as any other layout. With AVX-512 oneDNN has kernels (brgemm) that are faster on a weight in blocks, hence
// PackedLinear.
#pragma once

#include <memory>

#include "kernels/activation/activation.h"
#include "tensor/tensor.h"

namespace fovea::kernels {

// y [...,M,N] = a [...,M,K] b [...,K,N]. All of one rank >= 2 with equal leading sizes, one type, f32 or bf16 (products
// and sums in f32). a and b may be strided views: transposed, permuted, or broadcast with stride 0 in leading axes. y
// is contiguous.
void MatMul(const Tensor& a, const Tensor& b, Tensor& y);

// y [M,N] = a [M,K] b [K,N] + bias [N]: a and b bf16, dense or transposed views of dense matrices; bias (may be
// undefined) and y f32, contiguous. Sums are f32. Where the CPU has no bf16 this is the product in f32.
bool MultipliesBf16();  // true when the CPU does so itself
void MatMulBf16(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y);

// A linear layer's weight [O,I] (contiguous, f32 or bf16), laid out for this CPU when it is first used. Copies share
// the layout.
//
// A bf16 weight also serves f32 inputs: it is widened on the way, so that the result is that of the same weight in f32,
// at half the memory. With `rounds_inputs` the kernel may round such inputs to bf16 where the CPU multiplies bf16
// faster than f32 (kernels::PrefersBf16).
class PackedLinear {
 public:
  PackedLinear() = default;
  explicit PackedLinear(const Tensor& weight, bool rounds_inputs = false);

  bool defined() const { return state_ != nullptr; }
  const Tensor& weight() const;  // as given
  int64_t out_features() const { return weight().dim(0); }
  int64_t in_features() const { return weight().dim(1); }

 private:
  friend void Linear(const Tensor& x, const PackedLinear& weight, const Tensor& bias, Act act, Tensor& y);
  friend bool LinearInBf16(const Tensor& x, const PackedLinear& weight, const Tensor& bias, Act act, Tensor& y);
  struct State;
  std::shared_ptr<State> state_;
};

// y [M,O] = act(x [M,I] weight [O,I]^T + bias [O]); all contiguous; `bias` may be undefined. x and y are of one type,
// and so is the weight, but that a packed one may be bf16 beside f32; the bias may be f32 or bf16.
void Linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Act act, Tensor& y);
void Linear(const Tensor& x, const PackedLinear& weight, const Tensor& bias, Act act, Tensor& y);

// The same with products of bf16 numbers and sums in f32, whatever the processor prefers: x is bf16, y bf16 or f32.
// False, and nothing done, when the processor or oneDNN has no code for it. What Linear calls where that is fast.
bool LinearInBf16(const Tensor& x, const PackedLinear& weight, const Tensor& bias, Act act, Tensor& y);

namespace ref {
void MatMul(const Tensor& a, const Tensor& b, Tensor& y);
void Linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Act act, Tensor& y);
}  // namespace ref

}  // namespace fovea::kernels
