"""ALIGN's golden variants: whole models, the vision tower alone.

Stages: `vision.embeddings`, `vision.blocks.<i>`, `text.embeddings`, `text.layers.<i>`.
"""

import transformers
from transformers import AlignConfig, AlignModel, AlignVisionConfig, AlignVisionModel

from golden.inputs import text_inputs
from golden.two_tower import bert_stages, pixels, tower, with_gradient_names

GENERATOR = f"transformers {transformers.__version__}"


def vision_stages(vision) -> dict:
    return {vision.embeddings: "vision.embeddings", **{block: f"vision.blocks.{i}" for i, block in enumerate(vision.encoder.blocks)}}


def vision_keys(**keys) -> dict:
    return {"width_coefficient": 0.05, "depth_coefficient": 1.0, "depth_divisor": 8, "kernel_sizes": [3, 5, 3], "in_channels": [32, 160, 240],
            "out_channels": [160, 240, 320], "depthwise_padding": [], "strides": [1, 2, 2], "num_block_repeats": [1, 2, 1],
            "expand_ratios": [1, 2, 2], "squeeze_expansion_ratio": 0.25, "hidden_dim": 64, "drop_connect_rate": 0.0, "batch_norm_eps": 0.001,
            **keys}


def whole_golden(make, variant, about, text, vision, image_size, projection_dim, lengths, seed):
    text = {**text, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = {"architectures": ["AlignModel"], "model_type": "align", "projection_dim": projection_dim, "text_config": text,
              "vision_config": vision}
    model = AlignModel(AlignConfig(text_config=text, vision_config=vision, projection_dim=projection_dim))

    def forward(model, inputs):
        outputs = model(inputs["ids"], inputs["pixels"], inputs["mask"])
        image = model.get_image_features(inputs["pixels"])
        words = model.get_text_features(inputs["ids"], inputs["mask"])
        return {"features": image.pooler_output, "grid": image.last_hidden_state, "text_features": words.pooler_output,
                "text_tokens": words.last_hidden_state, "logits_per_image": outputs.logits_per_image}

    return make(variant, about, config, model, forward, {**vision_stages(model.vision_model), **bert_stages(model.text_model)},
                {"pixels": pixels(image_size, len(lengths), seed), **text_inputs(text["vocab_size"], lengths, seed)}, GENERATOR,
                loss=[{"kind": "contrastive", "output": "logits_per_image"}], drop=lambda name: ".pooler." in name, seed=seed)


def vision_golden(make, variant, about, image_size, seed, **keys):
    keys = vision_keys(**keys)
    config = {"architectures": ["AlignVisionModel"], "model_type": "align_vision_model", **keys}
    model = AlignVisionModel(AlignVisionConfig(**keys))
    renamed = with_gradient_names(make, lambda name, tensor: [(f"vision_model.{name}", tensor)])
    return renamed(variant, about, config, model, lambda model, inputs: {"features": model(inputs["pixels"]).pooler_output},
                   vision_stages(model), {"pixels": pixels(image_size, 2, seed)}, GENERATOR,
                   loss=[{"kind": "projection", "output": "features"}], seed=seed)


def goldens(make):
    yield whole_golden(make, "base", "swish, padded texts", text=tower(16, 2, 32, vocab_size=60, max_position_embeddings=16),
                       vision=vision_keys(), image_size=(24, 24), projection_dim=16, lengths=[9, 4, 6], seed=71)
    yield whole_golden(make, "odd", "oblong odd pictures, an evenly padded stride, gelu pictures, relu texts",
                       text=tower(12, 3, 20, layers=1, vocab_size=40, max_position_embeddings=9, type_vocab_size=1, hidden_act="relu"),
                       vision=vision_keys(hidden_act="gelu", depthwise_padding=[1], kernel_sizes=[5, 3, 3], strides=[2, 2, 1],
                                          num_block_repeats=[1, 1, 1]),
                       image_size=(41, 35), projection_dim=16, lengths=[9, 2], seed=72)
    yield vision_golden(make, "vision", "the vision tower alone with the maximum of each channel, its names without prefix",
                        image_size=(24, 24), seed=73, pooling_type="max", num_block_repeats=[1, 1, 1])
