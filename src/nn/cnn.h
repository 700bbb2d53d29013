// The convolutional network that a captioner looks with (Show and Tell; Show, Attend and Tell): a part of model_type
// efficientnet, resnet or vgg, without the layers that tell its classes apart.
#pragma once

#include <string_view>

#include "nn/part.h"

namespace fovea::models {

// The part's configuration: `vision_config` of `config`, efficientnet where it names no model_type, told to have no
// head. Throws kInvalidArgument when there is none, kUnimplemented naming `who` for another model_type.
base::Config CnnConfig(const base::Config& config, std::string_view who);

}  // namespace fovea::models
