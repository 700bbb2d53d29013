#!/usr/bin/env python3
"""Checks that make_golden.py and `fovea verify` serve every architecture, on tiny random checkpoints.

    python tools/check_make_golden.py [--fovea build/release/fovea] [--only NAME]

Each golden file of tests/golden/models becomes a model folder (its configuration and weights; a small tokenizer and a
preprocessor_config.json where the model takes texts and pictures); make_golden.py writes reference numbers there, and `fovea verify`
compares. Exits with 1 when a model differs or cannot be read.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from golden import folders

TOOLS = Path(__file__).resolve().parent
GOLDEN = TOOLS.parent / "tests/golden/models"
# What the reference implementation of make_golden.py cannot load.
LEFT_OUT = {"efficientnet_lite": "transformers has no Lite variants", "efficientnet_lite2_reference": "no weights in the file",
            "efficientnet_train": "Lite weights", "gpt2_cross": "reads a memory beside the text, which a folder alone does not have"}


def write_tokenizer(folder: Path, config: dict, size: int, longest: int) -> None:
    """Words become ids; the end of the text has the highest, as in CLIP."""
    text = config.get("text_config", config)
    pad = text.get("pad_token_id") or 0
    end = text.get("eos_token_id", 0)
    end = end[0] if isinstance(end, list) else end or 0
    end = end if end not in (0, 2, pad) and end < size else size - 1
    words = iter("a photo of cat dog two in snow near red barn the dogs are playing".split())
    vocabulary, named = {}, {pad: "<pad>", end: "<end>"}
    for special in ("<start>", "<unk>"):
        named[next(i for i in range(size) if i not in named)] = special
    for number in range(size):
        vocabulary[named.get(number) or next(words, f"word{number}")] = number
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", vocabulary["<start>"]), ("<end>", end)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", bos_token="<start>", eos_token="<end>",
                            model_max_length=longest).save_pretrained(folder)


def write_preprocessor(folder: Path, config: dict, inputs: dict) -> None:
    if "patches" in inputs:
        made = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": config["vision_config"]["patch_size"], "max_num_patches": 12,
                "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    else:
        size = config.get("vision_config", config).get("image_size")
        height, width = (size, size) if isinstance(size, int) else size or inputs["pixels"][1:3]
        made = {"image_processor_type": "ViTImageProcessor", "size": {"height": height, "width": width}, "do_resize": True, "resample": 2,
                "do_rescale": True, "do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]}
    (folder / "preprocessor_config.json").write_text(json.dumps(made), encoding="utf-8")


def config_of(path: Path) -> dict:
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["config"])


def write_folder(path: Path, folder: Path) -> None:
    with safe_open(path, "np") as file:
        config = json.loads(file.metadata()["config"])
        weights = {name.removeprefix("weights."): file.get_tensor(name) for name in file.keys() if name.startswith("weights.")}
        inputs = {name.removeprefix("input."): file.get_slice(name).get_shape() for name in file.keys() if name.startswith("input.")}
    for head in ("cls.predictions", "lm_head"):  # untied, transformers adds the decoder's bias, of which the golden file has one copy
        if not config.get("tie_word_embeddings", True) and f"{head}.bias" in weights:
            weights[f"{head}.decoder.bias"] = weights[f"{head}.bias"].copy()
    if config["model_type"] == "open_clip":
        (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
        save_file(weights, folder / "open_clip_model.safetensors", {"format": "pt"})
        return
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    if "ids" in inputs and config["model_type"] != "qwen2":  # whose class of tokenizers reads byte-level BPE alone: seeded ids stand for texts
        text = config.get("text_config", config)
        longest = text.get("max_position_embeddings", text.get("n_positions", 64))
        write_tokenizer(folder, config, text["vocab_size"], longest if "regions" not in inputs else inputs["ids"][1])
    if "patches" in inputs or inputs.get("pixels", [0])[-1] == 3:
        write_preprocessor(folder, config, inputs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--fovea", default="build/release/fovea", help="the program")
    parser.add_argument("--only", help="files whose name starts so")
    arguments = parser.parse_args()
    failed = []
    for path in sorted(GOLDEN.glob(f"{arguments.only or ''}*.safetensors")):
        if path.stem in LEFT_OUT:
            print(f"{path.stem}: left out, {LEFT_OUT[path.stem]}")
            continue
        kind = config_of(path)["model_type"]
        if kind in folders.WITHOUT_REFERENCE:
            print(f"{path.stem}: left out, {kind} {folders.WITHOUT_REFERENCE[kind]}")
            continue
        with tempfile.TemporaryDirectory() as temporary:
            write_folder(path, Path(temporary))
            made = subprocess.run([sys.executable, TOOLS / "make_golden.py", temporary], capture_output=True, text=True, check=False)
            if made.returncode != 0:
                failed.append(path.stem)
                print(f"{path.stem}: make_golden.py failed: {made.stderr.strip().splitlines()[-1]}")
                continue
            verified = subprocess.run([arguments.fovea, "verify", "--json", temporary], capture_output=True, text=True, check=False)
            stages = [json.loads(line) for line in verified.stdout.splitlines()]
            wrong = [f"{stage['stage']} {stage['max_rel']:.1e}" for stage in stages if "error" in stage or not stage["ok"]]
            if verified.returncode != 0:
                failed.append(path.stem)
            print(f"{path.stem}: {len(stages)} stages, " + (f"differ: {', '.join(wrong)} {verified.stderr.strip()}" if verified.returncode else "all ok"), flush=True)
    print(f"failed: {', '.join(failed)}" if failed else "all agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
