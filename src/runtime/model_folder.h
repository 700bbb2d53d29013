// Where models lie on disk: the search path of names, and what a folder holds.
#pragma once

#include <string>

#include "base/json.h"

namespace fovea::runtime {

// The folder, or the GGUF file, for a path or a name (see ModelSearchPath in fovea/model.h): NAME stands for NAME/ or
// NAME.gguf, and a folder without config.json for the one *.gguf in it. Throws kNotFound listing where it looked.
std::string ResolveModelFolder(const std::string& name_or_path);

// Whether `path` is a regular file that begins as GGUF does.
bool IsGgufFile(const std::string& path);

// config.json, or where there is none open_clip_config.json with "model_type": "open_clip" added. Throws kNotFound,
// kCorruptData.
base::Config ReadModelConfig(const std::string& folder);

// The licence that the model card (README.md) states in its front matter, "" when there is none.
std::string CardLicence(const std::string& folder);

// Size of all regular files in `folder` and below; bytes.
int64_t FolderSizeBytes(const std::string& folder);

}  // namespace fovea::runtime
