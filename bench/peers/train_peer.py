#!/usr/bin/env python3
"""PyTorch at Fovea's training steps: EfficientNet-Lite2 as a classifier, CLIP ViT-B/32 on pairs.

    train_peer.py prepare --work classify|contrastive --batch N --folder DIR    writes DIR/model and DIR/inputs.safetensors, seeded
    train_peer.py run --work classify|contrastive --folder DIR [--bf16] [--steps S]   {"samples_per_s", "loss", "peak_mb"}

The model and its inputs are the same on both sides; dropout is off, batch norms train, AdamW updates every weight. PyTorch runs in the
layout and with the optimiser that suit it best: channels_last, fused AdamW, scaled_dot_product_attention, autocast for bf16.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

import safetensors.torch
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))


def clip_config():
    from transformers import CLIPConfig

    return CLIPConfig(text_config={"bos_token_id": 49406, "eos_token_id": 49407})


def prepare(work: str, batch: int, folder: Path) -> dict:
    torch.manual_seed(7)
    model_folder = folder / "model"
    model_folder.mkdir(parents=True, exist_ok=True)
    if work == "classify":
        source = ROOT / "models/efficientnet-lite2"
        config = json.loads((source / "config.json").read_text())
        config.update(dropout_rate=0.0, drop_connect_rate=0.0)
        (model_folder / "config.json").write_text(json.dumps(config))
        for name in ("model.safetensors", "preprocessor_config.json"):
            (model_folder / name).write_bytes((source / name).read_bytes())
        inputs = {"pixels": torch.randn(batch, 260, 260, 3), "labels": torch.randint(0, 1000, (batch,))}
    else:
        from transformers import CLIPModel

        model = CLIPModel(clip_config())
        model.save_pretrained(model_folder)
        config = json.loads((model_folder / "config.json").read_text())
        config["architectures"] = ["CLIPModel"]
        (model_folder / "config.json").write_text(json.dumps(config))
        (model_folder / "preprocessor_config.json").write_text(json.dumps(
            {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}))
        ids = torch.randint(1, 49000, (batch, 77))
        ids[:, 0], ids[:, -1] = 49406, 49407
        inputs = {"pixels": torch.randn(batch, 224, 224, 3), "ids": ids}
    safetensors.torch.save_file(inputs, folder / "inputs.safetensors")
    return {"prepared": str(folder)}


def run(work: str, folder: Path, bf16: bool, steps: int) -> dict:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    inputs = safetensors.torch.load_file(folder / "inputs.safetensors")
    pixels = inputs["pixels"].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    if work == "classify":
        from golden.lite2 import load_model

        model = load_model().to(memory_format=torch.channels_last).train()
        model._dropout.p = 0.0
        model._global_params = model._global_params._replace(dropout_rate=0.0, drop_connect_rate=0.0)
        loss_of = lambda: torch.nn.functional.cross_entropy(model(pixels).float(), inputs["labels"])
    else:
        from transformers import CLIPModel

        model = CLIPModel.from_pretrained(folder / "model", dtype=torch.float32).train()
        model.vision_model.to(memory_format=torch.channels_last)
        loss_of = lambda: model(input_ids=inputs["ids"], pixel_values=pixels, return_loss=True).loss
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01, fused=True)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = loss_of()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    losses, seconds = [step()], []
    for _ in range(steps):
        before = time.perf_counter()
        losses.append(step())
        seconds.append(time.perf_counter() - before)
    return {"samples_per_s": len(pixels) / statistics.median(seconds), "loss": losses,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("prepare", "run"))
    parser.add_argument("--work", choices=("classify", "contrastive"), required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    result = prepare(args.work, args.batch, args.folder) if args.command == "prepare" else run(args.work, args.folder, args.bf16, args.steps)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
