#!/usr/bin/env python3
"""Writes tests/golden/eval/measures.json: what numpy and PyTorch measure on small random vectors.

    python tools/dump_eval_golden.py

Retrieval from full score matrices and argsort; kNN by weighted votes (Wu et al. 2018); the linear probe by torch's L-BFGS on the
same penalised loss, in float64.
"""
import json
import pathlib

import numpy as np
import torch

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/eval"


def rounded(x):
    return (np.round(x * 1024) / 1024).tolist()


def summary(ranks):
    ranks = np.array(ranks)
    return {"r1": float((ranks <= 1).mean()), "r5": float((ranks <= 5).mean()), "r10": float((ranks <= 10).mean()), "median": float(np.median(ranks))}


def retrieval(rng):
    n, per, d = 40, 3, 6
    images = np.array(rounded(rng.normal(size=(n, d))))
    owner = np.repeat(np.arange(n), per)
    rng.shuffle(owner)
    texts = np.array(rounded(images[owner] + 1.5 * rng.normal(size=(n * per, d))))
    scores = images @ texts.T
    to_text = [1 + int((s[owner != i] > s[owner == i].max()).sum()) for i, s in enumerate(scores)]
    to_image = [int(np.argsort(-scores[:, m]).tolist().index(owner[m])) + 1 for m in range(len(owner))]
    return {"dim": d, "images": images.flatten().tolist(), "texts": texts.flatten().tolist(), "owner": owner.tolist(),
            "image_to_text": summary(to_text), "text_to_image": summary(to_image)}


def classes(rng):
    d, v = 5, 4
    centres = rng.normal(size=(v, d))
    parts = {}
    for name, n in (("train", 60), ("test", 50)):
        labels = rng.integers(0, v, n)
        x = centres[labels] + 0.9 * rng.normal(size=(n, d))
        parts[name] = (np.array(rounded(x / np.linalg.norm(x, axis=1, keepdims=True))), labels)
    (x, y), (tx, ty) = parts["train"], parts["test"]
    similarity = tx @ x.T
    votes = np.zeros((len(ty), v))
    for i, row in enumerate(similarity):
        for j in np.argsort(-row)[:7]:
            votes[i, y[j]] += np.exp((row[j] - row.max()) / 0.07)
    w = torch.zeros(v, d, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(v, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w, b], max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(torch.tensor(x) @ w.T + b, torch.tensor(y), reduction="sum") + 0.25 * (w ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    probe = (torch.tensor(tx) @ w.T + b).detach().numpy()

    def confusion(scores):
        matrix = np.zeros((v, v), dtype=int)
        np.add.at(matrix, (ty, scores.argmax(1)), 1)
        return matrix.flatten().tolist()

    top2 = float(np.mean([t in np.argsort(-s)[:2] for s, t in zip(probe, ty)]))
    return {"dim": d, "classes": v, "train": x.flatten().tolist(), "train_labels": y.tolist(), "test": tx.flatten().tolist(),
            "test_labels": ty.tolist(), "knn": {"k": 7, "confusion": confusion(votes)}, "probe": {"penalty": 0.5, "confusion": confusion(probe), "top2": top2}}


def main():
    rng = np.random.default_rng(11)
    OUT.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"retrieval": retrieval(rng), "classes": classes(rng)}, separators=(",", ":"))
    (OUT / "measures.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
