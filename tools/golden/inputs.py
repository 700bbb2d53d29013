"""Seeded inputs for tiny models, the same with every version of the tools."""

import torch


def image_inputs(channels: int, image_size: tuple, batch: int, classes: int, seed: int) -> dict:
    """Random `pixels` [B,C,Y,X] and `labels` [B]."""
    source = torch.Generator().manual_seed(seed + 1000)
    pixels = torch.randn((batch, channels, *image_size), generator=source)
    return {"pixels": pixels, "labels": torch.randint(0, classes, (batch,), generator=source)}


def text_inputs(vocabulary: int, lengths: list, seed: int, first: int = 5) -> dict:
    """Random `ids` [B,T] from [first, vocabulary) and `mask` bool [B,T]: row b has lengths[b] tokens, the rest is padding (id 0)."""
    source = torch.Generator().manual_seed(seed + 3000)
    shape = (len(lengths), max(lengths))
    mask = torch.arange(shape[1])[None, :] < torch.tensor(lengths)[:, None]
    return {"ids": torch.randint(first, vocabulary, shape, generator=source) * mask, "mask": mask}
