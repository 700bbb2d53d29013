#!/usr/bin/env python3
"""Compares the logits of Fovea, llama.cpp and transformers on one GGUF file: KL divergence of each token's distribution.

    .venv/bin/pip install -r tools/requirements.txt accelerate==1.15.0
    npm pack @node-llama-cpp/linux-x64@3.22.1 && tar xzf node-llama-cpp-linux-x64-3.22.1.tgz          (libllama as its makers built it)
    ninja -C build/release gguf_bench && ./dev fetch gemma3-270m
    .venv/bin/python tools/compare_llama.py MODEL.gguf --llama package/bins/linux-x64 [--prompts FILE] [--limit 1e-3]

All get the token ids that llama.cpp makes of 20 prompts. transformers expands the blocks to f32 (its own code, from the gguf package) and
computes in f32: that is the network which the file describes. "expanded" is Fovea with the weights of its blocks in f32 and no rounded
inputs: what of the distance is not due to blocks. With --f32 llama.cpp reads a file with the same weights in f32, which is made first (1 GB
for Gemma 3 270M): what of its distance is not due to rounded inputs. Exits with 1 when the mean KL(transformers || Fovea) of a prompt is above the limit.
"""

import argparse
import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

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


class Parameters(ctypes.Structure):
    """llama_model_params or llama_context_params with their defaults. Their fields change with the version; passed on as they came, in
    more room than they need, they fit every one."""
    _fields_ = [("bytes", ctypes.c_char * 1024)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), *((name, ctypes.c_void_p) for name in ("token", "embd", "pos", "n_seq_id", "seq_id", "logits"))]


class Llama:
    """llama.cpp through its C interface: token ids of texts, logits of token ids."""

    def __init__(self, folder, model):
        load = lambda pattern: ctypes.CDLL(str(next(folder.glob(pattern))), mode=ctypes.RTLD_GLOBAL)
        load("libggml-base*.so")
        load("libggml.*so").ggml_backend_load_all_from_path(str(folder).encode())
        self.lib = lib = load("libllama.*so")
        self.quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
        lib.llama_log_set(self.quiet, None)
        lib.llama_backend_init()
        for name, result, arguments in (
            ("llama_model_default_params", Parameters, []), ("llama_context_default_params", Parameters, []),
            ("llama_model_load_from_file", ctypes.c_void_p, [ctypes.c_char_p, Parameters]),
            ("llama_init_from_model", ctypes.c_void_p, [ctypes.c_void_p, Parameters]),
            ("llama_model_get_vocab", ctypes.c_void_p, [ctypes.c_void_p]), ("llama_vocab_n_tokens", ctypes.c_int32, [ctypes.c_void_p]),
            ("llama_tokenize", ctypes.c_int32, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.c_bool, ctypes.c_bool]),
            ("llama_get_memory", ctypes.c_void_p, [ctypes.c_void_p]), ("llama_memory_clear", None, [ctypes.c_void_p, ctypes.c_bool]),
            ("llama_decode", ctypes.c_int32, [ctypes.c_void_p, Batch]),
            ("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), [ctypes.c_void_p, ctypes.c_int32]),
        ):
            getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
        weights = lib.llama_model_load_from_file(model.encode(), lib.llama_model_default_params())
        self.vocab = lib.llama_model_get_vocab(weights)
        self.context = lib.llama_init_from_model(weights, lib.llama_context_default_params())
        self.size = lib.llama_vocab_n_tokens(self.vocab)

    def tokenize(self, text):
        text = text.encode()
        ids = (ctypes.c_int32 * (len(text) + 8))()
        return list(ids[: self.lib.llama_tokenize(self.vocab, text, len(text), ids, len(ids), True, False)])

    def logits(self, ids):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        tokens, wanted = (ctypes.c_int32 * len(ids))(*ids), (ctypes.c_int8 * len(ids))(*[1] * len(ids))
        batch = Batch(n_tokens=len(ids), token=ctypes.addressof(tokens), logits=ctypes.addressof(wanted))
        if self.lib.llama_decode(self.context, batch) != 0:
            sys.exit("llama.cpp failed")
        return np.stack([np.ctypeslib.as_array(self.lib.llama_get_logits_ith(self.context, i), (self.size,)) for i in range(len(ids))])


def write_expanded(path, out):
    """The GGUF file with all weights in f32."""
    import gguf

    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        is_list = field.types[0] == gguf.GGUFValueType.ARRAY
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=field.types[-1] if is_list else None)
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def transformers_logits(path, prompts):
    """Logits of the same weights, expanded and computed in f32 by transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(Path(path).parent, gguf_file=Path(path).name, dtype=torch.float32).eval()
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits[0].numpy() for ids in prompts]


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--llama", type=Path, required=True, help="folder with libllama and its backends")
    parser.add_argument("--f32", action="store_true", help="llama.cpp gets the weights in f32")
    parser.add_argument("--prompts", type=Path, help="one prompt a line, instead of the 20 built in")
    parser.add_argument("--limit", type=float, default=1e-3)
    parser.add_argument("--bench", default=ROOT / "build/release/bench/gguf_bench")
    arguments = parser.parse_args()
    prompts = arguments.prompts.read_text().splitlines() if arguments.prompts else PROMPTS
    expanded = tempfile.NamedTemporaryFile(suffix=".gguf")
    if arguments.f32:
        write_expanded(arguments.model, expanded.name)
    llama = Llama(arguments.llama, expanded.name if arguments.f32 else arguments.model)
    ids = [llama.tokenize(prompt) for prompt in prompts]
    exact = transformers_logits(arguments.model, ids)
    totals = {name: [] for name in ("transformers || Fovea", "transformers || llama.cpp", "llama.cpp || Fovea", "transformers || expanded")}
    same = {"Fovea": 0, "llama.cpp": 0}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "ids.txt").write_text("".join(" ".join(map(str, one)) + "\n" for one in ids))
        for name, flags in (("fovea", []), ("expanded", ["--plain"])):
            command = [arguments.bench, "logits", arguments.model, Path(folder, "ids.txt"), Path(folder, name), *flags]
            subprocess.run(command, check=True)
        for i, one in enumerate(ids):
            reference, theirs = log_softmax(exact[i]), log_softmax(llama.logits(one))
            ours, plain = (log_softmax(np.load(Path(folder, f"{name}.{i}.npy"))) for name in ("fovea", "expanded"))
            for key, p, q in zip(totals, (reference, reference, theirs, reference), (ours, theirs, ours, plain)):
                totals[key].append((np.exp(p) * (p - q)).sum(-1))
            for name, logits in (("Fovea", ours), ("llama.cpp", theirs)):
                same[name] += (logits.argmax(-1) == reference.argmax(-1)).sum()
            print(", ".join(f"KL({key}) {kl[-1].mean():.2e}" for key, kl in totals.items()), repr(prompts[i]), flush=True)
    tokens = sum(map(len, ids))
    for key, kl in totals.items():
        print(f"KL({key}): mean {np.concatenate(kl).mean():.2e}, worst prompt {max(k.mean() for k in kl):.2e}")
    print(f"{len(prompts)} prompts, {tokens} tokens; same best token as transformers: " +
          ", ".join(f"{name} {count / tokens:.1%}" for name, count in same.items()))
    sys.exit(int(max(k.mean() for k in totals["transformers || Fovea"]) > arguments.limit))


if __name__ == "__main__":
    main()
