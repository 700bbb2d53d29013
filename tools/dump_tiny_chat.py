#!/usr/bin/env python3
"""Writes tests/golden/gpt2_tiny: a tiny GPT-2 with a tokenizer, and what transformers makes of some prompts (expected.json).

    python tools/dump_tiny_chat.py
"""
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

OUT = Path(__file__).resolve().parent.parent / "tests/golden/gpt2_tiny"
WORDS = "[PAD] [BOS] [EOS] [UNK] a the red blue cat dog bird house tree runs sees likes sleeps on under with big small old new and or not very often today".split()
CHOICES = {"the cat": ["house", "not runs", "dog"], "a red bird sees": ["the", "the tree", "a big dog today"]}
PROMPTS = ["the cat", "a red bird sees", "old dog and new house", "very often"]


def choices(tokenizer, model):
    """How likely each choice is: the product of the probabilities of its tokens and of the end, over all choices."""
    made = []
    for prompt, texts in CHOICES.items():
        begin, sums = tokenizer(prompt).input_ids, []
        for text in texts:
            ids = tokenizer(text).input_ids + [2]
            with torch.no_grad():
                scores = model(torch.tensor([begin + ids])).logits[0].double().log_softmax(-1)
            sums.append(sum(scores[len(begin) - 1 + i, token] for i, token in enumerate(ids)))
        made.append({"prompt": prompt, "choices": texts, "probabilities": torch.stack(sums).softmax(0).tolist()})
    return made


CONFIGS = [{"eos_token_id": [2, 26], "max_new_tokens": 7}, {"eos_token_id": 13, "do_sample": False, "temperature": 0.2, "top_p": 0.3},
           {"repetition_penalty": 1.5, "max_new_tokens": 9}, {"num_beams": 3, "length_penalty": 2.0, "max_new_tokens": 8},
           {"num_beams": 2, "early_stopping": True, "eos_token_id": [2, 8, 13], "max_new_tokens": 12}]


def with_generation_configs(tokenizer, model):
    """What generate() writes when the folder has a generation_config.json; 10 tokens where it names no number."""
    made = []
    for config in CONFIGS:
        for prompt in PROMPTS:
            ids = torch.tensor([tokenizer(prompt).input_ids])
            generation = GenerationConfig(**{"eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0, "max_new_tokens": 10, **config})
            out = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=generation)[0, ids.shape[1]:]
            made.append({"config": config, "prompt": prompt, "tokens": len(out), "text": tokenizer.decode(out, skip_special_tokens=False)})
    return made


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", bos_token="[BOS]", eos_token="[EOS]", unk_token="[UNK]")
    config = GPT2Config(vocab_size=len(WORDS), n_positions=48, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    for seed in range(100):
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(config).eval()
        with torch.no_grad():
            for value in model.parameters():
                if value.dim() > 1:
                    value.normal_(std=0.5)
        cases, texts = [], set()
        for prompt in PROMPTS:
            ids = torch.tensor([tokenizer(prompt).input_ids])
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False, pad_token_id=0, output_scores=True, return_dict_in_generate=True)
            made = out.sequences[0, ids.shape[1]:]
            scores = [step[0].log_softmax(-1)[i].item() for step, i in zip(out.scores, made)]
            beams = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False, num_beams=3, pad_token_id=0)[0, ids.shape[1]:]
            text = tokenizer.decode(made, skip_special_tokens=True)
            texts.add(text)
            cases.append({"prompt": prompt, "text": text, "ended": bool(made[-1] == 2), "confidence": float(torch.tensor(scores).mean().exp()),
                          "beams": tokenizer.decode(beams, skip_special_tokens=True)})
        if len(texts) == len(PROMPTS) and any(c["ended"] for c in cases) and any(not c["ended"] for c in cases):
            break
    model.save_pretrained(OUT)
    plain.save(str(OUT / "tokenizer.json"))
    (OUT / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "[BOS]", "eos_token": "[EOS]", "pad_token": "[PAD]"}) + "\n")
    (OUT / "generation_config.json").unlink(missing_ok=True)
    (OUT / "generation.json").write_text(json.dumps(with_generation_configs(tokenizer, model), indent=1) + "\n")
    (OUT / "choices.json").write_text(json.dumps(choices(tokenizer, model), indent=1) + "\n")
    (OUT / "expected.json").write_text(json.dumps(cases, indent=1) + "\n")
    print(json.dumps(cases, indent=1))


if __name__ == "__main__":
    main()
