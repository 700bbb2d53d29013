#!/usr/bin/env python3
"""Writes tests/golden/captioner_tiny: a tiny captioner that knows the pictures of samples/ by heart, and what PyTorch writes about them
(expected.json). The end-to-end tests of `fovea caption` and `fovea ask` run the program on it.

    python tools/dump_tiny_captioner.py

The eyes are random and stay so; the decoder learns sentences and answers until it says each of them word for word. One picture's sentence
names somebody who is not there: what --ground has to find.
"""

import json
from pathlib import Path

import torch
from golden.fovea_captioner import Captioner
from golden.fovea_dual_encoder import vision_keys
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import EfficientNetConfig, EfficientNetModel

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "tests/golden/captioner_tiny"
SIDE = 48
CAPTIONS = {
    "astronaut.jpg": "a woman in a white suit stands in front of a flag and a rocket .",
    "cat.jpg": "a cat with green eyes looks at the camera .",
    "coffee.jpg": "a cup of coffee stands on a wooden table .",
    "coins.jpg": "many old coins lie in rows .",
    "deep-space.jpg": "stars and galaxies in the night sky .",
    "flower.jpg": "a flower with yellow and red leaves .",
    "motorcycle.jpg": "a motorcycle is parked beside a woman .",
    "photographer.jpg": "a man with a camera on a tripod .",
    "rocket.jpg": "a rocket stands beside a tower at night .",
    "temple.jpg": "a temple with a golden roof in front of trees .",
}
ANSWERS = [
    ("cat.jpg", "what animal is this ?", "cat"),
    ("cat.jpg", "what colour is the motorcycle ?", "grey"),
    ("cat.jpg", "what colour are the eyes of the cat ?", "green"),
    ("coffee.jpg", "what is on the table ?", "coffee"),
    ("coffee.jpg", "is there a dog ?", "no"),
    ("motorcycle.jpg", "what is this ?", "motorcycle"),
]
CONFIG = {
    "architectures": ["FoveaCaptioner"], "model_type": "fovea-captioner", "vision_config": vision_keys(),
    "decoder": {"model_type": "gpt2", "add_cross_attention": True, "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 40, "resid_pdrop": 0.0,
                "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
    "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "grid_size": 4,
}
MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]


def pixels(name: str) -> torch.Tensor:
    picture = Image.open(ROOT / "samples" / name).convert("RGB").resize((SIDE, SIDE), Image.BICUBIC)
    values = torch.tensor(list(picture.get_flattened_data()), dtype=torch.float32).reshape(SIDE, SIDE, 3) / 255
    return ((values - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1)


def greedy(model: Captioner, memory: torch.Tensor, start: list[int]) -> list[int]:
    ids = list(start)
    while len(ids) < CONFIG["decoder"]["n_positions"]:
        best = int(model.decoder(torch.tensor([ids]), encoder_hidden_states=memory).logits[0, -1].argmax())
        if best == 2:
            break
        ids.append(best)
    return ids[len(start):]


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(3)
    OUT.mkdir(parents=True, exist_ok=True)
    texts = [*CAPTIONS.values(), *(q + " " + a for _, q, a in ANSWERS)]
    words = ["[PAD]", "[BOS]", "[EOS]", "[UNK]", *sorted({word for text in texts for word in text.split()})]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer.add_special_tokens(["[PAD]", "[BOS]", "[EOS]", "[UNK]"])
    CONFIG["decoder"]["vocab_size"] = len(words)

    model = Captioner(EfficientNetModel(EfficientNetConfig(**CONFIG["vision_config"])), CONFIG)
    seen = {name: pixels(name) for name in CAPTIONS}
    with torch.no_grad():  # weights that keep the scale, and statistics of the norms from the pictures themselves
        for value in model.vision_model.parameters():
            if value.dim() > 1:
                value.normal_(std=(2 / value[0].numel()) ** 0.5)
        for module in model.vision_model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.fill_(1.0)
        for _ in range(200):
            model.vision_model.train()(torch.stack(list(seen.values())))
    model.eval().vision_model.requires_grad_(False)

    examples = [(name, [], tokenizer.encode(text).ids) for name, text in CAPTIONS.items()]
    examples += [(name, tokenizer.encode(question).ids, tokenizer.encode(answer).ids) for name, question, answer in ANSWERS]
    length = max(len(before) + len(after) for _, before, after in examples) + 1
    ids, targets = torch.zeros(len(examples), length, dtype=torch.int64), torch.full((len(examples), length), -100)
    for row, (_, before, after) in enumerate(examples):
        text = [1, *before, *after, 2]
        ids[row, :len(text) - 1] = torch.tensor(text[:-1])
        targets[row, len(before):len(text) - 1] = torch.tensor(text[1 + len(before):])
    pictures = torch.stack([seen[name] for name, _, _ in examples])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 900)
    for step in range(900):
        logits = model.decoder(ids, encoder_hidden_states=model.memory(pictures)).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 300 == 0:
            print(step, loss.item(), flush=True)
    print(f"loss {loss.item():.4f}")

    model = model.requires_grad_(False)
    expected = []
    for (name, before, after), text in zip(examples, [*CAPTIONS.values(), *(a for _, _, a in ANSWERS)]):
        memory = model.memory(seen[name][None])
        made = greedy(model, memory, [1, *before])
        assert made == after, (name, tokenizer.decode(made), text)
        logits = model.decoder(torch.tensor([[1, *before, *made]]), encoder_hidden_states=memory).logits[0, len(before):]
        scores = logits.log_softmax(-1).gather(1, torch.tensor([*made, 2])[:, None])
        expected.append({"picture": name, "question": tokenizer.decode(before), "text": tokenizer.decode(made), "confidence": scores.mean().exp().item()})
    state = {key: value.contiguous() for key, value in model.state_dict().items()
             if key != "decoder.lm_head.weight" and not key.endswith("num_batches_tracked")}
    save_file(state, str(OUT / "model.safetensors"), metadata={"format": "pt"})
    tokenizer.save(str(OUT / "tokenizer.json"))
    (OUT / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    (OUT / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "[BOS]", "eos_token": "[EOS]",
                                                           "pad_token": "[PAD]", "unk_token": "[UNK]"}) + "\n")
    (OUT / "preprocessor_config.json").write_text(json.dumps({
        "do_resize": True, "size": {"height": SIDE, "width": SIDE}, "resample": 3, "do_center_crop": False, "do_rescale": True,
        "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": MEAN, "image_std": STD}) + "\n")
    (OUT / "README.md").write_text("---\nlicense: apache-2.0\n---\n\nA tiny captioner that knows samples/ by heart, for tests. Made by "
                                   "tools/dump_tiny_captioner.py.\n")
    (OUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(json.dumps(expected, indent=1))


if __name__ == "__main__":
    main()
