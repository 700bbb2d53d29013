// LLaVA-NeXT (LLaVA 1.6): LLaVA with pictures at several times the resolution of its tower. The tower sees the whole
// picture and its tiles one by one; the tiles' vectors are laid out as the picture is, what came of the borders is cut
// off, and each row ends in a learnt vector. The language model is any of ours (LLaMA, Mistral, Qwen 2).
//
// Paper: Liu et al. 2024, LLaVA-NeXT: Improved reasoning, OCR, and world knowledge,
// https://llava-vl.github.io/blog/2024-01-30-llava-next/; after arXiv 2310.03744.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/llava_next/modeling_llava_next.py
//
// Not covered: towers other than CLIP's, vision_feature_select_strategy "full" (the reference cannot lay a class token
// out either).
//
// Legend: R tiles with the whole picture before them, G side of a tile in patches, P Q the tiles' patches together,
// D width of the language model.
#include <algorithm>
#include <cmath>

#include "nn/llava.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "llava_next";

// ---- config
struct Config : LlavaConfig {
  explicit Config(const base::Config& c) : LlavaConfig(c, kWho) {
    if (vision_feature_select_strategy != "default")
      Fail(ErrorCode::kUnimplemented, "[llava_next] vision_feature_select_strategy \"full\" is not implemented");
    Require(vision.image_size % vision.patch_size == 0, "[llava_next] expected an image_size of whole patches of ",
            vision.patch_size, " px, got ", vision.image_size);
  }
};

// The part of P x Q patches that shows the picture and not the border around it.
struct Kept {
  int64_t top = 0, bottom = 0, left = 0, right = 0;
  int64_t rows() const { return bottom - top; }
  int64_t columns() const { return right - left; }
};

// unpad_image of the reference; `height` and `width` are the picture's, in px.
Kept WithoutBorder(int64_t P, int64_t Q, int64_t height, int64_t width) {
  const double Y = static_cast<double>(height), X = static_cast<double>(width);
  const double rows = static_cast<double>(P), columns = static_cast<double>(Q);
  const auto whole = [](double size) { return static_cast<int64_t>(std::nearbyint(size * 1e7) / 1e7); };
  if (X / Y > columns / rows) {
    const int64_t border = (P - whole(Y * (columns / X))) / 2;
    return {border, P - border, 0, Q};
  }
  const int64_t border = (Q - whole(X * (rows / Y))) / 2;
  return {0, P, border, Q - border};
}

// ---- modules
struct LlavaNext {
  LlavaNetwork llava;
  nn::Parameter image_newline;  // [D]

  explicit LlavaNext(const Config& c) : llava(c), image_newline(Shape{llava.Decoder().hidden_size}) {}

  void Visit(nn::Visitor& v) {
    v("", llava);
    v("image_newline", image_newline);
  }

  DecoderSpec Decoder() const { return llava.Decoder(); }
  Tensor EmbedTokens(const Tensor& ids) const { return llava.EmbedTokens(ids); }
  DecodeOutputs Decode(const DecodeInputs& inputs) const { return llava.Decode(inputs); }

  int64_t Grid() const { return llava.config().vision.Grid(); }  // G
  Kept KeptOf(const TileInputs& picture) const {
    return WithoutBorder(picture.rows * Grid(), picture.columns * Grid(), picture.height_px, picture.width_px);
  }

  Tensor EmbedTiles(const TileInputs& picture) const {
    const auto [R, Y, X, C] = picture.pixels.Dims<4>("tiles");
    const int64_t size = llava.config().vision.image_size, G = Grid();
    Require(picture.rows > 0 && picture.columns > 0 && R == 1 + picture.rows * picture.columns && Y == size &&
                X == size && picture.height_px > 0 && picture.width_px > 0,
            "[llava_next] expected the whole picture and its tiles, [1+rows*columns,", size, ",", size, ",", C,
            "], got ", picture.pixels.shape(), " for ", picture.rows, "x", picture.columns, " tiles");
    const Tensor seen = llava.EmbedImages(picture.pixels);  // [R,GG,D]
    const int64_t D = seen.dim(2), P = picture.rows * G, Q = picture.columns * G;
    const Tensor whole = Reshape(Slice(seen, 0, 0, 1), {G * G, D});  // [GG,D]
    const Kept kept = KeptOf(picture);
    if (kept.rows() == 0) return whole;  // a hair's breadth
    const Tensor tiles = Reshape(Slice(seen, 0, 1, R), {picture.rows, picture.columns, G, G, D});
    Tensor grid = Reshape(Permute(tiles, {0, 2, 1, 3, 4}), {P, Q, D});  // [P,Q,D]
    const Tensor ends = Expand(Reshape(image_newline, {1, 1, D}), {kept.rows(), 1, D});
    if (kept.columns() == 0) return Concat({whole, Reshape(ends, {kept.rows(), D})}, 0);
    grid = Slice(Slice(grid, 0, kept.top, kept.bottom), 1, kept.left, kept.right);  // [P',Q',D]
    const Tensor lines = Reshape(Concat({grid, ends}, 1), {-1, D});                 // [P'(Q'+1),D]
    return Concat({whole, lines}, 0);                                               // [GG+P'(Q'+1),D]
  }

  std::string TileText(const TileInputs& picture, std::string_view image_token) const {
    const Kept kept = KeptOf(picture);
    std::string text;
    for (int64_t i = Grid() * Grid() + kept.rows() * (kept.columns() + 1); i > 0; --i) text += image_token;
    return text;
  }
};

}  // namespace

const Entry& llava_next_entry() {
  static const Entry entry{
      .model_type = kWho,
      .card = {.title = "LLaVA-NeXT",
               .paper = "Liu et al. 2024, llava-vl.github.io/blog/2024-01-30-llava-next",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/"
                            "llava_next/modeling_llava_next.py",
               .tasks = "conversations about pictures, captions, answers about pictures"},
      .create = [](const base::Config& config) { return MakeModel(LlavaNext(Config(config))); },
      .input_spec = nullptr,
      .unused = kLlavaUnused,
      .adapt = [](std::vector<NamedTensor>& tensors,
                  const base::Config& config) { AdaptLlava(tensors, Config(config)); }};
  return entry;
}

}  // namespace fovea::models
