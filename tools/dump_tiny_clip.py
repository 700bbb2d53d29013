#!/usr/bin/env python3
"""Writes tests/golden/clip_tiny: a whole model folder in the Hugging Face layout with a tiny seeded CLIP, its golden.safetensors, and
expected.json with what transformers makes of samples/ and some texts. The end-to-end tests run the program on it.

    python tools/dump_tiny_clip.py
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoImageProcessor, AutoTokenizer, CLIPConfig, CLIPModel, CLIPImageProcessor, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests/golden/clip_tiny"
WORDS = "a an the photo of picture cat dog cup coffee temple palace snow red two playing in near and".split()
PICTURES = ["cat.jpg", "coffee.jpg"]
LABELS = ["cat", "dog", "cup of coffee", "temple"]
TEMPLATES = ["a photo of a {}", "the {} in the snow"]
TEXTS = ["a photo of a cat", "two dogs"]


def write_folder() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<start>", "<unk>", *WORDS, "<end>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", vocabulary["<end>"])])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", bos_token="<start>", eos_token="<end>",
                            model_max_length=16).save_pretrained(FOLDER)
    tower = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 2, "hidden_act": "quick_gelu"}
    config = CLIPConfig(
        text_config={**tower, "vocab_size": len(vocabulary), "max_position_embeddings": 16, "eos_token_id": vocabulary["<end>"],
                     "bos_token_id": 1, "pad_token_id": 0},
        vision_config={**tower, "image_size": 32, "patch_size": 8}, projection_dim=12)
    torch.manual_seed(5)
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() >= 2:
                value.copy_(torch.randn(value.shape) * (2 / value[0].numel()) ** 0.5)
    model.save_pretrained(FOLDER)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(FOLDER)
    (FOLDER / "README.md").write_text("---\nlicense: apache-2.0\n---\n\nA tiny CLIP with random weights, for tests. Made by "
                                      "tools/dump_tiny_clip.py.\n")


def expected() -> dict:
    model = CLIPModel.from_pretrained(FOLDER).eval()
    tokenizer, processor = AutoTokenizer.from_pretrained(FOLDER), AutoImageProcessor.from_pretrained(FOLDER, backend="pil")

    def unit(value):
        value = value if isinstance(value, torch.Tensor) else value.pooler_output
        return torch.nn.functional.normalize(value, dim=-1)

    def of_texts(texts):
        return unit(model.get_text_features(**tokenizer(texts, padding=True, return_tensors="pt")))

    with torch.no_grad():
        images = unit(model.get_image_features(
            **processor([Image.open(ROOT / "samples" / name).convert("RGB") for name in PICTURES], return_tensors="pt")))
        by_template = [of_texts([template.format(label) for label in LABELS]) for template in TEMPLATES]
        scale = model.logit_scale.exp()
        one = (scale * images @ by_template[0].T).softmax(-1)
        ensemble = (scale * images @ unit(torch.stack(by_template).mean(0)).T).softmax(-1)
        return {"pictures": PICTURES, "labels": LABELS, "templates": TEMPLATES, "texts": TEXTS, "one": one.tolist(),
                "ensemble": ensemble.tolist(), "image_embeddings": images.tolist(), "text_embeddings": of_texts(TEXTS).tolist()}


if __name__ == "__main__":
    write_folder()
    (FOLDER / "expected.json").write_text(json.dumps(expected(), indent=1) + "\n")
    sys.exit(subprocess.run([sys.executable, str(ROOT / "tools/make_golden.py"), str(FOLDER)], check=False).returncode)
