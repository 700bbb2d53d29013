#!/usr/bin/env python3
"""Writes tests/golden/media: tiny pictures of every format and variant, and what Pillow and transformers make of them.

    python tools/dump_media_golden.py            # needs Pillow 13, pillow_heif, numpy, transformers

The pictures are made from a formula (pattern), so that the tests can make the inputs of resizing and preprocessing themselves; only
encoded files and expected results are stored. Files:
  images/*            encoded pictures
  decode.bin          expected pixels of each: see write_records
  info.json           expected header fields of each
  resize.bin          Pillow's resize of pattern(width, height): name "filter sw sh dw dh x0 y0 x1 y1"
  resize_crc.json     CRC-32 of larger ones, same names
  preprocess.bin      transformers' image processors (Pillow backend): name "case sw sh"; values f32 in NHWC
  preprocess.json     the preprocessor_config.json of each case
"""

import io
import json
import pathlib
import shutil
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/media"
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def pattern(width, height):
    """RGB [height,width,3]: slopes, edges and repeats, without randomness."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return (((x * x * 3 + y * y * 5 + x * y * 7 + c * 85 + (x ^ y) * 11) >> 2) & 255).astype(np.uint8)


def smooth(width, height):
    """RGB [height,width,3] that lossy codecs keep well."""
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    r = 127 + 120 * np.sin(x / 9.0)
    g = 127 + 120 * np.cos(y / 7.0 + x / 31.0)
    b = (x * 255) // max(1, width - 1)
    return np.stack([r, g, b], -1).clip(0, 255).astype(np.uint8)


def write_records(path, records):
    """(name, header of five integers, bytes): u16 length + name, 5 x i32, u32 length + zlib-compressed bytes."""
    with open(path, "wb") as file:
        for name, numbers, data in records:
            packed = zlib.compress(bytes(data), 9)
            numbers = list(numbers) + [0] * (5 - len(numbers))
            file.write(struct.pack("<H", len(name)) + name.encode() + struct.pack("<5i", *numbers))
            file.write(struct.pack("<I", len(packed)) + packed)


# ---- encoded pictures


def encode(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def camera_exif():
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Fovea Works"
    exif[0x0110] = "Model 1"
    ifd = exif.get_ifd(0x8769)
    ifd[0x9003] = "2023:05:01 12:30:07"
    ifd[0x9011] = "+02:00"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "N", (48.0, 8.0, 14.25)
    gps[3], gps[4] = "W", (11.0, 34.0, 30.0)
    return exif


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_file(width, height, depth, color_type, rows, extra=b""):
    """A PNG from packed rows, for variants Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    raw = b"".join(b"\0" + bytes(row) for row in rows)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b"")


def interlaced_png(pixels):
    """Adam7, 8-bit RGB."""
    height, width, _ = pixels.shape
    raw = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        part = pixels[y0::dy, x0::dx]
        if part.size:
            raw += b"".join(b"\0" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(raw, 9)) + png_chunk(b"IEND", b"")


def jpegs(files):
    base = Image.fromarray(smooth(35, 26))
    for orientation in range(1, 9):
        files[f"orientation{orientation}.jpg"] = encode(base, "JPEG", quality=90, exif=exif_of(orientation))
    files["camera.jpg"] = encode(base, "JPEG", quality=90, exif=camera_exif())
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        files[f"sampling{name}.jpg"] = encode(base, "JPEG", quality=85, subsampling=sampling)
    files["progressive.jpg"] = encode(base, "JPEG", quality=85, progressive=True)
    files["restart.jpg"] = encode(base, "JPEG", quality=85, restart_marker_rows=1)
    files["arithmetic_free_optimized.jpg"] = encode(base, "JPEG", quality=85, optimize=True)
    files["grey.jpg"] = encode(base.convert("L"), "JPEG", quality=85)
    files["cmyk.jpg"] = encode(base.convert("CMYK"), "JPEG", quality=90)
    files["rgb.jpg"] = encode(base, "JPEG", quality=90, keep_rgb=True)
    files["one.jpg"] = encode(base.crop((0, 0, 1, 1)), "JPEG")
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    files["xmp_orientation.jpg"] = encode(base, "JPEG", quality=85, xmp=xmp)
    files["trailing_bytes.jpg"] = files["grey.jpg"] + b"trailing bytes"
    # YCCK: the CMYK file with the Adobe transform flag set to 2, so that its first three planes are read as YCbCr.
    cmyk = bytearray(files["cmyk.jpg"])
    at = cmyk.find(b"Adobe")
    cmyk[at + 11] = 2
    files["ycck.jpg"] = bytes(cmyk)
    files["not_what_the_name_says.png"] = files["grey.jpg"]


def pngs(files):
    base = Image.fromarray(pattern(21, 14))
    ramp = np.arange(14 * 21).reshape(14, 21)
    alpha = Image.fromarray((ramp * 255 // ramp.max()).astype(np.uint8))
    files["rgb.png"] = encode(base, "PNG")
    files["rgb_interlaced.png"] = interlaced_png(pattern(21, 14))
    files["grey.png"] = encode(base.convert("L"), "PNG")
    files["grey_alpha.png"] = encode(Image.merge("LA", (base.convert("L"), alpha)), "PNG")
    files["rgba.png"] = encode(Image.merge("RGBA", (*base.split(), alpha)), "PNG")
    files["one_bit.png"] = encode(base.convert("1"), "PNG")
    files["palette.png"] = encode(base.quantize(17), "PNG")
    files["palette4.png"] = encode(base.quantize(13), "PNG", bits=4)
    files["palette_transparent.png"] = encode(base.quantize(17), "PNG", transparency=bytes([0, 100, 200, 255]))
    files["rgb_transparent_color.png"] = encode(base, "PNG", transparency=tuple(int(v) for v in pattern(21, 14)[3, 4]))
    files["grey_transparent_color.png"] = encode(base.convert("L"), "PNG", transparency=int(np.asarray(base.convert("L"))[2, 2]))
    files["grey2.png"] = png_file(21, 3, 2, 0, [bytes((i * 37 + y) & 255 for i in range(6)) for y in range(3)])
    files["grey4.png"] = png_file(21, 3, 4, 0, [bytes((i * 37 + y) & 255 for i in range(11)) for y in range(3)])
    wide = (pattern(21, 14).astype(np.uint32) * 257 ^ 0x35) & 0xFFFF
    files["rgb16.png"] = png_file(21, 14, 16, 2, [row.astype(">u2").tobytes() for row in wide])
    files["rgba16.png"] = png_file(21, 14, 16, 6, [np.concatenate([row, row[:, :1]], -1).astype(">u2").tobytes() for row in wide])
    files["grey16.png"] = png_file(21, 14, 16, 0, [row[:, 0].astype(">u2").tobytes() for row in wide])
    files["orientation6.png"] = encode(base, "PNG", exif=exif_of(6))
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="3"/>')
    files["xmp_orientation.png"] = encode(base, "PNG", pnginfo=info)
    files["animated.png"] = encode(base, "PNG", save_all=True, append_images=[Image.new("RGB", (21, 14))])
    files["tall.png"] = encode(Image.fromarray(pattern(1, 2000)), "PNG")


def gifs(files):
    base = Image.fromarray(pattern(23, 17))
    files["plain.gif"] = encode(base.quantize(31), "GIF", interlace=False)
    files["interlaced.gif"] = encode(base.quantize(31), "GIF", interlace=True)
    files["transparent.gif"] = encode(base.quantize(31), "GIF", transparency=3)
    files["grey.gif"] = encode(base.convert("L"), "GIF")
    red = Image.new("RGB", (23, 17), "red").quantize(4)
    files["animated.gif"] = encode(base.quantize(31), "GIF", save_all=True, append_images=[red], duration=50)
    # A frame of 9x7 at (5,4) on a screen of 20x15, with and without a transparent colour; and one that reaches beyond its screen.
    small = Image.fromarray(pattern(9, 7)).quantize(15)
    for name, options, screen in (("offset.gif", {}, (20, 15)), ("offset_transparent.gif", {"transparency": 2}, (20, 15)), ("beyond.gif", {}, (8, 8))):
        data = bytearray(encode(small, "GIF", **options))
        data[6:10] = struct.pack("<HH", *screen)
        table = 3 * (2 << (data[10] & 7))
        at = 13 + table
        while data[at] != 0x2C:  # skip extensions
            at += 2
            while data[at]:
                at += data[at] + 1
            at += 1
        data[at + 1 : at + 5] = struct.pack("<HH", 5, 4)
        files[name] = bytes(data)


def bmps(files):
    base = Image.fromarray(pattern(19, 11))
    files["rgb.bmp"] = encode(base, "BMP")
    files["palette.bmp"] = encode(base.quantize(31), "BMP")
    files["grey.bmp"] = encode(base.convert("L"), "BMP")
    files["one_bit.bmp"] = encode(base.convert("1"), "BMP")
    files["rgba.bmp"] = encode(base.convert("RGBA"), "BMP")

    def bmp(width, height, bits, compression, body, palette=b"", masks=b""):
        offset = 54 + len(masks) + len(palette)
        head = struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset)
        return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(body), 0, 0, len(palette) // 4, 0) + masks + palette + body

    rng = np.random.default_rng(1)
    palette16 = b"".join(bytes([i * 16, 255 - i * 9, i * 5, 0]) for i in range(16))
    palette256 = b"".join(bytes([i, 255 - i, i // 2, 0]) for i in range(256))
    files["palette4.bmp"] = bmp(7, 5, 4, 0, rng.bytes(4 * 5), palette16)
    files["rgb555.bmp"] = bmp(7, 5, 16, 0, rng.bytes(16 * 5))
    files["rgb565.bmp"] = bmp(7, 5, 16, 3, rng.bytes(16 * 5), masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    files["rgb32.bmp"] = bmp(7, 5, 32, 0, rng.bytes(28 * 5))
    files["top_down.bmp"] = bmp(7, -5, 24, 0, rng.bytes(24 * 5))
    runs = b"".join(bytes([3, 7 * y + 1, 0, 3, 5, 200, 9, 0, 1, y]) + (b"\0\0" if y < 4 else b"\0\1") for y in range(5))
    files["rle8.bmp"] = bmp(7, 5, 8, 1, runs, palette256)
    runs = b"".join(bytes([3, 0x12 + y, 0, 4, 0x56, 0x78]) + (b"\0\0" if y < 4 else b"\0\1") for y in range(5))
    files["rle4.bmp"] = bmp(7, 5, 4, 2, runs, palette16)


def webps(files):
    base = Image.fromarray(smooth(35, 26))
    ramp = np.arange(26 * 35).reshape(26, 35)
    alpha = Image.fromarray((ramp * 255 // ramp.max()).astype(np.uint8))
    rgba = Image.merge("RGBA", (*base.split(), alpha))
    files["lossy.webp"] = encode(base, "WEBP", quality=80)
    files["lossless.webp"] = encode(Image.fromarray(pattern(21, 14)), "WEBP", lossless=True)
    files["lossy_alpha.webp"] = encode(rgba, "WEBP", quality=80)
    files["lossless_alpha.webp"] = encode(rgba, "WEBP", lossless=True)
    files["orientation5.webp"] = encode(base, "WEBP", quality=80, exif=exif_of(5))
    files["animated.webp"] = encode(base, "WEBP", save_all=True, append_images=[Image.new("RGB", (35, 26), "blue")], duration=50)


def tiffs(files):
    base = Image.fromarray(pattern(29, 23))
    grey = base.convert("L")
    ramp = np.arange(23 * 29).reshape(23, 29)
    alpha = Image.fromarray((ramp * 255 // ramp.max()).astype(np.uint8))
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        files[f"rgb_{compression}.tif"] = encode(base, "TIFF", compression=compression)
    files["rgb_predictor.tif"] = encode(base, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    files["strips.tif"] = encode(base, "TIFF", compression="tiff_lzw", tiffinfo={278: 5})
    files["grey.tif"] = encode(grey, "TIFF")
    files["one_bit_fax.tif"] = encode(base.convert("1"), "TIFF", compression="group4")
    files["one_bit.tif"] = encode(base.convert("1"), "TIFF")
    files["palette.tif"] = encode(base.quantize(31), "TIFF")
    files["rgba.tif"] = encode(Image.merge("RGBA", (*base.split(), alpha)), "TIFF")
    files["grey_alpha.tif"] = encode(Image.merge("LA", (grey, alpha)), "TIFF")
    files["cmyk.tif"] = encode(base.convert("CMYK"), "TIFF", compression="tiff_lzw")
    wide = (np.asarray(grey).astype(np.uint16) * 257) ^ 0x35
    files["grey16.tif"] = encode(Image.fromarray(wide), "TIFF")
    files["ycbcr_jpeg.tif"] = encode(Image.fromarray(smooth(64, 48)), "TIFF", compression="jpeg", quality=90)
    files["ycbcr.tif"] = encode(Image.fromarray(smooth(32, 24)).convert("YCbCr"), "TIFF", compression="tiff_lzw")
    files["two_pages.tif"] = encode(base, "TIFF", save_all=True, append_images=[grey])
    for orientation in (3, 6):
        files[f"orientation{orientation}.tif"] = encode(base, "TIFF", tiffinfo={274: orientation}, compression="tiff_lzw")
    files["tiled.tif"] = tiled_tiff(pattern(29, 23), 16, False)
    files["tiled_planar16.tif"] = tiled_tiff(pattern(29, 23), 16, True)


def tiled_tiff(pixels, side, is_planar16):
    """RGB in tiles; optionally 16 bit, one plane for each colour, big-endian."""
    height, width, _ = pixels.shape
    order = ">" if is_planar16 else "<"
    dtype = order + ("u2" if is_planar16 else "u1")
    tiles = []
    for planes in ([[0], [1], [2]] if is_planar16 else [[0, 1, 2]]):
        for y in range(0, height, side):
            for x in range(0, width, side):
                tile = np.zeros((side, side, len(planes)), np.uint32)
                part = pixels[y : y + side, x : x + side][..., planes]
                tile[: part.shape[0], : part.shape[1]] = part.astype(np.uint32) * (257 if is_planar16 else 1)
                tiles.append(zlib.compress(tile.astype(dtype).tobytes(), 9))
    offset = 8
    offsets = []
    for tile in tiles:
        offsets.append(offset)
        offset += len(tile)
    offset += offset % 2
    entries = [(256, 3, [width]), (257, 3, [height]), (258, 3, [16 if is_planar16 else 8] * 3), (259, 3, [8]), (262, 3, [2]), (277, 3, [3]),
               (284, 3, [2 if is_planar16 else 1]), (322, 3, [side]), (323, 3, [side]), (324, 4, offsets), (325, 4, [len(t) for t in tiles])]
    values_at = offset + 2 + 12 * len(entries) + 4
    directory, values = struct.pack(order + "H", len(entries)), b""
    for tag, kind, numbers in entries:
        data = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        directory += struct.pack(order + "HHI", tag, kind, len(numbers))
        if len(data) <= 4:
            directory += data.ljust(4, b"\0")
        else:
            directory += struct.pack(order + "I", values_at + len(values))
            values += data + b"\0" * (len(data) % 2)
    head = struct.pack(order + "2sHI", b"MM" if is_planar16 else b"II", 42, offset)
    body = b"".join(tiles)
    return head + body + b"\0" * (offset - 8 - len(body)) + directory + b"\0\0\0\0" + values


def heifs(files):
    base = Image.fromarray(smooth(64, 48))
    alpha = Image.fromarray((np.arange(64 * 48).reshape(48, 64) * 255 // (64 * 48)).astype(np.uint8))
    files["plain.heic"] = encode(base, "HEIF", quality=85)
    files["alpha.heic"] = encode(Image.merge("RGBA", (*base.split(), alpha)), "HEIF", quality=85)
    files["odd.heic"] = encode(base.crop((0, 0, 61, 45)), "HEIF", quality=85)
    files["orientation6.heic"] = encode(base, "HEIF", quality=85, exif=camera_exif())
    files["plain.avif"] = encode(base, "AVIF", quality=85)
    files["alpha.avif"] = encode(Image.merge("RGBA", (*base.split(), alpha)), "AVIF", quality=85)
    files["orientation8.avif"] = encode(base, "AVIF", quality=85, exif=exif_of(8))
    files["full444.avif"] = encode(base, "AVIF", quality=90, subsampling="4:4:4")


# ---- what Pillow makes of them


def expected_pixels(data):
    """Upright RGB [Y,X,3], transparency on white, 16-bit grey by >> 8."""
    image = Image.open(io.BytesIO(data))
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return np.repeat((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)[..., None], 3, -1)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return np.asarray(image.convert("RGB"))


def expected_info(data):
    image = Image.open(io.BytesIO(data))
    original = image.size
    exif = image.getexif()
    orientation = exif.get(0x0112, 1)
    fmt = {"HEIF": "heic", "MPO": "jpeg"}.get(image.format, image.format.lower())
    if fmt == "tiff" and orientation >= 5:
        original = original[::-1]  # Pillow already reports the upright size
    info = {"format": fmt, "original": original, "orientation": orientation}
    details = exif.get_ifd(0x8769)
    if 0x9003 in details:
        info["capture_time"] = "2023-05-01T12:30:07+02:00"
        gps = exif.get_ifd(0x8825)
        degrees = lambda v: float(v[0] + v[1] / 60 + v[2] / 3600)
        info["latitude"] = degrees(gps[2]) * (1 if gps[1] == "N" else -1)
        info["longitude"] = degrees(gps[4]) * (1 if gps[3] == "E" else -1)
        info["make"], info["model"] = exif[0x010F], exif[0x0110]
    return info


def dump_images():
    import pillow_heif

    pillow_heif.register_heif_opener()
    files = {}
    for make in (jpegs, pngs, gifs, bmps, webps, tiffs, heifs):
        make(files)
    folder = OUT / "images"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    records, infos = [], {}
    for name, data in sorted(files.items()):
        (folder / name).write_bytes(data)
        try:
            pixels = expected_pixels(data)
        except Exception as error:
            raise SystemExit(f"{name}: {error}")
        records.append((name, (pixels.shape[1], pixels.shape[0]), pixels.tobytes()))
        infos[name] = expected_info(data)
    write_records(OUT / "decode.bin", records)
    (OUT / "info.json").write_text(json.dumps(infos, indent=1) + "\n")


# ---- resizing


def resized(name):
    kind, *numbers = name.split()
    sw, sh, dw, dh = map(int, numbers[:4])
    box = tuple(map(float, numbers[4:]))
    return np.asarray(Image.fromarray(pattern(sw, sh)).resize((dw, dh), FILTERS[kind], box=box))


def dump_resize():
    small = [(53, 41, 17, 13), (53, 41, 90, 60), (53, 41, 53, 20), (53, 41, 20, 41), (53, 41, 1, 1), (53, 41, 1, 41), (53, 41, 53, 1), (53, 41, 130, 7),
             (53, 41, 53, 41), (1, 1, 5, 4), (1, 37, 3, 11), (37, 1, 11, 3), (2, 2, 7, 9), (300, 3, 7, 5), (5, 300, 4, 9), (3, 5, 40, 1)]
    boxes = [(53, 41, 24, 22, 3.3, 2.7, 40.2, 33.9), (53, 41, 31, 17, 0.5, 0.5, 10.25, 9.0), (53, 41, 20, 20, 7, 1, 47, 41), (53, 41, 53, 41, 0.25, 0, 53, 41)]
    large = [(640, 480, 260, 260), (200, 200, 800, 800), (1001, 777, 224, 191), (333, 500, 1000, 34)]
    name = lambda kind, case: " ".join([kind, *map(str, case[:4]), *(f"{v:g}" for v in (case[4:] or (0, 0, case[0], case[1])))])
    names = [name(kind, case) for kind in FILTERS for case in small + boxes]
    write_records(OUT / "resize.bin", [(n, (0,), resized(n).tobytes()) for n in names])
    sums = {name(kind, case): zlib.crc32(resized(name(kind, case)).tobytes()) for kind in FILTERS for case in large}
    (OUT / "resize_crc.json").write_text(json.dumps(sums, indent=1) + "\n")


# ---- preprocessing


def lite_reference(pixels):
    """The centred square of 20/26 of the short side, edges not rounded, bicubic to 20x20, (x - 127) / 128."""
    height, width, _ = pixels.shape
    side = min(height, width) * (20 / 26)
    left, top = (width - side) / 2, (height - side) / 2
    image = Image.fromarray(pixels).resize((20, 20), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return ((np.asarray(image).astype(np.float32) - 127) / 128).astype(np.float32)


def dump_preprocess():
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    clip = CLIPImageProcessorPil(size={"shortest_edge": 20}, crop_size={"height": 18, "width": 18})
    cases = {
        "clip": clip,
        "clip_pad": CLIPImageProcessorPil(size={"shortest_edge": 15}, crop_size={"height": 18, "width": 21}),
        "vit": ViTImageProcessorPil(size={"height": 17, "width": 19}),
        "efficientnet": EfficientNetImageProcessorPil(size={"height": 16, "width": 16}, resample=0, image_std=[0.47853944, 0.4732864, 0.47434163]),
        "efficientnet_offset": EfficientNetImageProcessorPil(
            size={"height": 16, "width": 16}, resample=2, rescale_factor=1 / 127.5, rescale_offset=True, include_top=False, do_center_crop=True,
            crop_size={"height": 15, "width": 14}),
    }
    sizes = [(64, 48), (48, 64), (33, 33), (31, 57), (1, 1), (20, 20), (101, 23), (19, 18), (7, 90), (300, 200), (21, 20), (2, 3)]
    records, configs = [], {}
    for case, processor in cases.items():
        configs[case] = json.loads(processor.to_json_string())
        for width, height in sizes:
            values = np.asarray(processor(Image.fromarray(pattern(width, height)))["pixel_values"][0], np.float32).transpose(1, 2, 0)
            records.append((f"{case} {width} {height}", values.shape[:2], np.ascontiguousarray(values).tobytes()))
    configs["lite"] = {"crop_first": True, "crop_pct": 20 / 26, "size": {"height": 20, "width": 20}, "resample": 3, "do_center_crop": True,
                       "do_rescale": False, "do_normalize": True, "image_mean": [127, 127, 127], "image_std": [128, 128, 128]}
    for width, height in sizes:
        values = lite_reference(pattern(width, height))
        records.append((f"lite {width} {height}", values.shape[:2], values.tobytes()))
    write_records(OUT / "preprocess.bin", records)
    (OUT / "preprocess.json").write_text(json.dumps(configs, indent=1) + "\n")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    dump_images()
    dump_resize()
    dump_preprocess()
    print(sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file()), "bytes in", OUT)
