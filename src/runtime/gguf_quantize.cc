#include "runtime/gguf_quantize.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "formats/gguf.h"
#include "fovea/gguf.h"
#include "kernels/block_matrix/block_matrix.h"
#include "runtime/generation_config.h"
#include "runtime/gguf_model.h"
#include "runtime/loaded_model.h"
#include "runtime/model_folder.h"
#include "text/chat_template.h"

namespace fovea::runtime {
namespace {

using formats::GgufEntry;
using formats::GgufFile;
using formats::GgufTensor;

// The tensors of the new file and the bytes they point into.
struct Output {
  std::vector<GgufTensor> tensors;
  std::deque<std::vector<uint8_t>> blocks;
  std::deque<Tensor> plain;
  std::vector<BlockError> errors;

  void AddBlocks(const std::string& name, const Tensor& matrix, BlockType type);
  void AddPlain(const std::string& name, const Tensor& tensor);
};

double RelativeError(std::span<const float> given, BlockType type, std::span<const uint8_t> blocks) {
  double difference = 0, norm = 0;
  const int64_t items = BlockItems(type);
  float values[256];
  for (size_t b = 0; b * static_cast<size_t>(items) < given.size(); ++b) {
    kernels::DequantizeBlock(type, blocks.data() + b * static_cast<size_t>(BlockBytes(type)), values);
    for (int64_t i = 0; i < items; ++i) {
      const double x = given[b * static_cast<size_t>(items) + static_cast<size_t>(i)];
      difference += (values[i] - x) * (values[i] - x);
      norm += x * x;
    }
  }
  return norm > 0 ? std::sqrt(difference / norm) : 0;
}

void Output::AddBlocks(const std::string& name, const Tensor& matrix, BlockType type) {
  const Tensor dense = matrix.To(DType::kF32).Contiguous();
  blocks.push_back(kernels::QuantizeBlocks(type, dense.values<float>()));
  tensors.push_back({.name = name, .shape = dense.shape(), .block = type, .bytes = blocks.back()});
  errors.push_back({name, std::string(BlockTypeName(type)), RelativeError(dense.values<float>(), type, blocks.back())});
}

void Output::AddPlain(const std::string& name, const Tensor& tensor) {
  plain.push_back(tensor.Contiguous());
  const Tensor& kept = plain.back();
  tensors.push_back({.name = name,
                     .shape = kept.shape(),
                     .block = {},
                     .dtype = kept.dtype(),
                     .bytes = {kept.raw(), static_cast<size_t>(kept.size_bytes())}});
  errors.push_back({name, std::string(DTypeName(kept.dtype())), 0});
}

bool IsMatrixForBlocks(const Shape& shape) { return shape.rank() == 2 && shape[1] % 32 == 0 && shape[0] > 1; }

// llama.cpp's number for "most weights are of this type".
GgufEntry FileType(BlockType type) { return {"general.file_type", uint32_t{type == BlockType::kQ8_0 ? 7u : 2u}}; }

void FromGguf(const GgufFile& file, BlockType type, Output& out) {
  for (const GgufTensor& tensor : file.tensors()) {
    const bool is_float =
        !tensor.block && (tensor.dtype == DType::kF32 || tensor.dtype == DType::kF16 || tensor.dtype == DType::kBF16);
    if (!IsMatrixForBlocks(tensor.shape) || (!tensor.block && !is_float) || tensor.block == type) {
      out.tensors.push_back(tensor);
      out.errors.push_back(
          {tensor.name, std::string(tensor.block ? BlockTypeName(*tensor.block) : DTypeName(tensor.dtype)), 0});
    } else if (tensor.block) {
      const auto matrix = kernels::BlockMatrix::FromFile(*tensor.block, tensor.shape[0], tensor.shape[1], tensor.bytes);
      out.AddBlocks(tensor.name, kernels::Dequantize(*matrix), type);
    } else {
      out.AddBlocks(tensor.name, file.Plain(tensor), type);
    }
  }
}

void FromFolder(const std::string& folder, BlockType type, Output& out, std::vector<GgufEntry>& entries) {
  base::Config config = ReadModelConfig(folder);
  Require(config.Has("model_type"), "[quantize] expected a model_type in ", config.source());
  const models::Entry& entry = FindEntry(config);
  const std::vector<NamedTensor> tensors = ReadWeights(folder, entry, config);
  entries = GgufEntries(config);
  // generation_config.json counts for the ends of a text; GGUF has places for two.
  models::DecoderSpec spec;
  spec.ReadSpecialTokens(config);
  ReadSpecialTokens(folder, spec);
  const char* const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"};
  for (size_t i = 0; i < std::min(spec.eos.size(), std::size(ends)); ++i)
    entries.push_back({ends[i], static_cast<uint32_t>(spec.eos[i])});
  if (spec.pad >= 0) entries.push_back({"tokenizer.ggml.padding_token_id", static_cast<uint32_t>(spec.pad)});
  const bool is_tied =
      config.Get<bool>("tie_word_embeddings", entry.model_type == "gemma3_text" || entry.model_type == "gpt2");
  for (const NamedTensor& tensor : tensors) {
    const std::string hf_name = models::Renamed(tensor.name, entry.renames);
    if (is_tied && hf_name == "lm_head.weight") continue;
    const Weight weight = GgufWeightFor(config, {hf_name, tensor.tensor});
    if (weight.name.empty()) continue;  // a buffer
    if (IsMatrixForBlocks(weight.shape()) && !weight.name.starts_with("position_embd")) {
      out.AddBlocks(weight.name, weight.tensor, type);
    } else {
      out.AddPlain(weight.name, weight.tensor.To(DType::kF32));
    }
  }
  const std::string tokenizer = folder + "/tokenizer.json";
  std::error_code ignored;
  if (!std::filesystem::exists(tokenizer, ignored)) {
    Fail(ErrorCode::kUnimplemented, "[quantize] ", base::PrintableUtf8(folder),
         " has no tokenizer.json; a tokenizer of other files is not written as GGUF");
  }
  entries.push_back({"tokenizer.huggingface.json", base::ReadTextFile(tokenizer)});
  if (const auto chat = text::ChatTemplate::FromFolder(folder))
    entries.push_back({"tokenizer.chat_template", chat->text()});
}

}  // namespace

std::vector<BlockError> WriteGgufModel(const std::string& in, const std::string& out_path, BlockType type) {
  std::error_code ignored;
  Require(!std::filesystem::equivalent(in, out_path, ignored),
          "[quantize] expected another file than the model itself, ", base::PrintableUtf8(out_path));
  Output out;
  if (IsGgufFile(in)) {
    const GgufFile file = GgufFile::Open(in);
    FromGguf(file, type, out);
    const GgufEntry entries[] = {FileType(type)};
    formats::WriteGguf(out_path, entries, &file, out.tensors);
  } else {
    std::vector<GgufEntry> entries;
    FromFolder(in, type, out, entries);
    entries.push_back(FileType(type));
    formats::WriteGguf(out_path, entries, nullptr, out.tensors);
  }
  return std::move(out.errors);
}

}  // namespace fovea::runtime

namespace fovea {

std::vector<TensorError> QuantizeGguf(const std::string& name_or_path, const std::string& file,
                                      const std::string& type) {
  const auto block = BlockTypeOfName(type);
  Require(block.has_value(), "[quantize] expected the type q8_0 or q4_0, got \"", base::PrintableUtf8(type), "\"");
  std::vector<TensorError> errors;
  for (runtime::BlockError& error : runtime::WriteGgufModel(runtime::ResolveModelFolder(name_or_path), file, *block))
    errors.push_back({std::move(error.tensor), std::move(error.type), error.error});
  return errors;
}

}  // namespace fovea
