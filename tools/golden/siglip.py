"""SigLIP's golden variants: whole models, the vision tower alone, a classifier.

Stages: see two_tower.py. Texts are padded and have no mask.
"""

import transformers
from transformers import SiglipConfig, SiglipForImageClassification, SiglipModel, SiglipVisionConfig, SiglipVisionModel

from golden.inputs import image_inputs, text_inputs
from golden.two_tower import grid, pixels, stages, tower, with_gradient_names

GENERATOR = f"transformers {transformers.__version__}"


def whole_golden(make, variant, about, text, vision, image_size, lengths, seed):
    config = {"architectures": ["SiglipModel"], "model_type": "siglip", "text_config": text, "vision_config": vision}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    shape = [side // vision["patch_size"] for side in image_size]
    ids = text_inputs(text["vocab_size"], lengths, seed)["ids"]

    def forward(model, inputs):
        outputs = model(inputs["ids"], inputs["pixels"], interpolate_pos_encoding=True)
        image, words = outputs.vision_model_output, outputs.text_model_output
        return {"features": image.pooler_output, "grid": grid(image.last_hidden_state, *shape), "text_features": words.pooler_output,
                "text_tokens": words.last_hidden_state, "logits_per_image": outputs.logits_per_image}

    return make(variant, about, config, model, forward, stages(model.vision_model, model.text_model),
                {"pixels": pixels(image_size, len(lengths), seed), "ids": ids}, GENERATOR,
                loss=[{"kind": "sigmoid", "output": "logits_per_image"}], seed=seed)


def vision_golden(make, variant, about, seed, **keys):
    config = {"architectures": ["SiglipVisionModel"], "model_type": "siglip_vision_model", **keys}
    model = SiglipVisionModel(SiglipVisionConfig(**keys))
    renamed = with_gradient_names(make, lambda name, tensor: [(f"vision_model.{name}", tensor)])
    return renamed(variant, about, config, model, lambda model, inputs: {"features": model(inputs["pixels"]).pooler_output}, stages(model),
                   {"pixels": pixels((keys["image_size"],) * 2, 2, seed)}, GENERATOR,
                   loss=[{"kind": "projection", "output": "features"}], seed=seed)


def classifier_golden(make, variant, about, vision, seed, classes=5):
    config = {"architectures": ["SiglipForImageClassification"], "model_type": "siglip", "vision_config": vision,
              "id2label": {str(i): f"class {i}" for i in range(classes)}}
    model = SiglipForImageClassification(SiglipConfig(vision_config=vision, num_labels=classes))

    def forward(model, inputs):
        return {"features": model.vision_model(inputs["pixels"]).last_hidden_state.mean(1), "logits": model(inputs["pixels"]).logits}

    return make(variant, about, config, model, forward, stages(model.vision_model),
                image_inputs(3, (vision["image_size"],) * 2, 2, classes, seed), GENERATOR, seed=seed)


def goldens(make):
    yield whole_golden(
        make, "base", "tanh gelu, square pictures, padded texts",
        text=tower(16, 2, 32, vocab_size=60, max_position_embeddings=8), vision=tower(16, 2, 40, image_size=24, patch_size=8),
        image_size=(24, 24), lengths=[8, 3, 5], seed=31)
    yield whole_golden(
        make, "oblong", "exact gelu, other epsilon, towers of different depth and heads, positions resized to an oblong picture",
        text=tower(12, 3, 20, layers=3, vocab_size=40, max_position_embeddings=7, hidden_act="gelu", projection_size=20, layer_norm_eps=1e-5),
        vision=tower(20, 4, 28, layers=1, image_size=15, patch_size=5, hidden_act="gelu", layer_norm_eps=1e-5),
        image_size=(25, 15), lengths=[7, 2], seed=32)
    yield vision_golden(make, "vision", "the vision tower alone, its names without prefix", seed=33,
                        **tower(16, 4, 24, image_size=12, patch_size=4))
    yield classifier_golden(make, "classify", "a linear classifier on the mean of the patches", seed=34,
                            vision=tower(16, 2, 32, image_size=16, patch_size=4, vision_use_head=False))
