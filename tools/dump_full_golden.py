#!/usr/bin/env python3
"""Checks architectures at their real sizes, where sums are as long as in the published checkpoints.

    python tools/dump_full_golden.py [--fovea build/release/fovea] [--only clip-vit-base-patch32] [--keep FOLDER]

For each model a temporary folder gets config.json, model.safetensors (seeded random weights) and golden.safetensors: a picture, a text,
every third block (every 97th number of it) and all outputs, computed by transformers in float64. `fovea verify` then allows 1e-4 of the
largest magnitude. Takes up to 6 GB of memory and 2 GB of disk, and some minutes. Exits with 1 when a model differs.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers

from dump_golden import randomise, to_nhwc, to_stored
from golden.store import save

STEP = 97
BATCH = 1


def clip(text: dict, vision: dict, projection_dim: int):
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=projection_dim)
    return transformers.CLIPModel(config), vision.get("image_size", 224), 77, 49408


def siglip():
    return transformers.SiglipModel(transformers.SiglipConfig(text_config={}, vision_config={})), 224, 64, 32000


def dinov2():
    return transformers.Dinov2Model(transformers.Dinov2Config()), 518, 0, 0


MODELS = {
    "clip-vit-base-patch32": lambda: clip({}, {}, 512),
    "clip-vit-large-patch14": lambda: clip({"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
                                           {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
                                            "num_hidden_layers": 24, "patch_size": 14}, 768),
    "siglip-base-patch16-224": siglip,
    "dinov2-base": dinov2,
}


def two_tower_outputs(model, inputs: dict) -> dict:
    outputs = model(inputs["ids"], inputs["pixels"])
    image = model.get_image_features(inputs["pixels"]).pooler_output
    words = model.get_text_features(inputs["ids"]).pooler_output
    return {"features": image, "text_features": words, "logits_per_image": outputs.logits_per_image}


def two_tower_stages(model) -> dict:
    return {layer: f"{name}.layers.{i}" for name, tower in (("vision", model.vision_model), ("text", model.text_model))
            for i, layer in enumerate(tower.encoder.layers) if i % 3 == 2}


def write(folder: Path, build) -> None:
    model, size, tokens, vocabulary = build()
    source = torch.Generator().manual_seed(7)
    inputs = {"pixels": torch.randn((BATCH, 3, size, size), generator=source).double()}
    if tokens:
        inputs["ids"] = torch.randint(1, vocabulary - 2, (BATCH, tokens), generator=source)
        inputs["ids"][:, -1] = vocabulary - 1
        forward, stages = two_tower_outputs, two_tower_stages(model)
    else:
        forward = lambda model, inputs: {"features": model(inputs["pixels"]).pooler_output}  # noqa: E731
        stages = {layer: f"layers.{i}" for i, layer in enumerate(model.encoder.layer) if i % 3 == 2} if hasattr(model, "encoder") else {}
    model = model.double().eval()
    randomise(model, forward, inputs, seed=7)
    kept = {}
    for module, name in stages.items():
        module.register_forward_hook(lambda _module, _inputs, output, name=name: kept.__setitem__(f"stage.{name}", output))
    with torch.no_grad():
        found = {f"output.{name}": value for name, value in forward(model, inputs).items()}
    metadata = {"fovea": "golden-1", "generator": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}"}
    for name, value in kept.items():
        found[name] = value.flatten()[::STEP]
        metadata[f"step.{name}"] = str(STEP)
    found.update({f"input.{name}": to_nhwc(value) for name, value in inputs.items()})
    save(folder / "golden.safetensors", {name: to_stored(value) for name, value in found.items()}, metadata)
    model.float().save_pretrained(folder)  # under the names of files, which are not always those in memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--fovea", default="build/release/fovea", help="the program")
    parser.add_argument("--only", choices=MODELS, help="check just this model")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write there instead of a temporary folder")
    arguments = parser.parse_args()
    failed = []
    for name in [arguments.only] if arguments.only else MODELS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (arguments.keep or Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            write(folder, MODELS[name])
            print(f"== {name}", flush=True)
            if subprocess.run([arguments.fovea, "verify", folder], check=False).returncode != 0:
                failed.append(name)
    print(f"differ: {', '.join(failed)}" if failed else "all agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
