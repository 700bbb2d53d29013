#!/usr/bin/env python3
"""Starts a new architecture: a model file and a golden script that compile, and refuse to run until they are filled in.

    python3 tools/new_model.py vit_msn --title "ViT-MSN" --reference ViTMSN
    python3 tools/new_model.py my-bert --kind text

Writes src/models/<model_type>.cc, with the six parts of a model file around a plain transformer, and tools/golden/<model_type>.py
("-" in the type becomes "_" in file names). FILL marks what to write. Nothing is overwritten. docs/adding-a-model.md leads through
the rest. Needs nothing but Python's standard library.
"""

import argparse
import re
import sys
from pathlib import Path
from string import Template

ROOT = Path(__file__).resolve().parent.parent

HEAD = """// $title: FILL what it is, and what sets it apart from its family, in a line.
//
// Paper: FILL authors, year, title, arXiv number.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/$stem/modeling_$stem.py
//
// FILL which architectures of config.json are covered, and what is not.
//
"""

GUARD = """    Fail(ErrorCode::kUnimplemented, "[$stem] src/models/$stem.cc is a skeleton; hint: fill it in, then delete this line");
"""

IMAGE = HEAD + """// Legend: B batch, Y X picture, P Q grid of patches, T = P Q tokens, D model.
#include "nn/entry.h"
#include "nn/stage.h"
#include "nn/transformer.h"
#include "nn/vision.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  int64_t hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12, intermediate_size = 3072;
  int64_t num_channels = 3;
  std::array<int64_t, 2> image_size;  // height, width; px
  int64_t patch_size;                 // px
  double layer_norm_eps = 1e-6;
  std::string hidden_act = "gelu";

  explicit Config(const base::Config& c)
      : image_size(nn::ReadSides(c, "image_size", 224, 16384)),
        patch_size(nn::ReadSquare(c, "$stem", "patch_size", 16, 1024)) {
""" + GUARD + """    // FILL every key that changes the computation, with its range; what is not implemented is refused by name.
    c.Read("hidden_size", hidden_size, 1, 65536);
    c.Read("num_hidden_layers", num_hidden_layers, 0, 1000);
    c.Read("num_attention_heads", num_attention_heads, 1, 65536);
    c.Read("intermediate_size", intermediate_size, 1, 1e6);
    c.Read("num_channels", num_channels, 1, 64);
    c.Read("layer_norm_eps", layer_norm_eps, 0, 1);
    c.Read("hidden_act", hidden_act);
  }

  std::array<int64_t, 2> Grid() const { return {image_size[0] / patch_size, image_size[1] / patch_size}; }
};

// FILL the names of the eight parts of a block in the checkpoint.
constexpr nn::EncoderBlockNames kBlockNames = {.q = "attention.attention.query",
                                               .k = "attention.attention.key",
                                               .v = "attention.attention.value",
                                               .out = "attention.output.dense",
                                               .norm1 = "layernorm_before",
                                               .fc1 = "intermediate.dense",
                                               .fc2 = "output.dense",
                                               .norm2 = "layernorm_after"};

// ---- modules
struct $class_name {
  Config config;
  nn::PatchEmbed patch;
  nn::Parameter positions;  // [1,T,D]
  nn::List<nn::EncoderBlock> layers;
  nn::LayerNorm norm;

  explicit $class_name(const Config& c)
      : config(c),
        patch(c.num_channels, c.hidden_size, c.patch_size),
        positions(Shape{1, c.Grid()[0] * c.Grid()[1], c.hidden_size}),
        norm(c.hidden_size, c.layer_norm_eps) {
    const nn::EncoderBlockOptions options = {.dim = c.hidden_size,
                                             .heads = c.num_attention_heads,
                                             .ffn = c.intermediate_size,
                                             .act = ActFromName(c.hidden_act, "$stem"),
                                             .eps = c.layer_norm_eps};
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers.emplace_back(options, kBlockNames);
  }

  // FILL the names of the tensors in the checkpoint; this is the only list of parameters.
  void Visit(nn::Visitor& v) {
    v("$stem.embeddings.position_embeddings", positions);
    v("$stem.embeddings.patch_embeddings.projection", patch.projection);
    v("$stem.encoder.layer", layers);
    v("$stem.layernorm", norm);
  }

  // ---- forward
  int64_t FeatureSize() const { return config.hidden_size; }

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    const Tensor patches = patch.Grid(pixels);  // [B,P,Q,D]
    const auto [B, P, Q, D] = patches.Dims<4>("patches");
    Tensor h = Reshape(patches, {B, P * Q, D}) + positions;  // [B,T,D]
    h = nn::Stage("embeddings", h);                          // [B,T,D]
    for (size_t i = 0; i < layers.size(); ++i) h = nn::Stage("layers", static_cast<int64_t>(i), layers[i](h));
    h = nn::Stage("layernorm", norm(h));         // [B,T,D]
    return {.features = Mean(h, {1}),            // [B,D]
            .grid = Reshape(h, {B, P, Q, D}),    // [B,P,Q,D]
            .logits = {}};
  }
};

// ---- names of checkpoints without the task's prefix
constexpr Rename kRenames[] = {{"^embeddings.", "$stem.embeddings."},
                               {"^encoder.", "$stem.encoder."},
                               {"^layernorm.", "$stem.layernorm."}};

}  // namespace

const Entry& ${stem}_entry() {
  static const Entry entry{
      .model_type = "$model_type",
      .card = {.title = "$title",
               .paper = "FILL",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/$stem/"
                            "modeling_$stem.py",
               .tasks = "image features"},
      .create = [](const base::Config& config) { return MakeModel($class_name(Config(config))); },
      // ---- input spec: FILL how pictures are prepared when there is no preprocessor_config.json
      .input_spec =
          [](const base::Config& config) {
            const Config c(config);
            return media::PreprocessSpec{.size = {.height = c.image_size[0], .width = c.image_size[1]}};
          },
      .renames = kRenames};
  return entry;
}

}  // namespace fovea::models
"""

TEXT = HEAD + """// Legend: B texts, T tokens, D model.
#include "nn/bert.h"
#include "nn/entry.h"

namespace fovea::models {
namespace {

// ---- config: the keys of config.json, defaults as in transformers
struct Config : nn::BertOptions {
  explicit Config(const base::Config& c) : BertOptions(c, "$stem") {
""" + GUARD + """    // FILL the keys that BERT does not have, with their ranges; what is not implemented is refused by name.
  }
};

// ---- modules
struct $class_name {
  Config config;
  nn::BertTrunk trunk;

  explicit $class_name(const Config& c) : config(c), trunk(c) {}

  // FILL the names of the tensors in the checkpoint; this is the only list of parameters.
  void Visit(nn::Visitor& v) { v("$stem", trunk); }

  // ---- input spec
  TextSpec Texts() const { return {.max_tokens = config.MaxTokens()}; }

  // ---- forward
  int64_t FeatureSize() const { return config.hidden_size; }
  TextOutputs EncodeTexts(const TextInputs& inputs) const { return trunk(inputs); }
};

// ---- names of checkpoints without the task's prefix
constexpr Rename kRenames[] = {{"^embeddings.", "$stem.embeddings."},
                               {"^encoder.", "$stem.encoder."},
                               {"^pooler.", "$stem.pooler."}};

}  // namespace

const Entry& ${stem}_entry() {
  static const Entry entry{
      .model_type = "$model_type",
      .card = {.title = "$title",
               .paper = "FILL",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/$stem/"
                            "modeling_$stem.py",
               .tasks = "text features"},
      .create = [](const base::Config& config) { return MakeModel($class_name(Config(config))); },
      .input_spec = nullptr,
      .renames = kRenames};
  return entry;
}

}  // namespace fovea::models
"""

GOLDEN_HEAD = '''"""$title's golden variants, computed by transformers.

Stages: FILL, those that the model file names with nn::Stage.
"""

import transformers
from transformers import ${reference}Config, ${reference}Model

from golden.inputs import ${kind}_inputs

GENERATOR = f"transformers {transformers.__version__}"


def golden(make, variant: str, about: str, seed: int, **keys):
    config = {"architectures": ["${reference}Model"], "model_type": "$model_type", **keys}
    model = ${reference}Model(${reference}Config(**{key: value for key, value in config.items() if key != "architectures"}))
'''

GOLDEN_IMAGE = GOLDEN_HEAD + '''    side = config["image_size"]
    pixels = image_inputs(config["num_channels"], (side, side), 2, 1, seed)["pixels"]

    def forward(model, given):
        return {"features": model(given["pixels"]).last_hidden_state.mean(1)}  # FILL what the model's features are

    # FILL module -> the name of its output; and in `rename` how names of the state_dict become those of checkpoints.
    return make(variant=variant, about=about, config=config, model=model, forward=forward, stages={}, inputs={"pixels": pixels},
                generator=GENERATOR, loss=[{"kind": "projection", "output": "features"}], rename=lambda name: f"$stem.{name}", seed=seed)


def goldens(make):
    raise SystemExit("golden/$stem.py is a skeleton: fill it in, then delete this line")
    # FILL at least two variants that share no size and no option.
    yield golden(make, "base", "FILL what this variant exercises", seed=1, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                 intermediate_size=24, image_size=16, patch_size=4, num_channels=3, hidden_act="gelu", layer_norm_eps=1e-6)
'''

GOLDEN_TEXT = GOLDEN_HEAD + '''    inputs = text_inputs(config["vocab_size"], [7, 4], seed)

    def forward(model, given):
        out = model(input_ids=given["ids"], attention_mask=given["mask"])
        return {"text_features": out.pooler_output, "text_tokens": out.last_hidden_state}

    # FILL module -> the name of its output; and in `rename` how names of the state_dict become those of checkpoints.
    return make(variant=variant, about=about, config=config, model=model, forward=forward, stages={}, inputs=inputs, generator=GENERATOR,
                loss=[{"kind": "projection", "output": name} for name in ("text_features", "text_tokens")],
                rename=lambda name: f"$stem.{name}", seed=seed)


def goldens(make):
    raise SystemExit("golden/$stem.py is a skeleton: fill it in, then delete this line")
    # FILL at least two variants that share no size and no option.
    yield golden(make, "base", "FILL what this variant exercises", seed=1, vocab_size=40, hidden_size=16, num_hidden_layers=2,
                 num_attention_heads=2, intermediate_size=24, max_position_embeddings=12, hidden_dropout_prob=0.0,
                 attention_probs_dropout_prob=0.0)
'''


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model_type", help="as in config.json")
    parser.add_argument("--kind", choices=("image", "text"), default="image")
    parser.add_argument("--title", help="the name that people use (default: made from the type)")
    parser.add_argument("--reference", help="what transformers' class names begin with, e.g. ViTMSN (default: made from the type)")
    parser.add_argument("--root", type=Path, default=ROOT, help="the source tree to write into")
    arguments = parser.parse_args()
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", arguments.model_type):
        parser.error(f"expected a model_type of lower-case words joined by _ or -, got {arguments.model_type!r}")
    stem = arguments.model_type.replace("-", "_")
    class_name = "".join(word.capitalize() for word in stem.split("_"))
    values = {"model_type": arguments.model_type, "stem": stem, "class_name": class_name, "kind": arguments.kind,
              "title": arguments.title or class_name, "reference": arguments.reference or class_name}
    if any(character in values["title"] + values["reference"] for character in "\"\\\n"):
        parser.error("expected a title and a reference without quotes, backslashes and line breaks")
    model, golden = {"image": (IMAGE, GOLDEN_IMAGE), "text": (TEXT, GOLDEN_TEXT)}[arguments.kind]
    files = {arguments.root / f"src/models/{stem}.cc": model, arguments.root / f"tools/golden/{stem}.py": golden}
    for path in files:
        if path.exists():
            print(f"{path} exists already; nothing was written", file=sys.stderr)
            return 1
    for path, text in files.items():
        path.write_text(Template(text).substitute(values), encoding="utf-8")
        print(path)
    print("FILL marks what to write; docs/adding-a-model.md leads through it", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
