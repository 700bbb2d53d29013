"""DINOv2's golden variants.

Stages: `embeddings` (tokens with positions), `layers.<i>` (each block), `layernorm` (the last norm).
"""

import torch
from transformers import Dinov2Config

from golden.vision import GENERATOR, PROJECTION, as_in_files, build, grid_of_tokens, inputs


class SwiGlu(torch.nn.Module):
    """The gated MLP as files hold it, gate and value in one matrix; transformers 5 keeps them apart in memory."""

    def __init__(self, original):
        super().__init__()
        self.weights_in = torch.nn.Linear(original.gate_proj.in_features, 2 * original.gate_proj.out_features)
        self.weights_out = torch.nn.Linear(original.down_proj.in_features, original.down_proj.out_features)
        with torch.no_grad():
            for kind in ("weight", "bias"):
                getattr(self.weights_in, kind).copy_(torch.cat([getattr(original.gate_proj, kind), getattr(original.up_proj, kind)]))
                getattr(self.weights_out, kind).copy_(getattr(original.down_proj, kind))
            x = torch.randn(3, original.gate_proj.in_features)
            torch.testing.assert_close(self(x), original(x))

    def forward(self, x):
        gate, value = self.weights_in(x).chunk(2, dim=-1)
        return self.weights_out(torch.nn.functional.silu(gate) * value)


def golden(make, variant, about, architecture, picture, batch, seed, **keys):
    config, model = build(architecture, Dinov2Config, keys, "dinov2")
    with_classes = architecture != "Dinov2Model"
    network = model.dinov2 if with_classes else model
    rows = picture[0] // config["patch_size"]
    embeddings = network.embeddings
    if config["use_mask_token"]:  # in the file, but no gradient reaches it
        token = embeddings.mask_token.detach()
        del embeddings.mask_token
        embeddings.register_buffer("mask_token", token + 0.5)
    if config["use_swiglu_ffn"]:
        for layer in network.encoder.layer:
            layer.mlp = SwiGlu(layer.mlp)

    def forward(model, given):
        tokens = network(given["pixels"]).last_hidden_state
        outputs = {"features": tokens[:, 0], "grid": grid_of_tokens(tokens, rows)}
        return {**outputs, "logits": model(given["pixels"]).logits} if with_classes else outputs

    stages = {embeddings: "embeddings", network.layernorm: "layernorm"}
    stages.update({layer: f"layers.{index}" for index, layer in enumerate(network.encoder.layer)})
    return make(variant=variant, about=about, config=config, model=model, forward=forward, stages=stages,
                inputs=inputs(picture, batch, seed, config["num_channels"], with_classes), generator=GENERATOR,
                rename=as_in_files("dinov2."), loss=None if with_classes else PROJECTION, seed=seed)


def goldens(make):
    yield golden(make, "base", "the bare model with a plain MLP at its own size, mask token in the file", "Dinov2Model", (28, 28), 2,
                 seed=41, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, mlp_ratio=2, image_size=28, patch_size=7,
                 num_channels=3, layer_norm_eps=1e-6, hidden_act="gelu", use_swiglu_ffn=False, use_mask_token=True)
    yield golden(make, "giant", "a classifier with a gated MLP, interpolated positions for a smaller oblong picture, no mask token",
                 "Dinov2ForImageClassification", (17, 24), 2, seed=42, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                 mlp_ratio=3, image_size=40, patch_size=8, num_channels=3, layer_norm_eps=1e-5, qkv_bias=False, use_swiglu_ffn=True,
                 use_mask_token=False)
