#!/usr/bin/env python3
"""Writes tests/golden/runtime/calibration.json: calibration measures and fits of scikit-learn, scipy and numpy.

    python tools/dump_calibration_golden.py
"""
import json
import pathlib

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/runtime/calibration.json"


def reliability(p, y, bins, strategy):
    hits, confidence = calibration_curve(y, p, n_bins=bins, strategy=strategy)
    edges = np.linspace(0, 1, bins + 1) if strategy == "uniform" else np.percentile(p, np.linspace(0, 1, bins + 1) * 100)
    n = np.bincount(np.searchsorted(edges[1:-1], p), minlength=bins)
    n = n[n > 0]
    return {"bins": bins, "kind": strategy, "hits": hits.tolist(), "confidence": confidence.tolist(), "n": n.tolist(),
            "ece": float((n * np.abs(hits - confidence)).sum() / n.sum())}


def main():
    rng = np.random.default_rng(5)
    p = np.round(rng.beta(2, 1, 240), 3)
    p[:4] = [0.0, 1.0, 0.2, 0.4]  # on edges
    y = (rng.random(240) < p ** 1.6).astype(int)
    outcomes = {"confidence": p.tolist(), "hit": y.tolist(), "brier": float(brier_score_loss(y, p)),
                "reliability": [reliability(p, y, b, s) for b in (5, 15) for s in ("uniform", "quantile")]}

    n, v = 80, 5
    labels = rng.integers(0, v, n)
    logits = np.round(3 * (rng.normal(size=(n, v)) + 1.2 * np.eye(v)[labels]), 2)
    loss = lambda t: float(-log_softmax(logits / t, axis=1)[np.arange(n), labels].mean())
    brier = lambda t: float(((softmax(logits / t, axis=1) - np.eye(v)[labels]) ** 2).sum(1).mean())
    best = float(np.exp(minimize_scalar(lambda t: loss(np.exp(t)), bounds=(-4, 4), method="bounded", options={"xatol": 1e-12}).x))
    temperature = {"classes": v, "logits": logits.flatten().tolist(), "labels": labels.tolist(), "best": best,
                   "at": [{"temperature": t, "loss": loss(t), "brier": brier(t)} for t in (0.5, 1.0, best)]}

    x = np.round(rng.normal(size=60), 1)  # with equal scores
    t = np.round(np.tanh(x) + rng.normal(size=60) * 0.4, 3)
    w = np.round(rng.uniform(0.2, 3, 60), 2)
    asked = np.round(np.linspace(-4, 4, 41), 2)
    isotonic = [{"scores": x.tolist(), "targets": t.tolist(), "weights": weights.tolist() if weights is not None else [],
                 "asked": asked.tolist(),
                 "values": IsotonicRegression(out_of_bounds="clip").fit(x, t, sample_weight=weights).predict(asked).tolist()}
                for weights in (None, w)]
    OUT.write_text(json.dumps({"outcomes": outcomes, "temperature": temperature, "isotonic": isotonic}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
