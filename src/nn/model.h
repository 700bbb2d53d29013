// What a network can do: the interface that a file of src/models fills and that commands, training and evaluation use.
#pragma once

#include <string>
#include <string_view>
#include <vector>

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
  virtual bool CanClassify() const { return false; }              // whether ImageOutputs has logits

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

}  // namespace fovea::models
