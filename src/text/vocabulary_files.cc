#include "base/error.h"
#include "text/tokenizer_impl.h"

namespace fovea::text {

TokenizerSpec SpecFromVocabularyFiles(const std::string& folder, std::string_view, const nlohmann::json&,
                                      const nlohmann::json&) {
  Fail(ErrorCode::kUnimplemented, "[tokenizer] ", base::PrintableUtf8(folder), " has no tokenizer.json");
}

}  // namespace fovea::text
