// What the models that read text beside regions refuse: configurations and inputs. Their numbers are compared in
// tests/golden.
#include <gtest/gtest.h>

#include "nn/entry.h"
#include "testing/golden.h"

namespace fovea::models {
namespace {

using fovea::testing::ExpectError;

std::unique_ptr<Model> Create(const std::string& model_type, const std::string& keys) {
  const std::string text = R"({"vocab_size": 9, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8,
    "max_position_embeddings": 4, "num_hidden_layers": 1, "l_layers": 1, "x_layers": 1, "r_layers": 1,
    "visual_feat_dim": 3, "visual_embedding_dim": 3)" +
                           keys + "}";
  for (const Entry* entry : AllEntries()) {
    if (entry->model_type == model_type) return entry->create(base::Config::Parse(text, "the test"));
  }
  ADD_FAILURE() << "no " << model_type;
  return nullptr;
}

JointInputs Inputs(int64_t texts, int64_t tokens, const Shape& regions) {
  return {.text = {.ids = Tensor::Zeros({texts, tokens}, DType::kI64), .mask = {}, .type_ids = {}},
          .regions = Tensor::Zeros(regions),
          .boxes = Tensor::Zeros({regions[0], regions[1], 4}),
          .region_mask = {}};
}

// Gives every parameter zeros.
void Fill(Model& model) {
  nn::ForEachParameter(
      model, [](const std::string&, nn::Parameter& parameter) { parameter.Assign(Tensor::Zeros(parameter.shape())); });
}

TEST(JointModels, RefuseWhatTheyDoNotImplement) {
  ExpectError([] { Create("visual_bert", R"(, "bypass_transformer": true)"); }, "bypass_transformer");
  ExpectError([] { Create("visual_bert", R"(, "type_vocab_size": 1)"); }, "type_vocab_size");
  ExpectError([] { Create("visual_bert", R"(, "architectures": ["VisualBertForRegionToPhraseAlignment"])"); },
              "VisualBertForRegionToPhraseAlignment");
  ExpectError([] { Create("lxmert", R"(, "architectures": ["LxmertForSomethingElse"])"); }, "LxmertForSomethingElse");
  ExpectError([] { Create("lxmert", R"(, "l_layers": 0)"); }, "l_layers");
  ExpectError([] { Create("lxmert", R"(, "hidden_act": "mish")"); }, "mish");
  ExpectError([] { Create("lxmert", R"(, "num_attention_heads": 3)"); }, "divides");
}

TEST(JointModels, RefuseInputsThatDoNotFit) {
  for (const std::string type : {"lxmert", "visual_bert"}) {
    const auto model = Create(type, "");
    Fill(*model);
    EXPECT_EQ(model->EncodeJointly(Inputs(2, 4, {2, 5, 3})).regions.shape(), Shape({2, 5, 8})) << type;
    ExpectError([&] { model->EncodeJointly(Inputs(2, 4, {2, 5, 7})); }, "3 features, got ");
    ExpectError([&] { model->EncodeJointly(Inputs(3, 4, {2, 5, 3})); }, "expected 2 texts");
    ExpectError([&] { model->EncodeJointly(Inputs(2, 5, {2, 5, 3})); }, "1 to 4 tokens");
    ExpectError([&] { model->EncodeJointly({}); }, type);
    JointInputs masked = Inputs(2, 4, {2, 5, 3});
    masked.region_mask = Tensor::Zeros({2, 4}, DType::kBool);
    ExpectError([&] { model->EncodeJointly(masked); }, "mask");
    masked = Inputs(2, 4, {2, 5, 3});
    masked.text.mask = Tensor::Zeros({2, 3}, DType::kBool);
    ExpectError([&] { model->EncodeJointly(masked); }, "mask");
    EXPECT_THROW(model->EncodeImages(Tensor::Zeros({1, 4, 4, 3})), Error);
  }
  const auto lxmert = Create("lxmert", "");
  Fill(*lxmert);
  ExpectError([&] { lxmert->EncodeJointly(Inputs(1, 3, {1, 0, 3})); }, "one or more regions");
  JointInputs unplaced = Inputs(1, 3, {1, 2, 3});
  unplaced.boxes = {};
  ExpectError([&] { lxmert->EncodeJointly(unplaced); }, "expected boxes of shape [1,2,4]");
  // Where the detector found nothing, VisualBERT reads the text alone.
  const auto plain = Create("visual_bert", "");
  Fill(*plain);
  EXPECT_EQ(plain->EncodeJointly(Inputs(1, 3, {1, 0, 3})).regions.shape(), Shape({1, 0, 8}));
  const auto answering = Create("visual_bert", R"(, "architectures": ["VisualBertForQuestionAnswering"])");
  Fill(*answering);
  ExpectError([&] { answering->EncodeJointly(Inputs(1, 1, {1, 2, 3})); }, "at least 2 tokens");
}

}  // namespace
}  // namespace fovea::models
