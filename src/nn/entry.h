// What a model file offers to the rest of the house.
//
// A file src/models/<model_type>.cc defines one `const Entry& <model_type>_entry()`; the build collects them into
// AllEntries(). What a model can do are its member functions: MakeModel<Net> finds out which of them exist, and
// commands ask for a capability, never for a model.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "media/preprocess.h"
#include "nn/decode.h"
#include "nn/parameter.h"
#include "tensor/named_tensor.h"

namespace fovea::models {

// What an image encoder returns for pixels [B,Y,X,C].
struct ImageOutputs {
  Tensor features;  // [B,D] one vector a picture
  Tensor grid;      // [B,P,Q,D] a vector for each place
  Tensor logits;    // [B,V] scores of the model's own classes; undefined when it has none
};

// Texts as token ids, padded to one length.
struct TextInputs {
  Tensor ids;       // i64 [B,T]
  Tensor mask;      // bool [B,T], true for tokens that exist; undefined: all do
  Tensor type_ids;  // i64 [B,T], the segment of each token; undefined: all 0
  // [B,N,D] what EmbedImages made of the picture that belongs to each text, for encoders that read both
  // (PicturePlace::kEncoder, image-text matching); undefined: text alone.
  Tensor pictures = {};
};

// What a text encoder returns.
struct TextOutputs {
  Tensor features;  // [B,D] one vector a text, as the architecture defines it; undefined when it defines none
  Tensor tokens;    // [B,T,D] the last hidden states
  Tensor logits;    // [B,T,V] of a masked-language head, [B,V] of a classifier; undefined without one
};

// Pictures already cut into patches, each at its own aspect ratio, padded to one number of patches.
struct PatchInputs {
  Tensor patches;  // f32 [B,P,F], F = patch height x width x channels
  Tensor mask;     // bool [B,P], true for patches that exist
  Tensor shapes;   // i64 [B,2]: rows and columns of patches
};

// One picture cut into tiles of one size, and how it was cut.
struct TileInputs {
  Tensor pixels;                        // [R,Y,X,C] the tiles, in the order of the model's preparation
  int64_t rows = 0, columns = 0;        // of tiles, without those that show the whole picture
  int64_t height_px = 0, width_px = 0;  // of the picture before it was cut
};

// Text beside the regions of a picture that a detector found.
struct JointInputs {
  TextInputs text;
  Tensor regions;      // [B,R,F] features of the regions
  Tensor boxes;        // [B,R,4] corners x0, y0, x1, y1 as shares of the picture; undefined where a model needs none
  Tensor region_mask;  // bool [B,R], true for regions that exist; undefined: all do
};

struct JointOutputs {
  Tensor features;                 // [B,D] one vector for text and picture together
  Tensor text_tokens;              // [B,T,D]
  Tensor regions;                  // [B,R,D]
  std::vector<NamedTensor> heads;  // logits of the heads that the configuration has, by their names in the reference
};

// How the two features of a contrastive model are compared.
enum class Matching : uint8_t {
  kNone,     // it has no image-text score
  kSoftmax,  // scores compete: softmax over the candidates (CLIP)
  kSigmoid,  // each score stands alone: a sigmoid gives its probability (SigLIP)
};

// How texts are prepared for a model.
struct TextSpec {
  int64_t max_tokens = 0;    // with the special tokens; longer texts are cut
  bool pads_to_max = false;  // every text is padded to max_tokens (SigLIP was trained so), else to the longest
};

// A network with its weights. Immutable while it is shared; safe to call from several threads. A capability that the
// network lacks throws kUnimplemented.
class Model {
 public:
  virtual ~Model() = default;
  virtual void Visit(nn::Visitor& v) = 0;

  virtual bool CanEncodeImages() const { return false; }
  virtual int64_t FeatureSize() const { return 0; }  // D of ImageOutputs::features; for a text model of TextOutputs'
  virtual ImageOutputs EncodeImages(const Tensor& pixels) const;  // pixels [B,Y,X,C]

  // A picture tower that can be entered in the middle: its first `blocks` blocks, 1 to TrunkBlocks(), and the rest,
  // which takes grids of any size. Training keeps what a frozen beginning gives. 0: it cannot.
  virtual int64_t TrunkBlocks() const { return 0; }
  virtual Tensor EncodeTrunk(const Tensor& pixels, int64_t blocks) const;          // [B,Y,X,C] -> [B,P,Q,C']
  virtual ImageOutputs EncodeFromTrunk(const Tensor& grid, int64_t blocks) const;  // [B,P,Q,C']

  virtual bool CanEncodePatches() const { return false; }
  virtual ImageOutputs EncodePatches(const PatchInputs& inputs) const;

  virtual bool CanEncodeTexts() const { return false; }
  virtual TextSpec Texts() const { return {}; }
  virtual TextOutputs EncodeTexts(const TextInputs& inputs) const;

  virtual bool CanEncodeJointly() const { return false; }
  virtual JointOutputs EncodeJointly(const JointInputs& inputs) const;

  // Continues a text; see nn/decode.h.
  virtual bool CanDecode() const { return false; }
  virtual DecoderSpec Decoder() const;
  virtual DecodeOutputs Decode(const DecodeInputs& inputs) const;
  // The vectors of words, as DecodeInputs::embeddings takes them: ids i64 [B,T] -> [B,T,D].
  virtual Tensor EmbedTokens(const Tensor& ids) const;
  // What a decoder is given of pictures: the vectors that replace image tokens or stand before the text, or the memory
  // of cross-attention. pixels [B,Y,X,C] -> [B,N,D].
  virtual bool CanEmbedImages() const { return false; }
  virtual Tensor EmbedImages(const Tensor& pixels) const;
  // The same of pictures cut into patches.
  virtual bool CanEmbedPatches() const { return false; }
  virtual Tensor EmbedPatches(const PatchInputs& inputs) const;
  // The same of one picture cut into tiles, [N,D], and the text that stands for it in a prompt, `image_token` for each
  // of the vectors among it.
  virtual bool CanEmbedTiles() const { return false; }
  virtual Tensor EmbedTiles(const TileInputs& picture) const;
  virtual std::string TileText(const TileInputs& picture, std::string_view image_token) const;

  virtual Matching HowItMatches() const { return Matching::kNone; }
  // Scores of each picture with each text, with the model's own scale and bias: image features [N,D] and text features
  // [M,D], not normalised -> logits_per_image [N,M].
  virtual Tensor MatchLogits(const Tensor& image_features, const Tensor& text_features) const;
};

struct Card {
  std::string_view title;             // "EfficientNet"
  std::string_view paper;             // authors, year, arXiv number
  std::string_view reference;         // permalink to the implementation that this one is compared with
  std::string_view tasks;             // "image classification, image features"
  std::string_view checkpoints = "";  // public weights that it was measured with
};

// Replaces `from` in the name of a tensor by `to`; "^" at its start stands for the start of the name.
struct Rename {
  std::string_view from, to;
};

// `name` after all `renames`.
std::string Renamed(std::string name, std::span<const Rename> renames);

// Whether `name` is `pattern`, where each "*" stands for anything.
bool IsLike(std::string_view name, std::string_view pattern);

struct Entry {
  std::string_view model_type;                     // as in config.json
  std::span<const std::string_view> aliases = {};  // further model_types of the same family
  Card card;
  // Builds the network, without values. Throws kInvalidArgument / kUnimplemented naming the option.
  std::unique_ptr<Model> (*create)(const base::Config& config);
  // How pictures are prepared when the folder has no preprocessor_config.json.
  media::PreprocessSpec (*input_spec)(const base::Config& config);
  // How checkpoints by other authors name the same tensors; applied in order, each at most once.
  std::span<const Rename> renames = {};
  // Tensors that checkpoints may carry and this network has no use for (after renaming), with "*" for anything:
  // "*.position_ids", "bert.pooler.*". A tensor that the network asks for is never left out.
  std::span<const std::string_view> unused = {};
  // For what renaming cannot say (joined or transposed weights, tied copies): changes the tensors before the names are
  // looked at. nullptr: nothing to change.
  void (*adapt)(std::vector<NamedTensor>& tensors, const base::Config& config) = nullptr;
  // For what config.json leaves open and the weights show (a part that some checkpoints of one architecture lack): the
  // config that `create` gets for them. nullptr: config.json says it all.
  base::Config (*amend)(const base::Config& config, std::span<const NamedTensor> tensors) = nullptr;
};

// All architectures, in alphabetical order of their files. Generated by cmake/models.cmake.
std::span<const Entry* const> AllEntries();

// Wraps a network (constructed from its config) whose Visit lists its parameters and whose member functions are its
// capabilities: EncodeImages, EncodePatches, EncodeTexts (with Texts), EncodeJointly, Decode (with Decoder and
// EmbedTokens), EmbedImages, EmbedPatches, EmbedTiles (with TileText), MatchLogits (with HowItMatches), and
// FeatureSize. A network that has a function only with some configurations adds `bool Can...() const`.
template <typename Net>
class ModelOf final : public Model {
 public:
  explicit ModelOf(Net net) : net_(std::move(net)) {}

  void Visit(nn::Visitor& v) override { net_.Visit(v); }

  bool CanEncodeImages() const override {
    if constexpr (requires { net_.CanEncodeImages(); }) return net_.CanEncodeImages();
    return kEncodesImages;
  }
  bool CanEncodePatches() const override {
    if constexpr (requires { net_.CanEncodePatches(); }) return net_.CanEncodePatches();
    return kEncodesPatches;
  }
  bool CanEncodeTexts() const override {
    if constexpr (requires { net_.CanEncodeTexts(); }) return net_.CanEncodeTexts();
    return kEncodesTexts;
  }
  bool CanEncodeJointly() const override { return kEncodesJointly; }
  bool CanDecode() const override {
    if constexpr (requires { net_.CanDecode(); }) return net_.CanDecode();
    return kDecodes;
  }
  bool CanEmbedImages() const override {
    if constexpr (requires { net_.CanEmbedImages(); }) return net_.CanEmbedImages();
    return kEmbedsImages;
  }
  bool CanEmbedPatches() const override {
    if constexpr (requires { net_.CanEmbedPatches(); }) return net_.CanEmbedPatches();
    return kEmbedsPatches;
  }
  bool CanEmbedTiles() const override { return kEmbedsTiles; }

  int64_t FeatureSize() const override {
    if constexpr (requires { net_.FeatureSize(); }) return net_.FeatureSize();
    return 0;
  }
  TextSpec Texts() const override {
    if constexpr (kEncodesTexts) return net_.Texts();
    return {};
  }
  Matching HowItMatches() const override {
    if constexpr (kMatches) return net_.HowItMatches();
    return Matching::kNone;
  }
  ImageOutputs EncodeImages(const Tensor& pixels) const override {
    if constexpr (kEncodesImages) return net_.EncodeImages(pixels);
    return Model::EncodeImages(pixels);
  }
  int64_t TrunkBlocks() const override {
    if constexpr (requires { net_.TrunkBlocks(); }) return net_.TrunkBlocks();
    return 0;
  }
  Tensor EncodeTrunk(const Tensor& pixels, int64_t blocks) const override {
    if constexpr (requires { net_.EncodeTrunk(pixels, blocks); }) return net_.EncodeTrunk(pixels, blocks);
    return Model::EncodeTrunk(pixels, blocks);
  }
  ImageOutputs EncodeFromTrunk(const Tensor& grid, int64_t blocks) const override {
    if constexpr (requires { net_.EncodeFromTrunk(grid, blocks); }) return net_.EncodeFromTrunk(grid, blocks);
    return Model::EncodeFromTrunk(grid, blocks);
  }
  ImageOutputs EncodePatches(const PatchInputs& inputs) const override {
    if constexpr (kEncodesPatches) return net_.EncodePatches(inputs);
    return Model::EncodePatches(inputs);
  }
  TextOutputs EncodeTexts(const TextInputs& inputs) const override {
    if constexpr (kEncodesTexts) return net_.EncodeTexts(inputs);
    return Model::EncodeTexts(inputs);
  }
  JointOutputs EncodeJointly(const JointInputs& inputs) const override {
    if constexpr (kEncodesJointly) return net_.EncodeJointly(inputs);
    return Model::EncodeJointly(inputs);
  }
  DecoderSpec Decoder() const override {
    if constexpr (kDecodes) return net_.Decoder();
    return Model::Decoder();
  }
  DecodeOutputs Decode(const DecodeInputs& inputs) const override {
    if constexpr (kDecodes) return net_.Decode(inputs);
    return Model::Decode(inputs);
  }
  Tensor EmbedTokens(const Tensor& ids) const override {
    if constexpr (kDecodes) return net_.EmbedTokens(ids);
    return Model::EmbedTokens(ids);
  }
  Tensor EmbedImages(const Tensor& pixels) const override {
    if constexpr (kEmbedsImages) return net_.EmbedImages(pixels);
    return Model::EmbedImages(pixels);
  }
  Tensor EmbedPatches(const PatchInputs& inputs) const override {
    if constexpr (kEmbedsPatches) return net_.EmbedPatches(inputs);
    return Model::EmbedPatches(inputs);
  }
  Tensor EmbedTiles(const TileInputs& picture) const override {
    if constexpr (kEmbedsTiles) return net_.EmbedTiles(picture);
    return Model::EmbedTiles(picture);
  }
  std::string TileText(const TileInputs& picture, std::string_view image_token) const override {
    if constexpr (kEmbedsTiles) return net_.TileText(picture, image_token);
    return Model::TileText(picture, image_token);
  }
  Tensor MatchLogits(const Tensor& image_features, const Tensor& text_features) const override {
    if constexpr (kMatches) return net_.MatchLogits(image_features, text_features);
    return Model::MatchLogits(image_features, text_features);
  }

 private:
  static constexpr bool kEncodesImages = requires(const Net& net, const Tensor& t) { net.EncodeImages(t); };
  static constexpr bool kEncodesPatches = requires(const Net& net, const PatchInputs& i) { net.EncodePatches(i); };
  static constexpr bool kEncodesTexts = requires(const Net& net, const TextInputs& i) { net.EncodeTexts(i); };
  static constexpr bool kEncodesJointly = requires(const Net& net, const JointInputs& i) { net.EncodeJointly(i); };
  static constexpr bool kDecodes = requires(const Net& net, const DecodeInputs& i) { net.Decode(i); };
  static constexpr bool kEmbedsImages = requires(const Net& net, const Tensor& t) { net.EmbedImages(t); };
  static constexpr bool kEmbedsPatches = requires(const Net& net, const PatchInputs& i) { net.EmbedPatches(i); };
  static constexpr bool kEmbedsTiles = requires(const Net& net, const TileInputs& i) { net.EmbedTiles(i); };
  static constexpr bool kMatches = requires(const Net& net, const Tensor& t) { net.MatchLogits(t, t); };
  Net net_;
};

template <typename Net>
std::unique_ptr<Model> MakeModel(Net net) {
  return std::make_unique<ModelOf<Net>>(std::move(net));
}

}  // namespace fovea::models
