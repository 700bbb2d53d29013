// Post-processors: add the special tokens and set the types. Built from the "post_processor" of tokenizer.json.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace fovea::text {

class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  virtual int64_t AddedTokens(bool is_pair) const = 0;
  // `parts` holds one or two texts; the result is their sequence with special tokens between.
  virtual std::vector<Encoding> Apply(std::vector<Encoding> parts, bool add_special_tokens) const = 0;
};

// Throws kCorruptData, kUnimplemented naming `source`.
std::unique_ptr<const PostProcessor> MakePostProcessor(const nlohmann::json& json, const std::string& source);

}  // namespace fovea::text
