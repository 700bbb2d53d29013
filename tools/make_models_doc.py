#!/usr/bin/env python3
"""Writes docs/models.md from the program itself: what `fovea models --architectures` lists, the parity that `fovea verify` measures
with each golden file, and the length of each model's file.

    python3 tools/make_models_doc.py [build/release/fovea]
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Architectures

A folder in the Hugging Face layout (`config.json`, `*.safetensors` or `pytorch_model.bin`, `preprocessor_config.json`,
`tokenizer.json`) whose `model_type` stands below loads directly. Each architecture is one file of `src/models`.

*Parity* is the largest error of any stage or output, as a share of the largest magnitude of that stage in the reference
implementation, over the golden files of the architecture (tiny seeded networks; `tools/dump_golden.py` makes them, `fovea verify
FILE` measures one). *Weights* names public checkpoints that were measured as well.

Made by `python3 tools/make_models_doc.py` from the program; not edited by hand.

| model_type | architecture | tasks | paper | parity (golden files) | weights | lines |
|---|---|---|---|---|---|---|
"""


def run(*command: str) -> list:
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, cwd=ROOT, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> int:
    fovea = str(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/release/fovea").resolve())
    worst, files = {}, {}
    for path in sorted((ROOT / "tests/golden/models").glob("*.safetensors")):
        header = path.read_bytes()
        metadata = json.loads(header[8:8 + int.from_bytes(header[:8], "little")]).get("__metadata__", {})
        if metadata.get("fovea") != "golden-1" or "config" not in metadata:
            continue
        model_type = metadata["model_type"]
        stages = run(fovea, "verify", str(path), "--json")
        if not stages or not all(stage["ok"] for stage in stages):
            print(f"{path.name}: differs from its reference", file=sys.stderr)
            return 1
        worst[model_type] = max(worst.get(model_type, 0), max(stage["max_rel"] for stage in stages))
        files[model_type] = files.get(model_type, 0) + 1
    sources = {}
    for path in (ROOT / "src/models").glob("*.cc"):
        text = path.read_text(encoding="utf-8")
        sources[path.stem.replace("_", "-")] = sources[path.stem] = (path.name, text.count("\n"))
        for model_type in re.findall(r'\.model_type = "([^"]+)"', text):
            sources[model_type] = (path.name, text.count("\n"))
    rows = []
    for entry in run(fovea, "models", "--architectures", "--json"):
        model_type = entry["model_type"]
        source, lines = sources[model_type]
        parity = f"{worst[model_type]:.1e} ({files[model_type]})" if model_type in worst else "not measured"
        reference = entry["reference"] if entry["reference"].startswith("http") else f"../{entry['reference']}"
        rows.append(f"| [`{model_type}`](../src/models/{source}) | [{entry['title']}]({reference}) | {entry['tasks']} | "
                    f"{entry['paper']} | {parity} | {entry['checkpoints'] or '-'} | {lines} |")
    (ROOT / "docs/models.md").write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")
    print(f"docs/models.md: {len(rows)} architectures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
