// Pictures as the bytes of a file, without the file.
#pragma once

#include <cstdint>
#include <vector>

#include "fovea/image.h"

namespace fovea::media {

// What WriteJpeg would write. Throws kInvalidArgument as it does.
std::vector<uint8_t> EncodeJpeg(const Image& image, int quality);

}  // namespace fovea::media
