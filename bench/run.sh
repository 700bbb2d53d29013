#!/usr/bin/env bash
# Builds Fovea, sets up the peers and measures both side by side; writes the tables of docs/performance.md.
#
#   bench/run.sh [--rounds N] [--seconds S] [--only model,encoders,index,resize,start] [--data SHARD.tar] [--anyway] [--dry-run]
#   bench/run.sh --only encoders --processor-time [...]
#
# The machine must be idle: on a busy one the ratios are wrong, not just noisy (see bench/compare.py).
set -euo pipefail
cd "$(dirname "$0")/.."

bench/peers/setup.sh
[[ -f build/release/build.ninja ]] || cmake -S . -B build/release -G Ninja -DCMAKE_BUILD_TYPE=Release >&2
ninja -C build/release fovea_bench fovea_cli >&2
bench/peers/.venv/bin/python bench/peers/peers.py export >&2
[[ " $* " == *" --only "* && " $* " != *encoders* ]] || bench/peers/.venv/bin/python bench/peers/encoders.py export --encoder all >&2
exec python3 bench/compare.py "$@"
