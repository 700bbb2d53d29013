#!/usr/bin/env python3
"""Writes tests/golden/train/*: what PyTorch makes of the same weights and data in ten steps.

    python tools/dump_train_golden.py

optimizers.json       a weight [4,3] under ten given gradients: torch.optim.AdamW and SGD (plain, momentum, Nesterov), Lion as its
                      authors wrote it, clip_grad_norm_; in float64.
efficientnet.safetensors   ten AdamW steps of the tiny EfficientNet of tests/golden/models/efficientnet_train.safetensors (its
                      weights and pixels; norms and biases not decayed; training mode): the loss before each step, the weights and
                      running statistics after the last. float64, rounded once.
self_critical.json    the policy gradient of self-critical training for given samples and rewards, by autograd: advantages, loss and
                      the gradient of the logits, in float64.
"""
import json
import pathlib

import numpy as np
import safetensors.torch
import torch
import transformers
from transformers import EfficientNetConfig, EfficientNetForImageClassification

from golden.store import save

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "tests/golden/train"
STEPS = 10


class Lion(torch.optim.Optimizer):
    """google/automl, lion/lion_pytorch.py: update_fn of Lion.step."""

    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * group["weight_decay"])
                state = self.state[p]
                if not state:
                    state["exp_avg"] = torch.zeros_like(p)
                beta1, beta2 = group["betas"]
                p.add_(torch.sign(state["exp_avg"] * beta1 + p.grad * (1 - beta1)), alpha=-group["lr"])
                state["exp_avg"].mul_(beta2).add_(p.grad, alpha=1 - beta2)


def numbers(tensor):
    return [float(f"{v:.9g}") for v in tensor.detach().flatten().tolist()]


def optimizers():
    torch.manual_seed(3)
    start = torch.randn(4, 3, dtype=torch.float64)
    gradients = torch.randn(STEPS, 4, 3, dtype=torch.float64)
    cases = []
    for attributes, make in (
        (dict(type="adamw", learning_rate=0.05, weight_decay=0.1, beta1=0.9, beta2=0.98, eps=1e-6),
         lambda p: torch.optim.AdamW(p, 0.05, (0.9, 0.98), 1e-6, 0.1)),
        (dict(type="sgd", learning_rate=0.05, weight_decay=0.1), lambda p: torch.optim.SGD(p, 0.05, weight_decay=0.1)),
        (dict(type="sgd", learning_rate=0.05, weight_decay=0.1, momentum=0.9), lambda p: torch.optim.SGD(p, 0.05, 0.9, weight_decay=0.1)),
        (dict(type="sgd", learning_rate=0.05, weight_decay=0.0, momentum=0.9, nesterov=True),
         lambda p: torch.optim.SGD(p, 0.05, 0.9, nesterov=True)),
        (dict(type="lion", learning_rate=0.05, weight_decay=0.1, beta1=0.9, beta2=0.99), lambda p: Lion(p, 0.05, (0.9, 0.99), 0.1)),
        (dict(type="sgd", learning_rate=0.05, weight_decay=0.0, clip_norm=2.5), lambda p: torch.optim.SGD(p, 0.05)),
    ):
        p = start.clone().requires_grad_()
        optimizer, values, norms = make([p]), [], []
        for gradient in gradients:
            p.grad = gradient.clone()
            norms.append(float(torch.nn.utils.clip_grad_norm_([p], attributes.get("clip_norm", 1e9))))
            optimizer.step()
            values.append(numbers(p))
        cases.append({"attributes": attributes, "values": values, "norms": norms})
    return {"shape": [4, 3], "start": numbers(start), "gradients": [numbers(g) for g in gradients], "cases": cases}


def groups(model, decay):
    plain = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]


def efficientnet():
    path = ROOT / "tests/golden/models/efficientnet_train.safetensors"
    stored = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    model = EfficientNetForImageClassification(EfficientNetConfig(**config))
    model.load_state_dict({k[8:]: v for k, v in stored.items() if k.startswith("weights.")})
    model = model.double().train()
    pixels = stored["input.pixels"].double().permute(0, 3, 1, 2)
    optimizer = torch.optim.AdamW(groups(model, 0.05), 2e-3, (0.9, 0.98), 1e-6)
    losses = []
    for _ in range(STEPS):
        loss = torch.nn.functional.cross_entropy(model(pixel_values=pixels).logits, stored["input.labels"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    tensors = {f"after.{k}": v.numpy() for k, v in model.state_dict().items()}
    tensors = {k: np.array(v, dtype=np.int64 if v.dtype == np.int64 else np.float32, order="C") for k, v in tensors.items()}
    tensors["losses"] = np.array(losses, dtype=np.float32)
    print("efficientnet losses", losses)
    save(OUT / "efficientnet.safetensors", tensors,
         {"generator": f"torch {torch.__version__.split('+')[0]}", "learning_rate": "2e-3", "weight_decay": "0.05", "model": path.name})


def ten_steps(name, model, loss_of):
    """Ten AdamW steps in eval mode (no dropout) from the weights of tests/golden/models/<name>.safetensors."""
    path = ROOT / f"tests/golden/models/{name}.safetensors"
    stored = safetensors.torch.load_file(path)
    weights = {k[8:]: v for k, v in stored.items() if k.startswith("weights.")}
    model.load_state_dict(weights, strict=False)
    own = dict(model.double().eval().named_parameters())
    missing = [k for k in own if k not in weights]
    assert not missing, missing
    inputs = {k: v.double() if v.is_floating_point() else v for k, v in stored.items() if k.startswith("input.")}
    optimizer = torch.optim.AdamW(groups(model, 0.05), 2e-3, (0.9, 0.98), 1e-6)
    losses = []
    for _ in range(STEPS):
        loss = loss_of(model, inputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(name, losses)
    tensors = {f"after.{k}": np.array(v.detach().numpy(), dtype=np.float32, order="C") for k, v in own.items()}
    tensors["losses"] = np.array(losses, dtype=np.float32)
    save(OUT / f"{name}.safetensors", tensors,
         {"generator": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}", "model": path.name})


def self_critical():
    torch.manual_seed(7)
    pictures, samples, length, vocab = 2, 3, 4, 5
    logits = torch.randn(pictures * samples, length, vocab, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, vocab, (pictures * samples, length))
    for row, used in enumerate((4, 2, 3, 1, 4, 3)):
        labels[row, used:] = -100
    rewards = torch.rand(pictures, samples, dtype=torch.float64) * 2
    baseline = (rewards.sum(1, keepdim=True) - rewards) / (samples - 1)
    advantages = (rewards - baseline).flatten()
    chosen = logits.log_softmax(-1).gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    mask = labels >= 0
    loss = -(advantages.unsqueeze(1) * chosen * mask).sum() / mask.sum()
    loss.backward()
    return {"samples": samples, "shape": list(logits.shape), "logits": numbers(logits), "labels": labels.flatten().tolist(),
            "rewards": numbers(rewards), "advantages": numbers(advantages), "loss": loss.item(), "gradient": numbers(logits.grad)}


def config_of(name):
    with safetensors.safe_open(ROOT / f"tests/golden/models/{name}.safetensors", "pt") as file:
        return json.loads(file.metadata()["config"])


def transformers_models():
    config = config_of("clip_openai")
    clip = transformers.CLIPModel(transformers.CLIPConfig(**{k: v for k, v in config.items() if k not in ("architectures", "model_type")}))
    ten_steps("clip_openai", clip, lambda m, i: m(i["input.ids"], i["input.pixels"].permute(0, 3, 1, 2), i["input.mask"], return_loss=True).loss)
    config = config_of("bert_classifier")
    bert = transformers.BertForSequenceClassification(transformers.BertConfig(**{k: v for k, v in config.items() if k not in ("architectures", "model_type")}))
    ten_steps("bert_classifier", bert, lambda m, i: torch.nn.functional.cross_entropy(m(i["input.ids"], i["input.mask"]).logits, i["input.targets"]))


def main():
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "optimizers.json").write_text(json.dumps(optimizers(), separators=(",", ":")) + "\n")
    (OUT / "self_critical.json").write_text(json.dumps(self_critical(), separators=(",", ":")) + "\n")
    efficientnet()
    transformers_models()


if __name__ == "__main__":
    main()
