"""torchvision's transforms, beside whatever build of torch is there."""

import sys

import torch


def import_torchvision():
    """torchvision's compiled operators need the very build of torch it was made for; its transforms do not."""
    try:
        import torchvision
    except (ImportError, RuntimeError):
        for module in [module for module in sys.modules if module.startswith("torchvision")]:
            del sys.modules[module]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
        import_torchvision.library = library  # as long as the program runs


import_torchvision()
