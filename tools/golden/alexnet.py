"""AlexNet's golden variants, computed by torch.nn as torchvision defines it (torchvision_nets.py).

Stages: `convs.<i>` (each convolution after its ReLU and, where there is one, its pooling), `hidden1` (the first hidden layer of the
classifier after its ReLU).
"""

from golden.torchvision_nets import alexnet
from golden.vision import CLASSES, inputs, labels


def golden(make, variant, about, picture, batch, seed, **keys):
    config = {"model_type": "alexnet", "id2label": labels(), **keys}
    model = alexnet(classes=CLASSES, **keys)
    stages = {model.features[at]: f"convs.{index}" for index, at in enumerate((2, 5, 7, 9, 12))}
    stages[model.classifier[2]] = "hidden1"
    return make(variant=variant, about=about, config=config, model=model, forward=lambda model, given: model(given["pixels"]),
                stages=stages, inputs=inputs(picture, batch, seed, config["num_channels"]), generator="torch.nn", seed=seed)


def goldens(make):
    yield golden(make, "small", "three colours, the smallest square picture, a grid that is spread over more places", (63, 63), 2, seed=71,
                 hidden_sizes=[6, 8, 10, 8, 6], pool_size=2, classifier_hidden_size=16, dropout=0.5, num_channels=3)
    yield golden(make, "wide", "one colour, a picture wider than high, other widths", (71, 135), 2, seed=72,
                 hidden_sizes=[4, 6, 8, 6, 8], pool_size=3, classifier_hidden_size=20, dropout=0.0, num_channels=1)
