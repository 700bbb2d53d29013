#!/usr/bin/env python3
"""Writes tests/golden/naflex_tiny: a model folder with a tiny seeded SigLIP 2 NaFlex, whose pictures keep their proportions, and
expected.json with transformers' embeddings of samples/.

    python tools/dump_tiny_naflex.py
"""

import json
from pathlib import Path

import torch
from PIL import Image
from transformers import Siglip2Config, Siglip2Model
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests/golden/naflex_tiny"
PICTURES = ["cat.jpg", "temple.jpg", "coffee.jpg"]


def main() -> None:
    torch.manual_seed(3)
    tower = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_hidden_layers": 1}
    config = Siglip2Config(text_config={**tower, "vocab_size": 32, "max_position_embeddings": 8},
                           vision_config={**tower, "patch_size": 8, "num_patches": 16})
    model = Siglip2Model(config).eval()
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=20)
    model.save_pretrained(FOLDER)
    processor.save_pretrained(FOLDER)
    embeddings = []
    for name in PICTURES:
        inputs = processor(images=Image.open(ROOT / "samples" / name).convert("RGB"), return_tensors="pt")
        with torch.no_grad():
            features = model.get_image_features(**inputs)
        features = features if torch.is_tensor(features) else features.pooler_output
        embeddings.append(torch.nn.functional.normalize(features, dim=-1)[0].tolist())
    (FOLDER / "expected.json").write_text(json.dumps({"pictures": PICTURES, "image_embeddings": embeddings}, indent=1) + "\n")


if __name__ == "__main__":
    main()
