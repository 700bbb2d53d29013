#include "runtime/generation_config.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"

namespace fovea::runtime {
namespace {

std::optional<base::Config> FileOf(const std::string& folder) {
  const std::string path = folder + "/generation_config.json";
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return std::nullopt;
  return base::Config::FromFile(path);
}

// Settings that change what is written, with the value that changes nothing.
const std::pair<const char*, nlohmann::json> kUnsupported[] = {{"no_repeat_ngram_size", 0},
                                                               {"encoder_no_repeat_ngram_size", 0},
                                                               {"encoder_repetition_penalty", 1.0},
                                                               {"min_length", 0},
                                                               {"min_new_tokens", 0},
                                                               {"num_beam_groups", 1},
                                                               {"diversity_penalty", 0.0},
                                                               {"penalty_alpha", 0.0},
                                                               {"typical_p", 1.0},
                                                               {"epsilon_cutoff", 0.0},
                                                               {"eta_cutoff", 0.0},
                                                               {"guidance_scale", 1.0},
                                                               {"forced_bos_token_id", nullptr},
                                                               {"forced_eos_token_id", nullptr},
                                                               {"bad_words_ids", nullptr},
                                                               {"force_words_ids", nullptr},
                                                               {"suppress_tokens", nullptr},
                                                               {"begin_suppress_tokens", nullptr},
                                                               {"sequence_bias", nullptr},
                                                               {"exponential_decay_length_penalty", nullptr}};

}  // namespace

void ReadSpecialTokens(const std::string& folder, models::DecoderSpec& spec) {
  if (const auto file = FileOf(folder)) spec.ReadSpecialTokens(*file);
}

GenerateSettings ReadGenerateSettings(const std::string& folder) {
  GenerateSettings settings;
  const auto file = FileOf(folder);
  if (!file) return settings;
  for (const auto& [key, neutral] : kUnsupported) {
    const auto found = file->json().find(key);
    if (found == file->json().end() || found->is_null() || *found == neutral) continue;
    Fail(ErrorCode::kUnimplemented, "[chat] ", file->source(), " asks for ", key,
         ", which is not supported; hint: take it out of the file to do without");
  }
  constexpr double kMany = 1e9;
  file->Read("max_new_tokens", settings.max_tokens, 1, kMany);
  file->Read("num_beams", settings.beams, 1, 256);
  file->Read("length_penalty", settings.length_penalty, -kMany, kMany);
  file->Read("early_stopping", settings.early_stopping);
  file->Read("repetition_penalty", settings.repetition_penalty, 1e-3, 1e3);
  if (!file->Get<bool>("do_sample", false)) return settings;
  settings.temperature = 1;
  settings.top_k = 50;
  file->Read("temperature", settings.temperature, 0, 100);
  file->Read("top_k", settings.top_k, 0, kMany);
  file->Read("top_p", settings.top_p, 0, 1);
  file->Read("min_p", settings.min_p, 0, 1);
  return settings;
}

}  // namespace fovea::runtime
