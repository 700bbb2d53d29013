// LLaVA: CLIP's vision tower, a projector of two layers, and a language model that reads the vectors of pictures in
// place of the tokens that stand for them. The language model is any of ours.
//
// Papers: Liu et al. 2023, Visual Instruction Tuning, arXiv 2304.08485; Improved Baselines with Visual Instruction
// Tuning, arXiv 2310.03744.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/llava/modeling_llava.py
//
// Not covered: towers other than CLIP's.
//
// Legend: see nn/llava.h.
#include "nn/llava.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "llava";

}  // namespace

const Entry& llava_entry() {
  static const Entry entry{
      .model_type = kWho,
      .card = {.title = "LLaVA",
               .paper = "Liu et al. 2023, arXiv 2304.08485",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/llava/"
                            "modeling_llava.py",
               .tasks = "conversations about pictures, captions, answers about pictures"},
      .create = [](const base::Config& config) { return MakeModel(LlavaNetwork(LlavaConfig(config, kWho))); },
      .input_spec = [](const base::Config& c) { return ClipPreprocess(LlavaConfig(c, kWho).vision.image_size); },
      .unused = kLlavaUnused,
      .adapt = [](std::vector<NamedTensor>& tensors,
                  const base::Config& config) { AdaptLlava(tensors, LlavaConfig(config, kWho)); }};
  return entry;
}

}  // namespace fovea::models
