#!/usr/bin/env python3
"""Writes the reference numbers that `fovea verify DIR` compares with, for a checkpoint of any architecture that Fovea has.

    python tools/make_golden.py DIR [--out DIR/golden.safetensors] [--class CLIPModel]

DIR is a model folder in the Hugging Face layout, or OpenCLIP's (golden/folders.py says which package reads it). The model runs once, in
float32, on two small pictures and three texts (what it takes of them), and the file keeps the pictures, the texts, the pixels and ids
that the reference's processors make of them, and the activations of every stage it knows by name. Where the folder has no tokenizer or
does not say how pictures are prepared, and for regions of pictures, seeded random inputs stand instead. Large activations are thinned out: only every n-th number is kept, n in the metadata.

Layout: that of tools/dump_golden.py without weights, loss and gradients, and besides
    image.<i>       uint8 [Y,X,3], the pictures
    texts           metadata: JSON list
    step.<tensor>   metadata: n, where the tensor holds every n-th number of the flattened original
"""

import argparse
import inspect
import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer

from golden import folders, open_clip
from golden.joint import corners
from golden.store import save

TEXTS = ["a photo of a cat", "Two dogs are playing in the snow near a red barn.", "café, naïve, 東京 🙂"]
KEEP = 16384  # numbers of an activation, about

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


# transformers' names of arguments -> those of the file.
IMAGE_INPUTS = {"pixel_values": "pixels", "pixel_attention_mask": "patch_mask", "spatial_shapes": "shapes"}
TEXT_INPUTS = {"input_ids": "ids", "attention_mask": "mask", "token_type_ids": "type_ids"}


def run_transformers(model, images: dict, texts: dict) -> dict:
    """The outputs by the names of the file."""
    outputs = {}
    if images and texts:
        outputs["features"] = features(model.get_image_features(**images))
        outputs["text_features"] = features(model.get_text_features(**texts))
        outputs["logits_per_image"] = model(**images, **texts).logits_per_image
        return outputs
    prefix = "" if images else "text_"
    found = model(**(images or texts))
    for key in ("image_embeds", "text_embeds", "pooler_output"):  # what comes first stands for the whole
        if getattr(found, key, None) is not None:
            outputs.setdefault(prefix + "features", found[key].flatten(1))
    if texts and getattr(found, "last_hidden_state", None) is not None:
        outputs["text_tokens"] = found.last_hidden_state
    if getattr(found, "logits", None) is not None:
        outputs["token_logits" if model.config.model_type in folders.DECODERS else prefix + "logits"] = found.logits
    return outputs


def image_arguments(folder: Path, size, channels: int) -> tuple:
    """(arguments, whether they were made from pictures()); seeded noise where the folder does not say how pictures are prepared."""
    if any((folder / name).exists() for name in ("preprocessor_config.json", "processor_config.json")):
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        return dict(processor([Image.fromarray(picture) for picture in pictures()], return_tensors="pt")), True
    size = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
    return {"pixel_values": torch.randn((2, channels, *size), generator=torch.Generator().manual_seed(1))}, False


def text_arguments(folder: Path, config, model) -> tuple:
    """(arguments, whether they were made from TEXTS); seeded ids where the folder has no tokenizer."""
    text = getattr(config, "text_config", config)
    longest = getattr(text, "max_position_embeddings", 512)
    if config.model_type in ("roberta", "xlm-roberta"):
        longest -= text.pad_token_id + 1
    is_siglip = config.model_type.startswith("siglip")
    if config.model_type in folders.DECODERS and (folder / "tokenizer.json").exists():  # one text: batches of prompts are padded in many ways
        ids = AutoTokenizer.from_pretrained(folder)(TEXTS[1:2], truncation=True, max_length=longest, return_tensors="pt")["input_ids"]
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, True
    if any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model")):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        made = dict(tokenizer(TEXTS, padding="max_length" if is_siglip else "longest", truncation=True,
                              max_length=min(longest, tokenizer.model_max_length), return_tensors="pt"))
    else:
        short = min(longest, 12 if config.model_type in folders.DECODERS else 5)
        mask = torch.arange(min(longest, 12))[None, :] < torch.tensor([min(longest, 12), short])[:, None]
        ids = torch.randint(5, text.vocab_size, mask.shape, generator=torch.Generator().manual_seed(2))
        pad = getattr(text, "pad_token_id", None)
        made = {"input_ids": torch.where(mask, ids, 0 if pad is None else pad), "attention_mask": mask.long()}
        if config.model_type.startswith("clip"):  # features stand at the end of the text
            end = text.eos_token_id if text.eos_token_id != 2 else text.vocab_size - 1
            made["input_ids"][torch.arange(len(mask)), mask.sum(1) - 1] = end
        return ({"input_ids": made["input_ids"]} if is_siglip else made), False
    taken = inspect.signature(getattr(model, "get_text_features", model.forward)).parameters
    return {name: value for name, value in made.items() if name in taken and not (is_siglip and name == "attention_mask")}, True


def inputs_and_outputs(folder: Path, settings: dict, config, model) -> tuple:
    """(inputs, a function that gives the outputs, whether pictures() and TEXTS were used); inputs by the names of the file."""
    kind = settings["model_type"]
    if kind == "open_clip":
        size = settings["model_cfg"]["vision_cfg"].get("image_size", 224)
        given = {"pixels": image_arguments(Path("none"), size, 3)[0]["pixel_values"], "ids": open_clip.ids_of(settings["model_cfg"], 2, 1)}
        return given, lambda: open_clip.forward(model, given), False, False
    if kind in ("alexnet", "vgg"):
        arguments, is_picture = image_arguments(folder, 224 if kind == "vgg" else 227, settings.get("num_channels", 3))
        given = {"pixels": arguments["pixel_values"]}
        return given, lambda: model(given["pixels"]), is_picture, False
    if kind in folders.JOINT:
        texts, is_text = text_arguments(folder, config, model)
        size = config.visual_feat_dim if kind == "lxmert" else config.visual_embedding_dim
        given = {TEXT_INPUTS[name]: value for name, value in texts.items()}
        given["mask"] = given["mask"].bool()
        batch = len(given["ids"])
        given["regions"] = torch.randn((batch, 4, size), generator=torch.Generator().manual_seed(3))
        given["region_mask"] = torch.arange(4)[None, :] < torch.tensor([4 - row % 2 for row in range(batch)])[:, None]
        if kind == "lxmert":
            given["boxes"] = corners(batch, 4, 1)
        return given, lambda: folders.joint_forward(kind)(model, given), False, is_text
    is_two_tower = hasattr(model, "get_image_features")
    images, texts, is_picture, is_text = {}, {}, False, False
    if is_two_tower or model.main_input_name == "pixel_values":
        vision = getattr(config, "vision_config", config)
        images, is_picture = image_arguments(folder, getattr(vision, "image_size", 224), getattr(vision, "num_channels", 3))
    if is_two_tower or model.main_input_name == "input_ids":
        texts, is_text = text_arguments(folder, config, model)
    given = {**{IMAGE_INPUTS[name]: value for name, value in images.items()}, **{TEXT_INPUTS[name]: value for name, value in texts.items()}}
    if "shapes" in given:
        given["patches"] = given.pop("pixels")
    return given, lambda: run_transformers(model, images, texts), is_picture, is_text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--out", type=Path, help="default: golden.safetensors in DIR")
    parser.add_argument("--class", dest="architecture", help="transformers' class (default: the first of \"architectures\")")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = folders.read_config(arguments.folder)
    if settings["model_type"] in folders.WITHOUT_REFERENCE:
        parser.error(f"{arguments.folder}: {settings['model_type']} {folders.WITHOUT_REFERENCE[settings['model_type']]}")
    config = folders.reference_config(arguments.folder, settings)
    model = folders.load(arguments.folder, arguments.architecture)
    given, forward, is_picture, is_text = inputs_and_outputs(arguments.folder, settings, config, model)

    stages, hooks = {}, []

    def keep(stage, output):
        stages.setdefault(stage, output[0] if isinstance(output, tuple) else output)

    for module, stage in folders.stages_of(model, settings).items():
        hooks.append(module.register_forward_hook(lambda _m, _i, output, stage=stage: keep(stage, output)))
    with torch.no_grad():
        outputs = forward()
    for hook in hooks:
        hook.remove()

    texts = TEXTS[1:2] if settings["model_type"] in folders.DECODERS else TEXTS
    stored, metadata = {}, {"fovea": "golden-1", "model_type": settings["model_type"], "texts": json.dumps(texts if is_text else []),
                            "generator": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}"}
    if is_picture and "pixels" in given:
        stored.update({f"image.{i}": picture for i, picture in enumerate(pictures())})
    for name, value in given.items():
        value = nhwc(value)
        stored[f"input.{name}"] = value.bool().numpy() if name in ("mask", "patch_mask", "region_mask") else value.numpy()
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
