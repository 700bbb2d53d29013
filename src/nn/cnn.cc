#include "nn/cnn.h"

namespace fovea::models {

base::Config CnnConfig(const base::Config& config, std::string_view who) {
  const base::Config vision =
      PartConfig(config, "vision_config", "efficientnet", who, {"efficientnet", "resnet", "vgg"});
  const auto model_type = vision.Require<std::string>("model_type");
  const char* headless = model_type == "efficientnet" ? R"({"architectures": ["EfficientNetModel"]})"
                         : model_type == "resnet"     ? R"({"architectures": ["ResNetModel"]})"
                                                      : R"({"classifier_hidden_size": 0})";
  return base::Config::Parse(headless, config.source()).MergedOver(vision);
}

}  // namespace fovea::models
