#!/usr/bin/env bash
# Makes bench/peers/.venv with the engines that the benchmarks compare Fovea with. Does nothing when it is already complete.
set -euo pipefail
cd "$(dirname "$0")"

stamp=.venv/requirements.txt
if cmp -s requirements.txt "$stamp"; then
  exit 0
fi
if ! python3 -c 'import ensurepip' 2>/dev/null; then
  echo "[bench/peers] expected Python's venv module, got none; hint: apt-get install python3-venv" >&2
  exit 1
fi
python3 -m venv .venv
# torch first and alone: where pip is set up with an index of CPU builds, this takes that build and not one with CUDA.
.venv/bin/pip install --quiet --only-binary :all: "$(grep '^torch==' requirements.txt)"
# efficientnet_lite_pytorch is pure Python, published as a wheel as well.
.venv/bin/pip install --quiet --only-binary :all: -r requirements.txt
cp requirements.txt "$stamp"
