#!/usr/bin/env python3
"""Writes the reference files of tests/golden/formats and the fuzzing seeds of tests/fuzz/corpus.

The files come from the libraries that define the formats (numpy, safetensors, torch, tarfile); the tests read them with Fovea's own
readers and compare with the values computed here. Needs torch, numpy and safetensors; the tests need none of them.

    python tools/dump_formats_golden.py
"""

import collections
import contextlib
import io
import json
import os
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden/formats"
CORPUS = ROOT / "tests/fuzz/corpus"


def dump_npy():
    ramp = np.arange(24)
    np.save(GOLDEN / "c_f32.npy", (ramp * 0.5 - 3).astype("<f4").reshape(2, 3, 4))
    np.save(GOLDEN / "fortran_f64.npy", np.asfortranarray((ramp * 0.5 - 3).astype("<f8").reshape(2, 3, 4)))
    np.save(GOLDEN / "f16.npy", (ramp * 0.5 - 3).astype("<f2"))
    np.save(GOLDEN / "i64_scalar.npy", np.array(-(2**40), "<i8"))
    np.save(GOLDEN / "i32_empty.npy", np.zeros((3, 0, 2), "<i4"))
    np.save(GOLDEN / "bool.npy", ramp.reshape(4, 6) % 3 == 0)
    np.save(GOLDEN / "big_endian.npy", ramp.astype(">f4"))
    np.save(GOLDEN / "object.npy", np.array([{}, 1], object))
    for version, name in (((2, 0), "v2_i16.npy"), ((3, 0), "v3_u8.npy")):
        with open(GOLDEN / name, "wb") as out:
            np.lib.format.write_array(out, ramp.astype("<i2" if version == (2, 0) else "u1"), version=version)


def dump_safetensors():
    ramp = torch.arange(12)
    types = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16, "f64": torch.float64, "i64": torch.int64,
             "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8}
    tensors = {f"ramp.{name}": (ramp * 3).to(dtype).reshape(3, 4) for name, dtype in types.items()}
    tensors["ramp.bool"] = (ramp % 2 == 1).reshape(3, 4)
    tensors["scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.zeros(2, 0)
    save_file(tensors, GOLDEN / "mixed.safetensors", metadata={"format": "pt", "note": "a \"quoted\" caf\u00e9"})
    sort_metadata(GOLDEN / "mixed.safetensors")
    save_file({"half": torch.zeros(2).to(torch.float8_e4m3fn)}, GOLDEN / "f8.safetensors")


def sort_metadata(path):
    """The package orders the metadata by a hash that is seeded anew in each process."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
    assert len(text) == size
    path.write_bytes(content[:8] + text + content[8 + size :])


@contextlib.contextmanager
def numbered_storages():
    """The legacy format names storages by their addresses, which differ from run to run: here by their order."""
    address, numbers = torch._C.StorageBase._cdata, {}
    torch.UntypedStorage._cdata = property(lambda self: numbers.setdefault(address.__get__(self), 94000000000001 + len(numbers)))
    try:
        yield
    finally:
        del torch.UntypedStorage._cdata


def save_legacy(value, path):
    with numbered_storages():
        torch.save(value, path, _use_new_zipfile_serialization=False)


def rewrite_zip(source, target, kind=zipfile.ZIP_STORED, leaves_out=()):
    """The entries of `source` as Python's zipfile writes them, dated 1980."""
    with zipfile.ZipFile(source) as old:
        entries = [(info.filename, old.read(info.filename)) for info in old.infolist() if not info.filename.endswith(leaves_out)]
    with zipfile.ZipFile(target, "w") as new:
        for name, content in entries:
            new.writestr(zipfile.ZipInfo(name), content, compress_type=kind)


def checkpoint():
    """A checkpoint with every kind of tensor that is read, and what Fovea must make of it."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(4, 6, generator=generator)
    linear = torch.nn.Linear(3, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(2, 3, generator=generator))
        linear.bias.zero_()
    tensors = collections.OrderedDict(
        base=base, transposed=base.t(), columns=base[:, 1:4], strided=base[::2, ::3], row=base[2], expanded=base[0, :1].expand(5, 1),
        bf16=base.to(torch.bfloat16), f16=base.to(torch.float16), f64=base.double(), i64=torch.tensor([1, -(2**40)]),
        i32=torch.tensor([7, -7], dtype=torch.int32), i16=torch.tensor([-300], dtype=torch.int16), i8=torch.tensor([-5], dtype=torch.int8),
        u8=torch.tensor([250], dtype=torch.uint8), flags=torch.tensor([True, False]), scalar=torch.tensor(1.25), empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(base[:2].clone()))
    saved = {"epoch": 3, "lr": 0.1, "name": "caf\u00e9", "big": 2**62, "none": None, "is_best": True, "shape": base.shape,
             "state_dict": tensors, "layers": [linear.state_dict(), (base[1],)]}
    expected = {f"state_dict.{name}": value.detach() for name, value in tensors.items()}
    expected |= {"layers.0.weight": linear.weight.detach(), "layers.0.bias": linear.bias.detach(), "layers.1.0": base[1]}
    return saved, {name: value.contiguous().clone() for name, value in expected.items()}


class Evil:
    def __reduce__(self):
        return os.system, ("echo fovea ran foreign code",)


def dump_pth():
    saved, expected = checkpoint()
    save_file(expected, GOLDEN / "checkpoint_expected.safetensors")
    torch.save(saved, GOLDEN / "zip.pth")
    torch.save(saved, GOLDEN / "zip_protocol4.pth", pickle_protocol=4)
    save_legacy(saved, GOLDEN / "legacy.pth")
    torch.save(torch.arange(3.0), GOLDEN / "tensor.pth")
    evil = {"weight": torch.zeros(2), "hook": Evil()}
    torch.save(evil, GOLDEN / "evil.pth")
    save_legacy(evil, GOLDEN / "evil_legacy.pth")
    torch.save({"a": torch.zeros(2, dtype=torch.complex64)}, GOLDEN / "complex.pth")
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), GOLDEN / "torchscript.pth")
    # The debugging entries hold the paths of the machine that wrote them, the id a hash of all.
    rewrite_zip(GOLDEN / "torchscript.pth", GOLDEN / "torchscript.pth", leaves_out=(".debug_pkl", "serialization_id"))
    rewrite_zip(GOLDEN / "tensor.pth", GOLDEN / "compressed.pth", zipfile.ZIP_DEFLATED)
    rewrite_zip(GOLDEN / "tensor.pth", GOLDEN / "stored_by_python.pth")


def dump_shards():
    """The folders that save_pretrained leaves when a model is cut into files, with f32, f16 and bf16 in each. Values are exact in all."""
    ramp = (torch.arange(12.0) - 5) / 4
    shards = {1: {"wte.weight": ramp.reshape(3, 4), "h.0.weight": ramp.half()}, 2: {"h.1.weight": ramp.bfloat16().reshape(4, 3), "ln.bias": ramp[:1]}}
    for base, extension in (("model", "safetensors"), ("pytorch_model", "bin")):
        folder = GOLDEN / f"sharded_{extension}"
        folder.mkdir()
        weight_map = {}
        for number, tensors in shards.items():
            name = f"{base}-{number:05}-of-00002.{extension}"
            save_file(tensors, folder / name, {"format": "pt"}) if extension == "safetensors" else torch.save(tensors, folder / name)
            weight_map |= dict.fromkeys(tensors, name)
        (folder / f"{base}.{extension}.index.json").write_text(json.dumps({"metadata": {"total_size": 100}, "weight_map": weight_map}, indent=2) + "\n")


def dump_tar():
    long_key = "deep/" * 30 + "x" * 120
    for name, layout in (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)):
        files = [("./a/0001.txt", b"one"), ("./a/0001.seg.PNG", b"\x89PNG"), ("./a/.hidden", b"no"), ("./a/README", b"no"), ("./a/v1.0/0002.txt", b"")]
        if name != "ustar":
            files.append((long_key + ".jpg", b"long" * 200))
        else:
            files.append(("p" * 120 + "/" + "q" * 90 + ".jpg", b"long" * 200))
        with tarfile.open(GOLDEN / f"{name}.tar", "w", format=layout) as tar:
            folder = tarfile.TarInfo("./a")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            for path, content in files:
                info = tarfile.TarInfo(path)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            link = tarfile.TarInfo("./a/0003.txt")
            link.type, link.linkname = tarfile.SYMTYPE, "0001.txt"
            tar.addfile(link)


def dump_corpus():
    """Small seeds: enough structure for the fuzzer to reach every branch, few enough bytes to stay fast."""
    def seed(target, name, content):
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    for name in ("c_f32.npy", "fortran_f64.npy", "v2_i16.npy", "bool.npy"):
        seed("npy", name, (GOLDEN / name).read_bytes())
    seed("safetensors", "mixed", (GOLDEN / "mixed.safetensors").read_bytes())
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    seed("safetensors", "tiny", struct.pack("<Q", len(header)) + header + bytes(8))
    for name in ("tensor.pth", "legacy.pth", "zip_protocol4.pth", "evil.pth", "stored_by_python.pth"):
        seed("pth", name, (GOLDEN / name).read_bytes())
    out = io.BytesIO()
    save_legacy({"a": torch.zeros(2, 3).t(), "b": [torch.ones(1).bool()]}, out)
    seed("pth", "legacy_tiny", out.getvalue())
    for name in ("ustar", "gnu", "pax"):
        seed("webdataset", name, (GOLDEN / f"{name}.tar").read_bytes().rstrip(b"\0") + bytes(1536))
    seed("config", "vit", json.dumps({"hidden_size": 768, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "sizes": [1, 2, 3], "mean": [0.5, 0.5],
                                      "names": ["cat", "dog"], "is_causal": False, "none": None, "vision_config": {"image_size": 224}}).encode())
    # The configurations of the golden files, one of each architecture, and those of the image processors.
    for path in sorted((ROOT / "tests/golden/models").glob("*.safetensors"), reverse=True):
        with safe_open(path, "np") as file:
            metadata = file.metadata()
        if "config" in metadata:
            seed("model_config", metadata["model_type"], metadata["config"].encode())
    parity = ROOT / "tests/golden/media/parity.json"
    for name, config in json.loads(parity.read_text())["configs"].items():
        seed("preprocess", name, json.dumps(config).encode())
    seed("config", "deep", b"[" * 120)
    seed("config", "numbers", b'{"a": 18446744073709551615, "b": -9223372036854775808, "c": 1e308, "d": "\\ud83d\\ude00"}')


def main():
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir(parents=True)
    dump_npy()
    dump_safetensors()
    dump_pth()
    dump_shards()
    dump_tar()
    dump_corpus()


if __name__ == "__main__":
    main()
