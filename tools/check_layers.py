#!/usr/bin/env python3
"""Checks who includes whom: the table of directions in docs/DESIGN.md, section 2.

    python3 tools/check_layers.py [ROOT]

Reads the #include lines of src/, include/ and apps/, names each violation as file:line, and exits with 1 when there is one. Runs
as the test `layers`. Needs nothing but Python's standard library.
"""

import re
import sys
from pathlib import Path

# Rooms of src/ from the ground floor up, and what each may include besides itself.
GROUND = {"base"}
TENSOR = GROUND | {"tensor"}
KERNELS = TENSOR | {"kernels"}
OPS = KERNELS | {"ops"}
NN = OPS | {"nn"}
RUNTIME = NN | {"models", "formats", "media", "text", "hub", "runtime"}
ROOMS = {
    "base": GROUND,
    "hub": GROUND,
    "tensor": TENSOR,
    "formats": TENSOR,
    "media": TENSOR,
    "text": TENSOR,
    "kernels": KERNELS,
    "ops": OPS,
    "nn": NN,
    "models": NN - {"kernels"},
    "runtime": RUNTIME,
    "library": RUNTIME,
    "eval": RUNTIME | {"library"},
    "train": RUNTIME,
    "testing": TENSOR,
}

# Public headers a room may know: those it implements and those below them.
PUBLIC = {
    "media": {"error.h", "image.h"},
    "hub": {"error.h", "hub.h"},
    "runtime": {"error.h", "image.h", "model.h", "chat.h", "doctor.h", "hub.h", "gguf.h"},
    "library": {"error.h", "image.h", "model.h", "library.h", "picture_text.h", "grounding.h", "describe.h",
                "contact_sheet.h"},
    "eval": {"error.h", "image.h", "model.h", "library.h", "grounding.h", "eval.h", "eval_text.h", "eval_pope.h"},
    "train": {"error.h", "image.h", "model.h", "eval.h", "eval_text.h", "train.h"},
}
PUBLIC_ELSEWHERE = {"error.h"}

# Plain structs that say how a model wants its input; nn/entry.h and models name them.
INPUT_SPECS = {"media/preprocess.h"}

# A model describes mathematics: no files, no threads.
NOT_IN_MODELS = {
    "base/file.h", "base/parallel.h", "base/simd.h",
    "atomic", "condition_variable", "filesystem", "fstream", "future", "mutex", "omp.h", "pthread.h", "thread",
}
# The library never prints.
NOT_IN_LIBRARY = {"iostream", "print"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')
SUFFIXES = {".h", ".cc", ".cu", ".c"}


def problem_in_src(room, path, name, is_quoted):
    """Why a file of src/<room> may not include `name`, or None."""
    is_test = path.name.endswith(("_test.cc", "_testing.h"))  # a header of tests alone
    target = name.split("/")[0]
    if target == "testing":
        return None if is_test or room == "testing" else "testing/ is for *_test.cc only"
    if is_test and (target == "fovea" or not is_quoted):
        return None
    if room == "models" and name in NOT_IN_MODELS:
        return "models know no files and no threads"
    if name in NOT_IN_LIBRARY and room != "testing":
        return "the library never prints"
    if target == "fovea" and name not in {"fovea/" + header for header in PUBLIC.get(room, PUBLIC_ELSEWHERE)}:
        return f"{room} may not know this public header"
    if room in {"nn", "models"} and name in INPUT_SPECS:
        return None
    if is_quoted and target in ROOMS and target != room and target not in ROOMS[room]:
        return f"{room} may not include {target}"
    return None


def problem_in_public(name):
    if name.startswith("nlohmann") or "json" in name:
        return "JSON types never appear in a public header"
    if "/" in name and not name.startswith(("fovea/", "sys/")):
        return "a public header includes only the standard library and fovea/"
    return None


def problem_in_apps(name, path, is_quoted):
    if not is_quoted or name.startswith("fovea/"):
        return None
    own = any((folder / name).exists() for folder in (path.parent, path.parent.parent))
    return None if own else "apps include only include/fovea and their own files"


def problems_of(path, root):
    parts = path.relative_to(root).parts
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        is_quoted, name = match[1] == '"', match[2]
        if parts[0] == "include":
            reason = problem_in_public(name)
        elif parts[0] == "apps":
            reason = problem_in_apps(name, path, is_quoted)
        elif parts[1] not in ROOMS:
            reason = f"src/{parts[1]} is no room of the house; add it to the table in tools/check_layers.py"
        else:
            reason = problem_in_src(parts[1], path, name, is_quoted)
        if reason:
            yield f"{path.relative_to(root)}:{number}: {line.strip()}: {reason}"


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    files = sorted(path for folder in ("src", "include", "apps") for path in (root / folder).rglob("*") if path.suffix in SUFFIXES)
    problems = [problem for path in files for problem in problems_of(path, root)]
    if problems:
        print("\n".join(problems))
        print(f"layers: {len(problems)} violations of the table in docs/DESIGN.md, section 2")
        return 1
    if not files:
        print(f"layers: no sources below {root}")
        return 1
    print(f"layers: {len(files)} files keep to the directions of docs/DESIGN.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
