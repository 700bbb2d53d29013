"""ViT-MSN's golden variants, computed by transformers.

Stages: `embeddings` (tokens with positions), `layers.<i>` (each block), `layernorm` (the last norm).
"""

from transformers import ViTMSNConfig

from golden.vision import GENERATOR, PROJECTION, as_in_files, build, grid_of_tokens, inputs

RENAME = as_in_files("vit.", ("vit.layers.", "vit.encoder.layer."), (".mlp.fc1.", ".intermediate.dense."), (".mlp.fc2.", ".output.dense."))


def golden(make, variant, about, architecture, picture, seed, interpolate=False, **keys):
    config, model = build(architecture, ViTMSNConfig, keys, "vit_msn")
    with_classes = architecture != "ViTMSNModel"
    network = model.vit if with_classes else model

    def forward(model, given):
        tokens = network(given["pixels"], interpolate_pos_encoding=interpolate).last_hidden_state
        outputs = {"features": tokens[:, 0], "grid": grid_of_tokens(tokens, picture[0] // config["patch_size"])}
        return {**outputs, "logits": model.classifier(tokens[:, 0])} if with_classes else outputs

    stages = {network.embeddings: "embeddings", network.layernorm: "layernorm"}
    stages.update({layer: f"layers.{index}" for index, layer in enumerate(network.layers)})
    return make(variant=variant, about=about, config=config, model=model, forward=forward, stages=stages,
                inputs=inputs(picture, 2, seed, config["num_channels"], with_classes), generator=GENERATOR, rename=RENAME,
                loss=None if with_classes else PROJECTION, seed=seed)


def goldens(make):
    yield golden(make, "classifier", "a classifier, GELU", "ViTMSNForImageClassification", (16, 16), seed=41, hidden_size=24,
                 num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, image_size=16, patch_size=8, num_channels=3,
                 layer_norm_eps=1e-6, hidden_act="gelu")
    yield golden(make, "features", "the bare model, no bias for q k v, ReLU, one colour, a larger picture: interpolated positions",
                 "ViTMSNModel", (24, 32), seed=42, interpolate=True, hidden_size=16, num_hidden_layers=1, num_attention_heads=4,
                 intermediate_size=24, image_size=16, patch_size=4, num_channels=1, layer_norm_eps=1e-5, qkv_bias=False, hidden_act="relu")
