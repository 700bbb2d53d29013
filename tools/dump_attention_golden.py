#!/usr/bin/env python3
"""Writes PyTorch's results and gradients for attention, matrix products and linear layers to tests/golden/ops/.

Run with a Python that has torch: python tools/dump_attention_golden.py. The values in the repository come from torch 2.13.0 (CPU, float32).
Every case holds attributes, inputs (drawn here, rounded to 4 decimals), and as outputs y, a random dy, and d<input> for each floating-point input: the format of
tools/dump_ops_golden.py, read by src/testing/golden.h.
"""
import json
import pathlib

import torch
import torch.nn.functional as F

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "ops"


def draw(generator, *shape, scale=1.0):
    return (torch.randn(*shape, generator=generator) * scale * 1e4).round() / 1e4


def stored(tensor):
    values = tensor.flatten().tolist()
    return {"shape": list(tensor.shape), "values": [round(v, 7) for v in values] if tensor.is_floating_point() else [int(v) for v in values]}


def finish(inputs, function, generator, attributes):
    """Runs `function` on leaves, and its gradients for a random dy."""
    leaves = {key: value.clone().requires_grad_(value.is_floating_point()) for key, value in inputs.items()}
    y = function(**leaves)
    dy = draw(generator, *y.shape)
    y.backward(dy)
    outputs = {"y": stored(y.detach()), "dy": stored(dy)}
    outputs.update({"d" + key: stored(value.grad) for key, value in leaves.items() if value.grad is not None})
    return {"attributes": attributes, "inputs": {key: stored(value) for key, value in inputs.items()}, "outputs": outputs}


def attention_case(name, heads=2, key_heads=None, queries=5, keys=5, size=4, causal=False, bias=None, mask=False, scale=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    key_heads = key_heads or heads
    inputs = {"q": draw(generator, 2, heads, queries, size), "k": draw(generator, 2, key_heads, keys, size), "v": draw(generator, 2, key_heads, keys, size)}
    if bias is not None:
        inputs["bias"] = draw(generator, *bias)
    if mask:
        inputs["key_mask"] = torch.rand(2, keys, generator=generator) < 0.7
        inputs["key_mask"][:, 0] = True
    visible = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries) if causal else torch.ones(queries, keys, dtype=torch.bool)
    visible = visible[None, None].expand(2, heads, queries, keys)
    if mask:
        visible = visible & inputs["key_mask"][:, None, None, :]

    def run(q, k, v, bias=None, key_mask=None):
        added = torch.zeros(2, heads, queries, keys).masked_fill(~visible, float("-inf"))
        if bias is not None:
            added = added + bias
        return F.scaled_dot_product_attention(q, k, v, attn_mask=added, scale=scale, enable_gqa=key_heads != heads)

    attributes = {"name": name, "is_causal": causal} | ({"scale": scale} if scale else {})
    return finish(inputs, run, generator, attributes)


def attention_cases():
    return [
        attention_case("plain"),
        attention_case("scale", scale=0.3),
        attention_case("causal", causal=True, queries=6, keys=6, seed=1),
        attention_case("causal, cached keys", causal=True, queries=3, keys=9, seed=2),
        attention_case("one query", causal=True, queries=1, keys=7, seed=3),
        attention_case("key mask", mask=True, queries=4, keys=7, seed=4),
        attention_case("bias per head", bias=(1, 2, 5, 7), keys=7, seed=5),
        attention_case("bias per query and key", bias=(5, 5), causal=True, seed=6),
        attention_case("grouped heads", heads=4, key_heads=2, queries=9, keys=9, size=3, seed=7),
        attention_case("one key head, causal, mask, bias", heads=3, key_heads=1, queries=8, keys=10, causal=True, mask=True, bias=(2, 1, 1, 10), seed=8),
        attention_case("tile of queries", queries=20, keys=18, size=5, seed=9),
    ]


def matmul_case(name, a, b, transpose_a=False, transpose_b=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = {"a": draw(generator, *a), "b": draw(generator, *b)}

    def run(a, b):
        return (a.mT if transpose_a else a) @ (b.mT if transpose_b else b)

    return finish(inputs, run, generator, {"name": name, "transpose_a": transpose_a, "transpose_b": transpose_b})


def matmul_cases():
    return [
        matmul_case("matrices", (3, 4), (4, 5)),
        matmul_case("transposed a", (4, 3), (4, 5), transpose_a=True, seed=1),
        matmul_case("transposed b", (2, 3, 4), (2, 5, 4), transpose_b=True, seed=2),
        matmul_case("both transposed", (2, 4, 3), (2, 5, 4), transpose_a=True, transpose_b=True, seed=3),
        matmul_case("shared b", (2, 3, 4, 5), (5, 2), seed=4),
        matmul_case("shared b, transposed", (2, 3, 4, 5), (2, 5), transpose_b=True, seed=5),
        matmul_case("shared a", (3, 4), (2, 4, 5), seed=6),
        matmul_case("broadcast both ways", (2, 1, 3, 4), (5, 4, 2), seed=7),
    ]


ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def linear_cases():
    cases = []
    for seed, (act, function) in enumerate(ACTIVATIONS.items()):
        generator = torch.Generator().manual_seed(seed)
        inputs = {"x": draw(generator, 2, 3, 5), "weight": draw(generator, 4, 5), "bias": draw(generator, 4)}
        cases.append(finish(inputs, lambda x, weight, bias: function(F.linear(x, weight, bias)), generator, {"act": act}))
    generator = torch.Generator().manual_seed(99)
    inputs = {"x": draw(generator, 7), "weight": draw(generator, 3, 7)}
    cases.append(finish(inputs, lambda x, weight: F.linear(x, weight), generator, {"act": "linear"}))
    return cases


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, cases in (("attention", attention_cases()), ("matmul", matmul_cases()), ("linear", linear_cases())):
        (FOLDER / f"{name}.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
