"""Chinese-CLIP's golden variants: whole models, the text tower alone with its pooler.

Stages: see two_tower.py; the text tower is a BERT whose blocks are `text.layers.<i>` too.
"""

import transformers
from transformers import ChineseCLIPConfig, ChineseCLIPModel, ChineseCLIPTextConfig, ChineseCLIPTextModel

from golden.inputs import text_inputs
from golden.two_tower import bert_stages, grid, pixels, stages, tower, with_gradient_names

GENERATOR = f"transformers {transformers.__version__}"


def whole_golden(make, variant, about, text, vision, projection_dim, lengths, seed):
    config = {"architectures": ["ChineseCLIPModel"], "model_type": "chinese_clip", "projection_dim": projection_dim, "text_config": text,
              "vision_config": vision}
    model = ChineseCLIPModel(ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=projection_dim))
    size = vision["image_size"]

    def forward(model, inputs):
        outputs = model(inputs["ids"], inputs["pixels"], inputs["mask"])
        image = model.get_image_features(inputs["pixels"])
        words = model.get_text_features(inputs["ids"], inputs["mask"])
        return {"features": image.pooler_output, "grid": grid(image.last_hidden_state[:, 1:], *[size // vision["patch_size"]] * 2),
                "text_features": words.pooler_output, "text_tokens": words.last_hidden_state, "logits_per_image": outputs.logits_per_image}

    return make(variant, about, config, model, forward, {**stages(model.vision_model), **bert_stages(model.text_model)},
                {"pixels": pixels((size, size), len(lengths), seed), **text_inputs(text["vocab_size"], lengths, seed)}, GENERATOR,
                loss=[{"kind": "contrastive", "output": "logits_per_image"}], seed=seed)


def text_golden(make, variant, about, lengths, seed, **keys):
    config = {"architectures": ["ChineseCLIPTextModel"], "model_type": "chinese_clip_text_model", **keys}
    model = ChineseCLIPTextModel(ChineseCLIPTextConfig(**keys))

    def forward(model, inputs):
        outputs = model(inputs["ids"], inputs["mask"])
        return {"text_features": outputs.pooler_output, "text_tokens": outputs.last_hidden_state}

    renamed = with_gradient_names(make, lambda name, tensor: [(f"text_model.{name}", tensor)])
    return renamed(variant, about, config, model, forward, bert_stages(model), text_inputs(keys["vocab_size"], lengths, seed), GENERATOR,
                   loss=[{"kind": "projection", "output": name} for name in ("text_features", "text_tokens")], seed=seed)


def goldens(make):
    yield whole_golden(
        make, "base", "quick_gelu pictures, gelu texts with padding",
        text=tower(16, 2, 32, vocab_size=60, max_position_embeddings=16), vision=tower(24, 3, 40, image_size=24, patch_size=8),
        projection_dim=20, lengths=[9, 4, 6], seed=51)
    yield whole_golden(
        make, "relu", "relu texts, gelu pictures, other epsilon, one kind of segment, another depth",
        text=tower(24, 3, 28, layers=1, vocab_size=40, max_position_embeddings=9, type_vocab_size=1, hidden_act="relu", layer_norm_eps=1e-6),
        vision=tower(16, 4, 24, layers=3, image_size=15, patch_size=5, hidden_act="gelu", layer_norm_eps=1e-6),
        projection_dim=12, lengths=[9, 2], seed=52)
    yield text_golden(make, "text", "the text tower alone with its pooler, its names without prefix", lengths=[5, 8], seed=53,
                      **tower(16, 4, 32, vocab_size=50, max_position_embeddings=11))
