// A picture as tiles of one size, for models that look at large pictures piece by piece: LLaVA-NeXT ("anyres"), Idefics
// 3 and SmolVLM. For IDEFICS, whose prompts have text around each picture too, one tile is the picture.
//
// The values are the same, to the bit, as those of LlavaNextImageProcessor, Idefics3ImageProcessor and
// IdeficsImageProcessor of transformers (Pillow backend). What a model does with the tiles, and what stands for them in
// a prompt, is the model's business.
#pragma once

#include <cstdint>
#include <vector>

#include "media/preprocess.h"

namespace fovea::media {

// How a picture is cut.
enum class Tiling : uint8_t {
  // LLaVA-NeXT: it fills one of `canvases` as far as its proportions allow, with black borders, and the canvas is cut.
  // The first tile is the whole picture, stretched.
  kCanvas,
  // Idefics 3: its long side becomes `longest_edge`, both sides are stretched to multiples of the tile, and it is cut.
  // The last tile is the whole picture; a picture no larger than one tile is that tile alone.
  kMultiples,
};

struct TileSpec {
  Tiling tiling = Tiling::kCanvas;
  int64_t tile_px = 336;            // side of a tile
  PreprocessSpec pixels;            // of each tile: what is left to do when it is cut out
  std::vector<PixelSize> canvases;  // kCanvas: multiples of tile_px
  int64_t longest_edge = 0;         // kMultiples, px; 0: as it is
  bool is_split = true;             // kMultiples: false makes one tile of every picture, stretched

  // Reads a preprocessor_config.json (or processor_config.json) with the "image_processor_type"
  // LlavaNextImageProcessor, Idefics3ImageProcessor, SmolVLMImageProcessor or IdeficsImageProcessor. Throws as
  // PreprocessSpec::FromConfig.
  static TileSpec FromConfig(const base::Config& config);

  // "tiles of 336x336 px, ..." for people.
  std::string ToString() const;
};

struct Tiles {
  Tensor pixels;                  // f32 [R,Y,X,3]
  int64_t rows = 0, columns = 0;  // of tiles, without the whole picture; 0: there is only that
};

// Throws kResourceExhausted when there would be more than 1024 tiles.
Tiles MakeTiles(const Image& image, const TileSpec& spec);

}  // namespace fovea::media
