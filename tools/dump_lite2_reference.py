#!/usr/bin/env python3
"""What PyTorch says to our sample pictures with EfficientNet-Lite2: the golden file of the bundled model.

    python tools/dump_lite2_reference.py                       writes tests/golden/models/efficientnet_lite2_reference.safetensors
    python tools/dump_lite2_reference.py --measure SHARD.tar   prints top-1 and top-5 on a WebDataset shard (.jpg + .json with
                                                               labels.class_index), once for each kind of weights

Metadata: `fovea` ("reference-1"; it is no golden file of a model type), `pictures` (JSON list of N file names below samples/), `full_pictures` (those whose pixels are stored whole), `generator`.
Tensors, rows in the order of `pictures`:
    top5.index       [N,5] int64    best classes, best first, of the f32 weights
    top5.score       [N,5] f32      their softmax probabilities
    f32.logits       [N,1000] f32   with the weights as published
    f32.features     [N,1280] f32   pooled features, not normalised
    f16.logits, f16.features        the same with matrices and kernels rounded to f16, as the bundle stores them.
                                    Rounding alone moves logits by up to 0.03: compare the bundle with these, the .pth with the others
    pixels.<name>    [260,260,3] u8 input before (pixel - 127) / 128, for the pictures in `full_pictures`
    pixels.centre    [N,32,32,3] u8 the middle of each input: rows and columns 114..145
    pixels.mean      [N,3] f32      mean of each channel of each input, 0..255
"""

import argparse
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image

from golden.lite2 import load_model, normalise, prepare_u8
from golden.store import save

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ("astronaut", "cat", "coffee", "flower", "motorcycle", "photographer", "rocket", "temple")
FULL_PICTURES = ("cat", "rocket")


def evaluate(model, pixels: np.ndarray):
    """(features [N,1280], logits [N,1000]) of u8 pixels [N,260,260,3]."""
    with torch.inference_mode():
        features = torch.cat([model.extract_features(normalise(torch.from_numpy(part))).mean((2, 3))
                              for part in np.array_split(pixels, max(1, len(pixels) // 8))])
        return features, model._fc(features)


def write_reference(path: Path) -> None:
    pixels = np.stack([prepare_u8(Image.open(ROOT / f"samples/{name}.jpg")) for name in PICTURES])
    stored = {"pixels.centre": pixels[:, 114:146, 114:146], "pixels.mean": pixels.mean((1, 2), dtype=np.float64)}
    stored.update({f"pixels.{name}": pixels[PICTURES.index(name)] for name in FULL_PICTURES})
    for kind in ("f32", "f16"):
        features, logits = evaluate(load_model(kind).double(), pixels.astype(np.float64))
        stored.update({f"{kind}.features": features.numpy(), f"{kind}.logits": logits.numpy()})
    best = torch.from_numpy(stored["f32.logits"]).softmax(1).topk(5)
    stored.update({"top5.index": best.indices.numpy(), "top5.score": best.values.numpy()})
    stored = {name: np.ascontiguousarray(value.astype(np.float32) if value.dtype == np.float64 else value)
              for name, value in stored.items()}
    save(path, stored, {
        "fovea": "reference-1",
        "pictures": json.dumps([f"{name}.jpg" for name in PICTURES]),
        "full_pictures": json.dumps([f"{name}.jpg" for name in FULL_PICTURES]),
        "generator": f"efficientnet_lite_pytorch 0.1.0, torch {torch.__version__.split('+')[0]}, Pillow {PIL.__version__}",
    })
    print(f"{path}: {path.stat().st_size} bytes")
    names = json.loads((ROOT / "models/efficientnet-lite2/config.json").read_text())["id2label"]
    for row, name in enumerate(PICTURES):
        print(f"  {name}: " + ", ".join(f"{names[str(i)]} {score:.3f}" for i, score in
                                        zip(stored["top5.index"][row].tolist(), stored["top5.score"][row].tolist())))


def measure(shard: Path) -> None:
    with tarfile.open(shard) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    keys = sorted(name[:-4] for name in files if name.endswith(".jpg"))
    truth = torch.tensor([json.loads(files[f"{key}.json"])["labels"]["class_index"] for key in keys])
    pixels = np.stack([prepare_u8(Image.open(io.BytesIO(files[f"{key}.jpg"]))) for key in keys])
    for kind in ("f32", "f16"):
        best = evaluate(load_model(kind), pixels)[1].topk(5).indices
        hits = best == truth[:, None]
        print(f"{kind} weights: top-1 {100 * hits[:, 0].float().mean():.1f} %, top-5 {100 * hits.any(1).float().mean():.1f} %, "
              f"n = {len(keys)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "tests/golden/models/efficientnet_lite2_reference.safetensors")
    parser.add_argument("--measure", type=Path, metavar="SHARD.tar")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
    else:
        write_reference(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
