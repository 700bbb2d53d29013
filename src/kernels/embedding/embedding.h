// Looking up rows and elements by index, and the sums that go back (the gradients). Memory is the limit, not
// arithmetic: rows are copied whole.
//
// Contract: tensors are contiguous and of equal type; indices are i64 and were checked to lie in [0, V). Gathers take
// any element type; scatters f32 or bf16 (sums in f32) and overwrite dx, adding repeats in the order of the index
// whatever the number of threads.
#pragma once

#include "tensor/tensor.h"

namespace fovea::kernels {

// y [A,N,D]: y[a,n,:] = x[a, index[n], :] of x [A,V,D], index [N].
void GatherRows(const Tensor& x, const Tensor& index, Tensor& y);
// dx [A,V,D]: dx[a,v,:] = sum of dy[a,n,:] over all n with index[n] = v.
void ScatterAddRows(const Tensor& dy, const Tensor& index, Tensor& dx);

// y [A,N,D]: y[a,n,d] = x[a, index[a,n,d], d] of x [A,V,D], index [A,N,D].
void GatherElements(const Tensor& x, const Tensor& index, Tensor& y);
void ScatterAddElements(const Tensor& dy, const Tensor& index, Tensor& dx);

namespace ref {
void GatherRows(const Tensor& x, const Tensor& index, Tensor& y);
void ScatterAddRows(const Tensor& dy, const Tensor& index, Tensor& dx);
}  // namespace ref

}  // namespace fovea::kernels
