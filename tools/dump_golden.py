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
    loss         JSON, a list of terms {"kind", "output", "target"}: cross_entropy (output as [-1,V], int64 target, -100 ignored),
                 contrastive and sigmoid (CLIP's and SigLIP's loss of logits_per_image), smooth_l1, projection (sum of output x target,
                 for models without a head). "scale" multiplies a term; "rows" names an input of ones and zeros that multiplies
                 output and target of smooth_l1 before. Absent: cross_entropy of logits with labels

Tensors (float32 unless said otherwise). Computed in float64 by the reference and rounded once, so that a test measures only its own error.
    weights.<name>          the checkpoint: names and layouts of transformers' state_dict (convolutions [out,in/groups,ky,kx],
                            linear [out,in], `num_batches_tracked` int64 of rank 0)
    input.<name>            what the model is given: pixels [B,Y,X,C] already normalised; ids, type_ids int64 and mask bool [B,T];
                            patches [B,P,F], patch_mask bool [B,P], shapes int64 [B,2]; regions [B,R,F], boxes [B,R,4], region_mask bool
                            [B,R]; and the targets of the loss
    stage.<stage>           what a part of the model puts out, in eval mode, in the order of the forward; images NHWC. The names of
                            the stages are listed in golden/<model_type>.py
    output.<name>           features [B,D] (before L2 normalisation and before the classifier), grid, logits of pictures; text_features,
                            text_tokens, text_logits; hidden, token_logits; logits_per_image [N,M]; joint_features, joint_text_tokens, joint_regions and heads
                            by their own names. Only what is stored is compared
    loss                    rank 0, eval mode: the sum of the terms in the metadata
    grad.<name>             d loss / d weights.<name>, for every trained tensor, eval mode (batch norm uses its running statistics)
    grad.input.<name>       d loss / d input of pixels, patches, regions or memory, NHWC
    generate.<name>         prompts and their greedy continuations: see golden/decoders.py
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
MODEL_TYPES = sorted(file.stem for file in (Path(__file__).resolve().parent / "golden").glob("*.py")
                     if "def goldens(" in file.read_text(encoding="utf-8"))
DEFAULT_LOSS = [{"kind": "cross_entropy", "output": "logits", "target": "labels"}]


def to_nhwc(tensor: torch.Tensor) -> torch.Tensor:
    """[B,C,Y,X] -> [B,Y,X,C]; other ranks stay."""
    return tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor


def to_stored(tensor: torch.Tensor) -> np.ndarray:
    array = tensor.detach().cpu().numpy()
    stored = array.dtype if array.dtype in (np.int64, np.bool_) else np.float32
    # np.array, because ascontiguousarray would turn rank 0 into rank 1
    return np.array(array, dtype=stored, order="C")


def randomise(model: torch.nn.Module, forward, inputs: dict, seed: int) -> None:
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
            elif value.dim() <= 1:
                value.copy_(uniform(value.shape, 0.7, 1.5))
            else:
                value.copy_(normal(value.shape, (2.0 / value[0].numel()) ** 0.5))
        norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
        if norms:
            momenta = [norm.momentum for norm in norms]
            for norm in norms:
                norm.momentum = 1.0
            many = {name: value.repeat_interleave(-(-16 // value.shape[0]), 0)[:16] for name, value in inputs.items()}
            forward(model.train(), {**many, "pixels": normal((16, *inputs["pixels"].shape[1:]), 1.0)})
            for norm, momentum in zip(norms, momenta):
                norm.momentum = momentum
                norm.running_mean += normal(norm.running_mean.shape, 0.1) * norm.running_var.sqrt()
                norm.running_var *= uniform(norm.running_var.shape, 0.7, 1.4)
                norm.num_batches_tracked.fill_(3)
    # What is stored is float32: the reference computes from exactly those values.
    model.load_state_dict({k: v.float().to(v.dtype) if v.is_floating_point() else v for k, v in model.state_dict().items()})


def loss_term(kind: str, output: torch.Tensor, target) -> torch.Tensor:
    if kind == "cross_entropy":
        return torch.nn.functional.cross_entropy(output.reshape(-1, output.shape[-1]), target.reshape(-1))
    if kind == "contrastive":  # transformers' clip_loss
        truth = torch.arange(len(output))
        return sum(torch.nn.functional.cross_entropy(logits, truth) for logits in (output, output.t())) / 2
    if kind == "sigmoid":  # transformers' SiglipModel
        signs = 2 * torch.eye(len(output), dtype=output.dtype) - 1
        return -torch.nn.functional.logsigmoid(signs * output).sum(-1).mean()
    if kind == "smooth_l1":
        return torch.nn.functional.smooth_l1_loss(output, target.to(output.dtype))
    if kind == "projection":
        return (output * target.to(output.dtype)).sum()
    raise ValueError(f"no such loss: {kind}")


class Golden:
    """One reference model with its names in the file: runs it and collects the tensors."""

    def __init__(self, variant: str, about: str, config: dict, model: torch.nn.Module, forward, stages: dict, inputs: dict,
                 generator: str, loss: list = None, rename=lambda name: name, drop=lambda name: False,
                 with_training: bool = False, seed: int = 1):
        """`forward(model, inputs) -> {name: output}` with the names of the file's layout, images [B,C,Y,X]; `inputs`: name -> tensor,
        the targets of `loss` among them; `stages`: module -> name of its output (the first, where a module returns several);
        `rename`: name in this model's state_dict -> name in the file; `drop`: whether a name of the state_dict is left out (tied
        copies, counters of positions)."""
        self.variant, self.about, self.config, self.generator = variant, about, config, generator
        self.model, self.forward, self.stages, self.rename, self.drop = model.double(), forward, stages, rename, drop
        self.with_training, self.loss = with_training, loss or DEFAULT_LOSS
        self.extra = {}  # further tensors by their names in the file
        self.inputs = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
        self.differentiated = [name for name in ("pixels", "patches", "regions", "memory") if name in inputs]
        randomise(self.model, forward, self.inputs, seed)
        # A projection's target is random, of the output's shape.
        source = torch.Generator().manual_seed(seed + 2000)
        with torch.no_grad():
            outputs = self.forward(self.model.eval(), self.inputs)
        for term in self.loss:
            if term["kind"] == "projection" and term.setdefault("target", f"projection.{term['output']}") not in self.inputs:
                shape = outputs[term["output"]].shape
                self.inputs[term["target"]] = torch.randn(shape, generator=source).double() / outputs[term["output"]].numel() ** 0.5
        for name in self.differentiated:
            self.inputs[name].requires_grad_(True)

    def loss_of(self, term: dict, outputs: dict) -> torch.Tensor:
        output, target = outputs[term["output"]], self.inputs.get(term.get("target"))
        if "rows" in term:
            rows = self.inputs[term["rows"]].unsqueeze(-1)
            output, target = output * rows, target * rows
        return loss_term(term["kind"], output, target) * term.get("scale", 1.0)

    def run(self, record_stages: bool):
        """(outputs, loss, gradients by stored name, stages) of one forward and backward in the model's present mode."""
        stages, hooks = {}, []
        if record_stages:
            def keep(output, name):
                stages[name] = to_nhwc(output[0] if isinstance(output, tuple) else output)
            for module, name in self.stages.items():
                hooks.append(module.register_forward_hook(lambda _module, _inputs, output, name=name: keep(output, name)))
        self.model.zero_grad()
        for name in self.differentiated:
            self.inputs[name].grad = None
        outputs = self.forward(self.model, self.inputs)
        loss = sum(self.loss_of(term, outputs) for term in self.loss)
        loss.backward()
        for hook in hooks:
            hook.remove()
        gradients = {self.rename(name): parameter.grad for name, parameter in self.model.named_parameters() if not self.drop(name)}
        missing = [name for name, gradient in gradients.items() if gradient is None]
        assert not missing, f"no gradient reached {missing}"
        gradients.update({f"input.{name}": to_nhwc(self.inputs[name].grad) for name in self.differentiated})
        return outputs, loss, gradients, stages

    def tensors(self) -> dict:
        found = {f"weights.{self.rename(name)}": value.clone() for name, value in self.model.state_dict().items() if not self.drop(name)}
        self.model.eval()
        outputs, loss, gradients, stages = self.run(record_stages=True)
        unreached = [name for name in self.stages.values() if name not in stages]
        assert not unreached, f"stages not reached: {unreached}"
        found.update({f"input.{name}": to_nhwc(value) for name, value in self.inputs.items()})
        found.update({f"stage.{name}": value for name, value in stages.items()})
        found.update({f"output.{name}": to_nhwc(value) for name, value in outputs.items()})
        found["loss"] = loss
        found.update({f"grad.{name}": value for name, value in gradients.items()})
        found.update(self.extra)
        if self.with_training:
            self.model.train()
            outputs, loss, gradients, _ = self.run(record_stages=False)
            found.update({"train.output.logits": outputs["logits"], "train.loss": loss})
            found.update({f"train.grad.{name}": value for name, value in gradients.items()})
            found.update({f"train.after.{self.rename(name)}": value for name, value in self.model.named_buffers()
                          if name.rsplit(".", 1)[-1] in ("running_mean", "running_var", "num_batches_tracked")})
        return found

    def write(self, folder: Path) -> Path:
        path = folder / f"{self.config['model_type'].replace('-', '_')}_{self.variant}.safetensors"
        stored = {name: to_stored(value) for name, value in self.tensors().items()}
        not_finite = [name for name, value in stored.items() if not np.isfinite(value).all()]
        assert not not_finite, f"{path}: not finite: {not_finite}"
        metadata = {
            "fovea": "golden-1",
            "model_type": self.config["model_type"],
            "variant": self.variant,
            "about": self.about,
            "config": json.dumps(self.config),
            "generator": f"{self.generator}, torch {torch.__version__.split('+')[0]}",
        }
        if self.loss != DEFAULT_LOSS:
            metadata["loss"] = json.dumps(self.loss)
        save(path, stored, metadata)
        size = path.stat().st_size
        assert size <= LIMIT_BYTES, f"{path}: {size} bytes, at most {LIMIT_BYTES} allowed"
        return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model_type", nargs="*", help=f"of {', '.join(MODEL_TYPES)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "tests/golden/models")
    parser.add_argument("--only", metavar="VARIANT", help="write just this variant")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.model_type if name not in MODEL_TYPES]
    if unknown:
        parser.error(f"no golden/{unknown[0]}.py; there are {', '.join(MODEL_TYPES)}")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for model_type in arguments.model_type or MODEL_TYPES:
        for golden in importlib.import_module(f"golden.{model_type}").goldens(Golden):
            if arguments.only in (None, golden.variant):
                path = golden.write(arguments.out)
                with safetensors.safe_open(path, "np") as file:
                    print(f"{path}: {path.stat().st_size} bytes, {len(file.keys())} tensors; {golden.about}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
