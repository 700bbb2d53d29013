#include "kernels/onednn.h"

#include <oneapi/dnnl/dnnl_debug.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/parallel.h"

namespace fovea::kernels {
namespace {

dnnl::engine MakeEngine() {
  return GuardOneDnn("onednn", [] {
    if (base::IsaLimit() == base::MaxIsa::kAvx2) dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  });
}

}  // namespace

dnnl::engine& Engine() {
  static dnnl::engine& engine = *new dnnl::engine(MakeEngine());  // outlives every primitive and thread
  return engine;
}

dnnl::stream& Stream() {
  thread_local dnnl::stream stream = GuardOneDnn("onednn", [] { return dnnl::stream(Engine()); });
  return stream;
}

dnnl::primitive_attr UserScratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

dnnl::memory Scratchpad(const dnnl::memory::desc& desc) {
  thread_local Tensor buffer;
  const auto needed_bytes = static_cast<int64_t>(desc.get_size());
  if (!buffer.defined() || buffer.size_bytes() < needed_bytes) buffer = Tensor::Empty({needed_bytes}, DType::kU8);
  return OneDnnMemory(desc, buffer.raw());
}

dnnl::memory::data_type OneDnnType(DType dtype) {
  switch (dtype) {
    case DType::kF32: return dnnl::memory::data_type::f32;
    case DType::kBF16: return dnnl::memory::data_type::bf16;
    case DType::kI32: return dnnl::memory::data_type::s32;
    case DType::kI8: return dnnl::memory::data_type::s8;
    case DType::kU8: return dnnl::memory::data_type::u8;
    default: Fail(ErrorCode::kInternal, "[onednn] no arithmetic on elements of type ", dtype);
  }
}

bool HasNativeBf16() {
  Engine();  // applies the limit
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  return isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
}

bool PrefersBf16() { return HasNativeBf16() && base::HasFastBf16(); }

dnnl::memory::desc OneDnnDesc(const Tensor& tensor) {
  const dnnl::memory::dims dims(tensor.shape().begin(), tensor.shape().end());
  const dnnl::memory::dims strides(tensor.strides().begin(), tensor.strides().begin() + tensor.rank());
  return dnnl::memory::desc(dims, OneDnnType(tensor.dtype()), strides);
}

void AppendActivation(Act act, dnnl::post_ops& post_ops) {
  using dnnl::algorithm;
  switch (act) {
    case Act::kIdentity: return;
    case Act::kRelu: return post_ops.append_eltwise(1.0f, algorithm::eltwise_relu, 0.0f, 0.0f);
    case Act::kRelu6: return post_ops.append_eltwise(1.0f, algorithm::eltwise_clip, 0.0f, 6.0f);
    case Act::kSilu: return post_ops.append_eltwise(1.0f, algorithm::eltwise_swish, 1.0f, 0.0f);
    case Act::kQuickGelu: return post_ops.append_eltwise(1.0f, algorithm::eltwise_swish, 1.702f, 0.0f);
    case Act::kGelu: return post_ops.append_eltwise(1.0f, algorithm::eltwise_gelu_erf, 0.0f, 0.0f);
    case Act::kGeluTanh: return post_ops.append_eltwise(1.0f, algorithm::eltwise_gelu_tanh, 0.0f, 0.0f);
    case Act::kSigmoid: return post_ops.append_eltwise(1.0f, algorithm::eltwise_logistic, 0.0f, 0.0f);
    case Act::kTanh: return post_ops.append_eltwise(1.0f, algorithm::eltwise_tanh, 0.0f, 0.0f);
  }
}

void FailOneDnn(const char* who, const dnnl::error& error) {
  const ErrorCode code = error.status == dnnl_out_of_memory   ? ErrorCode::kResourceExhausted
                         : error.status == dnnl_unimplemented ? ErrorCode::kUnimplemented
                                                              : ErrorCode::kInternal;
  Fail(code, "[", who, "] oneDNN: ", error.what(), " (", dnnl_status2str(error.status), ")");
}

ProblemKey::ProblemKey(std::vector<int64_t> parts) : hash_(0xCBF29CE484222325u), parts_(std::move(parts)) {
  parts_.push_back(base::MaxThreads());
  for (const int64_t part : parts_) {
    hash_ = (hash_ ^ static_cast<size_t>(part)) * 0x9E3779B97F4A7C15u;
    hash_ ^= hash_ >> 29;
  }
}

}  // namespace fovea::kernels
