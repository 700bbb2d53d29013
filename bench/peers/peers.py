#!/usr/bin/env python3
"""Other engines at Fovea's work: EfficientNet-Lite2 in f32, the way from JPEG to embedding, and resizing.

    peers.py export                                   ONNX files for batch 1 and 8 in --cache (once)
    peers.py model --engine ENGINE --batch N          {"images_per_s", "min_ms", "median_ms", ...}
    peers.py index --data SHARD.tar --loader LOADER   {"images_per_s", ...}
    peers.py versions                                 {package: version}
    peers.py resize                                   {"resize": {"WxH->wxh filter": ms}}

Each command prints one JSON object. Engines are given what suits them: PyTorch eager in contiguous and in channels_last memory
under inference_mode; ONNX Runtime with all graph optimisations; OpenVINO with its latency hint and f32 precision; all with as
many threads as the machine has cores, static shapes, and input that is already there. They are run one at a time in processes of
their own, so that no idle thread pool disturbs another.

The whole path is what a careful user of PyTorch writes: Pillow decodes and resizes in worker threads or processes (`--loader
threads:N` or `processes:N`; `bench/run.sh` tries them all and compares with the fastest), batches of 8, channels_last, inference_mode.
"""

import argparse
import importlib.metadata
import io
import json
import os
import statistics
import sys
import tarfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

CORES = len(os.sched_getaffinity(0))
SIZE = 260
ENGINES = ("pytorch", "pytorch_channels_last", "onnxruntime", "openvino")
RESIZES = (((4000, 3000), (260, 260)), ((1920, 1280), (260, 260)), ((500, 375), (260, 260)), ((224, 224), (260, 260)))


def pixels(batch: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (batch, 3, SIZE, SIZE)).astype(np.float32)


def torch_model(channels_last: bool):
    import torch
    from golden.lite2 import load_model

    torch.set_num_threads(CORES)
    return torch, load_model().to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def onnx_path(cache: Path, batch: int) -> Path:
    return cache / f"lite2-batch{batch}.onnx"


def export(cache: Path) -> dict:
    """Static shapes: both engines plan better with them. Not under inference_mode, which the exporter cannot trace."""
    torch, model = torch_model(channels_last=False)
    cache.mkdir(parents=True, exist_ok=True)
    files = []
    for batch in (1, 8):
        path = onnx_path(cache, batch)
        if not path.exists():
            partial = path.with_suffix(".partial")
            torch.onnx.export(model, (torch.from_numpy(pixels(batch)),), str(partial), dynamo=False, opset_version=17,
                              input_names=["pixels"], output_names=["logits"])
            partial.rename(path)
        files.append(str(path))
    return {"exported": files}


def make_forward(engine: str, batch: int, cache: Path):
    """A function that runs the network once on fixed pixels and returns logits [batch,1000]."""
    if engine.startswith("pytorch"):
        torch, model = torch_model(engine == "pytorch_channels_last")
        layout = torch.channels_last if engine == "pytorch_channels_last" else torch.contiguous_format
        given = torch.from_numpy(pixels(batch)).contiguous(memory_format=layout)
        return torch.inference_mode()(lambda: model(given).numpy())
    path = str(onnx_path(cache, batch))
    given = pixels(batch)
    if engine == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = CORES
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"pixels": given})[0]
    import openvino

    core = openvino.Core()
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": CORES}
    request = core.compile_model(core.read_model(path), "CPU", hints).create_infer_request()
    shared = openvino.Tensor(given, shared_memory=True)
    request.set_input_tensor(shared)

    def run():
        assert shared.data is not None  # `given` must live as long as the request, which only borrows it
        request.infer()
        return request.get_output_tensor().data

    return run


def measure(work, seconds: float) -> list:
    """Seconds of each call, after at least 3 calls and a third of `seconds` of warming up."""
    started, calls = time.perf_counter(), 0
    while calls < 3 or time.perf_counter() - started < seconds / 3:
        work()
        calls += 1
    times, started = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        work()
        times.append(time.perf_counter() - before)
    return times


def bench_model(engine: str, batch: int, seconds: float, cache: Path) -> dict:
    forward = make_forward(engine, batch, cache)
    checksum = float(np.abs(forward()).mean())
    times = measure(forward, seconds)
    return {"engine": engine, "batch": batch, "threads": CORES, "images_per_s": batch / statistics.median(times),
            "min_ms": 1e3 * min(times), "median_ms": 1e3 * statistics.median(times), "runs": len(times),
            "mean_abs_logit": checksum}


def read_jpegs(shard: Path) -> list:
    with tarfile.open(shard) as archive:
        return [archive.extractfile(member).read() for member in archive if member.name.endswith((".jpg", ".jpeg"))]


class Pictures:
    """What torch.utils.data.DataLoader asks of a data set."""

    def __init__(self, encoded: list):
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int):
        import torch
        from golden.lite2 import prepare_u8
        from PIL import Image

        return torch.from_numpy(prepare_u8(Image.open(io.BytesIO(self.encoded[index]))).copy())


def batches(encoded: list, loader: str, batch: int):
    """u8 [B,260,260,3] in the order of `encoded`."""
    import torch

    kind, workers = loader.split(":")
    pictures, workers = Pictures(encoded), int(workers)
    if kind == "processes":
        yield from torch.utils.data.DataLoader(pictures, batch_size=batch, num_workers=workers, prefetch_factor=4 if workers else None)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque()
        starts = iter(range(0, len(pictures), batch))
        while True:
            while len(waiting) < 4 and (start := next(starts, None)) is not None:
                waiting.append([pool.submit(pictures.__getitem__, i) for i in range(start, min(start + batch, len(pictures)))])
            if not waiting:
                return
            yield torch.stack([picture.result() for picture in waiting.popleft()])


def bench_index(shard: Path, loader: str, limit: int) -> dict:
    torch, model = torch_model(channels_last=True)
    from golden.lite2 import normalise

    def embed(encoded):
        with torch.inference_mode():
            return torch.cat([torch.nn.functional.normalize(model.extract_features(normalise(part)).mean((2, 3)))
                              for part in batches(encoded, loader, 8)])

    # Reading the tar is part of the work.
    started = time.perf_counter()
    encoded = read_jpegs(shard)
    read_s = time.perf_counter() - started
    embed(encoded[:32])
    read_s *= min(limit or len(encoded), len(encoded)) / len(encoded)
    encoded = encoded[:limit] if limit else encoded
    started = time.perf_counter()
    vectors = embed(encoded)
    seconds = time.perf_counter() - started + read_s
    return {"engine": "pytorch+pillow", "loader": loader, "threads": CORES, "images": len(vectors), "seconds": seconds,
            "images_per_s": len(vectors) / seconds, "mean_abs": float(vectors.abs().mean())}


def bench_resize(seconds: float) -> dict:
    from PIL import Image

    results = {}
    for (width, height), size in RESIZES:
        noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = Image.fromarray(noise)
        for name in ("bilinear", "bicubic", "lanczos"):
            kind = Image.Resampling[name.upper()]
            times = measure(lambda: image.resize(size, kind), seconds)
            results[f"{width}x{height}->{size[0]}x{size[1]} {name}"] = 1e3 * statistics.median(times)
    return {"engine": "pillow", "threads": 1, "resize": results}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("command", choices=("export", "model", "index", "resize", "versions"))
    parser.add_argument("--engine", choices=ENGINES, default="pytorch_channels_last")
    parser.add_argument("--batch", type=int, choices=(1, 8), default=1)
    parser.add_argument("--seconds", type=float, default=3.0, help="of measuring, after warming up")
    parser.add_argument("--data", type=Path, help="WebDataset shard with .jpg files")
    parser.add_argument("--loader", default="threads:1", help="threads:N or processes:N")
    parser.add_argument("--limit", type=int, default=0, help="first pictures only; 0: all")
    parser.add_argument("--cache", type=Path, default=Path(__file__).resolve().parents[2] / "build/bench")
    arguments = parser.parse_args()
    if arguments.command == "export":
        result = export(arguments.cache)
    elif arguments.command == "model":
        result = bench_model(arguments.engine, arguments.batch, arguments.seconds, arguments.cache)
    elif arguments.command == "index":
        if arguments.data is None:
            parser.error("index needs --data")
        result = bench_index(arguments.data, arguments.loader, arguments.limit)
    elif arguments.command == "versions":
        result = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "onnxruntime", "openvino", "Pillow")}
    else:
        result = bench_resize(arguments.seconds / (3 * len(RESIZES)))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
