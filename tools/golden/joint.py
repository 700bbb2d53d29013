"""Seeded inputs of models that read a text beside the regions of a picture."""

import torch

from golden.inputs import text_inputs


def joint_inputs(config: dict, lengths: list, regions: int, features: int, seed: int, with_masks: bool) -> dict:
    """`ids`, `mask` as text_inputs, `regions` [B,R,F]; with_masks: `type_ids`, and `region_mask` (every second row lacks its last
    region); without: nothing is padding."""
    source = torch.Generator().manual_seed(seed + 4000)
    inputs = text_inputs(config["vocab_size"], lengths, seed)
    inputs["regions"] = torch.randn((len(lengths), regions, features), generator=source)
    if with_masks:
        inputs["type_ids"] = torch.randint(0, config["type_vocab_size"], inputs["ids"].shape, generator=source)
        inputs["region_mask"] = torch.arange(regions)[None, :] < torch.tensor([regions - row % 2 for row in range(len(lengths))])[:, None]
    else:
        del inputs["mask"]
    return inputs


def corners(batch: int, regions: int, seed: int) -> torch.Tensor:
    """Boxes [B,R,4]: x0, y0, x1, y1 in [0,1]."""
    source = torch.Generator().manual_seed(seed + 4500)
    return torch.rand((batch, regions, 2, 2), generator=source).sort(2).values.flatten(2)


def some_labels(count: int, where: torch.Tensor, source: torch.Generator) -> torch.Tensor:
    """Random classes where `where` says, -100 elsewhere."""
    return torch.where(where, torch.randint(0, count, where.shape, generator=source), -100)
