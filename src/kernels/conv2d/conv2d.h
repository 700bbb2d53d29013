// Two-dimensional convolution (cross-correlation, as in PyTorch) over NHWC pictures, its two gradients, and weights
// packed for repeated use.
//
// Legend: B batch, Y X input height and width, P Q output height and width, C input channels, O output channels, G
// groups, J K kernel height and width.
//
// Contract: pictures [B,Y,X,C], weights [O,C/G,J,K] (PyTorch order), bias [O] or undefined; contiguous, f32 or bf16,
// all of one type; where bf16 goes in, what comes out (and then the bias) may be f32. Outputs are allocated by the
// caller with the sizes of OutputSize().
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/activation/activation.h"
#include "tensor/tensor.h"

namespace fovea::kernels {

// How the kernel moves over the picture; pixels. Padding is by zeros and may differ on each side (as TensorFlow's SAME
// does).
struct Conv2dGeometry {
  int64_t stride_y = 1, stride_x = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t dilation_y = 1, dilation_x = 1;
  int64_t groups = 1;
};

// Sizes [B,P,Q,O] of the result; a size below 1 means that the kernel does not fit.
struct Conv2dOutput {
  int64_t height, width;
};
Conv2dOutput Conv2dOutputSize(int64_t height, int64_t width, int64_t kernel_y, int64_t kernel_x,
                              const Conv2dGeometry& geometry);

// y = conv(x, weight) + bias.
void Conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dGeometry& geometry, Tensor& y);
// dx of y = conv(x, weight).
void Conv2dBackwardData(const Tensor& dy, const Tensor& weight, const Conv2dGeometry& geometry, Tensor& dx);
// dweight, and dbias when defined.
void Conv2dBackwardWeights(const Tensor& x, const Tensor& dy, const Conv2dGeometry& geometry, Tensor& dweight,
                           Tensor& dbias);

// Weights brought once into the layout that the fast kernel reads. Immutable; Run may be called from several threads.
class PackedConv2d {
 public:
  PackedConv2d(Tensor weight, Tensor bias, const Conv2dGeometry& geometry, Act act);
  ~PackedConv2d();

  // y = act(conv(x, weight) + bias).
  void Run(const Tensor& x, Tensor& y) const;

  const Conv2dGeometry& geometry() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

namespace ref {
void Conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dGeometry& geometry, Tensor& y);
void Conv2dBackwardData(const Tensor& dy, const Tensor& weight, const Conv2dGeometry& geometry, Tensor& dx);
void Conv2dBackwardWeights(const Tensor& x, const Tensor& dy, const Conv2dGeometry& geometry, Tensor& dweight,
                           Tensor& dbias);
}  // namespace ref

}  // namespace fovea::kernels
