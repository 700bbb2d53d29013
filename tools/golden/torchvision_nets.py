"""torchvision's VGG and AlexNet spelt out in torch.nn, with its names, for golden variants of any size.

`check_twins` compares the definitions with torchvision itself, when that can be imported (it is needed for nothing else).
"""

import torch
from torch import nn


class Net(nn.Module):
    """features -> average pooling -> classifier; `hidden`: how many layers of the classifier make the features."""

    def __init__(self, features: nn.Sequential, pool_size: int, classifier: nn.Sequential, hidden: int):
        super().__init__()
        self.features, self.avgpool, self.classifier = features, nn.AdaptiveAvgPool2d((pool_size, pool_size)), classifier
        self.hidden = hidden

    def forward(self, pixels):
        grid = self.features(pixels)
        features = self.classifier[:self.hidden](torch.flatten(self.avgpool(grid), 1))
        return {"features": features, "grid": grid, "logits": self.classifier[self.hidden:](features)}


def vgg(hidden_sizes, depths, batch_norm, pool_size, classifier_hidden_size, dropout, num_channels, classes) -> Net:
    layers, width = [], num_channels
    for size, depth in zip(hidden_sizes, depths):
        for _ in range(depth):
            layers.append(nn.Conv2d(width, size, kernel_size=3, padding=1))
            layers += [nn.BatchNorm2d(size)] if batch_norm else []
            layers.append(nn.ReLU())
            width = size
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    wide = classifier_hidden_size
    classifier = nn.Sequential(nn.Linear(width * pool_size**2, wide), nn.ReLU(), nn.Dropout(dropout), nn.Linear(wide, wide), nn.ReLU(),
                               nn.Dropout(dropout), nn.Linear(wide, classes))
    return Net(nn.Sequential(*layers), pool_size, classifier, hidden=5)


def alexnet(hidden_sizes, pool_size, classifier_hidden_size, dropout, num_channels, classes) -> Net:
    a, b, c, d, e = hidden_sizes
    features = nn.Sequential(nn.Conv2d(num_channels, a, kernel_size=11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
                             nn.Conv2d(a, b, kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
                             nn.Conv2d(b, c, kernel_size=3, padding=1), nn.ReLU(), nn.Conv2d(c, d, kernel_size=3, padding=1), nn.ReLU(),
                             nn.Conv2d(d, e, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2))
    wide = classifier_hidden_size
    classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(e * pool_size**2, wide), nn.ReLU(), nn.Dropout(dropout),
                               nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, classes))
    return Net(features, pool_size, classifier, hidden=6)


def check_twins() -> list:
    """The nets of torchvision that were compared: equal names, shapes and logits from equal weights."""
    from torchvision import models  # pylint: disable=import-outside-toplevel

    big = {"classifier_hidden_size": 4096, "dropout": 0.5, "num_channels": 3, "classes": 1000}
    vgg11 = {"hidden_sizes": [64, 128, 256, 512, 512], "depths": [1, 1, 2, 2, 2], "pool_size": 7, **big}
    compared = []
    for name, build in (("alexnet", lambda: alexnet([64, 192, 384, 256, 256], pool_size=6, **big)),
                        ("vgg11", lambda: vgg(batch_norm=False, **vgg11)), ("vgg11_bn", lambda: vgg(batch_norm=True, **vgg11)),
                        ("vgg16", lambda: vgg(batch_norm=False, **{**vgg11, "depths": [2, 2, 3, 3, 3]})),
                        ("vgg19_bn", lambda: vgg(batch_norm=True, **{**vgg11, "depths": [2, 2, 4, 4, 4]}))):
        theirs, ours = getattr(models, name)(weights=None).eval(), build().eval()
        ours.load_state_dict(theirs.state_dict(), strict=True)
        with torch.no_grad():
            pixels = torch.randn(1, 3, 224, 224)
            torch.testing.assert_close(ours(pixels)["logits"], theirs(pixels))
        compared.append(name)
    return compared


if __name__ == "__main__":
    print("equal to torchvision:", ", ".join(check_twins()))
