"""Show, Attend and Tell: the twin of Encoder, Attention and DecoderWithAttention of sgrvinod/a-PyTorch-Tutorial-to-Image-Captioning (models.py). Names
of stages: those of golden/cnn.py, and "grid". A token that does not exist leaves the state as it is."""

import torch
from torch import nn

from golden.cnn import Cnn, captioner_golden


class Attention(nn.Module):
    def __init__(self, encoder_dim, decoder_dim, attention_dim):
        super().__init__()
        self.encoder_att = nn.Linear(encoder_dim, attention_dim)
        self.decoder_att = nn.Linear(decoder_dim, attention_dim)
        self.full_att = nn.Linear(attention_dim, 1)

    def forward(self, encoder_out, decoder_hidden):
        att = self.full_att(torch.relu(self.encoder_att(encoder_out) + self.decoder_att(decoder_hidden).unsqueeze(1))).squeeze(2)
        return (encoder_out * att.softmax(1).unsqueeze(2)).sum(1)


class ShowAttendAndTell(nn.Module):
    vectors_before = 0
    louder = ("decoder.decode_step.weight", "decoder.init_h.weight")

    def __init__(self, config: dict):
        super().__init__()
        self.vision_model = Cnn(config["vision_config"])
        self.decoder = decoder = nn.Module()
        C, H, E = self.vision_model.channels, config["decoder_dim"], config["embed_dim"]
        decoder.attention = Attention(C, H, config["attention_dim"])
        decoder.embedding = nn.Embedding(config["vocab_size"], E)
        decoder.decode_step = nn.LSTMCell(E + C, H)
        decoder.init_h, decoder.init_c, decoder.f_beta = nn.Linear(C, H), nn.Linear(C, H), nn.Linear(H, C)
        decoder.fc = nn.Linear(H, config["vocab_size"])
        side = config.get("encoded_image_size")
        self.adaptive_pool = nn.AdaptiveAvgPool2d((side, side)) if side else nn.Identity()

    def pictures(self, images):
        return self.adaptive_pool(self.vision_model(images)).flatten(2).transpose(1, 2)

    def decode(self, pictures, ids, mask):
        decoder, said = self.decoder, []
        h, c = decoder.init_h(pictures.mean(1)), decoder.init_c(pictures.mean(1))
        for word, exists in zip(decoder.embedding(ids).unbind(1), mask[..., None].unbind(1)):
            seen = torch.sigmoid(decoder.f_beta(h)) * decoder.attention(pictures, h)
            new_h, new_c = decoder.decode_step(torch.cat([word, seen], 1), (h, c))
            h, c = torch.where(exists, new_h, h), torch.where(exists, new_c, c)
            said.append(h)
        hidden = torch.stack(said, 1)
        return hidden, decoder.fc(hidden)


def golden(make, variant, about, vision, image_size, lengths, prompts, seed, **keys):
    config = {"model_type": "show_attend_and_tell", "vocab_size": 43, "attention_dim": 10, "embed_dim": 12, "decoder_dim": 16, "bos_token_id": 1,
              "eos_token_id": 2, "pad_token_id": 0, **keys, "vision_config": vision}

    def stages_of(model):
        return {**model.vision_model.stages(), model.adaptive_pool: "grid"}

    return captioner_golden(make, variant, about, config, ShowAttendAndTell, stages_of, image_size, lengths, prompts, seed)


def goldens(make):
    yield golden(make, "efficientnet", "an EfficientNet looks, its grid as it is",
                 {"model_type": "efficientnet", "num_channels": 3, "width_coefficient": 0.05, "depth_coefficient": 1.0, "depth_divisor": 8, "kernel_sizes": [3, 5],
                  "in_channels": [32, 160], "out_channels": [160, 240], "depthwise_padding": [], "strides": [1, 2], "num_block_repeats": [1, 1],
                  "expand_ratios": [1, 2], "squeeze_expansion_ratio": 0.25, "hidden_dim": 64, "drop_connect_rate": 0.0, "hidden_act": "gelu"}, (20, 24),
                 [7, 5], [1, 4, 2], 131)
    yield golden(make, "resnet", "a ResNet of bottlenecks looks, its grid spread over more places",
                 {"model_type": "resnet", "embedding_size": 6, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "bottleneck"}, (33, 40), [4, 8, 6],
                 [3, 1], 132, vocab_size=37, attention_dim=14, embed_dim=10, decoder_dim=18, encoded_image_size=7)
    yield golden(make, "vgg", "a VGG looks, its grid averaged to fewer places",
                 {"model_type": "vgg", "hidden_sizes": [6, 10], "depths": [1, 2], "batch_norm": True, "num_channels": 3}, (24, 28), [5, 6], [2, 3], 133,
                 decoder_dim=12, encoded_image_size=3)
