// Names of the activation functions as config files spell them.
#include "kernels/activation/activation.h"

#include <utility>

#include "base/error.h"

namespace fovea::kernels {
namespace {

// The first name of each function is the one printed.
constexpr std::pair<std::string_view, Act> kNames[] = {
    {"linear", Act::kIdentity},
    {"relu", Act::kRelu},
    {"relu6", Act::kRelu6},
    {"silu", Act::kSilu},
    {"swish", Act::kSilu},
    {"gelu", Act::kGelu},
    {"gelu_new", Act::kGeluTanh},
    {"gelu_pytorch_tanh", Act::kGeluTanh},
    {"quick_gelu", Act::kQuickGelu},
    {"sigmoid", Act::kSigmoid},
    {"tanh", Act::kTanh},
};

}  // namespace

Act ActFromName(std::string_view name, std::string_view who) {
  for (const auto& [known, act] : kNames) {
    if (known == name) return act;
  }
  Fail(ErrorCode::kUnimplemented, "[", who,
       "] expected an activation among linear, relu, relu6, silu, swish, gelu, gelu_new, gelu_pytorch_tanh, "
       "quick_gelu, sigmoid, tanh, got ",
       base::PrintableUtf8(name));
}

std::string_view ActName(Act act) {
  for (const auto& [name, known] : kNames) {
    if (known == act) return name;
  }
  return "unknown";
}

}  // namespace fovea::kernels
