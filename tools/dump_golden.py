#!/usr/bin/env python3
"""Writes the golden files that the C++ models are compared with.

    python tools/dump_golden.py efficientnet [--out tests/golden/models] [--only VARIANT]

For each variant of a model type one safetensors file `tests/golden/models/<model_type>_<variant>.safetensors` of at most 1 MB:
tiny weights from a fixed seed, an input, and everything that the reference implementation computes from them. Running it again
gives the same bytes (with the versions of tools/requirements.txt on one kind of CPU).

Metadata (strings)
    model_type   as in config.json
    variant      the part of the file name after the model type
    about        one line: what this variant exercises
    config       the text of config.json
    generator    the packages and versions that computed the numbers
    fovea        "golden-1", the version of this layout

Tensors (float32 unless said otherwise). Computed in float64 by the reference and rounded once, so that a test measures only its own error.
    weights.<name>          the checkpoint: names and layouts of transformers' state_dict (convolutions [out,in/groups,ky,kx],
                            linear [out,in], `num_batches_tracked` int64 of rank 0)
    input.pixels            [B,Y,X,C], already normalised
    input.labels            [B] int64
    stage.<stage>           what a part of the model puts out, in eval mode, in the order of the forward; images NHWC. The names of
                            the stages are listed in golden/<model_type>.py
    output.features         [B,D], before L2 normalisation and before the classifier
    output.logits           [B,classes]
    loss                    rank 0, cross-entropy of the logits with input.labels, mean over the batch, eval mode
    grad.<name>             d loss / d weights.<name>, for every trained tensor, eval mode (batch norm uses its running statistics)
    grad.input.pixels       d loss / d input.pixels, NHWC
Only in variants about training (batch norm uses the statistics of the batch; dropout and drop-connect are 0):
    train.output.logits, train.loss, train.grad.<name>, train.grad.input.pixels
    train.after.<name>      running statistics (`running_mean`, `running_var`, `num_batches_tracked`) after that one forward
"""

import argparse
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import safetensors
import torch

from golden.store import save

LIMIT_BYTES = 1_000_000
MODEL_TYPES = ("efficientnet",)


def to_nhwc(tensor: torch.Tensor) -> torch.Tensor:
    """[B,C,Y,X] -> [B,Y,X,C]; other ranks stay."""
    return tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor


def to_stored(tensor: torch.Tensor) -> np.ndarray:
    array = tensor.detach().cpu().numpy()
    stored = np.int64 if array.dtype == np.int64 else np.float32
    # np.array, because ascontiguousarray would turn rank 0 into rank 1
    return np.array(array, dtype=stored, order="C")


def randomise(model: torch.nn.Module, forward, pixel_shape: tuple, seed: int) -> None:
    """Weights from a seed, and batch norm statistics near those of the activations, so that no layer fades out or blows up."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape, std):
        return torch.randn(shape, generator=generator, dtype=torch.float64) * std

    def uniform(shape, low, high):
        return torch.rand(shape, generator=generator, dtype=torch.float64) * (high - low) + low

    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("bias"):
                value.copy_(normal(value.shape, 0.3))
            elif value.dim() == 1:
                value.copy_(uniform(value.shape, 0.7, 1.5))
            else:
                value.copy_(normal(value.shape, (2.0 / value[0].numel()) ** 0.5))
        norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        forward(model.train(), normal((16, *pixel_shape), 1.0))
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
            norm.running_mean += normal(norm.running_mean.shape, 0.1) * norm.running_var.sqrt()
            norm.running_var *= uniform(norm.running_var.shape, 0.7, 1.4)
            norm.num_batches_tracked.fill_(3)
    # What is stored is float32: the reference computes from exactly those values.
    model.load_state_dict({k: v.float().to(v.dtype) if v.is_floating_point() else v for k, v in model.state_dict().items()})


class Golden:
    """One reference model with its names in the file: runs it and collects the tensors."""

    def __init__(self, variant: str, about: str, config: dict, model: torch.nn.Module, forward, stages: dict,
                 image_size: tuple, batch: int, classes: int, generator: str, rename=lambda name: name,
                 with_training: bool = False, seed: int = 1):
        """`forward(model, pixels [B,C,Y,X]) -> (features [B,D], logits [B,classes])`; `stages`: module -> name of its output;
        `rename`: name in this model's state_dict -> name in transformers' state_dict; `image_size`: (Y, X)."""
        self.variant, self.about, self.config, self.generator = variant, about, config, generator
        self.model, self.forward, self.stages, self.rename = model.double(), forward, stages, rename
        self.with_training = with_training
        pixel_shape = (config["num_channels"], *image_size)
        randomise(self.model, forward, pixel_shape, seed)
        source = torch.Generator().manual_seed(seed + 1000)
        self.pixels = torch.randn((batch, *pixel_shape), generator=source).double().requires_grad_(True)
        self.labels = torch.randint(0, classes, (batch,), generator=source)

    def run(self, record_stages: bool):
        """(features, logits, loss, gradients by stored name, stages) of one forward and backward in the model's present mode."""
        stages, hooks = {}, []
        if record_stages:
            for module, name in self.stages.items():
                hooks.append(module.register_forward_hook(
                    lambda _module, _inputs, output, name=name: stages.__setitem__(name, to_nhwc(output))))
        self.model.zero_grad()
        self.pixels.grad = None
        features, logits = self.forward(self.model, self.pixels)
        loss = torch.nn.functional.cross_entropy(logits, self.labels)
        loss.backward()
        for hook in hooks:
            hook.remove()
        gradients = {self.rename(name): parameter.grad for name, parameter in self.model.named_parameters()}
        missing = [name for name, gradient in gradients.items() if gradient is None]
        assert not missing, f"no gradient reached {missing}"
        gradients["input.pixels"] = to_nhwc(self.pixels.grad)
        return features, logits, loss, gradients, stages

    def tensors(self) -> dict:
        found = {f"weights.{self.rename(name)}": value.clone() for name, value in self.model.state_dict().items()}
        self.model.eval()
        features, logits, loss, gradients, stages = self.run(record_stages=True)
        assert len(stages) == len(self.stages), "a stage was not reached"
        found["input.pixels"] = to_nhwc(self.pixels)
        found["input.labels"] = self.labels
        found.update({f"stage.{name}": value for name, value in stages.items()})
        found.update({"output.features": features, "output.logits": logits, "loss": loss})
        found.update({f"grad.{name}": value for name, value in gradients.items()})
        if self.with_training:
            self.model.train()
            _, logits, loss, gradients, _ = self.run(record_stages=False)
            found.update({"train.output.logits": logits, "train.loss": loss})
            found.update({f"train.grad.{name}": value for name, value in gradients.items()})
            found.update({f"train.after.{self.rename(name)}": value for name, value in self.model.named_buffers()
                          if name.rsplit(".", 1)[-1] in ("running_mean", "running_var", "num_batches_tracked")})
        return found

    def write(self, folder: Path) -> Path:
        path = folder / f"{self.config['model_type']}_{self.variant}.safetensors"
        stored = {name: to_stored(value) for name, value in self.tensors().items()}
        not_finite = [name for name, value in stored.items() if not np.isfinite(value).all()]
        assert not not_finite, f"{path}: not finite: {not_finite}"
        save(path, stored, {
            "fovea": "golden-1",
            "model_type": self.config["model_type"],
            "variant": self.variant,
            "about": self.about,
            "config": json.dumps(self.config),
            "generator": f"{self.generator}, torch {torch.__version__.split('+')[0]}",
        })
        size = path.stat().st_size
        assert size <= LIMIT_BYTES, f"{path}: {size} bytes, at most {LIMIT_BYTES} allowed"
        return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model_type", choices=MODEL_TYPES)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "tests/golden/models")
    parser.add_argument("--only", metavar="VARIANT", help="write just this variant")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for golden in importlib.import_module(f"golden.{arguments.model_type}").goldens(Golden):
        if arguments.only in (None, golden.variant):
            path = golden.write(arguments.out)
            with safetensors.safe_open(path, "np") as file:
                print(f"{path}: {path.stat().st_size} bytes, {len(file.keys())} tensors; {golden.about}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
