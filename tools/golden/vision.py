"""What the golden variants of image encoders share: names, classes, and the outputs of transformers' models."""

import torch
import transformers

from golden.inputs import image_inputs

CLASSES = 5

# transformers 5 keeps the parts of a ViT-like block under new names in memory and under these in files.
BLOCK_NAMES = ((".attention.q_proj.", ".attention.attention.query."), (".attention.k_proj.", ".attention.attention.key."),
               (".attention.v_proj.", ".attention.attention.value."), (".attention.o_proj.", ".attention.output.dense."))


def as_in_files(prefix: str, *more):
    """A renaming: adds the task's `prefix` where it lacks and replaces each pair of BLOCK_NAMES and `more`."""
    def rename(name: str) -> str:
        if not name.startswith((prefix, "classifier.")):
            name = prefix + name
        for before, after in (*BLOCK_NAMES, *more):
            name = name.replace(before, after)
        return name
    return rename


def labels(count: int = CLASSES) -> dict:
    return {str(i): f"class {i}" for i in range(count)}


def build(architecture: str, config_class, keys: dict, model_type: str):
    """(the text of config.json as a dict, the model of transformers)"""
    config = {"architectures": [architecture], "model_type": model_type, **keys}
    if architecture.endswith("ForImageClassification"):
        config["id2label"] = labels()
    settings = config_class(**{key: value for key, value in config.items() if key != "architectures"})
    settings._attn_implementation = "eager"
    return config, getattr(transformers, architecture)(settings)


def inputs(image_size: tuple, batch: int, seed: int, channels: int = 3, with_labels: bool = True) -> dict:
    made = image_inputs(channels, image_size, batch, CLASSES, seed)
    return made if with_labels else {"pixels": made["pixels"]}


def grid_of_tokens(tokens: torch.Tensor, rows: int) -> torch.Tensor:
    """[B,1+P*Q,D] with a class token first -> [B,D,P,Q]"""
    return tokens[:, 1:].unflatten(1, (rows, -1)).permute(0, 3, 1, 2)


PROJECTION = [{"kind": "projection", "output": "features"}, {"kind": "projection", "output": "grid"}]
GENERATOR = f"transformers {transformers.__version__}"
