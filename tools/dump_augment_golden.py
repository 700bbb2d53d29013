#!/usr/bin/env python3
"""Writes tests/golden/train/augment.safetensors: what torchvision and Pillow make of one small picture.

    python tools/dump_augment_golden.py        # needs tools/requirements.txt and tools/requirements-torchvision.txt

"picture" u8 [Y,X,3]; "NAME@STRENGTH": torchvision.transforms.autoaugment._apply_op at that share of RandAugment's range, bilinear, filled
with 128; "brightness@F", "contrast@F", "saturation@F", "hue@F": torchvision.transforms.functional.adjust_*.
"""
import pathlib

import numpy as np
from PIL import Image
import golden.vision_transforms  # noqa: F401  makes torchvision importable
from torchvision.transforms import InterpolationMode, autoaugment
from torchvision.transforms import functional as F

from golden.store import save

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/train/augment.safetensors"
HEIGHT, WIDTH = 19, 26


def picture():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    rng = np.random.default_rng(5)
    base = np.stack([255 * x / WIDTH, 255 * y / HEIGHT, 127 + 90 * np.sin(x / 3 + y / 2)], -1) + rng.normal(0, 20, (HEIGHT, WIDTH, 3))
    array = np.clip(base * 0.85 + 12, 0, 255).astype(np.uint8)
    array[:3, :4] = 77  # grey: no hue
    return array


def magnitude(name, s):
    table = {"Brightness": 0.9 * s, "Color": 0.9 * s, "Contrast": 0.9 * s, "Sharpness": 0.9 * s, "ShearX": 0.3 * s, "ShearY": 0.3 * s,
             "TranslateX": 150.0 / 331.0 * WIDTH * s, "TranslateY": 150.0 / 331.0 * HEIGHT * s, "Rotate": 30.0 * s,
             "Posterize": 8 - round(4 * abs(s)), "Solarize": 255.0 * (1 - abs(s))}
    return table.get(name, 0.0)


def main():
    array = picture()
    image = Image.fromarray(array)
    tensors = {"picture": array}
    for name in ("Identity", "AutoContrast", "Equalize", "Brightness", "Contrast", "Color", "Sharpness", "Posterize", "Solarize", "Rotate",
                 "ShearX", "ShearY", "TranslateX", "TranslateY"):
        for s in (0.3, 0.9, -0.7):
            result = autoaugment._apply_op(image, name, magnitude(name, s), InterpolationMode.BILINEAR, [128, 128, 128])
            tensors[f"{name}@{s}"] = np.asarray(result)
    for name in ("brightness", "contrast", "saturation"):
        for factor in (0.0, 0.55, 1.4):
            tensors[f"{name}@{factor}"] = np.asarray(getattr(F, f"adjust_{name}")(image, factor))
    for factor in (-0.5, -0.13, 0.05, 0.31, 0.5):
        tensors[f"hue@{factor}"] = np.asarray(F.adjust_hue(image, factor))
    save(OUT, {name: np.ascontiguousarray(value) for name, value in tensors.items()}, {})
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
