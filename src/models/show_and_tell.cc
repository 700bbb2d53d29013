// Show and Tell (Neural Image Captioning): a convolutional network puts a picture into one vector, which an LSTM reads
// before the words.
//
// Paper: Vinyals et al. 2014, Show and Tell: A Neural Image Caption Generator, arXiv 1411.4555.
// Reference: torch.nn modules, tools/golden/show_and_tell.py; names of the decoder as in nn/lstm_lm's reference.
//
// config.json has an "encoder" (ResNet or EfficientNet) and a "decoder" (lstm_lm), each as the config.json of its own
// model_type. Not covered: the batch norm that some put after the projection.
//
// Legend: B rows, W features of a picture, I size of the vectors of words, V vocabulary.
#include "nn/linear.h"
#include "nn/part.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "show_and_tell";

base::Config EncoderConfig(const base::Config& c) {
  const base::Config encoder = PartConfig(c, "encoder", "resnet", kWho, {"resnet", "efficientnet"});
  return base::Config::Parse(R"({"architectures": null, "id2label": null})", c.source()).MergedOver(encoder);
}

base::Config DecoderConfig(const base::Config& c) { return PartConfig(c, "decoder", "lstm_lm", kWho, {"lstm_lm"}); }

// ---- modules
struct ShowAndTell {
  Part encoder, decoder;
  nn::Linear projection;
  DecoderSpec spec;

  explicit ShowAndTell(const base::Config& c)
      : encoder(EncoderConfig(c), kWho, "encoder."),
        decoder(DecoderConfig(c), kWho, "decoder."),
        projection({.in_features = encoder.model().FeatureSize(), .out_features = decoder.Decoder().hidden_size}),
        spec(decoder.Decoder()) {
    spec.pictures = PicturePlace::kBefore;
    spec.ReadSpecialTokens(c);
  }

  void Visit(nn::Visitor& v) {
    v("encoder", encoder);
    v("projection", projection);
    v("decoder", decoder);
  }

  DecoderSpec Decoder() const { return spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return decoder.EmbedTokens(ids); }  // [B,T,I]

  Tensor EmbedImages(const Tensor& pixels) const {
    const Tensor features = encoder.EncodeImages(pixels).features;               // [B,W]
    return nn::Stage("pictures", Unsqueeze(projection(features), 1));            // [B,1,I]
  }

  DecodeOutputs Decode(const DecodeInputs& inputs) const { return decoder.Decode(inputs); }
};

}  // namespace

const Entry& show_and_tell_entry() {
  static const Entry entry{
      .model_type = kWho,
      .card = {.title = "Show and Tell",
               .paper = "Vinyals et al. 2014, arXiv 1411.4555",
               .reference = "torch.nn.LSTM after transformers' ResNet",
               .tasks = "captions"},
      .create = [](const base::Config& config) { return MakeModel(ShowAndTell(config)); },
      .input_spec = [](const base::Config& config) { return media::PreprocessSpec::OfModel(EncoderConfig(config)); },
      .adapt =
          [](std::vector<NamedTensor>& tensors, const base::Config& config) {
            AdaptPart(tensors, "encoder", EncoderConfig(config));
            AdaptPart(tensors, "decoder", DecoderConfig(config));
          }};
  return entry;
}

}  // namespace fovea::models
