#!/usr/bin/env python3
"""Makes a WordPiece tokenizer from the captions and questions of WebDataset shards, for models that are trained from them.

    python tools/train_tokenizer.py OUT_FOLDER SHARD.tar... [--vocab 6000]

Writes tokenizer.json and tokenizer_config.json. Lower case; ids 0 to 3 are [PAD], [BOS], [EOS], [UNK]. The same shards give the same files.
"""
import argparse
import json
import tarfile
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL = ["[PAD]", "[BOS]", "[EOS]", "[UNK]"]


def texts(path):
    with tarfile.open(path) as shard:
        for member in shard:
            if member.name.endswith(".json"):
                sample = json.load(shard.extractfile(member))
                yield from sample.get("captions", [])
                for pair in sample.get("qa", []):
                    yield pair["question"]
                    yield from pair.get("answers", [])[:1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--vocab", type=int, default=6000)
    arguments = parser.parse_args()
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", continuing_subword_prefix="##"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    trainer = trainers.WordPieceTrainer(vocab_size=arguments.vocab, special_tokens=SPECIAL, continuing_subword_prefix="##", show_progress=False)
    tokenizer.train_from_iterator((text for shard in arguments.shards for text in texts(shard)), trainer)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(arguments.out / "tokenizer.json"), pretty=False)
    names = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), SPECIAL))
    (arguments.out / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **names}, indent=2) + "\n")
    print(f"{tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
