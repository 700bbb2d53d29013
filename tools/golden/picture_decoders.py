"""What the golden files of decoders that see pictures share: inputs, loss, stages, and greedy continuations of prompts.

Beside the tensors of every golden file these hold
    input.targets             int64 [B,S], the next token; -100 where there is none and for the vectors of pictures
    output.pictures           [R,N,D], what the decoder is given of pictures
    output.hidden             [B,S,D], output.token_logits [B,S,V]; S counts the pictures' vectors where they stand in the sequence
    generate.ids, .mask       int64 and bool [B,P]: prompts of unequal lengths, padded on the left with 0
    generate.pixels           [R,Y,X,C], their pictures, row by row
Where pictures are cut into tiles, pixels are the tiles of all pictures, one picture after the other, and beside them stands
    input.tile_shapes, generate.tile_shapes  int64 [R,5]: tiles of the picture, rows and columns of them, height and width in px
where they are cut into patches, in place of pixels
    input.patches, generate.patches          [R,P,F], row by row, each patch [y,x,colour]; zeros after the last of a picture
    input.shapes, generate.shapes            int64 [R,2]: rows and columns of patches
    generate.expected         int64 [B,32]: what transformers' generate(do_sample=False) adds to each prompt alone, end of text disabled
The seed of the weights is the first at which the likeliest token of every step leads by more than rounding can change and the
continuations are not all alike.
"""

import copy

import torch
import transformers

from golden.decoders import LEAST_TOKENS, MARGIN, STEPS


def greedy(generate, prompts: list, pixels: list) -> tuple:
    """(tokens [B,STEPS], smallest lead): `generate(ids [1,P], pixels [R,C,Y,X])` gives generate's outputs with logits."""
    rows, leads = [], []
    for ids, pictures in zip(prompts, pixels):
        made = generate(ids, pictures)
        logits = torch.stack(made.logits, 1)  # [1,STEPS,V]
        best = logits.topk(2).values
        leads.append(((best[..., 0] - best[..., 1]) / logits.abs().amax(-1)).min().item())
        rows.append(made.sequences[0, -STEPS:])
    return torch.stack(rows), min(leads)


def picture_decoder_golden(make, variant, about, config, model_of, forward, stages_of, inputs, prompts, pictures, generate, seed, drop=lambda name: False,
                           loss=None, never=None, louder=lambda name: 1.0):
    """`model_of()`: the reference model with fresh weights; `forward(model, inputs)`; `stages_of(model)`; `prompts`: list of int64 [P_b];
    `pictures`: for each prompt [R_b,C,Y,X], or tensors by name ("pixels" and "tile_shapes", "patches" and "shapes");
    `generate(model, ids, pictures)`; `never`: a token, or several, that no continuation may contain (one that stands for a picture);
    `louder(name)`: a power of two that the weights of this name are multiplied by, where words would hardly differ otherwise."""
    longest = max(len(p) for p in prompts)
    ids = torch.stack([torch.cat([torch.zeros(longest - len(p), dtype=torch.int64), p]) for p in prompts])
    mask = torch.stack([torch.arange(longest) >= longest - len(p) for p in prompts])
    for attempt in range(200):
        model = model_of()
        model.generation_config.eos_token_id = None
        golden = make(variant=variant, about=about, config=config, model=model, forward=forward, stages=stages_of(model), inputs=dict(inputs),
                      loss=loss or [{"kind": "cross_entropy", "output": "token_logits", "target": "targets"}],
                      generator=f"transformers {transformers.__version__}", drop=drop, seed=seed + 100 * attempt)
        with torch.no_grad():
            for name, value in golden.model.named_parameters():
                value.mul_(louder(name))
            plain = copy.deepcopy(model).float().eval()
            tokens, lead = greedy(lambda i, p: generate(plain, i[None], p), prompts, pictures)
        if lead > MARGIN and len(tokens.unique()) >= LEAST_TOKENS and not any(token in tokens for token in (never if isinstance(never, tuple) else (never,)) if token is not None):
            golden.extra = {"generate.ids": ids, "generate.mask": mask, "generate.expected": tokens}
            shown = [row if isinstance(row, dict) else {"pixels": row} for row in pictures]
            for name in shown[0]:
                golden.extra[f"generate.{name}"] = to_nhwc(joined([row[name] for row in shown]))
            return golden
    raise ValueError(f"{variant}: no seed gives clear continuations")


def joined(parts: list) -> torch.Tensor:
    """One below the other; patches of several lengths with zeros after them."""
    if parts[0].dim() == 3:
        longest = max(part.shape[1] for part in parts)
        parts = [torch.nn.functional.pad(part, (0, 0, 0, longest - part.shape[1])) for part in parts]
    return torch.cat(parts)


def to_nhwc(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor


def next_tokens(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The target at each place of `ids` [B,T]."""
    following = torch.cat([ids[:, 1:], torch.zeros_like(ids[:, :1])], 1)
    exists = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], 1)
    return torch.where(exists, following, -100)
