// A tiny LLaVA, or another model that sees, as a folder: configuration and weights of a file in tests/golden/models,
// and a tokenizer that knows the characters of JSON one by one.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "formats/safetensors.h"
#include "nlohmann/json.hpp"
#include "testing/testing.h"

namespace fovea::e2e {

// The tokenizer alone: 47 tokens, 0 to 4 are <pad>, <s>, </s>, <unk>, <image>; `has_line_end`: and that of a line.
inline void WriteTinyTokenizer(const std::string& folder, bool has_line_end = false) {
  const auto write = [&](const char* name, const std::string& text) {
    base::WriteTextFileAtomically(folder + "/" + name, text);
  };
  nlohmann::json vocab;
  int64_t id = 0;
  for (const char* token : {"<pad>", "<s>", "</s>", "<unk>", "<image>"}) vocab[token] = id++;
  for (const char c : std::string("{}[]\":,.-0123456789abcdefghijklmnopqrstuv")) vocab[std::string(1, c)] = id++;
  vocab["\xC4\xA0"] = id++;  // a space, as byte-level BPE writes it
  if (has_line_end) vocab["\xC4\x8A"] = id++;
  nlohmann::json added = nlohmann::json::array();
  for (int64_t i = 0; i < 5; ++i) {
    for (const auto& [token, number] : vocab.items()) {
      if (number == i)
        added.push_back({{"id", i},
                         {"content", token},
                         {"special", true},
                         {"normalized", false},
                         {"lstrip", false},
                         {"rstrip", false},
                         {"single_word", false}});
    }
  }
  write("tokenizer.json",
        nlohmann::json({{"version", "1.0"},
                        {"truncation", nullptr},
                        {"padding", nullptr},
                        {"added_tokens", added},
                        {"normalizer", nullptr},
                        {"post_processor", nullptr},
                        {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
                        {"decoder", {{"type", "ByteLevel"}}},
                        {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}})
            .dump());
  write("tokenizer_config.json", R"({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"})");
}

// `has_template`: a template for conversations; without one the tokenizer knows the end of a line as well.
inline void WriteTinyVlm(const std::string& folder, const std::string& model = "llava_qwen2",
                         bool has_template = true) {
  std::filesystem::create_directories(folder);
  const auto golden =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/" + model + ".safetensors"));
  std::vector<NamedTensor> weights;
  for (const auto& info : golden.tensors()) {
    if (info.name.starts_with("weights.")) weights.push_back({info.name.substr(8), golden.Get(info.name)});
  }
  formats::WriteSafetensors(folder + "/model.safetensors", weights);
  const auto write = [&](const char* name, const std::string& text) {
    base::WriteTextFileAtomically(folder + "/" + name, text);
  };
  write("config.json", golden.metadata().at("config"));
  WriteTinyTokenizer(folder, !has_template);
  if (has_template)
    write("chat_template.jinja",
          "{% for message in messages %}{% for part in message.content %}{% if part.type == 'image' %}<image>{% else %}"
          "{{ part.text }}{% endif %}{% endfor %}{% endfor %}");
  write("preprocessor_config.json",
        R"({"image_processor_type": "CLIPImageProcessor", "do_resize": true, "size": {"height": 12, "width": 12},
            "do_center_crop": false, "do_rescale": true, "rescale_factor": 0.00392156862745098, "do_normalize": true,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 3})");
}

}  // namespace fovea::e2e
