#!/usr/bin/env python3
"""Writes tests/golden/text/sentence_pooling.safetensors: what sentence-transformers makes of hidden states.

    python tools/dump_pooling_golden.py

tokens [B,T,D] and mask bool [B,T] (rows padded at the right, not at all, at the left), and for each case of the metadata "cases"
(JSON: name, files of the folder by their paths, folders of its Dense modules) <case>.output [B,E] and <case>.<folder>.linear.weight,
.linear.bias.
"""

import json
import tempfile
from pathlib import Path

import sentence_transformers
import torch
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import Pooling

from golden.store import save

SIZE = 4
TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}


def saved(modules: list) -> dict:
    """The files that sentence-transformers writes for these modules, by path, without weights."""
    files = {}
    entries = [TRANSFORMER]
    with tempfile.TemporaryDirectory() as folder:
        for index, module in enumerate(modules, start=1):
            path = f"{index}_{type(module).__name__}"
            (Path(folder) / path).mkdir()
            module.save(str(Path(folder) / path))
            kind = f"{type(module).__module__}.{type(module).__name__}"
            entries.append({"idx": index, "name": str(index), "path": path, "type": kind})
            config = Path(folder) / path / "config.json"
            if config.exists():
                files[f"{path}/config.json"] = config.read_text(encoding="utf-8")
    return {"modules.json": json.dumps(entries), **files}


def main() -> None:
    torch.manual_seed(7)
    tokens = torch.randn(3, 5, SIZE)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]).bool()
    cases = {mode: [Pooling(SIZE, mode)] for mode in Pooling.POOLING_MODES}
    cases["joined"] = [Pooling(SIZE, ("lasttoken", "mean", "cls"))]
    cases["normalised"] = [Pooling(SIZE, "mean"), Normalize()]
    cases["dense"] = [Pooling(SIZE, "cls"), Dense(SIZE, 3), Normalize()]
    cases["dense_plain"] = [Pooling(SIZE, ("cls", "max")), Dense(2 * SIZE, 5, bias=False, activation_function=None)]
    cases["dense_residual"] = [Pooling(SIZE, "max"), Dense(SIZE, SIZE, activation_function=torch.nn.ReLU(), use_residual=True),
                               Dense(SIZE, 2, activation_function=torch.nn.GELU())]
    tensors, listed = {"tokens": tokens.numpy(), "mask": mask.numpy()}, []

    def add(name: str, modules: list, files: dict) -> None:
        features = {"token_embeddings": tokens, "attention_mask": mask.long()}
        dense = []
        with torch.no_grad():
            for index, module in enumerate(modules, start=1):
                features = module(features)
                if isinstance(module, Dense):
                    dense.append(f"{index}_Dense")
                    tensors.update({f"{name}.{index}_Dense.{key}": value.numpy() for key, value in module.state_dict().items()})
        tensors[f"{name}.output"] = features["sentence_embedding"].contiguous().numpy()
        listed.append({"name": name, "files": files, "dense": dense})

    for name, modules in cases.items():
        add(name, modules, saved(modules))
    # As version 2 wrote it.
    old = {"word_embedding_dimension": SIZE, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
           "pooling_mode_max_tokens": True, "pooling_mode_mean_sqrt_len_tokens": False}
    entries = [{"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"} for index, (path, kind)
               in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")])]
    add("version2", [Pooling(SIZE, ("max", "mean")), Normalize()],
        {"modules.json": json.dumps(entries), "1_Pooling/config.json": json.dumps(old)})
    path = Path(__file__).resolve().parent.parent / "tests/golden/text/sentence_pooling.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, tensors, {"cases": json.dumps(listed), "generator": f"sentence-transformers {sentence_transformers.__version__}"})
    print(f"{path}: {path.stat().st_size} bytes, {len(listed)} cases")


if __name__ == "__main__":
    main()
