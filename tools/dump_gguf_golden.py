#!/usr/bin/env python3
"""Writes the reference files of GGUF: tests/golden/gguf and the fuzzing seeds of tests/fuzz/corpus/gguf.

The package `gguf` (the reader, writer and NumPy arithmetic of llama.cpp's project) makes all of it: blocks of every type with the
values they stand for, rows rounded to Q8_0 and Q4_0, a file with every kind of metadata and tensor, and what must be read from it.

    python tools/dump_gguf_golden.py
"""

import json
import struct
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden/gguf"
CORPUS = ROOT / "tests/fuzz/corpus/gguf"
TYPES = [Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.Q4_K, Q.Q5_K, Q.Q6_K]
HALVES = {Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0], Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208]}
ROWS, COLUMNS = 18, 512


def random_blocks(kind, rows, columns, rng):
    """Every bit pattern of codes and sub-scales; scales that are finite, of both signs."""
    items, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (rows * columns // items, size), dtype=np.uint8)
    for at in HALVES[kind]:
        halves = (rng.uniform(0.001, 0.02, len(blocks)) * rng.choice([-1, 1], len(blocks))).astype(np.float16)
        blocks[:, at:at + 2] = halves.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, -1)


def dump_blocks():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, COLUMNS)).astype(np.float32)
    x[1, 40] = 30.0  # an outlier
    x[2, 64:96] = 0.0
    stored = {"x": x}
    for kind in TYPES:
        blocks = random_blocks(kind, ROWS, COLUMNS, rng)
        weights = gguf.dequantize(blocks, kind)
        stored[kind.name.lower()] = blocks
        # One row of values in full, the sums and products of all.
        stored[kind.name.lower() + ".row"] = weights[7].astype(np.float32)
        stored[kind.name.lower() + ".sums"] = weights.astype(np.float64).sum(1).astype(np.float32)
        stored[kind.name.lower() + ".y"] = (x.astype(np.float64) @ weights.astype(np.float64).T).astype(np.float32)
    values = rng.standard_normal((4, 64)).astype(np.float32)
    values[1] = 0.0
    values[2, :32] = np.linspace(-3, 3, 32)
    values[3, 5] = -40.0
    stored["values"] = values
    for kind in (Q.Q8_0, Q.Q4_0):
        stored["values." + kind.name.lower()] = gguf.quantize(values, kind)
    save_file(stored, GOLDEN / "blocks.safetensors")


def write_mixed(path):
    """One file with all types of metadata and of tensors that are read."""
    rng = np.random.default_rng(2)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    for name, add, value in (("u8", writer.add_uint8, 200), ("i8", writer.add_int8, -100), ("u16", writer.add_uint16, 60000),
                             ("i16", writer.add_int16, -30000), ("u32", writer.add_uint32, 4000000000),
                             ("i32", writer.add_int32, -2000000000), ("u64", writer.add_uint64, 2**63 + 5),
                             ("i64", writer.add_int64, -(2**62)), ("f32", writer.add_float32, 0.15625),
                             ("f64", writer.add_float64, 1e-300), ("yes", writer.add_bool, True),
                             ("text", writer.add_string, "caf\u00e9 \u2581")):
        add("test." + name, value)
    writer.add_array("test.words", ["a", "", "\u2581the", "\u00e9"])
    writer.add_array("test.scores", [0.5, -1.25, 3.0])
    writer.add_array("test.kinds", [1, -2, 3])
    writer.add_array("test.flags", [True, False, True])
    writer.add_tensor("plain.f32", rng.standard_normal((3, 5)).astype(np.float32))
    writer.add_tensor("plain.f16", rng.standard_normal((2, 3)).astype(np.float16))
    writer.add_tensor("plain.i32", np.arange(4, dtype=np.int32))
    for kind in TYPES:
        writer.add_tensor(kind.name, random_blocks(kind, 2, 256, rng), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def dump_mixed():
    path = GOLDEN / "mixed.gguf"
    write_mixed(path)
    reader = gguf.GGUFReader(path)
    sums = {}
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type) if tensor.tensor_type in TYPES else tensor.data
        sums[tensor.name] = {"shape": [int(n) for n in reversed(tensor.shape)], "sum": float(np.sum(values, dtype=np.float64))}
    (GOLDEN / "mixed.json").write_text(json.dumps(sums, indent=1) + "\n")
    whole = path.read_bytes()
    (CORPUS / "mixed").write_bytes(whole)
    version2 = bytearray(whole)
    struct.pack_into("<I", version2, 4, 2)
    (CORPUS / "version2").write_bytes(bytes(version2))
    (CORPUS / "cut").write_bytes(whole[:700])


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    CORPUS.mkdir(parents=True, exist_ok=True)
    dump_blocks()
    dump_mixed()
