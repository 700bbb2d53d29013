#!/usr/bin/env python3
"""Writes tests/golden/media/parity.{json,bin}: what the image processors of transformers (Pillow backend), torchvision and open_clip
make of 50 pictures of odd sizes, for every configuration that matters.

    python tools/dump_preprocess_golden.py            # needs tools/requirements.txt and tools/requirements-torchvision.txt

The pictures are formulas or parts of samples/, so that only results are stored. parity.json has "pictures" (see picture), "crc" (CRC-32 of
the pixels of each) and "configs" (name -> the JSON file that our program reads). parity.bin has a record for each configuration, in the
format of dump_media_golden.write_records; its data is for each picture, little-endian:
  i32 height, i32 width     size of the result; of "naflex" the patches down and across
  u32 crc of the bytes      of the whole result before rescaling and normalisation, [height,width,3]; 0 where they are no bytes (DINOv3)
  u32 crc of the values     of the whole result, f32 [height,width,3]; of "naflex" [N, P*P*3]; 0 for DINOv3
  f32 x 48                  samples before rescaling, 0 to 255 (none of "naflex": zeros)
  f32 x 16                  samples of the result
Sample k is the flat element (k * 2654435761) % size.
"""

import importlib
import json
import struct
import sys
import types
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import golden.vision_transforms  # noqa: F401  makes torchvision importable
from dump_media_golden import OUT, pattern, write_records

ROOT = Path(__file__).resolve().parent.parent
SIZES = [(1, 1), (1, 97), (89, 1), (2, 3), (3, 2), (5, 100), (100, 5), (13, 260), (260, 13), (31, 620), (7, 7), (17, 19), (37, 53), (101, 103), (223, 225),
         (224, 224), (225, 223), (256, 256), (384, 384), (997, 13), (211, 199), (499, 503), (640, 480), (480, 640), (1283, 727), (727, 1283), (346, 347),
         (383, 385), (64, 1280), (2003, 1009)]
CROPS = [("astronaut", 0, 0, 512, 512), ("astronaut", 11, 7, 233, 401), ("cat", 3, 5, 211, 97), ("cat", 20, 30, 97, 211), ("cat", 0, 0, 300, 300),
         ("coffee", 17, 9, 401, 269), ("coffee", 50, 1, 389, 23), ("coffee", 9, 9, 23, 347), ("rocket", 1, 1, 419, 331), ("rocket", 99, 0, 127, 419),
         ("flower", 0, 3, 333, 222), ("flower", 31, 41, 59, 61), ("temple", 7, 7, 509, 251), ("temple", 100, 50, 257, 263), ("motorcycle", 13, 21, 443, 379),
         ("motorcycle", 5, 60, 461, 29), ("photographer", 8, 16, 307, 311), ("photographer", 0, 0, 19, 293), ("astronaut", 100, 100, 229, 227),
         ("rocket", 40, 40, 383, 191)]
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def edges(width, height):
    """RGB [height,width,3] of black and white only: where sharpening filters leave the range of a byte."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return np.where((x * 7 + y * 13 + c * 5) % 16 < 8, 255, 0).astype(np.uint8)


def picture(name):
    """"pattern W H", "edges W H" or "crop SAMPLE X Y W H"."""
    kind, *rest = name.split()
    if kind == "crop":
        x, y, width, height = map(int, rest[1:])
        return Image.open(ROOT / f"samples/{rest[0]}.jpg").convert("RGB").crop((x, y, x + width, y + height))
    return Image.fromarray({"pattern": pattern, "edges": edges}[kind](*map(int, rest)))


def named(processor, **changes):
    """A config as transformers writes it."""
    return dict(json.loads(processor.to_json_string()), **changes)


def transformers_configs():
    """name -> (config of our program, image processor)."""
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil as Bit
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil as Blip
    from transformers.models.chinese_clip.image_processing_pil_chinese_clip import ChineseCLIPImageProcessorPil as ChineseCLIP
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as CLIP
    from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil as ConvNext
    from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil as DeiT
    from transformers.models.dinov3_vit.image_processing_dinov3_vit import DINOv3ViTImageProcessor as DINOv3
    from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil as EfficientNet
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil as Siglip
    from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil as Siglip2
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil as ViT

    align = EfficientNet(size={"height": 346, "width": 346}, do_center_crop=True, crop_size={"height": 289, "width": 289}, resample=2, do_normalize=False,
                         rescale_factor=1 / 127.5, rescale_offset=True, include_top=False)
    bit = {"crop_size": {"height": 224, "width": 224}, "size": {"shortest_edge": 256}, "image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD}
    processors = {
        "clip": CLIP(),
        "clip_pads": CLIP(size={"shortest_edge": 151}, crop_size={"height": 224, "width": 201}),
        "clip_no_crop": CLIP(size={"shortest_edge": 100, "longest_edge": 181}, do_center_crop=False),
        "vit": ViT(),
        "vit_lanczos": ViT(size={"height": 97, "width": 203}, resample=1),
        "vit_box": ViT(size={"height": 96, "width": 96}, resample=4),
        "vit_hamming": ViT(size={"height": 131, "width": 96}, resample=5, do_rescale=False, image_mean=[127, 126, 125], image_std=[128, 127, 126]),
        "vit_only_rescaled": ViT(do_resize=False, do_normalize=False),
        "vit_bare": ViT(size={"height": 65, "width": 65}, do_rescale=False, do_normalize=False),
        "bit": Bit(),
        "dinov2": Bit(**bit),
        "dinov3": DINOv3(),
        "dinov3_bicubic": DINOv3(size={"height": 96, "width": 131}, resample=3),
        "deit": DeiT(),
        "convnext_224": ConvNext(size={"shortest_edge": 224}),
        "convnext_384": ConvNext(),
        "swin": ViT(resample=3, image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD),
        "siglip": Siglip(),
        "siglip2_fixed": Siglip(size={"height": 256, "width": 256}, resample=2),
        "naflex": Siglip2(),
        "naflex_small": Siglip2(patch_size=14, max_num_patches=77),
        "chinese_clip": ChineseCLIP(do_center_crop=False, size={"height": 224, "width": 224}),
        "align": align,
        "efficientnet": EfficientNet(),
        "efficientnet_b0": EfficientNet(size={"height": 224, "width": 224}, resample=0, image_std=[0.47853944, 0.4732864, 0.47434163]),
        "blip": Blip(),
    }
    configs = {name: (named(processor), processor) for name, processor in processors.items()}
    # What older versions and other programs wrote, and the file of a whole processor.
    old_clip = {"crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True, "feature_extractor_type": "CLIPFeatureExtractor",
                "image_mean": CLIP_MEAN, "image_std": CLIP_STD, "resample": 3, "size": 224}
    old_resnet = {"crop_pct": 0.875, "do_normalize": True, "do_resize": True, "feature_extractor_type": "ConvNextFeatureExtractor",
                  "image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD, "resample": 2, "size": 232}
    arguments = lambda config: {key: value for key, value in config.items() if key != "feature_extractor_type"}
    configs["clip_old"] = (old_clip, CLIP(**arguments(old_clip)))
    configs["resnet_old"] = (old_resnet, ConvNext(**arguments(old_resnet)))
    configs["swin_list"] = ({"image_processor_type": "ViTImageProcessorFast", "size": [192, 160], "resample": 3}, ViT(size=[192, 160], resample=3))
    configs["vit_hybrid"] = (named(Bit(**bit), image_processor_type="ViTHybridImageProcessor"), Bit(**bit))
    configs["clip_nested"] = ({"image_processor": named(CLIP(), image_processor_type="CLIPImageProcessorPil"), "processor_class": "CLIPProcessor"}, CLIP())
    return configs


def open_clip_transform():
    """The module open_clip.transform, without the models around it."""
    package = types.ModuleType("open_clip")
    package.__path__ = [str(Path(folder) / "open_clip") for folder in sys.path if (Path(folder) / "open_clip/transform.py").exists()][:1]
    sys.modules["open_clip"] = package
    return importlib.import_module("open_clip.transform")


def composed_configs():
    """name -> (config of our program, torchvision Compose that ends with ToTensor and Normalize)."""
    from torchvision import transforms as T

    open_clip = open_clip_transform()
    configs = {}
    for name, resize, crop in (("torchvision", 256, 224), ("torchvision_odd", 232, 225), ("torchvision_pads", 200, 225)):
        compose = T.Compose([T.Resize(resize), T.CenterCrop(crop), T.ToTensor(), T.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
        configs[name] = ({"image_processor_type": "TorchvisionImageProcessor", "size": {"shortest_edge": resize}, "crop_size": crop}, compose)
    for name, cfg in {"open_clip": {}, "open_clip_squash": {"size": 256, "resize_mode": "squash", "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3},
                      "open_clip_longest": {"size": [225, 224], "resize_mode": "longest", "fill_color": 127}, "open_clip_odd": {"size": 151},
                      "open_clip_wide": {"size": [160, 225], "interpolation": "bilinear"}}.items():
        configs[name] = ({"model_cfg": {"vision_cfg": {"image_size": cfg.get("size", 224)}}, "preprocess_cfg": cfg},
                         open_clip.image_transform_v2(open_clip.PreprocessCfg(**cfg), is_train=False))
    return configs


def results(name, processor, image):
    """(before rescaling [Y,X,3] f32, result f32, height, width)."""
    if hasattr(processor, "transforms"):
        from torchvision import transforms as T

        until = [isinstance(step, T.ToTensor) for step in processor.transforms].index(True)
        early = T.Compose(processor.transforms[:until])(image)
        value = processor(image).numpy().transpose(1, 2, 0)
        return np.asarray(early, np.float32), value, *value.shape[:2]
    if name.startswith("naflex"):
        out = processor(image)
        value, grid = np.asarray(out["pixel_values"][0], np.float32), out["spatial_shapes"][0]
        assert int(np.sum(out["pixel_attention_mask"][0])) == grid[0] * grid[1]
        return np.zeros((1, 1, 3), np.float32), value, int(grid[0]), int(grid[1])
    image_of = lambda **options: np.asarray(processor(image, **options)["pixel_values"][0], np.float32).transpose(1, 2, 0)
    if name.startswith("dinov3"):
        early = image_of(do_normalize=False) * 255
    else:
        early = image_of(do_rescale=False, do_normalize=False, **({"include_top": False} if hasattr(processor, "include_top") else {}))
    value = image_of()
    return early, value, *value.shape[:2]


def samples(values, count):
    flat = values.reshape(-1)
    return flat[[k * 2654435761 % flat.size for k in range(count)]].astype("<f4").tobytes()


def main():
    names = [f"{'edges' if i % 3 == 2 else 'pattern'} {w} {h}" for i, (w, h) in enumerate(SIZES)] + [" ".join(map(str, ("crop", *crop))) for crop in CROPS]
    pictures = [picture(name) for name in names]
    configs = {**transformers_configs(), **composed_configs()}
    records = []
    for name, (_, processor) in configs.items():
        data = b""
        for image in pictures:
            early, value, height, width = results(name, processor, image)
            is_bytes = not name.startswith("dinov3")
            assert not is_bytes or np.array_equal(early, early.astype(np.uint8)), name
            value = np.ascontiguousarray(value, "<f4")
            data += struct.pack("<2i2I", height, width, zlib.crc32(early.astype(np.uint8).tobytes()) if is_bytes else 0,
                                zlib.crc32(value.tobytes()) if is_bytes else 0)
            data += samples(early, 48) + samples(value, 16)
        records.append((name, (len(pictures),), data))
    write_records(OUT / "parity.bin", records)
    (OUT / "parity.json").write_text(json.dumps({
        "pictures": names, "crc": [zlib.crc32(np.asarray(image).tobytes()) for image in pictures],
        "configs": {name: config for name, (config, _) in configs.items()}}, indent=1) + "\n")
    print(f"{len(configs)} configurations, {len(names)} pictures, {sum((OUT / f'parity.{e}').stat().st_size for e in ('json', 'bin'))} bytes")


if __name__ == "__main__":
    main()
