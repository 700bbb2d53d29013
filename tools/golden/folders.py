"""Loads a model folder with its reference implementation, for make_golden.py.

Most folders are read by transformers; AlexNet and VGG (which it lacks) by torch.nn as torchvision defines them; folders with an
open_clip_config.json by open_clip_torch.
"""

import inspect
import json
import re
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoConfig

from golden import lxmert, open_clip, torchvision_nets, visual_bert

# Names of modules in transformers -> names of stages in src/models. `\1` is the number of the layer.
TEXT = [(r"(?:bert\.|roberta\.)?embeddings", "embeddings"), (r"(?:bert\.|roberta\.)?encoder\.layer\.(\d+)", r"layers.\1")]
VISION = [(r"(?:vision_model\.)?embeddings", "vision.embeddings"), (r"(?:vision_model\.)?encoder\.layers\.(\d+)", r"vision.layers.\1")]
TOWERS = [(r"vision_model\.embeddings", "vision.embeddings"), (r"vision_model\.encoder\.layers\.(\d+)", r"vision.layers.\1"),
          (r"text_model\.embeddings", "text.embeddings"), (r"text_model\.encoder\.layers\.(\d+)", r"text.layers.\1")]
BERT_TOWER = [(r"(?:text_model\.)?embeddings", "text.embeddings"), (r"(?:text_model\.)?encoder\.layer\.(\d+)", r"text.layers.\1")]


def vit(prefix: str) -> list:
    return [(rf"(?:{prefix}\.)?embeddings", "embeddings"), (rf"(?:{prefix}\.)?(?:encoder\.layer|layers)\.(\d+)", r"layers.\1"),
            (rf"(?:{prefix}\.)?layernorm", "layernorm")]


STAGES = {
    "bert": TEXT, "roberta": TEXT, "xlm-roberta": TEXT,
    "distilbert": [(r"(?:distilbert\.)?embeddings", "embeddings"), (r"(?:distilbert\.)?transformer\.layer\.(\d+)", r"layers.\1")],
    "clip": TOWERS, "clip_vision_model": VISION, "siglip": TOWERS, "siglip_vision_model": VISION, "siglip2": TOWERS,
    "siglip2_vision_model": VISION,
    "clip_text_model": [(pattern.replace("vision", "text"), stage.replace("vision", "text")) for pattern, stage in VISION],
    "chinese_clip": [*TOWERS[:2], *BERT_TOWER],
    "chinese_clip_vision_model": VISION, "chinese_clip_text_model": BERT_TOWER,
    "align": [(r"vision_model\.embeddings", "vision.embeddings"), (r"vision_model\.encoder\.blocks\.(\d+)", r"vision.blocks.\1"),
              (r"text_model\.embeddings", "text.embeddings"), (r"text_model\.encoder\.layer\.(\d+)", r"text.layers.\1")],
    "align_vision_model": [(r"embeddings", "vision.embeddings"), (r"encoder\.blocks\.(\d+)", r"vision.blocks.\1")],
    "align_text_model": BERT_TOWER,
    "vit": vit("vit"), "vit_msn": vit("vit"), "dinov2": vit("dinov2"),
    "resnet": [(r"(?:resnet\.)?embedder", "embeddings"), (r"(?:resnet\.)?encoder\.stages\.(\d+)", r"stages.\1"), (r"(?:resnet\.)?pooler", "pooled")],
    "convnext": [(r"(?:convnext\.)?embeddings", "embeddings"), (r"(?:convnext\.)?encoder\.stages\.(\d+)", r"stages.\1"),
                 (r"(?:convnext\.)?layernorm", "layernorm")],
    "efficientnet": [(r"(?:efficientnet\.)?embeddings", "embeddings"), (r"(?:efficientnet\.)?encoder\.blocks\.(\d+)", r"blocks.\1"),
                     (r"(?:efficientnet\.)?encoder\.top_activation", "top"), (r"(?:efficientnet\.)?pooler", "pooled")],
}
LLAMA = [(r"model\.embed_tokens", "embeddings"), (r"model\.layers\.(\d+)", r"layers.\1"), (r"model\.norm", "norm")]
# Language models, whose one input is a text.
DECODERS = {"gpt2": [(r"transformer\.drop", "embeddings"), (r"transformer\.h\.(\d+)", r"layers.\1"), (r"transformer\.ln_f", "norm")],
            "opt": [(r"model\.decoder\.layers\.(\d+)", r"layers.\1")],
            **{kind: LLAMA for kind in ("gemma", "gemma3_text", "llama", "mistral", "qwen2", "qwen3")}}
STAGES |= DECODERS
# What make_golden.py does not serve, and why.
OWN = "is an architecture of our own: it has no reference implementation to run"
CHAINED = "writes about pictures: only its tiny golden files are compared, made by dump_golden.py"
WITHOUT_REFERENCE = {"fovea-captioner": OWN, "fovea-dual-encoder": OWN, "lstm_lm": OWN, "show_and_tell": OWN, "show_attend_and_tell": OWN,
                     **{kind: CHAINED for kind in ("blip", "blip-2", "git", "idefics", "idefics3", "llava", "llava_next", "paligemma", "qwen2_vl",
                                                   "smolvlm", "t5", "vision-encoder-decoder")}}
JOINT = {"lxmert": lxmert, "visual_bert": visual_bert}


def read_config(folder: Path) -> dict:
    """The text of config.json; for OpenCLIP that of open_clip_config.json with a model_type."""
    path = folder / "config.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    return {"model_type": "open_clip", **json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))}


def read_weights(folder: Path) -> dict:
    for path in (*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*.bin")), *sorted(folder.glob("*.pth"))):
        if path.name.startswith("golden"):
            continue
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    raise SystemExit(f"{folder}: there are no weights")


def torch_net(config: dict) -> torch.nn.Module:
    """AlexNet or VGG; defaults are those of src/models."""
    kind = config["model_type"]
    defaults = {"alexnet": {"hidden_sizes": [64, 192, 384, 256, 256], "pool_size": 6},
                "vgg": {"hidden_sizes": [64, 128, 256, 512, 512], "depths": [2, 2, 3, 3, 3], "batch_norm": False, "pool_size": 7}}[kind]
    keys = {"classifier_hidden_size": 4096, "dropout": 0.5, "num_channels": 3, **defaults}
    classes = len(config["id2label"]) if "id2label" in config else config.get("num_labels", 1000)
    return getattr(torchvision_nets, kind)(classes=classes, **{key: config.get(key, value) for key, value in keys.items()})


def restore_padding_rows(model: torch.nn.Module, weights: dict) -> None:
    """Some classes of transformers 5 (ChineseCLIP) write zeros over the vector of the padding token after loading; the file is right."""
    for name, module in model.named_modules():
        stored = weights.get(f"{name}.weight")
        if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None and stored is not None:
            with torch.no_grad():
                module.weight[module.padding_idx] = stored[module.padding_idx].float()


def load(folder: Path, architecture) -> torch.nn.Module:
    """The reference with its weights, in float32 and evaluation mode. `architecture`: transformers' class, None for the configuration's."""
    config = read_config(folder)
    if config["model_type"] == "open_clip":
        model = open_clip.open_clip_model().CLIP(**config["model_cfg"])
        model.load_state_dict(read_weights(folder))
    elif config["model_type"] in ("alexnet", "vgg"):
        model = torch_net(config)
        model.load_state_dict(read_weights(folder))
    else:
        name = architecture or (config.get("architectures") or [None])[0]
        cls = getattr(transformers, name) if name else transformers.AutoModel
        model, report = cls.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        if any("pooler." in key for key in report["missing_keys"]) and "add_pooling_layer" in inspect.signature(cls.__init__).parameters:
            settings = AutoConfig.from_pretrained(folder)
            if hasattr(settings, "add_pooling_layer"):  # as a key of the configuration it would hide the argument
                del settings.add_pooling_layer
            model, report = cls.from_pretrained(folder, config=settings, dtype=torch.float32, output_loading_info=True, add_pooling_layer=False)
        restore_padding_rows(model, read_weights(folder))
        # Parts that nothing uses may be missing; where they matter, their new random weights give numbers that nothing can equal.
        if report["missing_keys"]:
            print(f"{folder}: the checkpoint lacks {sorted(report['missing_keys'])[:5]} of {cls.__name__}", file=sys.stderr)
    return model.float().eval()


def stages_of(model: torch.nn.Module, config: dict) -> dict:
    """module -> name of its output"""
    kind = config["model_type"]
    if kind in JOINT:
        return JOINT[kind].stages(getattr(model, kind, model))
    if kind == "alexnet":
        return {**{model.features[at]: f"convs.{index}" for index, at in enumerate((2, 5, 7, 9, 12))}, model.classifier[2]: "hidden1"}
    if kind == "vgg":
        pools = [layer for layer in model.features if isinstance(layer, torch.nn.MaxPool2d)]
        return {**{pool: f"stages.{index}" for index, pool in enumerate(pools)}, model.classifier[1]: "hidden1"}
    if kind == "open_clip":
        return open_clip.stages(model)
    found = {}
    for name, module in model.named_modules():
        for pattern, stage in STAGES.get(kind, []):
            match = re.fullmatch(pattern, name)
            if match:
                found[module] = match.expand(stage)
    return found


def reference_config(folder: Path, config: dict):
    """What the sizes of inputs are read from."""
    return AutoConfig.from_pretrained(folder) if config["model_type"] not in ("open_clip", "alexnet", "vgg") else None


def joint_forward(kind: str):
    """forward(model, inputs) of a model that reads a text beside regions."""
    return JOINT[kind].forward
