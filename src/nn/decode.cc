#include "nn/decode.h"

namespace fovea::models {

void DecoderSpec::ReadSpecialTokens(const base::Config& config) {
  constexpr double kMostIds = 1e8;
  config.Read("bos_token_id", bos, -1, kMostIds);
  config.Read("pad_token_id", pad, -1, kMostIds);
  config.Read("decoder_start_token_id", decoder_start_token_id, -1, kMostIds);
  if (!config.Has("eos_token_id")) return;
  if (config.IsList("eos_token_id")) {
    config.Read("eos_token_id", eos, 0, kMostIds);
  } else {
    int64_t one = -1;
    config.Read("eos_token_id", one, -1, kMostIds);
    eos.clear();
    if (one >= 0) eos.push_back(one);
  }
}

}  // namespace fovea::models
