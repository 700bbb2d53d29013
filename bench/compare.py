#!/usr/bin/env python3
"""Measures Fovea and its peers in turns and writes the tables of docs/performance.md. Called by bench/run.sh, which builds first.

One round runs every engine once, in its own process: A B C D, A B C D, ... What is reported is the median over the rounds of the
ratio within a round, so a machine that is slower for a minute is slower for all. Speeds beside it are medians over the rounds.

It refuses to measure on a busy machine. Engines suffer differently when another program takes a core in turns: those whose threads wait
for each other by spinning (PyTorch's) become many times slower, and the ratio would flatter Fovea. On a machine that is never idle the
encoders can be compared with --processor-time: one thread each, and the processor time it used instead of the clock.

Each part writes its own section of the page, so that parts can be measured one by one.
"""

import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOVEA = ROOT / "build/release/fovea"
FOVEA_BENCH = ROOT / "build/release/bench/fovea_bench"
ENCODER_PEERS = [ROOT / "bench/peers/.venv/bin/python", ROOT / "bench/peers/encoders.py"]
PEERS = [ROOT / "bench/peers/.venv/bin/python", ROOT / "bench/peers/peers.py"]
PAGE = ROOT / "docs/performance.md"
MODEL = ROOT / "models/efficientnet-lite2"
TITLES = {"pytorch": "PyTorch, contiguous", "pytorch_channels_last": "PyTorch, channels last", "onnxruntime": "ONNX Runtime",
          "openvino": "OpenVINO", "pytorch+pillow": "PyTorch + Pillow", "pillow": "Pillow"}
ENCODERS = {"clip-vit-base-patch32": "CLIP ViT-B/32", "clip-vit-large-patch14": "CLIP ViT-L/14",
            "siglip-base-patch16-224": "SigLIP B/16", "dinov2-base": "DINOv2 B/14"}
ENCODER_ENGINES = {"pytorch": "PyTorch", "pytorch_bf16": "PyTorch bf16", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO",
                   "openvino_bf16": "OpenVINO bf16"}
LOADERS = ("threads:1", "threads:2", "processes:0", "processes:1", "processes:2")
MOST_LOAD = 0.5


def run(*command) -> dict:
    """The JSON object that a command prints last."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def in_turns(engines: dict, rounds: int, value) -> dict:
    """`engines`: name -> command, "fovea" among them. Returns name -> list of `value(result)`, one a round."""
    found = {name: [] for name in engines}
    for number in range(rounds):
        for name, command in engines.items():
            found[name].append(value(run(*command)))
        print(f"  round {number + 1}/{rounds}: " + ", ".join(f"{name} {values[-1]:.1f}" for name, values in found.items()), file=sys.stderr)
    return found


def rate_rows(work: str, found: dict) -> list:
    """Rows of the table of rates (more is better)."""
    ours = found["fovea"]
    rows = []
    for name, theirs in found.items():
        if name == "fovea":
            continue
        ratios = [a / b for a, b in zip(ours, theirs)]
        rows.append(f"| {work} | {statistics.median(ours):.1f} | {TITLES[name]} | {statistics.median(theirs):.1f} | "
                    f"**{statistics.median(ratios):.2f}x** | {min(ratios):.2f} - {max(ratios):.2f} |")
    return rows


def bench_model(arguments, raw: dict) -> list:
    rows = []
    for batch in (1, 8):
        print(f"model, batch {batch} (images/s)", file=sys.stderr)
        common = ("--batch", batch, "--seconds", arguments.seconds)
        engines = {"fovea": (FOVEA_BENCH, "model", "--model", MODEL, *common)}
        for engine in ("pytorch", "pytorch_channels_last", "onnxruntime", "openvino"):
            engines[engine] = (*PEERS, "model", "--engine", engine, *common)
        found = raw[f"model_batch{batch}"] = in_turns(engines, arguments.rounds, lambda result: result["images_per_s"])
        rows += rate_rows(f"network, batch {batch}", found)
    return rows


def encoder_row(title: str, ours: list, found: dict) -> str:
    cells = [title, f"{statistics.median(ours):.1f}"]
    for engine in ENCODER_ENGINES:
        cells.append(f"{statistics.median(found[engine]):.1f} (**{statistics.median(a / b for a, b in zip(ours, found[engine])):.2f}x**)")
    return "| " + " | ".join(cells) + " |"


def bench_encoders(arguments, raw: dict) -> list:
    """Rows for Fovea in f32, then rows for Fovea in bf16."""
    rows = {"f32": [], "bf16": []}

    def value(result: dict) -> float:
        return 1e3 * result["batch"] / result["processor_ms"] if arguments.processor_time else result["items_per_s"]

    for encoder, title in ENCODERS.items():
        for tower in ("image", "text") if encoder.startswith("clip") else ("image",):
            for batch in (1, 8):
                work = f"{title}, {tower}, batch {batch}"
                print(f"{work} (items/s)", file=sys.stderr)
                common = ["--tower", tower, "--batch", batch, "--seconds", arguments.seconds]
                common += ["--threads", 1] if arguments.processor_time else []
                folder = ROOT / "build/bench/encoders" / encoder
                engines = {f"fovea_{precision}": (FOVEA_BENCH, "encoder", "--model", folder, "--precision", precision, *common)
                           for precision in rows}
                engines |= {engine: (*ENCODER_PEERS, "run", "--encoder", encoder, "--engine", engine, *common) for engine in ENCODER_ENGINES}
                found = raw[f"{encoder}_{tower}_batch{batch}"] = in_turns(engines, arguments.rounds, value)
                for precision, lines in rows.items():
                    lines.append(encoder_row(f"{work}, {precision}", found[f"fovea_{precision}"], found))
    return rows["f32"] + rows["bf16"]


def bench_index(arguments, raw: dict) -> list:
    print("JPEG to embedding (images/s): which loader suits PyTorch best", file=sys.stderr)
    trials = {}
    for loader in LOADERS:
        tried = [run(*PEERS, "index", "--data", arguments.data, "--loader", loader, "--limit", 256)["images_per_s"] for _ in range(2)]
        trials[loader] = max(tried)
        print(f"  {loader}: {trials[loader]:.1f}", file=sys.stderr)
    loader = max(trials, key=trials.get)
    engines = {"fovea": (FOVEA_BENCH, "index", "--model", MODEL, "--data", arguments.data),
               "pytorch+pillow": (*PEERS, "index", "--data", arguments.data, "--loader", loader)}
    found = in_turns(engines, arguments.rounds, lambda result: result["images_per_s"])
    raw["index"], raw["index_loaders"] = found, trials
    return rate_rows(f"JPEG to embedding, {arguments.data.name} (peer's loader: {loader})", found)


def bench_resize(arguments, raw: dict) -> list:
    print("resizing (ms)", file=sys.stderr)
    turns = [(run(FOVEA_BENCH, "resize", "--seconds", arguments.seconds)["resize"],
              run(*PEERS, "resize", "--seconds", arguments.seconds)["resize"]) for _ in range(arguments.rounds)]
    raw["resize"] = turns
    rows = []
    for key in turns[0][0]:
        ours, theirs = [turn[0][key] for turn in turns], [turn[1][key] for turn in turns]
        ratios = [b / a for a, b in zip(ours, theirs)]
        rows.append(f"| {key} | {statistics.median(ours):.2f} | {statistics.median(theirs):.2f} | **{statistics.median(ratios):.2f}x** | "
                    f"{min(ratios):.2f} - {max(ratios):.2f} |")
    return rows


def bench_start(arguments, raw: dict) -> list:
    print("starting (ms)", file=sys.stderr)
    rows = []
    for title, command in (("fovea --version", ("--version",)), ("fovea classify samples/cat.jpg", ("classify", "samples/cat.jpg"))):
        times = []
        for _ in range(1 + 4 * arguments.rounds):
            before = time.perf_counter()
            subprocess.run([FOVEA, *command], check=True, capture_output=True, cwd=ROOT)
            times.append(1e3 * (time.perf_counter() - before))
        times = times[1:]  # the first one reads the files from the disk
        raw[title] = times
        rows.append(f"| `{title}` | {statistics.median(times):.0f} | {min(times):.0f} - {max(times):.0f} |")
    return rows


PARTS = {
    "model": (bench_model, "### The network: EfficientNet-Lite2, f32, 260 x 260\n\n"
              "| work | Fovea images/s | peer | peer images/s | ratio | over the rounds |\n|---|---|---|---|---|---|"),
    "encoders": (bench_encoders, "### Encoders at their published sizes\n\n"
                 "Items a second; behind each peer's the ratio of Fovea's to it.\n\n"
                 "| work, Fovea's precision | Fovea | " + " | ".join(ENCODER_ENGINES.values()) + " |\n"
                 "|---|---|" + "---|" * len(ENCODER_ENGINES)),
    "index": (bench_index, "### From JPEG to embedding\n\n"
              "| work | Fovea images/s | peer | peer images/s | ratio | over the rounds |\n|---|---|---|---|---|---|"),
    "resize": (bench_resize, "### Resizing on one thread\n\n| work | Fovea ms | Pillow ms | ratio | over the rounds |\n|---|---|---|---|---|"),
    "start": (bench_start, "### Cold start of the program (files in the page cache)\n\n| command | median ms | over the runs |\n|---|---|---|"),
}


def machine() -> str:
    text = Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*:\s*(.*)", text)
    return f"{name[1] if name else 'unknown processor'}, {len(os.sched_getaffinity(0))} cores"


def wait_until_idle(anyway: bool) -> None:
    load = os.getloadavg()[0]
    for _ in range(12):
        if load <= MOST_LOAD:
            return
        time.sleep(10)
        load = os.getloadavg()[0]
    message = f"expected an idle machine (load average of at most {MOST_LOAD}), got {load:.1f}"
    if not anyway:
        raise SystemExit(f"[bench] {message}; hint: stop other programs, or --anyway for numbers that mean little")
    print(f"[bench] {message}; the numbers mean little", file=sys.stderr)


def write_page(part: str, body: str) -> None:
    begin, end = f"<!-- measured: {part} begin -->", f"<!-- measured: {part} end -->"
    text = PAGE.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit(f"{PAGE}: expected one line {begin} and one {end}")
    before, rest = text.split(begin)
    PAGE.write_text(before + begin + "\n" + body + "\n" + end + rest.split(end)[1], encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of measuring for each engine in each round")
    parser.add_argument("--only", default=",".join(PARTS), help="some of " + ",".join(PARTS))
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/flickr8k-val.tar")
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine too; never writes the page")
    parser.add_argument("--processor-time", action="store_true", help="processor time on one thread; for --only encoders")
    parser.add_argument("--dry-run", action="store_true", help="print the tables, leave docs/performance.md as it is")
    arguments = parser.parse_args()
    arguments.data = arguments.data.resolve()
    if arguments.processor_time and arguments.only != "encoders":
        parser.error("--processor-time goes with --only encoders")
    if not arguments.processor_time:
        wait_until_idle(arguments.anyway)
    versions = run(*PEERS, "versions")
    command = "bench/run.sh" + "".join(f" {part}" for part in sys.argv[1:])
    about = (f"Measured on {datetime.date.today()} with `{command}` on {machine()}; {arguments.rounds} rounds. Peers: "
             + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    if arguments.processor_time:
        about += " One thread each; the time is that of the processor."
    raw = {}
    for name in arguments.only.split(","):
        if name == "index" and not arguments.data.exists():
            print(f"[bench] {arguments.data} is not there: the whole path is not measured", file=sys.stderr)
            continue
        measure, heading = PARTS[name]
        body = "\n".join([heading, *measure(arguments, raw)]) + "\n\n" + about
        print(body + "\n")
        if not arguments.dry_run and not arguments.anyway:
            write_page(name, body)
    results = ROOT / "build/bench/results.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps({"about": about, "measured": raw}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
