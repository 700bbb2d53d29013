#!/usr/bin/env python3
"""Writes src/text/unicode_tables.cc: what the reference tokenizer thinks of each code point.

    python tools/dump_unicode_tables.py          # needs tokenizers 0.23.3, sentencepiece, protobuf and libutf8proc.so.2

The `tokenizers` package mixes four Unicode versions (about 17 in Rust's std and regex, 8 in unicode_categories, 12 in
unicode-normalization-alignments, 16 in Oniguruma), and none of them is that of Debian's utf8proc (15) or PCRE2 (14).
A token id depends on them, so classes of characters are asked from the package itself, code point by code point, and
stored as ranges; where utf8proc does the work (decomposition, lower case) only the differences are stored.
"""

import ctypes
import pathlib
import unicodedata
import zlib

from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, normalizers, pre_tokenizers

OUT = pathlib.Path(__file__).resolve().parent.parent / "src/text/unicode_tables.cc"
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
UTF8PROC = ctypes.CDLL("libutf8proc.so.2")
UTF8PROC.utf8proc_decompose_char.restype = ctypes.c_ssize_t
STABLE, COMPAT, DECOMPOSE = 1 << 1, 1 << 2, 1 << 4


def ranges(points):
    merged = []
    for point in sorted(points):
        if merged and point == merged[-1][1] + 1:
            merged[-1][1] = point
        else:
            merged.append([point, point])
    return merged


def split_by(pre_tokenizer, pieces):
    return {c for c in POINTS if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) == pieces}


def removed_by(normalizer):
    return {c for c in POINTS if normalizer.normalize_str(chr(c)) == ""}


def matched_by(pattern):
    return removed_by(normalizers.Replace(Regex(pattern), ""))


def bert(**options):
    return normalizers.BertNormalizer(
        **({"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False} | options)
    )


def decomposed(point, options):
    buffer = (ctypes.c_int32 * 64)()
    count = UTF8PROC.utf8proc_decompose_char(point, buffer, 64, DECOMPOSE | STABLE | options, None)
    return "".join(map(chr, buffer[:count]))


def opaque_points():
    """Code points that the reference neither decomposes nor reorders, though utf8proc's newer tables would."""
    nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
    canonical = {c for c in POINTS if nfd.normalize_str(chr(c)) == chr(c) and decomposed(c, 0) != chr(c)}
    # A mark of a known class moves before U+0345 (class 240) or behind U+0334 (class 1); U+0345 itself is old.
    classes = {
        c
        for c in POINTS
        if c not in (0x345, 0x334)
        and combining_class(c)
        and nfd.normalize_str("\u0345" + chr(c)) == "\u0345" + chr(c)
        and nfd.normalize_str(chr(c) + "\u0334") == chr(c) + "\u0334"
    }
    compat = {c for c in POINTS if nfkd.normalize_str(chr(c)) == chr(c) and decomposed(c, COMPAT) != chr(c)}
    # U+11935 and U+11930 compose in Unicode 13 and later only.
    return canonical | classes | {0x11930}, compat


class Property(ctypes.Structure):
    _fields_ = [("category", ctypes.c_int16), ("combining_class", ctypes.c_int16)]


UTF8PROC.utf8proc_get_property.restype = ctypes.POINTER(Property)


def combining_class(point):
    return UTF8PROC.utf8proc_get_property(point).contents.combining_class


def compat_changes():
    """NFKD of code points whose decomposition differs from utf8proc's in another way than being absent: there are none."""
    nfkd = normalizers.NFKD()
    return {
        c
        for c in POINTS
        if nfkd.normalize_str(chr(c)) != chr(c)
        and nfkd.normalize_str(chr(c)) != decomposed(c, COMPAT)
        and unicodedata.normalize("NFKD", chr(c)) != nfkd.normalize_str(chr(c))
    }


def lower_changes():
    lowercase = normalizers.Lowercase()
    pairs = {}
    for c in POINTS:
        lower = lowercase.normalize_str(chr(c))
        if len(lower) == 1 and ord(lower) != UTF8PROC.utf8proc_tolower(c):
            pairs[c] = ord(lower)
        assert len(lower) == 1 or c == 0x130, hex(c)
    return pairs


def stand_ins():
    """Code points assigned in Oniguruma's Unicode but not in 14 (PCRE2 10.42), by class; and U+180E, which PCRE2 calls a space."""
    new = {c for c in POINTS if unicodedata.category(chr(c)) == "Cn"} - matched_by(r"\p{Cn}")
    assert unicodedata.unidata_version == "14.0.0", "run this with Python 3.11"
    han = matched_by(r"\p{Han}") & new
    classes = {"Han": han}
    for name in ("Lu", "Ll", "Lm", "Lo", "M", "Nd", "Nl", "No", "P", "S", "C"):
        classes[name] = (matched_by(r"\p{%s}" % name) & new) - han
    classes["C"] |= {0x180E}
    three = {
        "Lu": 0x10A0,
        "Ll": 0x1E95,
        "Lm": 0x1D2C,
        "Lo": 0x0E01,
        "M": 0x1AB0,
        "Nd": 0x0E50,
        "Nl": 0x2160,
        "No": 0x2070,
        "P": 0x2E2E,
        "S": 0x2600,
        "C": 0x200E,
    }
    four = {
        "Han": 0x20000,
        "Lu": 0x10400,
        "Ll": 0x10428,
        "Lm": 0x16FE0,
        "Lo": 0x10000,
        "M": 0x101FD,
        "Nd": 0x104A0,
        "Nl": 0x10140,
        "No": 0x10107,
        "P": 0x10100,
        "S": 0x1F000,
        "C": 0xE0001,
    }
    table = []
    for name, points in classes.items():
        for first, last in ranges(points):
            assert first >= 0x800 and (first < 0x10000) == (last < 0x10000), hex(first)
            table.append((first, last, (three if first < 0x10000 else four)[name]))
    return sorted(table)


def write_rows(lines, rows):
    line = "   "
    for row in rows:
        text = " {" + ", ".join(f"0x{value:X}" for value in row) + "},"
        if len(line) + len(text) > 120:
            lines.append(line)
            line = "   "
        line += text
    lines.append(line)
    lines.append("};")


def joins_previous():
    """Marks that the reference's graphemes (Unicode 17) include and utf8proc's do not. The charsmap nmt_nfkc composes "a" and U+0301 only in
    a grapheme of less than six bytes, so whether a third character belongs to it can be seen."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(zlib.decompress((OUT.parents[2] / "tests/golden/text/xlm_roberta.model.z").read_bytes()))
    charsmap = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    joined = {c for c in POINTS if c >= 0x800 and "\u00e1" not in charsmap.normalize_str("a\u0301" + chr(c))}
    breaks = UTF8PROC.utf8proc_grapheme_break_stateful
    return {c for c in joined if breaks(0x301, c, ctypes.byref(ctypes.c_int32(0))) & 1}


def main():
    canonical, compat = opaque_points()
    assert not compat_changes()
    tables = {
        "kWhitespace": split_by(pre_tokenizers.WhitespaceSplit(), 2),
        "kOther": removed_by(bert(clean_text=True)) | {0x9, 0xA, 0xD} - {0},
        "kPunctuation": split_by(pre_tokenizers.Punctuation(), 3),
        "kNonspacingMark": {c for c in POINTS if bert(strip_accents=True).normalize_str("x" + chr(c)) == "x"},
        "kCombiningMark": removed_by(normalizers.StripAccents()),
        "kNumeric": split_by(pre_tokenizers.Digits(individual_digits=True), 3),
        "kWord": {
            c
            for c in POINTS
            if pre_tokenizers.Whitespace().pre_tokenize_str("a" + chr(c) + "a") == [("a" + chr(c) + "a", (0, 3))]
        },
        "kJoinsPrevious": joins_previous(),
        "kOpaqueCanonical": canonical,
        "kOpaqueCompat": compat | canonical,
    }
    lines = [
        "// Classes of characters as the reference tokenizer sees them, written by tools/dump_unicode_tables.py; do not edit.",
        '#include "text/unicode.h"',
        "",
        "namespace fovea::text::tables {",
        "",
        "// clang-format off",
    ]
    for name, points in tables.items():
        rows = ranges(points)
        lines.append(f"const Range {name}Data[] = {{")
        write_rows(lines, rows)
        lines.append(f"const std::span<const Range> {name}({name}Data);")
    lines.append("const Mapping kLowerData[] = {")
    write_rows(lines, [(a, a, b) for a, b in sorted(lower_changes().items())])
    lines.append("const std::span<const Mapping> kLower(kLowerData);")
    lines.append("const Mapping kStandInData[] = {")
    write_rows(lines, stand_ins())
    lines.append("const std::span<const Mapping> kStandIn(kStandInData);")
    lines += ["// clang-format on", "", "}  // namespace fovea::text::tables", ""]
    OUT.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
