// An encoder of pictures and a decoder of text with cross-attention, each an architecture of its own: captions by ViT
// and GPT-2.
//
// Paper: Li et al. 2021, TrOCR, arXiv 2109.10282 (the composition); Rothe et al. 2019, Leveraging Pre-trained
// Checkpoints for Sequence Generation Tasks, arXiv 1907.12461.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/vision_encoder_decoder/
// modeling_vision_encoder_decoder.py
//
// Encoders: those whose states are a class token before the patches (ViT, DINOv2, ViT-MSN). Decoders: whatever
// continues text with cross-attention. Heads of a decoder that is tied to its words stay tied.
//
// Legend: B rows, S = 1 + P Q vectors of a picture, W their width, M width that the decoder reads.
#include "nn/linear.h"
#include "nn/part.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "vision-encoder-decoder";

base::Config EncoderConfig(const base::Config& c) {
  const base::Config encoder = PartConfig(c, "encoder", "", kWho, {"vit", "dinov2", "vit_msn"});
  // The pooler reads the class token for classifiers; the decoder reads the token itself.
  return base::Config::Parse(
             R"({"add_pooling_layer": false, "use_mask_token": false, "architectures": null, "id2label": null})",
             c.source())
      .MergedOver(encoder);
}

base::Config DecoderConfig(const base::Config& c) {
  const base::Config decoder = PartConfig(c, "decoder", "", kWho);
  return base::Config::Parse(R"({"add_cross_attention": true, "is_decoder": true})", c.source()).MergedOver(decoder);
}

// ---- modules
struct VisionEncoderDecoder {
  Part encoder, decoder;
  nn::Optional<nn::Linear> enc_to_dec_proj;
  DecoderSpec spec;

  explicit VisionEncoderDecoder(const base::Config& c)
      : encoder(EncoderConfig(c), kWho, "encoder."),
        decoder(DecoderConfig(c), kWho, "decoder."),
        spec(decoder.Decoder()) {
    const base::Config own = DecoderConfig(c);
    const int64_t width = encoder.model().FeatureSize();
    Require(spec.memory_size > 0, "[", kWho, "] expected a decoder with cross-attention in ", c.source());
    if (own.Has("cross_attention_hidden_size")) {
      int64_t asked = 0;
      own.Read("cross_attention_hidden_size", asked, 1, 1 << 20);
      Require(asked == width && spec.memory_size == width, "[", kWho,
              "] expected cross_attention_hidden_size as wide as the encoder, ", width, ", and as the decoder reads, ",
              spec.memory_size, ", got ", asked);
    } else if (width != spec.memory_size) {
      enc_to_dec_proj.emplace(nn::LinearOptions{.in_features = width, .out_features = spec.memory_size});
    }
    spec.pictures = PicturePlace::kMemory;
    spec.ReadSpecialTokens(c);
    if (spec.decoder_start_token_id < 0) spec.decoder_start_token_id = spec.bos;
  }

  void Visit(nn::Visitor& v) {
    v("encoder", encoder);
    v("decoder", decoder);
    v("enc_to_dec_proj", enc_to_dec_proj);
  }

  DecoderSpec Decoder() const { return spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return decoder.EmbedTokens(ids); }

  Tensor EmbedImages(const Tensor& pixels) const {
    const ImageOutputs seen = encoder.EncodeImages(pixels);  // [B,W], [B,P,Q,W]
    const auto [B, P, Q, W] = seen.grid.Dims<4>("grid");
    const Tensor states = Concat({Unsqueeze(seen.features, 1), Reshape(seen.grid, {B, P * Q, W})}, 1);  // [B,S,W]
    return nn::Stage("pictures", enc_to_dec_proj ? (*enc_to_dec_proj)(states) : states);                // [B,S,M]
  }

  DecodeOutputs Decode(const DecodeInputs& inputs) const { return decoder.Decode(inputs); }
};

}  // namespace

const Entry& vision_encoder_decoder_entry() {
  static const Entry entry{
      .model_type = kWho,
      .card = {.title = "Vision encoder and text decoder",
               .paper = "Li et al. 2021, arXiv 2109.10282",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/"
                            "vision_encoder_decoder/modeling_vision_encoder_decoder.py",
               .tasks = "captions"},
      .create = [](const base::Config& config) { return MakeModel(VisionEncoderDecoder(config)); },
      .input_spec = [](const base::Config& config) { return PartInputSpec(EncoderConfig(config), kWho); },
      .adapt =
          [](std::vector<NamedTensor>& tensors, const base::Config& config) {
            AdaptPart(tensors, "encoder", EncoderConfig(config));
            AdaptPart(tensors, "decoder", DecoderConfig(config));
          }};
  return entry;
}

}  // namespace fovea::models
