#!/usr/bin/env python3
"""Writes tests/golden/media/tiles.{json,bin}: how the image processors of transformers (Pillow backend) cut pictures into tiles (LLaVA-NeXT,
Idefics 3, SmolVLM; of IDEFICS one each) and into patches (Qwen2-VL).

    python tools/dump_tiles_golden.py            # needs tools/requirements.txt

The pictures are those of dump_media_golden.pattern, so that only results are stored. tiles.json has the preprocessor_config.json of each
configuration. tiles.bin has a record for each configuration and picture, named "CONFIG WIDTH HEIGHT", in the format of
dump_media_golden.write_records; its five numbers are
  of tiles    how many there are, rows and columns (0 when there is only the whole picture), height and width of a tile in px
  of patches  how many there are, rows and columns, values of a patch, 0
and its data, little-endian:
  u32         CRC-32 of all values, f32 [R,Y,X,3], or [P,F] row by row, each patch [y,x,colour]
  f32 x 32    samples of them: sample k is the flat element (k * 2654435761) % size
"""

import json
import struct
import zlib

import numpy as np
from PIL import Image
from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil as Idefics
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil as Idefics3
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil as LlavaNext
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil as Qwen2VL
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil as SmolVLM

from dump_media_golden import OUT, pattern, write_records
from dump_preprocess_golden import named, samples

SIZES = [(1, 1), (3, 2), (2, 90), (90, 2), (17, 19), (64, 64), (61, 200), (201, 60), (100, 99), (337, 336), (640, 480), (301, 700)]
CONFIGS = {
    "llava_next": LlavaNext(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
    "llava_next_small": LlavaNext(size={"height": 28, "width": 28}, crop_size={"height": 28, "width": 28}, resample=2,
                                  image_grid_pinpoints=[[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]),
    "idefics3": Idefics3(return_row_col_info=True),
    "idefics3_odd": Idefics3(size={"longest_edge": 71}, max_image_size={"longest_edge": 20}, image_mean=[0.1, 0.2, 0.3], return_row_col_info=True),
    "idefics3_whole": Idefics3(size={"longest_edge": 100}, max_image_size={"longest_edge": 64}, do_image_splitting=False, return_row_col_info=True),
    "idefics3_as_it_is": Idefics3(do_resize=False, max_image_size={"longest_edge": 64}, resample=3, return_row_col_info=True),
    "smolvlm": SmolVLM(size={"longest_edge": 2048}, max_image_size={"longest_edge": 512}, return_row_col_info=True),
    "idefics": Idefics(),
    "idefics_small": Idefics(image_size=29, resample=2),
    "qwen2_vl": Qwen2VL(),
    "qwen2_vl_small": Qwen2VL(min_pixels=40 * 40, max_pixels=90 * 90, patch_size=6, merge_size=3, temporal_patch_size=1),
}


def tiles(processor, image):
    """(values [R,Y,X,3], rows, columns)"""
    if isinstance(processor, LlavaNext):
        values = np.asarray(processor(image)["pixel_values"][0])
        sizes = processor.image_grid_pinpoints
        from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape

        rows, columns = get_anyres_image_grid_shape((image.height, image.width), sizes, values.shape[-1])
    elif isinstance(processor, Idefics):
        values, rows, columns = np.asarray(processor(image)), 0, 0
    else:
        made = processor([[image]])
        values, rows, columns = np.asarray(made["pixel_values"][0]), made["rows"][0][0], made["cols"][0][0]
    assert len(values) == 1 + rows * columns
    return values.transpose(0, 2, 3, 1), rows, columns


def patches(processor, image):
    """(values [P,F] row by row, rows, columns)"""
    made = processor(image)
    _, rows, columns = map(int, made["image_grid_thw"][0])
    size, square, frames = processor.patch_size, processor.merge_size, processor.temporal_patch_size
    grid = np.asarray(made["pixel_values"]).reshape(rows // square, columns // square, square, square, 3, frames, size, size)
    assert (grid == grid[:, :, :, :, :, :1]).all()
    return grid[:, :, :, :, :, 0].transpose(0, 2, 1, 3, 5, 6, 4).reshape(rows * columns, -1), rows, columns


def main():
    records = []
    for name, processor in CONFIGS.items():
        for width, height in SIZES:
            image = Image.fromarray(pattern(width, height))
            values, rows, columns = (patches if name.startswith("qwen2") else tiles)(processor, image)
            values = np.ascontiguousarray(values, "<f4")
            numbers = (len(values), rows, columns, values.shape[1], values.shape[2] if values.ndim == 4 else 0)
            records.append((f"{name} {width} {height}", numbers, struct.pack("<I", zlib.crc32(values.tobytes())) + samples(values, 32)))
    write_records(OUT / "tiles.bin", records)
    (OUT / "tiles.json").write_text(json.dumps({name: named(processor) for name, processor in CONFIGS.items()}, indent=1) + "\n")
    print(f"{len(records)} results, {sum((OUT / f'tiles.{e}').stat().st_size for e in ('json', 'bin'))} bytes")


if __name__ == "__main__":
    main()
