// CLIP as OpenCLIP writes it: open_clip_config.json, joined query, key and value, projections the other way round. The
// network is that of clip.cc; this file translates configuration and weights.
//
// Paper: Cherti et al. 2023, Reproducible scaling laws for contrastive language-image learning, arXiv 2212.07143.
// Reference: https://github.com/mlfoundations/open_clip/blob/v3.3.0/src/open_clip/model.py
//
// What OpenCLIP can build beyond the plain pair of transformers (residual networks, trunks of timm, text towers of
// transformers, CoCa, sigmoid loss, layer scale, other poolings) is refused by the name of its key.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "nn/entry.h"

namespace fovea::models {
namespace {

// Keys that change nothing here: for training, for the tokenizer, for what comes beside the features.
constexpr std::string_view kHarmless[] = {
    "hf_tokenizer_name", "tokenizer_kwargs",    "tokenizer_mode",   "patch_dropout",        "output_tokens", "pad_id",
    "pos_embed_type",    "final_ln_after_pool", "init_logit_scale", "nonscalar_logit_scale"};

// Refuses every key of `config` with a value other than null or false that is neither in `known` nor harmless.
void RefuseOthers(const base::Config& config, std::span<const std::string_view> known) {
  for (const auto& [key, value] : config.json().items()) {
    if (value.is_null() || value == false) continue;
    if (std::ranges::count(known, key) > 0 || std::ranges::count(kHarmless, key) > 0) continue;
    Fail(ErrorCode::kUnimplemented, "[open_clip] ", config.source(), ": the option \"", base::PrintableUtf8(key),
         "\" is not implemented");
  }
}

void RequireValue(const base::Config& config, std::string_view key, std::initializer_list<std::string_view> values) {
  if (!config.Has(key)) return;
  const auto value = config.Require<std::string>(key);
  if (std::ranges::count(values, value) == 0)
    Fail(ErrorCode::kUnimplemented, "[open_clip] ", config.source(), ": ", key, " \"", base::PrintableUtf8(value),
         "\" is not implemented");
}

// The keys that both towers have, as clip.cc wants them.
nlohmann::json Tower(const base::Config& c, int64_t width, int64_t heads, bool is_quick) {
  int64_t layers = 12;
  double mlp_ratio = 4, eps = 1e-5;
  c.Read("layers", layers, 0, 1000);
  c.Read("mlp_ratio", mlp_ratio, 0.01, 64);
  if (c.Has("norm_kwargs")) {
    const base::Config norm = c.Object("norm_kwargs");
    RefuseOthers(norm, std::vector<std::string_view>{"eps"});
    norm.Read("eps", eps, 0, 1);
  }
  return {{"hidden_size", width},
          {"num_attention_heads", heads},
          {"num_hidden_layers", layers},
          {"intermediate_size", static_cast<int64_t>(static_cast<double>(width) * mlp_ratio)},
          {"layer_norm_eps", eps},
          {"hidden_act", is_quick ? "quick_gelu" : "gelu"}};
}

nlohmann::json VisionTower(const base::Config& c, bool is_quick) {
  if (c.Has("layers") && c.json().at("layers").is_array())
    Fail(ErrorCode::kUnimplemented, "[open_clip] ", c.source(),
         ": residual networks (a list of layers) are not "
         "implemented");
  RefuseOthers(c, std::vector<std::string_view>{"layers", "width", "head_width", "mlp_ratio", "patch_size",
                                                "image_size", "pool_type", "norm_kwargs", "block_type"});
  RequireValue(c, "pool_type", {"tok"});
  RequireValue(c, "block_type", {"default"});
  int64_t width = 768, head_width = 64, patch_size = 16, image_size = 224;
  c.Read("width", width, 1, 65536);
  c.Read("head_width", head_width, 1, 65536);
  c.Read("patch_size", patch_size, 1, 4096);
  c.Read("image_size", image_size, 1, 65536);
  nlohmann::json tower = Tower(c, width, std::max<int64_t>(1, width / head_width), is_quick);
  tower["patch_size"] = patch_size;
  tower["image_size"] = image_size;
  return tower;
}

nlohmann::json TextTower(const base::Config& c, bool is_quick) {
  RefuseOthers(c, std::vector<std::string_view>{"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio",
                                                "pool_type", "eos_id", "proj_type", "norm_kwargs", "block_type"});
  RequireValue(c, "pool_type", {"argmax", "eos"});
  RequireValue(c, "proj_type", {"linear"});
  RequireValue(c, "block_type", {"default"});
  int64_t width = 512, heads = 8, context_length = 77, vocab_size = 49408, eos_id = 2;
  c.Read("width", width, 1, 65536);
  c.Read("heads", heads, 1, 65536);
  c.Read("context_length", context_length, 1, 1e6);
  c.Read("vocab_size", vocab_size, 1, 1e7);
  c.Read("eos_id", eos_id, 0, 1e7);
  const bool takes_highest = c.Get<std::string>("pool_type", "argmax") == "argmax";
  if (!takes_highest && eos_id == 2)  // to clip.cc this number means the highest
    Fail(ErrorCode::kUnimplemented, "[open_clip] ", c.source(), ": eos_id 2 with pool_type \"eos\" is not implemented");
  nlohmann::json tower = Tower(c, width, heads, is_quick);
  tower["max_position_embeddings"] = context_length;
  tower["vocab_size"] = vocab_size;
  tower["eos_token_id"] = takes_highest ? 2 : eos_id;
  return tower;
}

// The config.json of the same network.
base::Config ClipConfig(const base::Config& c) {
  const base::Config model = c.Object("model_cfg");
  RefuseOthers(model, std::vector<std::string_view>{"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"});
  const auto is_quick = model.Get<bool>("quick_gelu", false);
  const nlohmann::json config = {{"model_type", "clip"},
                                 {"architectures", {"CLIPModel"}},
                                 {"projection_dim", model.Require<int64_t>("embed_dim")},
                                 {"vision_config", VisionTower(model.Object("vision_cfg"), is_quick)},
                                 {"text_config", TextTower(model.Object("text_cfg"), is_quick)}};
  return base::Config::Parse(config.dump(), c.source());
}

std::unique_ptr<Model> Create(const base::Config& config) {
  for (const Entry* entry : AllEntries()) {
    if (entry->model_type == "clip") return entry->create(ClipConfig(config));
  }
  Fail(ErrorCode::kUnimplemented, "[open_clip] needs the architecture clip, which this build lacks");
}

// ---- weights

constexpr Rename kRenames[] = {{"^visual.transformer.resblocks.", "vision_model.encoder.layers."},
                               {"^visual.class_embedding", "vision_model.embeddings.class_embedding"},
                               {"^visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"},
                               {"^visual.conv1.", "vision_model.embeddings.patch_embedding."},
                               {"^visual.ln_pre.", "vision_model.pre_layrnorm."},
                               {"^visual.ln_post.", "vision_model.post_layernorm."},
                               {"^transformer.resblocks.", "text_model.encoder.layers."},
                               {"^positional_embedding", "text_model.embeddings.position_embedding.weight"},
                               {"^token_embedding.", "text_model.embeddings.token_embedding."},
                               {"^ln_final.", "text_model.final_layer_norm."},
                               {".ln_1.", ".layer_norm1."},
                               {".ln_2.", ".layer_norm2."},
                               {".mlp.c_fc.", ".mlp.fc1."},
                               {".mlp.c_proj.", ".mlp.fc2."},
                               {".attn.", ".self_attn."}};

// Query, key and value apart; projections [in,out] turned round. Weights that have the names of clip.cc stay.
void Adapt(std::vector<NamedTensor>& tensors, const base::Config&) {
  constexpr std::string_view kJoined = ".attn.in_proj_";
  std::vector<NamedTensor> adapted;
  for (NamedTensor& named : tensors) {
    const Tensor& t = named.tensor;
    const size_t at = named.name.find(kJoined);
    if (at != std::string::npos && t.rank() >= 1 && t.dim(0) % 3 == 0) {
      const int64_t width = t.dim(0) / 3;
      const char* parts[] = {"q", "k", "v"};
      for (int64_t i = 0; i < 3; ++i)
        adapted.push_back({base::StrCat(named.name.substr(0, at), ".attn.", parts[i], "_proj.",
                                        named.name.substr(at + kJoined.size())),
                           t.Sliced(0, i * width, (i + 1) * width).Contiguous()});
    } else if ((named.name == "visual.proj" || named.name == "text_projection") && t.rank() == 2) {
      const int turned[] = {1, 0};
      adapted.push_back({named.name == "visual.proj" ? "visual_projection.weight" : "text_projection.weight",
                         t.Permuted(turned).Contiguous()});
    } else if (named.name == "logit_scale" && t.shape() == Shape{1}) {
      adapted.push_back({named.name, t.View({})});
    } else {
      adapted.push_back(std::move(named));
    }
  }
  tensors = std::move(adapted);
}

constexpr std::string_view kUnused[] = {"attn_mask", "*.position_ids"};

}  // namespace

const Entry& open_clip_entry() {
  static const Entry entry{
      .model_type = "open_clip",
      .card = {.title = "OpenCLIP",
               .paper = "Cherti et al. 2023, arXiv 2212.07143",
               .reference = "https://github.com/mlfoundations/open_clip/blob/v3.3.0/src/open_clip/model.py",
               .tasks = "image and text features, zero-shot classification, search by words"},
      .create = Create,
      .input_spec = [](const base::Config& config) { return media::PreprocessSpec::FromOpenClip(config); },
      .renames = kRenames,
      .unused = kUnused,
      .adapt = Adapt};
  return entry;
}

}  // namespace fovea::models
