"""Writes a safetensors file whose bytes depend on its content alone.

The package's own writer orders the metadata by a hash that is seeded anew in each process, so that regenerating a golden file would
show a difference in version control where there is none.
"""

import json
import struct
from pathlib import Path

import numpy as np

DTYPES = {"float32": "F32", "float16": "F16", "int64": "I64", "uint8": "U8", "bool": "BOOL"}


def save(path: Path, tensors: dict, metadata: dict) -> None:
    """`tensors`: name -> C-contiguous array; `metadata`: name -> string."""
    # Widest type first, so that each tensor lies at a multiple of its element's size.
    order = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header, offset = {"__metadata__": dict(sorted(metadata.items()))}, 0
    for name in order:
        array = tensors[name]
        assert array.flags.c_contiguous, name
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            file.write(np.asarray(tensors[name]).astype(tensors[name].dtype.newbyteorder("<"), copy=False).tobytes())
