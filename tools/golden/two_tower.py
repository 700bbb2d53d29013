"""What the golden files of CLIP and its relatives share.

Stages: `vision.embeddings`, `vision.layers.<i>`, `text.embeddings`, `text.layers.<i>`.
"""

import torch


def stages(vision=None, text=None) -> dict:
    """Of transformers' modules CLIPVisionModel and CLIPTextModel, or those of the same build."""
    found = {}
    for name, tower in (("vision", vision), ("text", text)):
        if tower is not None:
            found[tower.embeddings] = f"{name}.embeddings"
            found.update({layer: f"{name}.layers.{i}" for i, layer in enumerate(tower.encoder.layers)})
    return found


def pixels(image_size: tuple, batch: int, seed: int) -> torch.Tensor:
    return torch.randn((batch, 3, *image_size), generator=torch.Generator().manual_seed(seed + 1000))


def ids_with_end(lengths: list, start: int, end: int, pad: int, low: int, high: int, seed: int) -> dict:
    """`ids` [B,T] of rows start, words from [low, high), end, then padding; and their `mask`."""
    source = torch.Generator().manual_seed(seed + 3000)
    ids = torch.randint(low, high, (len(lengths), max(lengths)), generator=source)
    position = torch.arange(max(lengths))[None, :]
    length = torch.tensor(lengths)[:, None]
    ids = torch.where(position == 0, start, torch.where(position == length - 1, end, torch.where(position >= length, pad, ids)))
    return {"ids": ids, "mask": position < length}


def grid(tokens: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """[B,P*Q,D] -> [B,D,P,Q], as pictures are handed over."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, rows, columns)


def tower(hidden: int, heads: int, ffn: int, layers: int = 2, **keys) -> dict:
    return {"hidden_size": hidden, "num_attention_heads": heads, "intermediate_size": ffn, "num_hidden_layers": layers, **keys}


def with_gradient_names(make, rename):
    """`make` for a model whose checkpoint has other names than the network: gradients are stored as `rename(name, tensor)` says, which
    gives pairs of a name in the network and a tensor."""

    class Renamed(make):
        def tensors(self):
            found = super().tensors()
            for name in [name for name in found if name.startswith("grad.") and not name.startswith("grad.input.")]:
                found.update((f"grad.{new}", tensor) for new, tensor in rename(name.removeprefix("grad."), found.pop(name)))
            return found

    return Renamed


def bert_stages(text) -> dict:
    """Of a BERT as the text tower."""
    return {text.embeddings: "text.embeddings", **{layer: f"text.layers.{i}" for i, layer in enumerate(text.encoder.layer)}}
