// What a captioner's folder says of its own texts: how far its confidence can be believed, and what it is asked for a
// caption.
//
// calibration.json: for "caption" and "answer" a rising map from confidence to the share that is right, as points
// {"confidence": [...], "right": [...]}, linear between them. `fovea eval caption|vqa --calibrate` makes it.
#pragma once

#include <optional>
#include <string>

#include "runtime/calibration.h"

namespace fovea::runtime {

// caption_request of generation_config.json, a key of our own: the text that stands for the wish for a caption where a
// chat template is written for it ("": the template writes a caption when nothing is asked). Throws kCorruptData.
std::optional<std::string> ReadCaptionRequest(const std::string& folder);

struct AnswerCalibration {
  std::optional<IsotonicFit> caption, answer;
};

// Empty where there is no file. Throws kCorruptData, kInvalidArgument (numbers outside [0,1] or not rising).
AnswerCalibration ReadAnswerCalibration(const std::string& folder);
// Puts `fit` in the place of `kind` ("caption", "answer"); what the file says of the other stays.
void WriteAnswerCalibration(const std::string& file, const std::string& kind, const IsotonicFit& fit);

}  // namespace fovea::runtime
