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
// Where the CPU multiplies bf16 itself the packed form is bf16; elsewhere a bf16 weight is kept as a second copy in
// f32, because converting it in each call costs as much as the product for short inputs. An f32 weight that oneDNN
// takes as it is is not copied.
class PackedLinear {
 public:
  PackedLinear() = default;
  explicit PackedLinear(const Tensor& weight);

  bool defined() const { return state_ != nullptr; }
  const Tensor& weight() const;  // as given
  int64_t out_features() const { return weight().dim(0); }
  int64_t in_features() const { return weight().dim(1); }

 private:
  friend void Linear(const Tensor& x, const PackedLinear& weight, const Tensor& bias, Act act, Tensor& y);
  struct State;
  std::shared_ptr<State> state_;
};

// y [M,O] = act(x [M,I] weight [O,I]^T + bias [O]); all contiguous; `bias` may be undefined. x, weight and y are of one
// type; the bias may be f32 or bf16.
void Linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Act act, Tensor& y);
void Linear(const Tensor& x, const PackedLinear& weight, const Tensor& bias, Act act, Tensor& y);

namespace ref {
void MatMul(const Tensor& a, const Tensor& b, Tensor& y);
void Linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Act act, Tensor& y);
}  // namespace ref

}  // namespace fovea::kernels
