"""Show and Tell, and what Show, Attend and Tell shares with it: ResNet of transformers before modules of torch.nn. Names of stages are
"encoder.stages.<i>" and "pictures"."""

import types

import torch
import transformers

from golden.inputs import text_inputs
from golden.lstm_lm import LanguageModel
from golden.picture_decoders import STEPS, next_tokens, picture_decoder_golden
from golden.two_tower import pixels, with_gradient_names


def resnet(config: dict):
    made = transformers.ResNetModel(transformers.ResNetConfig(**config))
    made.pooled = torch.nn.AdaptiveAvgPool2d(1)
    return made


class ShowAndTell(torch.nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.encoder = resnet(config["encoder"])
        self.decoder = LanguageModel(config["decoder"])
        self.projection = torch.nn.Linear(config["encoder"]["hidden_sizes"][-1], config["decoder"]["embedding_size"])
        self.generation_config = types.SimpleNamespace()

    def pictures(self, images):
        return self.projection(self.encoder(images).pooler_output.flatten(1))[:, None]

    def forward(self, images, ids, mask):
        seen = self.pictures(images)
        hidden, _ = self.decoder.rnn(torch.cat([seen, self.decoder.encoder(ids)], 1))
        last = mask.long().sum(1, keepdim=True)  # a place that does not exist keeps the state of the last that does
        places = torch.minimum(torch.arange(hidden.shape[1])[None], last)
        hidden = hidden.gather(1, places[..., None].expand_as(hidden))
        return seen, hidden, self.decoder.decoder(hidden)

    def scale(self):
        """Larger weights of the recurrence, so that words differ."""


def generate(model, ids, images):
    """As generate() of transformers: an object with `sequences` and `logits`."""
    found = []
    for _ in range(STEPS):
        logits = model(images, ids, torch.ones_like(ids, dtype=torch.bool))[2][:, -1]
        found.append(logits)
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    return types.SimpleNamespace(sequences=ids, logits=found)


def golden(make, variant, about, config, network, words, picture, lengths, prompts, seed, before=0, boost=("rnn.weight", )):
    """`before`: vectors of the picture that stand before the words."""

    def model_of():
        return network(config)

    def forward(model, given):
        seen, hidden, logits = model(given["pixels"], given["ids"], given["mask"])
        return {"pictures": seen, "hidden": hidden, "token_logits": logits}

    def stages_of(model):
        return {stage: f"encoder.stages.{i}" for i, stage in enumerate(model.encoder.encoder.stages)}

    inputs = text_inputs(words, lengths, seed)
    targets = next_tokens(inputs["ids"], inputs["mask"])
    inputs["targets"] = torch.cat([torch.full((len(lengths), before), -100), targets], 1)
    inputs["pixels"] = pixels(picture, len(lengths), seed)
    source = torch.Generator().manual_seed(seed + 3)
    starts = [torch.randint(5, words, (n,), generator=source) for n in prompts]
    shown = list(pixels(picture, len(prompts), seed + 7).split(1))

    def in_network(name, tensor):
        return [(name.replace("encoder.", "encoder.resnet.", 1) if name.startswith("encoder.") else name, tensor)]

    class Boosted(with_gradient_names(make, in_network)):
        def __init__(self, **keys):
            super().__init__(**keys)
            with torch.no_grad():
                for name, value in self.model.named_parameters():  # larger, so that words differ
                    if any(part in name for part in boost):
                        value.mul_(2.0)

    return picture_decoder_golden(Boosted, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed)


def goldens(make):
    decoder = {"model_type": "lstm_lm", "vocab_size": 41, "embedding_size": 10, "hidden_size": 12, "num_hidden_layers": 1, "tie_word_embeddings": False}
    encoder = {"model_type": "resnet", "num_channels": 3, "embedding_size": 6, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"}
    base = {"model_type": "show_and_tell", "bos_token_id": 1, "eos_token_id": 2}
    yield golden(make, "basic", "a ResNet of basic blocks, one layer of LSTM", {**base, "encoder": encoder, "decoder": decoder}, ShowAndTell, 41,
                 (32, 32), [7, 5], [1, 4, 2], 91, before=1)
    yield golden(make, "deep", "a ResNet of bottlenecks, two layers of LSTM, words tied, a picture wider than high",
                 {**base, "encoder": {**encoder, "layer_type": "bottleneck", "hidden_sizes": [8, 16]},
                  "decoder": {**decoder, "num_hidden_layers": 2, "tie_word_embeddings": True, "embedding_size": 16, "hidden_size": 16, "vocab_size": 37}},
                 ShowAndTell, 37, (24, 40), [4, 8, 6], [3, 1], 92, before=1)
