"""OpenCLIP's golden variants, from the package open_clip_torch: weights under its names, gradients under those of the network.

Stages: see two_tower.py; no `text.embeddings`.
"""

import functools
import importlib.metadata
import importlib.util
import re
import sys
import types

import torch

from golden.two_tower import pixels, with_gradient_names

NAMES = (
    (r"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.ln_pre\.", "vision_model.pre_layrnorm."),
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"^visual\.proj$", "visual_projection.weight"),
    (r"^transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"^text_projection$", "text_projection.weight"),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"\.attn\.", ".self_attn."),
)


def gradients_of(name: str, tensor: torch.Tensor):
    joined = ".attn.in_proj_" in name
    if name in ("visual.proj", "text_projection"):
        tensor = tensor.t()
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    if not joined:
        yield name, tensor
    else:
        for part, piece in zip("qkv", tensor.chunk(3)):
            yield name.replace("in_proj_", f"{part}_proj."), piece


@functools.cache
def open_clip_model():
    """The package's `model` without what it imports for trunks that are not built here: torchvision, timm, transformers."""
    package = types.ModuleType("open_clip")
    package.__path__ = list(importlib.util.find_spec("open_clip").submodule_search_locations)
    sys.modules["open_clip"] = package
    for name, part in (("torchvision", None), ("torchvision.ops", None), ("torchvision.ops.misc", "FrozenBatchNorm2d"),
                       ("open_clip.hf_model", "HFTextEncoder"), ("open_clip.modified_resnet", "ModifiedResNet"),
                       ("open_clip.timm_model", "TimmModel")):
        sys.modules[name] = types.ModuleType(name)
        if part:
            setattr(sys.modules[name], part, torch.nn.Identity)
    return importlib.import_module("open_clip.model")


def stages(model) -> dict:
    found = {model.visual.patch_dropout: "vision.embeddings"}
    found.update({block: f"vision.layers.{i}" for i, block in enumerate(model.visual.transformer.resblocks)})
    return found | {block: f"text.layers.{i}" for i, block in enumerate(model.transformer.resblocks)}


def forward(model, inputs: dict) -> dict:
    scores, _ = model.get_logits(inputs["pixels"], inputs["ids"])
    return {"features": model.encode_image(inputs["pixels"]), "text_features": model.encode_text(inputs["ids"]), "logits_per_image": scores}


def ids_of(model_cfg: dict, batch: int, seed: int) -> torch.Tensor:
    """Random texts of different lengths, each with its end."""
    text, source = model_cfg["text_cfg"], torch.Generator().manual_seed(seed + 3000)
    end = text.get("eos_id", text["vocab_size"] - 1)
    ids = torch.randint(1, end, (batch, text["context_length"]), generator=source)
    for row in range(batch):
        length = text["context_length"] - 2 * row
        ids[row, length - 1] = end
        ids[row, length:] = 0
    return ids


def golden(make, variant, about, model_cfg, seed, batch):
    config = {"model_type": "open_clip", "model_cfg": model_cfg, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}
    model = open_clip_model().CLIP(**model_cfg)
    generator = f"open_clip_torch {importlib.metadata.version('open_clip_torch')}"
    return with_gradient_names(make, gradients_of)(
        variant, about, config, model, forward, stages(model),
        {"pixels": pixels((model_cfg["vision_cfg"]["image_size"],) * 2, batch, seed), "ids": ids_of(model_cfg, batch, seed)}, generator,
        loss=[{"kind": "contrastive", "output": "logits_per_image"}], seed=seed)


def goldens(make):
    yield golden(make, "quickgelu", "quick_gelu, the highest id ends the text", seed=61, batch=3, model_cfg={
        "embed_dim": 20, "quick_gelu": True,
        "vision_cfg": {"image_size": 24, "layers": 2, "width": 24, "head_width": 8, "patch_size": 8, "mlp_ratio": 2.0},
        "text_cfg": {"context_length": 9, "vocab_size": 60, "width": 16, "heads": 2, "layers": 2, "mlp_ratio": 2.0}})
    yield golden(make, "gelu", "gelu, odd ratios of widths, a scale of rank 1, other epsilon, the end of text named", seed=62, batch=2, model_cfg={
        "embed_dim": 12, "nonscalar_logit_scale": True,
        "vision_cfg": {"image_size": 15, "layers": 3, "width": 20, "head_width": 10, "patch_size": 5, "mlp_ratio": 1.4231,
                       "norm_kwargs": {"eps": 1e-6}},
        "text_cfg": {"context_length": 7, "vocab_size": 40, "width": 24, "heads": 3, "layers": 1, "mlp_ratio": 1.26, "pool_type": "eos",
                     "eos_id": 31, "norm_kwargs": {"eps": 1e-6}}})
