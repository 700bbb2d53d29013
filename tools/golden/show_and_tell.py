"""Show and Tell: the twin of EncoderCNN and DecoderRNN of yunjey/pytorch-tutorial (tutorials/03-advanced/image_captioning/model.py). Names of stages:
those of golden/cnn.py, "picture" and "lstm". Padding stands after the text and takes part in the reference, where it changes nothing that is
compared: outputs there are set to those of the last token that exists."""

import torch
from torch import nn

from golden.cnn import Cnn, captioner_golden


class ShowAndTell(nn.Module):
    vectors_before = 1
    louder = ("decoder.lstm.weight",)

    def __init__(self, config: dict):
        super().__init__()
        self.vision_model = Cnn(config["vision_config"])
        self.encoder, self.decoder = nn.Module(), nn.Module()
        E, H = config["embed_size"], config["hidden_size"]
        self.encoder.linear = nn.Linear(self.vision_model.channels, E)
        self.encoder.bn = nn.BatchNorm1d(E, momentum=0.01)
        self.decoder.embed = nn.Embedding(config["vocab_size"], E)
        self.decoder.lstm = nn.LSTM(E, H, config["num_layers"], batch_first=True)
        self.decoder.linear = nn.Linear(H, config["vocab_size"])

    def pictures(self, images):
        return self.encoder.bn(self.encoder.linear(self.vision_model(images).mean((2, 3))))[:, None]

    def decode(self, pictures, ids, mask):
        hidden, _ = self.decoder.lstm(torch.cat([pictures, self.decoder.embed(ids)], 1))
        exists = torch.cat([torch.ones_like(mask[:, :1]), mask], 1)
        last = exists.long().cumsum(1) - 1
        hidden = hidden.gather(1, last[..., None].expand_as(hidden))
        return hidden, self.decoder.linear(hidden)


def golden(make, variant, about, vision, image_size, lengths, prompts, seed, **keys):
    config = {"model_type": "show_and_tell", "vocab_size": 43, "embed_size": 12, "hidden_size": 16, "num_layers": 1, "bos_token_id": 1,
              "eos_token_id": 2, "pad_token_id": 0, **keys, "vision_config": vision}

    def stages_of(model):
        return {**model.vision_model.stages(), model.encoder.bn: "picture"}

    return captioner_golden(make, variant, about, config, ShowAndTell, stages_of, image_size, lengths, prompts, seed)


def goldens(make):
    yield golden(make, "efficientnet", "an EfficientNet looks, one layer tells",
                 {"model_type": "efficientnet", "num_channels": 3, "width_coefficient": 0.05, "depth_coefficient": 1.0, "depth_divisor": 8, "kernel_sizes": [3, 5],
                  "in_channels": [32, 160], "out_channels": [160, 240], "depthwise_padding": [], "strides": [2, 2], "num_block_repeats": [1, 1],
                  "expand_ratios": [1, 2], "squeeze_expansion_ratio": 0.25, "hidden_dim": 64, "drop_connect_rate": 0.0}, (32, 24), [7, 5], [1, 4, 2], 124)
    yield golden(make, "resnet", "a ResNet of basic blocks looks, two layers of another width tell",
                 {"model_type": "resnet", "embedding_size": 6, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"}, (33, 40), [4, 8, 6], [3, 1],
                 122, vocab_size=37, embed_size=20, hidden_size=14, num_layers=2)
