#!/bin/sh
# Makes fovea-tell anew, from fovea-photos and the shards that the recipes name; run it again to go on after a stop.
#   models/fovea-tell/train.sh OUT [FOVEA]
# OUT is the folder of the finished model; OUT-words, OUT-own and OUT-grids.safetensors lie beside it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=$here/../../../shared/data
out=$(realpath -m "$1")
fovea=${2:-$here/../../build/release/fovea}

grids="data.cache_grids.file=$out-grids.safetensors"
"$fovea" train "$here/recipe.json" --set "output=$out-words" --set "$grids" --resume
"$fovea" train "$here/self-critical.json" --set "model=$out-words" --set "output=$out-own" --set "$grids" --resume
"$fovea" quantize "$out-own" "$out" --type int8
# Pictures that nothing was learnt from say how far its confidence can be believed.
"$fovea" eval caption --model "$out" --data "$data/flickr8k-train.tar" "$data/coco224-train.tar" --held-back 0.04 \
  --calibrate "$out/calibration.json.new" --json
"$fovea" eval vqa --model "$out" --data "$data/coco224-train.tar" "$data/daquar-train.tar" --held-back 0.1 \
  --calibrate "$out/calibration.json.new" --json
mv "$out/calibration.json.new" "$out/calibration.json"
