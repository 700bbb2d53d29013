#!/usr/bin/env python3
"""Writes the reference numbers that `fovea verify DIR` compares with, for any checkpoint that transformers loads.

    python tools/make_golden.py DIR [--out DIR/golden.safetensors] [--class CLIPModel]

DIR is a model folder in the Hugging Face layout. The model runs once, in float32, on two small pictures and three texts (what it
takes of them), and the file keeps the pictures, the texts, the pixels and ids that the reference's processors make of them, and the
activations of every stage it knows by name. Large activations are thinned out: only every n-th number is kept, n in the metadata.

Layout: that of tools/dump_golden.py without weights, loss and gradients, and besides
    image.<i>       uint8 [Y,X,3], the pictures
    texts           metadata: JSON list
    step.<tensor>   metadata: n, where the tensor holds every n-th number of the flattened original
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

from golden.store import save

TEXTS = ["a photo of a cat", "Two dogs are playing in the snow near a red barn.", "café, naïve, 東京 🙂"]
KEEP = 16384  # numbers of an activation, about

# Names of modules in transformers -> names of stages in src/models. `\1` is the number of the layer.
BERT = [(r"(?:bert\.|roberta\.)?embeddings", "embeddings"), (r"(?:bert\.|roberta\.)?encoder\.layer\.(\d+)", r"layers.\1")]
TOWERS = [(r"vision_model\.embeddings", "vision.embeddings"), (r"vision_model\.encoder\.layers\.(\d+)", r"vision.layers.\1"),
          (r"text_model\.embeddings", "text.embeddings"), (r"text_model\.encoder\.layers\.(\d+)", r"text.layers.\1")]
STAGES = {
    "bert": BERT, "roberta": BERT, "xlm-roberta": BERT, "clip": TOWERS, "siglip": TOWERS,
    "distilbert": [(r"(?:distilbert\.)?embeddings", "embeddings"), (r"(?:distilbert\.)?transformer\.layer\.(\d+)", r"layers.\1")],
    "vit": [(r"(?:vit\.)?embeddings", "embeddings"), (r"(?:vit\.)?(?:encoder\.layer|layers)\.(\d+)", r"layers.\1")],
    "resnet": [(r"(?:resnet\.)?embedder", "embeddings"), (r"(?:resnet\.)?encoder\.stages\.(\d+)", r"stages.\1")],
    "efficientnet": [(r"(?:efficientnet\.)?embeddings", "embeddings"), (r"(?:efficientnet\.)?encoder\.blocks\.(\d+)", r"blocks.\1")],
}


def pictures() -> list:
    """Two small pictures with gradients, edges and noise, the same everywhere."""
    made = []
    for width, height, seed in ((97, 61, 1), (64, 120, 2)):
        y, x = np.mgrid[0:height, 0:width]
        noise = np.random.RandomState(seed).randint(0, 64, (height, width, 3))
        base = np.stack([x * 255 // width, y * 255 // height, ((x // 8 + y // 8) % 2) * 190], -1)
        made.append(np.clip(base + noise - 32, 0, 255).astype(np.uint8))
    return made


def nhwc(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor


def features(value) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else value.pooler_output


def run(model, images, texts) -> dict:
    """The outputs by the names of the file."""
    outputs = {}
    if images and texts and hasattr(model, "get_image_features"):
        outputs["features"] = features(model.get_image_features(**images))
        outputs["text_features"] = features(model.get_text_features(**texts))
        outputs["logits_per_image"] = model(**images, **texts).logits_per_image
        return outputs
    prefix = "" if images else "text_"
    found = model(**(images or texts))
    if getattr(found, "pooler_output", None) is not None:
        outputs[prefix + "features"] = found.pooler_output.flatten(1)
    if texts and not images and hasattr(found, "last_hidden_state"):
        outputs["text_tokens"] = found.last_hidden_state
    if getattr(found, "logits", None) is not None:
        outputs[prefix + "logits"] = found.logits
    return outputs


def inputs_of(folder: Path, config, model):
    """(arguments for pictures, arguments for texts) as the reference's processors make them; {} for what the model does not take."""
    images, texts = {}, {}
    is_two_tower = hasattr(model, "get_image_features")
    if is_two_tower or model.main_input_name == "pixel_values":
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        images = dict(processor([Image.fromarray(picture) for picture in pictures()], return_tensors="pt"))
    if is_two_tower or model.main_input_name == "input_ids":
        tokenizer = AutoTokenizer.from_pretrained(folder)
        longest = getattr(getattr(config, "text_config", config), "max_position_embeddings", 512)
        padding = "max_length" if config.model_type == "siglip" else "longest"
        texts = dict(tokenizer(TEXTS, padding=padding, truncation=True, max_length=min(longest, tokenizer.model_max_length),
                               return_tensors="pt"))
        if config.model_type == "siglip":
            texts.pop("attention_mask", None)
    return images, texts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--out", type=Path, help="default: golden.safetensors in DIR")
    parser.add_argument("--class", dest="architecture", help="transformers' class (default: the first of \"architectures\")")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = AutoConfig.from_pretrained(arguments.folder)
    name = arguments.architecture or (config.architectures or [None])[0]
    cls = getattr(transformers, name) if name else transformers.AutoModel
    model = cls.from_pretrained(arguments.folder, dtype=torch.float32).eval()
    images, texts = inputs_of(arguments.folder, config, model)

    stages, hooks = {}, []

    def keep(stage, output):
        stages.setdefault(stage, nhwc(output[0] if isinstance(output, tuple) else output))

    for module_name, module in model.named_modules():
        for pattern, stage in STAGES.get(config.model_type, []):
            match = re.fullmatch(pattern, module_name)
            if match:
                hooks.append(module.register_forward_hook(lambda _m, _i, output, stage=match.expand(stage): keep(stage, output)))
    with torch.no_grad():
        outputs = run(model, images, texts)
    for hook in hooks:
        hook.remove()

    stored, metadata = {}, {"fovea": "golden-1", "model_type": config.model_type, "texts": json.dumps(TEXTS if texts else []),
                            "generator": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}"}
    if images:
        stored.update({f"image.{i}": picture for i, picture in enumerate(pictures())})
        stored["input.pixels"] = nhwc(images["pixel_values"]).numpy()
    if texts:
        stored["input.ids"] = texts["input_ids"].numpy()
        if "attention_mask" in texts:
            stored["input.mask"] = texts["attention_mask"].numpy().astype(np.bool_)
        if "token_type_ids" in texts:
            stored["input.type_ids"] = texts["token_type_ids"].numpy()
    for key, value in [*((f"stage.{k}", v) for k, v in stages.items()), *((f"output.{k}", v) for k, v in outputs.items())]:
        array = nhwc(value).float().numpy()
        step = max(1, array.size // KEEP)
        if step > 1:
            array, metadata[f"step.{key}"] = array.reshape(-1)[::step], str(step)
        stored[key] = array
    out = arguments.out or arguments.folder / "golden.safetensors"
    save(out, {key: np.array(value, order="C") for key, value in stored.items()}, metadata)
    print(f"{out}: {out.stat().st_size} bytes, {len(stages)} stages, {len(outputs)} outputs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
