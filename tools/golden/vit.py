"""ViT's golden variants.

Stages: `embeddings` (tokens with positions), `layers.<i>` (each block), `layernorm` (the last norm).
"""

from transformers import ViTConfig

from golden.vision import GENERATOR, PROJECTION, as_in_files, build, grid_of_tokens, inputs

RENAME = as_in_files("vit.", ("vit.layers.", "vit.encoder.layer."), (".mlp.fc1.", ".intermediate.dense."), (".mlp.fc2.", ".output.dense."))


def golden(make, variant, about, architecture, picture, batch, seed, pooled=True, interpolate=False, **keys):
    config, model = build(architecture, ViTConfig, keys, "vit")
    if not pooled:
        model.pooler = None
        config["add_pooling_layer"] = False
    with_classes = architecture != "ViTModel"
    network = model.vit if with_classes else model
    rows = picture[0] // config["patch_size"]

    def forward(model, given):
        out = network(given["pixels"], interpolate_pos_encoding=interpolate)
        tokens = out.last_hidden_state
        outputs = {"features": tokens[:, 0] if out.pooler_output is None else out.pooler_output, "grid": grid_of_tokens(tokens, rows)}
        return {**outputs, "logits": model.classifier(tokens[:, 0])} if with_classes else outputs

    stages = {network.embeddings: "embeddings", network.layernorm: "layernorm"}
    stages.update({layer: f"layers.{index}" for index, layer in enumerate(network.layers)})
    return make(variant=variant, about=about, config=config, model=model, forward=forward, stages=stages,
                inputs=inputs(picture, batch, seed, config["num_channels"], with_classes), generator=GENERATOR, rename=RENAME,
                loss=None if with_classes else PROJECTION, seed=seed)


def goldens(make):
    yield golden(make, "classifier", "a classifier with a picture higher than wide, patches that leave pixels over, GELU",
                 "ViTForImageClassification", (28, 20), 2, seed=21, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
                 intermediate_size=40, image_size=[28, 20], patch_size=8, num_channels=3, layer_norm_eps=1e-6, hidden_act="gelu")
    yield golden(make, "pooled", "the bare model with its pooler of another width, no bias for q k v, tanh GELU, one colour",
                 "ViTModel", (16, 16), 3, seed=22, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
                 image_size=16, patch_size=4, num_channels=1, layer_norm_eps=1e-12, qkv_bias=False, hidden_act="gelu_pytorch_tanh",
                 pooler_output_size=12, pooler_act="tanh")
    yield golden(make, "dino", "no pooler, and a larger oblong picture: interpolated positions", "ViTModel", (24, 40), 2, seed=23,
                 pooled=False, interpolate=True, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32,
                 image_size=24, patch_size=8, num_channels=3, layer_norm_eps=1e-12, hidden_act="gelu")
