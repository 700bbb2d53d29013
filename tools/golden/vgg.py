"""VGG's golden variants, computed by torch.nn as torchvision defines it (torchvision_nets.py).

Stages: `stages.<i>` (each stage after its pooling), `hidden1` (the first hidden layer of the classifier after its ReLU).
"""

import torch

from golden.torchvision_nets import vgg
from golden.vision import CLASSES, inputs, labels


def golden(make, variant, about, picture, batch, seed, **keys):
    config = {"model_type": "vgg", "id2label": labels(), **keys}
    model = vgg(classes=CLASSES, **keys)
    pools = [layer for layer in model.features if isinstance(layer, torch.nn.MaxPool2d)]
    stages = {pool: f"stages.{index}" for index, pool in enumerate(pools)}
    stages[model.classifier[1]] = "hidden1"
    return make(variant=variant, about=about, config=config, model=model, forward=lambda model, given: model(given["pixels"]),
                stages=stages, inputs=inputs(picture, batch, seed, config["num_channels"]), generator="torch.nn", seed=seed)


def goldens(make):
    yield golden(make, "plain", "as VGG-11 and 13 without batch norm, a picture higher than wide, a grid that is averaged to fewer places",
                 (40, 24), 2, seed=61, hidden_sizes=[6, 8, 12], depths=[1, 2, 1], batch_norm=False, pool_size=2,
                 classifier_hidden_size=20, dropout=0.5, num_channels=3)
    yield golden(make, "bn", "with batch norm, as VGG-16: a grid that is spread over more places, odd sizes, one colour", (19, 23), 3,
                 seed=62, hidden_sizes=[6, 10, 8], depths=[2, 2, 3], batch_norm=True, pool_size=3, classifier_hidden_size=16, dropout=0.5,
                 num_channels=1)
