"""The convolutional network of a captioner (Show and Tell; Show, Attend and Tell): transformers' EfficientNet or ResNet, or torchvision's VGG, without
classes; and what the twins of both captioners share. Names of stages are "vision.blocks.<i>", "vision.top" (EfficientNet), "vision.stages.<i>"
(ResNet, VGG)."""

from types import SimpleNamespace

import torch
from torch import nn
from transformers import EfficientNetConfig, EfficientNetModel, ResNetConfig, ResNetModel

from golden.decoders import STEPS
from golden.inputs import text_inputs
from golden.picture_decoders import next_tokens, picture_decoder_golden
from golden.torchvision_nets import vgg
from golden.two_tower import pixels


class Cnn(nn.Module):
    """Pictures [B,C,Y,X] -> grid [B,D,P,Q]."""

    def __init__(self, config: dict):
        super().__init__()
        self.family = config["model_type"]
        keys = {key: value for key, value in config.items() if key != "model_type"}
        if self.family == "efficientnet":
            self.efficientnet = EfficientNetModel(EfficientNetConfig(**keys))
            self.channels = self.efficientnet.encoder.top_bn.num_features
        elif self.family == "resnet":
            self.resnet = ResNetModel(ResNetConfig(**keys))
            self.channels = keys["hidden_sizes"][-1]
        else:
            self.features = vgg(**keys, pool_size=1, classifier_hidden_size=1, dropout=0.0, classes=1).features
            self.channels = keys["hidden_sizes"][-1]

    def forward(self, images):
        if self.family == "efficientnet":
            return self.efficientnet.encoder(self.efficientnet.embeddings(images)).last_hidden_state
        return self.resnet(images).last_hidden_state if self.family == "resnet" else self.features(images)

    def stages(self) -> dict:
        if self.family == "efficientnet":
            encoder = self.efficientnet.encoder
            return {**{block: f"vision.blocks.{i}" for i, block in enumerate(encoder.blocks)}, encoder.top_activation: "vision.top"}
        parts = self.resnet.encoder.stages if self.family == "resnet" else [layer for layer in self.features if isinstance(layer, nn.MaxPool2d)]
        return {part: f"vision.stages.{i}" for i, part in enumerate(parts)}


def captioner_golden(make, variant, about, config, twin, stages_of, image_size, lengths, prompts, seed):
    """`twin(config)`: a module with `pictures(images)`, what the decoder is given of pictures, and `decode(pictures, ids, mask) -> (hidden, logits)`,
    both [B,S,...] where the picture's vector, if it stands before the text, counts."""
    words = config["vocab_size"]

    def model_of():
        model = twin(config)
        model.generation_config = SimpleNamespace()
        return model

    def forward(model, given):
        seen = model.pictures(given["pixels"])
        hidden, logits = model.decode(seen, given["ids"], given["mask"])
        return {"pictures": seen, "hidden": hidden, "token_logits": logits}

    def generate(model, ids, images):
        seen, said = model.pictures(images), []
        for _ in range(STEPS):
            said.append(model.decode(seen, ids, torch.ones_like(ids, dtype=torch.bool))[1][:, -1])
            ids = torch.cat([ids, said[-1].argmax(-1, keepdim=True)], 1)
        return SimpleNamespace(logits=said, sequences=ids)

    inputs = text_inputs(words, lengths, seed)
    inputs["ids"][:, 0] = config["bos_token_id"]
    inputs["targets"] = next_tokens(inputs["ids"], inputs["mask"])
    if twin.vectors_before:
        inputs["targets"] = torch.cat([torch.full((len(lengths), twin.vectors_before), -100), inputs["targets"]], 1)
    inputs["pixels"] = pixels(image_size, len(lengths), seed)
    source = torch.Generator().manual_seed(seed + 3)
    starts = [torch.cat([torch.tensor([config["bos_token_id"]]), torch.randint(5, words, (n - 1,), generator=source)]) for n in prompts]
    shown = list(pixels(image_size, len(prompts), seed + 7).split(1))
    return picture_decoder_golden(make, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed,
                                  louder=lambda name: 2.0 if name.startswith(twin.louder) else 1.0)
