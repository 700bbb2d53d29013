#!/usr/bin/env python3
"""Writes the reference files of GGUF: tests/golden/gguf and the fuzzing seeds of tests/fuzz/corpus/gguf.

The package `gguf` (the reader, writer and NumPy arithmetic of llama.cpp's project) makes all of it: blocks of every type with the
values they stand for, rows rounded to Q8_0 and Q4_0, a file with every kind of metadata and tensor, and what must be read from it.
For each architecture it writes two tiny seeded models of transformers (plain numbers; blocks), with the names that the package maps
and the changes that llama.cpp's converters make, and the logits that transformers computes with the very weights that are stored.

    python tools/dump_gguf_golden.py
"""

import json
import struct
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
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


# ---- tiny models

SIZES = {"vocab_size": 96, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2,
         "pad_token_id": 0, "attn_implementation": "eager"}


def configs():
    """Name of the file -> configuration and the type of its large matrices."""
    t = transformers
    llama3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 8192}
    window = {"sliding_window": 5, "layer_types": ["sliding_attention"] * 5 + ["full_attention"]}
    gemma = SIZES | {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 6,
                     "head_dim": 32, "query_pre_attn_scalar": 32, "vocab_size": 64} | window
    gpt2 = {"vocab_size": 96, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2,
            "attn_implementation": "eager"}
    wide = {"hidden_size": 256, "intermediate_size": 256, "vocab_size": 32, "num_hidden_layers": 1, "num_attention_heads": 8,
            "num_key_value_heads": 1}
    return {
        "llama_f32": (t.LlamaConfig(**SIZES, rope_theta=10000.0, tie_word_embeddings=False), Q.F32),
        "llama_q8_0": (t.LlamaConfig(**SIZES, rope_parameters=llama3, tie_word_embeddings=True), Q.Q8_0),
        "llama_q4_k": (t.LlamaConfig(**SIZES | wide, rope_theta=10000.0, tie_word_embeddings=False), Q.Q4_K),
        "qwen2_f16": (t.Qwen2Config(**SIZES, rope_theta=1e6, tie_word_embeddings=True), Q.F16),
        "qwen2_q5_1": (t.Qwen2Config(**SIZES, rope_theta=1e6, tie_word_embeddings=False), Q.Q5_1),
        "qwen3_bf16": (t.Qwen3Config(**SIZES, head_dim=32, rope_theta=1e6, tie_word_embeddings=True), Q.BF16),
        "qwen3_q4_1": (t.Qwen3Config(**SIZES, head_dim=32, rope_theta=1e6, tie_word_embeddings=False), Q.Q4_1),
        "gemma3_f16": (t.Gemma3TextConfig(**gemma), Q.F16),
        "gemma3_q4_0": (t.Gemma3TextConfig(**gemma), Q.Q4_0),
        "gpt2_f32": (t.GPT2Config(**gpt2), Q.F32),
        "gpt2_q5_0": (t.GPT2Config(**gpt2), Q.Q5_0),
    }


def stored(values, kind, rng):
    """Bytes of a matrix in `kind`, and the values they stand for."""
    if kind in (Q.Q4_K, Q.Q5_K, Q.Q6_K):  # the package does not round to these: blocks of random codes, small scales
        blocks = random_blocks(kind, values.shape[0], values.shape[1], rng)
        size = gguf.GGML_QUANT_SIZES[kind][1]
        view = blocks.reshape(-1, size)
        for at in HALVES[kind]:
            view[:, at:at + 2] = np.full(len(view), 2e-5 if at != 2 else 1e-4, np.float16).view(np.uint8).reshape(-1, 2)
        return blocks, gguf.dequantize(blocks, kind)
    blocks = gguf.quantize(values, kind)
    return blocks, gguf.dequantize(blocks, kind).astype(np.float32).reshape(values.shape)


def as_converted(name, values, config):
    """What llama.cpp's converters do to a tensor (conversion/llama.py, gemma.py, gpt2.py), and how to undo it."""
    if config.model_type == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
        heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        shape = (heads, 2, values.shape[0] // heads // 2, values.shape[1])
        turned = (heads, values.shape[0] // heads // 2, 2, values.shape[1])
        return values.reshape(shape).swapaxes(1, 2).reshape(values.shape), lambda v: v.reshape(turned).swapaxes(1, 2).reshape(v.shape)
    if config.model_type == "gemma3_text" and name.endswith("norm.weight"):
        return values + 1, lambda v: v - 1
    if config.model_type == "gpt2" and name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
        return np.ascontiguousarray(values.T), lambda v: v.T
    return values, lambda v: v


def write_head(writer, config):
    if config.model_type == "gpt2":
        writer.add_context_length(config.n_positions)
        writer.add_embedding_length(config.n_embd)
        writer.add_feed_forward_length(4 * config.n_embd)
        writer.add_block_count(config.n_layer)
        writer.add_head_count(config.n_head)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    if config.model_type in ("qwen3", "gemma3_text"):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if config.model_type == "gemma3_text":
        writer.add_sliding_window(config.sliding_window)


def llama3_factors(config):
    """The tensor rope_freqs of LLaMA 3.1 (conversion/llama.py)."""
    rope, size = config.rope_parameters, config.hidden_size // config.num_attention_heads
    factors = []
    for i in range(0, size, 2):
        length = 2 * np.pi * rope["rope_theta"] ** (i / size)
        smooth = (rope["original_max_position_embeddings"] / length - rope["low_freq_factor"]) / (
            rope["high_freq_factor"] - rope["low_freq_factor"])
        smooth = min(max(smooth, 0.0), 1.0)
        factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, np.float32)


def dump_model(name, config, kind):
    torch.manual_seed(sum(map(ord, name)))
    rng = np.random.default_rng(3)
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    architecture = "gemma3" if config.model_type == "gemma3_text" else config.model_type
    writer = gguf.GGUFWriter(GOLDEN / f"{name}.gguf", architecture)
    write_head(writer, config)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture.upper()), config.num_hidden_layers)
    if config.model_type == "llama" and config.rope_parameters.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(config))
    state = model.state_dict()
    with torch.no_grad():
        for key, parameter in state.items():
            if key == "lm_head.weight" and config.tie_word_embeddings:
                continue
            parameter.copy_(torch.randn(parameter.shape) * (0.15 if parameter.ndim > 1 else 0.3) +
                            (1.0 if "norm" in key and parameter.ndim == 1 and config.model_type != "gemma3_text" else 0.0))
            values, undo = as_converted(key, parameter.numpy().copy(), config)
            used = Q.F32 if values.ndim == 1 or "wpe" in key else kind
            if used == Q.Q4_K and "down_proj" in key:
                used = Q.Q6_K
            if used == Q.Q4_K and "v_proj" in key:
                used = Q.Q5_K
            if used == Q.Q8_0 and "k_proj" in key:
                used = Q.F16  # one layer's input is met by blocks and by plain numbers
            data, exact = stored(values, used, rng)
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(undo(exact))))
            writer.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), data, raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    ids = torch.randint(3, config.vocab_size, (2, 12))
    with torch.no_grad():
        logits = model(ids).logits
    save_file({"ids": ids.numpy(), "logits": logits.float().numpy()}, GOLDEN / f"{name}.safetensors")


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    CORPUS.mkdir(parents=True, exist_ok=True)
    dump_blocks()
    dump_mixed()
    for name, (config, kind) in configs().items():
        dump_model(name, config, kind)
