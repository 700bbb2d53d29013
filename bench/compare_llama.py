#!/usr/bin/env python3
"""Tokens a second of Fovea and llama.cpp on the same GGUF files, in turns, with the memory bandwidth measured in the same run.

    python3 -m venv /tmp/llama && /tmp/llama/bin/pip install llama-cpp-python==0.3.36 numpy      # builds llama.cpp, 20 minutes
    PYTHON=/tmp/llama/bin/python
    ninja -C build/release gguf_bench && ./dev fetch gemma3-270m
    build/release/bench/gguf_bench make /tmp/llama-q8_0.gguf --type q8_0
    $PYTHON bench/compare_llama.py MODEL.gguf... [--threads 1 2] [--rounds 3] [--prompt 512] [--decode 64]

Each engine runs in a process of its own. A ratio is the median over the rounds of the ratio within a round; rates are of the best
round. Decoding follows the prompt, one token at a time, the median step; every step computes all logits of its token.
"""

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run_llama(model, threads, prompt_tokens, decode_tokens, clock):
    """What gguf_bench speed prints, for llama.cpp through its C API."""
    import llama_cpp as lib
    import numpy as np

    lib.llama_backend_init()
    quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
    lib.llama_log_set(quiet, None)
    start = time.perf_counter()
    weights = lib.llama_model_load_from_file(model.encode(), lib.llama_model_default_params())
    load_s = time.perf_counter() - start
    parameters = lib.llama_context_default_params()
    parameters.n_ctx = prompt_tokens + decode_tokens + 1
    parameters.n_batch = parameters.n_ubatch = 512
    parameters.n_threads = parameters.n_threads_batch = threads
    context = lib.llama_init_from_model(weights, parameters)
    words = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(weights))
    ids = np.random.default_rng(1).integers(0, words, prompt_tokens).astype(np.int32)

    def decode(tokens):
        array = (lib.llama_token * len(tokens))(*[int(t) for t in tokens])
        if lib.llama_decode(context, lib.llama_batch_get_one(array, len(tokens))) != 0:
            sys.exit("llama.cpp failed")
        return lib.llama_get_logits_ith(context, -1)[0]  # waits for the result

    prompt_s, decode_s = 1e9, 1e9
    for _ in range(3):
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        start = clock()
        for begin in range(0, prompt_tokens, 512):
            decode(ids[begin:begin + 512])
        prompt_s = min(prompt_s, clock() - start)
        steps = []
        for i in range(decode_tokens):
            start = clock()
            decode(ids[i % prompt_tokens:i % prompt_tokens + 1])
            steps.append(clock() - start)
        decode_s = min(decode_s, statistics.median(steps))
    print(json.dumps({"engine": "llama.cpp", "load_s": load_s, "prompt_tokens_per_s": prompt_tokens / prompt_s,
                      "decode_tokens_per_s": 1 / decode_s}))


def measure(command, threads):
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return json.loads(output.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--bench", default=ROOT / "build/release/bench/gguf_bench")
    parser.add_argument("--cpu-time", action="store_true", help="processor time, for one thread on a busy machine")
    parser.add_argument("--llama", action="store_true", help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.llama:
        return run_llama(o.models[0], o.threads[0], o.prompt, o.decode, time.process_time if o.cpu_time else time.perf_counter)
    print("| model | threads | | Fovea tokens/s | llama.cpp tokens/s | ratio | over the rounds | of the bandwidth |")
    print("|---|---|---|---|---|---|---|---|")
    sizes = ["--prompt", str(o.prompt), "--decode", str(o.decode)] + ["--cpu-time"] * o.cpu_time
    for model in o.models:
        for threads in o.threads:
            ours, theirs = [], []
            for _ in range(o.rounds):
                ours.append(measure([o.bench, "speed", model, "--threads", str(threads), *sizes], threads))
                theirs.append(measure([sys.executable, __file__, model, "--llama", "--threads", str(threads), *sizes], threads))
            for work in ("decode", "prompt"):
                key = f"{work}_tokens_per_s"
                ratios = [a[key] / b[key] for a, b in zip(ours, theirs)]
                share = ""
                if work == "decode":
                    best = max(ours, key=lambda a: a["bandwidth_share"])
                    share = f"{best['bandwidth_share']:.0%} of {best['bandwidth_bytes_per_s'] / 1e9:.1f} GB/s"
                print(f"| {Path(model).name} | {threads} | {work} | {max(a[key] for a in ours):.1f} | {max(b[key] for b in theirs):.1f} | "
                      f"**{statistics.median(ratios):.2f}x** | {min(ratios):.2f} - {max(ratios):.2f} | {share} |", flush=True)


if __name__ == "__main__":
    main()
