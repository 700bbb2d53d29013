"""CLIP's golden variants: whole models of both activations and both rules for the end of text, towers alone, a classifier.

Stages: see two_tower.py.
"""

import transformers
from transformers import (CLIPConfig, CLIPForImageClassification, CLIPModel, CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig,
                          CLIPVisionModel)

from golden.inputs import image_inputs
from golden.two_tower import grid, ids_with_end, pixels, stages, tower, with_gradient_names

GENERATOR = f"transformers {transformers.__version__}"
CONTRASTIVE = [{"kind": "contrastive", "output": "logits_per_image"}]


def whole_golden(make, variant, about, text, vision, image_size, ids, seed, projection_dim):
    config = {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": projection_dim, "text_config": text,
              "vision_config": vision}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=projection_dim))
    shape = [side // vision["patch_size"] for side in image_size]

    def forward(model, inputs):
        image = model.get_image_features(inputs["pixels"], interpolate_pos_encoding=True)
        words = model.get_text_features(inputs["ids"], inputs["mask"])
        scores = model(inputs["ids"], inputs["pixels"], inputs["mask"], interpolate_pos_encoding=True)
        return {"features": image.pooler_output, "grid": grid(image.last_hidden_state[:, 1:], *shape),
                "text_features": words.pooler_output, "text_tokens": words.last_hidden_state, "logits_per_image": scores.logits_per_image}

    return make(variant, about, config, model, forward, stages(model.vision_model, model.text_model),
                {"pixels": pixels(image_size, len(ids["ids"]), seed), **ids}, GENERATOR, loss=CONTRASTIVE, seed=seed)


def vision_golden(make, variant, about, seed, **keys):
    config = {"architectures": ["CLIPVisionModel"], "model_type": "clip_vision_model", **keys}

    def forward(model, inputs):
        outputs = model(inputs["pixels"])
        return {"features": outputs.pooler_output, "grid": grid(outputs.last_hidden_state[:, 1:], *shape)}

    shape = [keys["image_size"] // keys["patch_size"]] * 2
    model = CLIPVisionModel(CLIPVisionConfig(**keys))
    renamed = with_gradient_names(make, lambda name, tensor: [(f"vision_model.{name}", tensor)])
    return renamed(variant, about, config, model, forward, stages(model), {"pixels": pixels((keys["image_size"],) * 2, 2, seed)}, GENERATOR,
                   loss=[{"kind": "projection", "output": "features"}], seed=seed)


def text_golden(make, variant, about, ids, seed, **keys):
    config = {"architectures": ["CLIPTextModelWithProjection"], "model_type": "clip_text_model", **keys}
    model = CLIPTextModelWithProjection(CLIPTextConfig(**keys))

    def forward(model, inputs):
        outputs = model(inputs["ids"], inputs["mask"])
        return {"text_features": outputs.text_embeds, "text_tokens": outputs.last_hidden_state}

    return make(variant, about, config, model, forward, stages(text=model.text_model), ids, GENERATOR,
                loss=[{"kind": "projection", "output": name} for name in ("text_features", "text_tokens")], seed=seed)


def classifier_golden(make, variant, about, vision, image_size, seed, classes=5):
    config = {"architectures": ["CLIPForImageClassification"], "model_type": "clip", "vision_config": vision,
              "id2label": {str(i): f"class {i}" for i in range(classes)}}
    model = CLIPForImageClassification(CLIPConfig(vision_config=vision, num_labels=classes))

    def forward(model, inputs):
        features = model.vision_model(inputs["pixels"]).last_hidden_state[:, 1:].mean(1)
        return {"features": features, "logits": model(inputs["pixels"]).logits}

    return make(variant, about, config, model, forward, stages(model.vision_model), image_inputs(3, image_size, 2, classes, seed), GENERATOR,
                drop=lambda name: "post_layernorm" in name, seed=seed)


def goldens(make):
    yield whole_golden(
        make, "openai", "quick_gelu, eos_token_id 2 of old configurations (the highest id ends the text), padded with the end token",
        text=tower(16, 2, 32, vocab_size=99, max_position_embeddings=12, eos_token_id=2, bos_token_id=0, hidden_act="quick_gelu"),
        vision=tower(24, 3, 40, image_size=24, patch_size=8, hidden_act="quick_gelu"), image_size=(24, 24), projection_dim=20, seed=21,
        ids=ids_with_end([9, 5, 7], start=97, end=98, pad=98, low=0, high=97, seed=21))
    yield whole_golden(
        make, "laion", "gelu, first eos_token_id below later words, other epsilon, three layers, positions resized to an oblong picture",
        text=tower(24, 3, 40, layers=1, vocab_size=60, max_position_embeddings=10, eos_token_id=31, bos_token_id=30, pad_token_id=1,
                   hidden_act="gelu", layer_norm_eps=1e-6),
        vision=tower(16, 4, 24, layers=3, image_size=18, patch_size=6, hidden_act="gelu", layer_norm_eps=1e-6), image_size=(18, 30),
        projection_dim=12, seed=22, ids=ids_with_end([4, 10, 8, 6], start=30, end=31, pad=1, low=32, high=60, seed=22))
    yield vision_golden(make, "vision", "the vision tower alone, without projection, its names without prefix", seed=23,
                        **tower(16, 2, 32, image_size=20, patch_size=5))
    yield text_golden(make, "text", "the text tower alone, with its projection; no mask needed", seed=24,
                      ids=ids_with_end([6, 11], start=48, end=49, pad=49, low=0, high=48, seed=24),
                      **tower(16, 4, 32, vocab_size=50, max_position_embeddings=11, eos_token_id=49, bos_token_id=48, projection_dim=24))
    yield classifier_golden(make, "classify", "a linear classifier on the mean of the patches", image_size=(16, 16), seed=25,
                            vision=tower(16, 2, 32, image_size=16, patch_size=4))
