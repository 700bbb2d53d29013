#!/usr/bin/env python3
"""Measures steps of training in Fovea and in PyTorch, in turns, and prints a table.

    bench/train.py [--python PYTHON] [--rounds N] [--steps S] [--batch N] [--work classify,contrastive] [--precision f32,bf16]

Needs build/release/bench/fovea_bench and a Python with torch, transformers, safetensors (bench/peers/setup.sh makes one). A round runs
each side once, in a process of its own; speeds and peaks are medians over the rounds, a ratio is the median of the ratios within a
round, so that a busy minute counts for both. The losses of both sides must agree, or nothing is printed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "build/release/bench/fovea_bench"
PEER = ROOT / "bench/peers/train_peer.py"
NAMES = {"classify": "EfficientNet-Lite2, classes, 260 px", "contrastive": "CLIP ViT-B/32, pairs, 224 px, 77 tokens"}


def run(*command) -> dict:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(args, work: str, precision: str, folder: Path) -> str:
    flags = ["--bf16"] if precision == "bf16" else []
    ours, theirs = [], []
    for number in range(args.rounds):
        ours.append(run(BENCH, "train", "--model", folder / "model", "--inputs", folder / "inputs.safetensors", "--steps", args.steps, *flags))
        theirs.append(run(args.python, PEER, "run", "--work", work, "--folder", folder, "--steps", args.steps, *flags))
        print(f"  {work} {precision} round {number + 1}: {ours[-1]['samples_per_s']:.2f} and {theirs[-1]['samples_per_s']:.2f} samples/s", file=sys.stderr)
        limit = 2e-2 if precision == "bf16" else 2e-3
        for a, b in zip(ours[-1]["loss"], theirs[-1]["loss"]):
            if abs(a - b) > limit * max(1, abs(b)):
                raise SystemExit(f"{work} {precision}: the losses differ: {ours[-1]['loss']} and {theirs[-1]['loss']}")
    middle = lambda results, key: statistics.median(result[key] for result in results)
    ratios = [a["samples_per_s"] / b["samples_per_s"] for a, b in zip(ours, theirs)]
    return (f"| {NAMES[work]} | {precision} | {args.batch} | {middle(ours, 'samples_per_s'):.1f} | {middle(theirs, 'samples_per_s'):.1f} | "
            f"**{statistics.median(ratios):.2f}x** | {min(ratios):.2f} - {max(ratios):.2f} | {middle(ours, 'peak_mb'):.0f} | {middle(theirs, 'peak_mb'):.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=str(ROOT / "bench/peers/.venv/bin/python"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--work", default="classify,contrastive")
    parser.add_argument("--precision", default="f32,bf16")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for work in args.work.split(","):
            folder = Path(scratch) / work
            run(args.python, PEER, "prepare", "--work", work, "--batch", args.batch, "--folder", folder)
            for precision in args.precision.split(","):
                rows.append(measure(args, work, precision, folder))
    print("| training | products in | batch | Fovea samples/s | PyTorch samples/s | ratio | over the rounds | Fovea peak MB | PyTorch peak MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
