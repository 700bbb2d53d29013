#!/usr/bin/env python3
"""Writes tests/golden/search.json: what the statistics of search come to by numpy and scipy, on random vectors and on the tiny CLIP of
tests/golden/clip_tiny with the background texts that the program uses (read from src/library/background_texts.cc).

    python tools/dump_search_golden.py
"""

import json
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.stats import false_discovery_control, norm
from transformers import AutoImageProcessor, CLIPModel, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parent.parent
CHANCE_SHARE, TAIL_SCALE = 0.2, 1.15  # kChanceShare, kTailScale in src/library/relevance.h


def z_scores(texts, pictures, query):
    background = texts @ pictures.T  # [K,N]
    return (query @ pictures.T - background.mean(0)) / background.std(0)


def probabilities(z, pictures):
    """Of the best of `pictures` pictures, best first; the others count as certain chance."""
    p = np.ones(pictures)
    p[: len(z)] = norm.sf(np.asarray(z) / TAIL_SCALE)
    q = false_discovery_control(p, method="bh")[: len(z)]
    return 1 / (1 + q / CHANCE_SHARE)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def random_case():
    random = np.random.default_rng(7)
    texts, pictures, query = unit(random.normal(size=(9, 11))), unit(random.normal(size=(6, 11))), unit(random.normal(size=11))
    ranked = [5.5, 4.6, 4.5, 3.2, 3.1, 3.0, 2.9, 1.0, -0.5]
    return {
        "texts": texts.round(6).tolist(),
        "pictures": pictures.round(6).tolist(),
        "query": query.round(6).tolist(),
        "z": z_scores(texts.round(6), pictures.round(6), query.round(6)).tolist(),
        "ranked_z": ranked,
        "probabilities": {str(n): probabilities(ranked, n).tolist() for n in (9, 100, 1000, 100_000)},
    }


def tiny_clip_case():
    folder = ROOT / "tests/golden/clip_tiny"
    model = CLIPModel.from_pretrained(folder).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder, use_fast=False)
    source = (ROOT / "src/library/background_texts.cc").read_text()
    background = re.findall(r'"((?:[^"\\]|\\.)*)"', source[source.index("texts = {") :])
    names = ["cat.jpg", "coffee.jpg", "flower.jpg", "temple.jpg"]
    images = [Image.open(ROOT / "samples" / name).convert("RGB") for name in names]

    def encode(texts):
        # One at a time: no padding, which a tiny vocabulary may lack.
        rows = []
        for text in texts:
            ids = tokenizer(text, truncation=True, max_length=16, return_tensors="pt")["input_ids"]
            pooled = model.text_model(input_ids=ids).pooler_output
            rows.append(model.text_projection(pooled)[0])
        return unit(torch.stack(rows).double().numpy())

    with torch.no_grad():
        pixels = processor(images=images, return_tensors="pt")["pixel_values"]
        pictures = unit(model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output).double().numpy())
        texts = encode(background)
        scores = {}
        for query in ("two dogs", "snow"):
            z = z_scores(texts, pictures, encode([query])[0])
            order = np.argsort(-z)
            p = probabilities(z[order], len(z))
            scores[query] = {names[i]: float(p[rank]) for rank, i in enumerate(order)}
    return {"texts": len(background), "scores": scores}


def main():
    golden = {"chance_share": CHANCE_SHARE, "tail_scale": TAIL_SCALE, "random": random_case(), "tiny_clip": tiny_clip_case()}
    (ROOT / "tests/golden/search.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
