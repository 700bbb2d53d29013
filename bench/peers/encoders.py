#!/usr/bin/env python3
"""Other engines at the encoders of vision-language models, at their published sizes with seeded random weights.

    encoders.py export --encoder ENCODER|all                                   folder in the Hugging Face layout, and ONNX files (once)
    encoders.py run --encoder ENCODER --tower image --engine pytorch --batch N  {"items_per_s", "min_ms", "median_ms", "mean_abs", ...}

Each command prints one JSON object. Speed depends on sizes, not on what the weights say, so that none have to be downloaded. Fovea reads
the same folder. PyTorch runs the implementation of transformers, eager, with its fused attention, under inference_mode; OpenVINO compiles
what its own converter makes of that; ONNX Runtime runs the exported graph with all optimisations. All have as many threads as cores,
static shapes, and input that is already there. `--engine` with "_bf16" computes in bf16: PyTorch with all weights in that type, OpenVINO
with its precision hint.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from peers import CORES  # noqa: E402

ENGINES = ("pytorch", "pytorch_bf16", "onnxruntime", "openvino", "openvino_bf16")
CACHE = Path(__file__).resolve().parents[2] / "build/bench/encoders"
TOKENS = 77  # of CLIP's texts


def clip(vision: dict, text: dict, projection_dim: int):
    import transformers

    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=projection_dim))


def build(encoder: str):
    """The model with seeded weights."""
    import torch
    import transformers

    torch.manual_seed(1)
    if encoder == "clip-vit-base-patch32":
        return clip({}, {}, 512)
    if encoder == "clip-vit-large-patch14":
        return clip({"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14},
                    {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}, 768)
    if encoder == "siglip-base-patch16-224":
        return transformers.SiglipModel(transformers.SiglipConfig(text_config={}, vision_config={}))
    return transformers.Dinov2Model(transformers.Dinov2Config(image_size=518))


ENCODERS = ("clip-vit-base-patch32", "clip-vit-large-patch14", "siglip-base-patch16-224", "dinov2-base")


def given(tower: str, batch: int) -> np.ndarray:
    random = np.random.default_rng(1)
    if tower == "image":
        return random.uniform(-1, 1, (batch, 3, 224, 224)).astype(np.float32)
    ids = random.integers(1, 49405, (batch, TOKENS))
    ids[:, -1] = 49407  # the end of text, where features are taken
    return ids


def forward_of(model, tower: str):
    import torch

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, inputs):
            if not hasattr(self.model, "get_image_features"):
                return self.model(inputs).pooler_output
            found = self.model.get_image_features(inputs) if tower == "image" else self.model.get_text_features(inputs)
            return found if isinstance(found, torch.Tensor) else found.pooler_output

    return Tower().eval()


def towers_of(encoder: str) -> tuple:
    return ("image", "text") if encoder.startswith("clip") else ("image",)


def load(encoder: str):
    import transformers

    config = json.loads((CACHE / encoder / "config.json").read_text(encoding="utf-8"))
    return getattr(transformers, config["architectures"][0]).from_pretrained(CACHE / encoder).eval()


def export(encoder: str) -> dict:
    import torch

    folder = CACHE / encoder
    if not (folder / "model.safetensors").exists():
        folder.mkdir(parents=True, exist_ok=True)
        build(encoder).eval().save_pretrained(folder / "writing")  # under the names of files, which are not always those in memory
        for name in ("config.json", "model.safetensors"):
            (folder / "writing" / name).rename(folder / name)
    files = []
    for tower in towers_of(encoder):
        for batch in (1, 8):
            path = folder / f"{tower}-batch{batch}.onnx"
            if not path.exists():
                torch.onnx.export(forward_of(load(encoder), tower), (torch.from_numpy(given(tower, batch)),), str(folder / "partial"),
                                  dynamo=False, opset_version=17, input_names=["inputs"], output_names=["features"])
                (folder / "partial").rename(path)
            files.append(str(path))
    return {"exported": files}


def make_forward(encoder: str, tower: str, engine: str, batch: int, threads: int):
    """A function that runs the tower once on fixed inputs and returns features [batch,E]."""
    inputs = given(tower, batch)
    if engine == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(str(CACHE / encoder / f"{tower}-batch{batch}.onnx"), options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"inputs": inputs})[0]
    import torch

    torch.set_num_threads(threads)
    module, example = forward_of(load(encoder), tower), torch.from_numpy(inputs)
    if engine.startswith("pytorch"):
        dtype = torch.bfloat16 if engine.endswith("bf16") else torch.float32
        module = module.to(dtype)
        example = example.to(dtype) if tower == "image" else example
        return torch.inference_mode()(lambda: module(example).float().numpy())
    import openvino

    core = openvino.Core()
    precision = "bf16" if engine.endswith("bf16") else "f32"
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    with torch.no_grad():
        converted = openvino.convert_model(module, example_input=example, input=[tuple(inputs.shape)])
    del module
    request = core.compile_model(converted, "CPU", hints).create_infer_request()
    shared = openvino.Tensor(inputs, shared_memory=True)
    request.set_input_tensor(shared)

    def run():
        assert shared.data is not None  # `inputs` must live as long as the request, which only borrows it
        request.infer()
        return request.get_output_tensor().data

    return run


def measure(work, seconds: float) -> tuple:
    """(seconds, processor seconds of all threads) of each call, after at least 3 calls and a third of `seconds` of warming up."""
    started, calls = time.perf_counter(), 0
    while calls < 3 or time.perf_counter() - started < seconds / 3:
        work()
        calls += 1
    times, processor_times, started = [], [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - started < seconds:
        before, processor_before = time.perf_counter(), time.process_time()
        work()
        times.append(time.perf_counter() - before)
        processor_times.append(time.process_time() - processor_before)
    return times, processor_times


def run(encoder: str, tower: str, engine: str, batch: int, threads: int, seconds: float) -> dict:
    forward = make_forward(encoder, tower, engine, batch, threads)
    checksum = float(np.abs(forward()).mean())
    times, processor_times = measure(forward, seconds)
    return {"engine": engine, "encoder": encoder, "tower": tower, "batch": batch, "threads": threads,
            "items_per_s": batch / statistics.median(times), "min_ms": 1e3 * min(times), "median_ms": 1e3 * statistics.median(times),
            "processor_ms": 1e3 * statistics.median(processor_times), "runs": len(times), "mean_abs": checksum}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("command", choices=("export", "run"))
    parser.add_argument("--encoder", choices=(*ENCODERS, "all"), required=True)
    parser.add_argument("--tower", choices=("image", "text"), default="image")
    parser.add_argument("--engine", choices=ENGINES, default="pytorch")
    parser.add_argument("--batch", type=int, choices=(1, 8), default=1)
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--seconds", type=float, default=3.0, help="of measuring, after warming up")
    arguments = parser.parse_args()
    if arguments.command == "export":
        for encoder in ENCODERS if arguments.encoder == "all" else [arguments.encoder]:
            print(json.dumps(export(encoder)))
    else:
        print(json.dumps(run(arguments.encoder, arguments.tower, arguments.engine, arguments.batch, arguments.threads,
                             arguments.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
