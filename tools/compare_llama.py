#!/usr/bin/env python3
"""Compares the logits of Fovea with those of llama.cpp on one GGUF file: KL divergence of each token's distribution.

    python3 -m venv /tmp/llama && /tmp/llama/bin/pip install llama-cpp-python==0.3.36 numpy      (builds llama.cpp, 20 minutes)
    ninja -C build/release gguf_bench
    /tmp/llama/bin/python tools/compare_llama.py MODEL.gguf [--prompts FILE] [--limit 1e-3]

Both get the token ids that llama.cpp makes of 20 prompts. "exact" is the same model with the weights of its blocks in f32 and no
rounded inputs. Exits with 1 when the mean KL(exact || Fovea) of a prompt is above the limit.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from llama_cpp import Llama

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = [
    "The capital of France is", "Once upon a time, in a village by the sea, there lived", "def fibonacci(n):\n    if n < 2:\n",
    "Water boils at a temperature of", "The three primary colours are red,", "In 1969, the first human being",
    "Q: What is 17 plus 25?\nA:", "Dear Sir or Madam,\n\nI am writing to", "Photosynthesis is the process by which plants",
    "La capitale de l'Allemagne est", "Der schnellste Weg nach Hause ist", "import numpy as np\n\nx = np.zeros((3,",
    "The photograph shows a dog that", "A recipe for pancakes: take two eggs,", "Shakespeare wrote the play",
    "The square root of 144 is", "She opened the door and saw", "In machine learning, a neural network is",
    "The largest planet in our solar system is", "东京是",
]


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--prompts", type=Path, help="one prompt a line, instead of the 20 built in")
    parser.add_argument("--limit", type=float, default=1e-3)
    parser.add_argument("--bench", default=ROOT / "build/release/bench/gguf_bench")
    arguments = parser.parse_args()
    prompts = arguments.prompts.read_text().splitlines() if arguments.prompts else PROMPTS
    llama = Llama(arguments.model, n_ctx=512, logits_all=True, verbose=False)
    ids = [llama.tokenize(prompt.encode(), add_bos=True, special=False) for prompt in prompts]
    totals = {"llama.cpp || Fovea": [], "exact || Fovea": [], "exact || llama.cpp": []}
    agreed = 0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "ids.txt").write_text("".join(" ".join(map(str, one)) + "\n" for one in ids))
        for name, flags in (("fovea", []), ("exact", ["--plain"])):
            command = [arguments.bench, "logits", arguments.model, Path(folder, "ids.txt"), Path(folder, name), *flags]
            subprocess.run(command, check=True)
        for i, one in enumerate(ids):
            llama.reset()
            llama.eval(one)
            theirs = log_softmax(np.array(llama.scores[: len(one)]))
            ours, exact = (log_softmax(np.load(Path(folder, f"{name}.{i}.npy"))) for name in ("fovea", "exact"))
            for key, p, q in zip(totals, (theirs, exact, exact), (ours, ours, theirs)):
                totals[key].append((np.exp(p) * (p - q)).sum(-1))
            agreed += (ours.argmax(-1) == theirs.argmax(-1)).sum()
            print(", ".join(f"KL({key}) {kl[-1].mean():.2e}" for key, kl in totals.items()), repr(prompts[i]), flush=True)
    tokens = sum(map(len, ids))
    for key, kl in totals.items():
        print(f"KL({key}): mean {np.concatenate(kl).mean():.2e}, worst prompt {max(k.mean() for k in kl):.2e}")
    print(f"{len(prompts)} prompts, {tokens} tokens, same best token as llama.cpp {agreed / tokens:.1%}")
    sys.exit(max(k.mean() for k in totals["exact || Fovea"]) > arguments.limit)


if __name__ == "__main__":
    main()
