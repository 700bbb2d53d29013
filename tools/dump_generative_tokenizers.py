#!/usr/bin/env python3
"""Writes the golden ids of the tokenizers of language models into tests/golden/text, on the corpus that dump_tokenizer_golden.py made.

    python tools/dump_generative_tokenizers.py

  gemma.model.z      a SentencePiece BPE model trained here, with Gemma's options: no prefix, byte fallback, user-defined symbols
  generative.json    for each case the folder (vocabulary, file, tokenizer_config.json) and a hash of the ids that the class of
                     transformers gives every line of the corpus, the ids and the decoded text of some lines; for the cases of
                     "sentencepiece" the ids are those of the package sentencepiece itself, and lines with special
                     tokens, or with checksums, which have several cuts of the same score, are left out
"""

import json
import pathlib
import re
import struct
import tempfile
import zlib

import sentencepiece
import transformers

from dump_tokenizer_golden import OUT, line_hash, made_lines, train_sentencepiece

SYMBOLS = ["<start_of_turn>", "<end_of_turn>", "\n", "\n\n", "▁▁", "▁▁▁", "<table>", "</table>", "<b>", "<unused0>", "[multimodal]"]
BOS = {"add_bos_token": True, "add_eos_token": False}
# name: (class of transformers, vocabulary, file, tokenizer_config.json)
CASES = {
    "llama": ("LlamaTokenizer", "llama", "tokenizer.model", BOS | {"legacy": False}),
    "llama_legacy": ("LlamaTokenizer", "llama", "tokenizer.model", BOS | {"legacy": True, "add_eos_token": True}),
    "llama_bare": ("LlamaTokenizer", "llama", "tokenizer.model", {"add_prefix_space": False, "pad_token": "<pad>"}),
    "gemma": ("GemmaTokenizer", "gemma", "tokenizer.model", BOS),
    "siglip2": ("Siglip2Tokenizer", "gemma", "tokenizer.model", {"add_eos_token": True}),
    "qwen2": ("Qwen2Tokenizer", "roberta", "vocab.json", {"pad_token": "<pad>", "extra_special_tokens": ["<|im_start|>"]}),
    "opt": (
        "GPT2Tokenizer",
        "roberta",
        "vocab.json",
        {"add_bos_token": True, "bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"},
    ),
    "t5": ("T5Tokenizer", "t5", "spiece.model", {"extra_ids": 100}),
    "siglip": ("SiglipTokenizer", "xlm_roberta", "spiece.model", {}),
    "clip": ("CLIPTokenizer", "clip", "vocab.json", {}),
}


def corpus():
    data = zlib.decompress((OUT / "corpus.z").read_bytes())
    lines, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        lines.append(data[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return lines


def write_folder(folder, vocabulary, file, config):
    folder = pathlib.Path(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if file.endswith(".model"):
        (folder / file).write_bytes(zlib.decompress((OUT / f"{vocabulary}.model.z").read_bytes()))
        return
    model = json.loads(zlib.decompress((OUT / f"{vocabulary}.json.z").read_bytes()))["model"]
    vocab, merges = model["vocab"], model["merges"]
    if isinstance(vocab, dict):
        vocab = vocab["head"] + [m.replace(" ", "") for m in merges] + vocab["tail"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocab)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")


def summary(lines, ids, decode):
    shown = {str(i): {"ids": ids[i], "text": decode(ids[i])} for i in list(range(0, 320, 20)) + list(range(320, len(lines), 900))}
    return {"total": f"{line_hash(map(line_hash, ids)):016x}", "shown": shown}


def main():
    lines = corpus()
    if not (OUT / "gemma.model.z").exists():
        train_sentencepiece(
            "gemma",
            [line for line in lines[len(list(made_lines())) :]],
            model_type="bpe",
            vocab_size=3000,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            split_digits=True,
            pad_id=0,
            eos_id=1,
            bos_id=2,
            unk_id=3,
            pad_piece="<pad>",
            eos_piece="<eos>",
            bos_piece="<bos>",
            user_defined_symbols=SYMBOLS,
        )
    cases = {}
    for name, (kind, vocabulary, file, config) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            write_folder(folder, vocabulary, file, config)
            tokenizer = getattr(transformers, kind).from_pretrained(folder)
            ids = [tokenizer(line)["input_ids"] for line in lines]
            cases[name] = {"class": kind, "vocabulary": vocabulary, "file": file, "config": config}
            cases[name] |= summary(lines, ids, lambda i: tokenizer.decode(i, skip_special_tokens=True))
            print(name, len(tokenizer), cases[name]["total"])
    for name, vocabulary in {"sentencepiece_bpe": "llama", "sentencepiece_unigram": "xlm_roberta"}.items():
        processor = sentencepiece.SentencePieceProcessor()
        processor.LoadFromSerializedProto(zlib.decompress((OUT / f"{vocabulary}.model.z").read_bytes()))
        plain = [line for line in lines if not any(t in line for t in ("<s>", "</s>", "<unk>")) and not re.search("[0-9a-f]{32}", line)]
        ids = [processor.encode(line) for line in plain]
        cases[name] = {"vocabulary": vocabulary, "lines": len(plain)} | summary(plain, ids, processor.decode)
        print(name, cases[name]["total"])
    (OUT / "generative.json").write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
