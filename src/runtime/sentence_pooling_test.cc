// Pooling of sentence encoders against sentence-transformers: the folders it saves, older ones, and what is refused.
// The reference file is written by tools/dump_pooling_golden.py.
#include "runtime/sentence_pooling.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "formats/safetensors.h"
#include "testing/golden.h"
#include "testing/testing.h"

namespace fovea::runtime {
namespace {

using testing::ExpectClose;
using testing::ExpectError;
using testing::TemporaryFolder;

class Pooling : public ::testing::Test {
 protected:
  Pooling()
      : file_(formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/text/sentence_pooling.safetensors"))),
        cases_(nlohmann::json::parse(file_.metadata().at("cases"))),
        outputs_({.features = {}, .tokens = file_.Get("tokens"), .logits = {}}),
        mask_(file_.Get("mask")) {}

  void Write(const std::string& name, const std::string& text) const {
    const std::string path = folder_.File(name);
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    base::WriteTextFileAtomically(path, text);
  }
  // The files of a case, and the weights of its Dense modules.
  void WriteCase(const nlohmann::json& stored) const {
    for (const auto& [name, text] : stored["files"].items()) Write(name, text.get<std::string>());
    for (const auto& dense : stored["dense"]) {
      std::vector<NamedTensor> weights;
      for (const char* name : {"linear.weight", "linear.bias"}) {
        const std::string key = stored["name"].get<std::string>() + "." + dense.get<std::string>() + "." + name;
        if (file_.Has(key)) weights.push_back({name, file_.Get(key)});
      }
      formats::WriteSafetensors(folder_.File(dense.get<std::string>() + "/model.safetensors"), weights, {});
    }
  }
  void WriteMean() const {
    Write("modules.json", R"([{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},
                              {"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.models.Pooling"}])");
    Write("1_Pooling/config.json", R"({"word_embedding_dimension": 4, "pooling_mode_mean_tokens": true})");
  }
  SentencePooling Load() const { return SentencePooling::FromFolder(folder_.path()); }

  formats::SafetensorsFile file_;
  nlohmann::json cases_;
  models::TextOutputs outputs_;
  Tensor mask_;
  TemporaryFolder folder_;
};

TEST_F(Pooling, EveryCaseEqualsTheReference) {
  ASSERT_GE(cases_.size(), 10u);
  for (const auto& stored : cases_) {
    const auto name = stored["name"].get<std::string>();
    std::filesystem::remove_all(folder_.path());
    WriteCase(stored);
    const SentencePooling pooling = Load();
    const Tensor expected = file_.Get(name + ".output");
    ExpectClose(pooling.PoolSentences(outputs_, mask_), expected, 2e-6f, name);
    EXPECT_EQ(pooling.OutputSize(outputs_.tokens.dim(2)), expected.dim(1)) << name;
  }
}

TEST_F(Pooling, WithoutAMaskEveryTokenExists) {
  WriteMean();
  const Tensor tokens = Tensor::FromValues<float>({1, 2, 4}, {1, 2, 3, 4, 3, 2, 1, 0});
  ExpectClose(Load().PoolSentences({.features = {}, .tokens = tokens, .logits = {}}, {}),
              Tensor::FromValues<float>({1, 4}, {2, 2, 2, 2}), 0.0f);
}

TEST_F(Pooling, WithoutModulesTheArchitectureOrTheMeanDecides) {
  const SentencePooling pooling = Load();
  EXPECT_EQ(pooling.max_tokens(), 0);
  ExpectClose(pooling.PoolSentences(outputs_, mask_), file_.Get("mean.output"), 2e-6f, "mean");
  const Tensor features = Tensor::FromValues<float>({1, 2}, {5, 6});
  ExpectClose(pooling.PoolSentences({.features = features, .tokens = outputs_.tokens, .logits = {}}, mask_), features,
              0.0f);
}

TEST_F(Pooling, ReadsHowTextsArePrepared) {
  WriteMean();
  Write("sentence_bert_config.json", R"({"max_seq_length": 256, "do_lower_case": true})");
  Write("config_sentence_transformers.json", R"({"prompts": {"q": "query: ", "d": ""}, "default_prompt_name": "q"})");
  const SentencePooling pooling = Load();
  EXPECT_EQ(pooling.max_tokens(), 256);
  EXPECT_TRUE(pooling.lowercases());
  EXPECT_EQ(pooling.prompt(), "query: ");
  Write("sentence_bert_config.json", R"({"max_seq_length": null})");
  EXPECT_EQ(Load().max_tokens(), 0);
}

TEST_F(Pooling, GradientsFlowToTheTokensThatExist) {
  for (const char* mode : {"mean", "weightedmean", "cls", "lasttoken", "mean_sqrt_len_tokens", "max"}) {
    WriteMean();
    Write("1_Pooling/config.json", std::string(R"({"pooling_mode": ")") + mode + R"("})");
    const SentencePooling pooling = Load();
    testing::ExpectGradientsMatch(
        [&](const std::vector<Tensor>& inputs) {
          return pooling.PoolSentences({.features = {}, .tokens = inputs[0], .logits = {}}, mask_);
        },
        {outputs_.tokens});
  }
}

TEST_F(Pooling, RefusesByName) {
  const auto refused = [&](const std::string& name, const std::string& text, const std::string& part) {
    WriteMean();
    Write(name, text);
    ExpectError([&] { Load(); }, part);
    std::filesystem::remove_all(folder_.path());
  };
  refused("1_Pooling/config.json", R"({"pooling_mode": "attention"})", "attention");
  refused("1_Pooling/config.json", R"({"pooling_mode_new_tokens": true})", "pooling_mode_new_tokens");
  refused("1_Pooling/config.json", R"({"pooling_mode": []})", "modes");
  refused("1_Pooling/config.json", R"({"pooling_mode": 3})", "pooling_mode");
  refused("1_Pooling/config.json", R"({"word_embedding_dimension": -1})", "word_embedding_dimension");
  refused("1_Pooling/config.json", "{", "1_Pooling/config.json");
  refused("modules.json", "[]", "modules.json");
  refused("modules.json", R"({"a": 1})", "modules.json");
  refused("modules.json", R"([{"type": "sentence_transformers.models.CLIPModel"}])", "CLIPModel");
  refused("modules.json", R"([{"path": "0_Transformer", "type": "a.Transformer"}])", "0_Transformer");
  refused("modules.json", R"([{"path": "", "type": "a.Transformer"}])", "Pooling");
  refused("modules.json", R"([{"path": "", "type": "a.Transformer"}, {"path": "../x", "type": "a.Pooling"}])", "../x");
  const std::string base = R"([{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"}, )";
  refused("modules.json", base + R"({"path": "2_LayerNorm", "type": "a.LayerNorm"}])", "LayerNorm");
  refused("modules.json", base + R"({"path": "2_Dense", "type": "a.Dense"}])", "2_Dense");
  refused("sentence_bert_config.json", R"({"max_seq_length": -3})", "max_seq_length");
  refused("sentence_bert_config.json", R"({"transformer_task": "fill-mask"})", "fill-mask");
  refused("sentence_bert_config.json", R"({"modality_config": {"text": {"method_output_name": "text_embeds"}}})",
          "modality_config");
  refused("config_sentence_transformers.json", R"({"prompts": 3, "default_prompt_name": "q"})", "prompts");
}

TEST_F(Pooling, RefusesDenseThatDoesNotFit) {
  const auto refused = [&](const std::string& config, const std::vector<NamedTensor>& weights,
                           const std::string& part) {
    WriteMean();
    Write("modules.json", R"([{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"},
                              {"path": "2_Dense", "type": "a.Dense"}])");
    Write("2_Dense/config.json", config);
    formats::WriteSafetensors(folder_.File("2_Dense/model.safetensors"), weights, {});
    ExpectError([&] { Load(); }, part);
  };
  const NamedTensor weight{"linear.weight", Tensor::Zeros({2, 4})}, bias{"linear.bias", Tensor::Zeros({2})};
  const std::string config = R"({"in_features": 4, "out_features": 2, "bias": true)";
  refused(config + "}", {weight}, "linear.bias");
  refused(config + "}", {weight, bias, {"more", Tensor::Zeros({1})}}, "more");
  refused(config + R"(, "use_residual": true})", {weight, bias}, "residual");
  refused(config + R"(, "activation_function": "torch.nn.Odd"})", {weight, bias}, "odd");
  refused(config + R"(, "module_input_name": "token_embeddings"})", {weight, bias}, "token_embeddings");
  refused(R"({"in_features": 4, "out_features": 99999999999})", {weight, bias}, "out_features");
  refused(R"({"in_features": 5, "out_features": 2})", {weight, bias}, "[2,4]");
}

TEST_F(Pooling, RefusesShapesThatDoNotFit) {
  WriteMean();
  const SentencePooling pooling = Load();
  ExpectError(
      [&] {
        pooling.PoolSentences({.features = {}, .tokens = Tensor::Zeros({1, 2, 5}), .logits = {}}, {});
      },
      "size 4");
  ExpectError([&] { pooling.PoolSentences(outputs_, Tensor::Zeros({1, 2}, DType::kBool)); }, "mask");
}

}  // namespace
}  // namespace fovea::runtime
