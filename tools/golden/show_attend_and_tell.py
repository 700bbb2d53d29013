"""Show, Attend and Tell: the decoder of the PyTorch tutorial (sgrvinod) after ResNet, its LSTMCell as an LSTM of one layer."""

import types

import torch

from golden.show_and_tell import golden, resnet


class Attention(torch.nn.Module):
    def __init__(self, places: int, hidden: int, size: int):
        super().__init__()
        self.encoder_att = torch.nn.Linear(places, size)
        self.decoder_att = torch.nn.Linear(hidden, size)
        self.full_att = torch.nn.Linear(size, 1)

    def forward(self, places, hidden):
        scores = self.full_att(torch.relu(self.encoder_att(places) + self.decoder_att(hidden).unsqueeze(1))).squeeze(2)
        return (places * torch.softmax(scores, 1).unsqueeze(2)).sum(1)


class Decoder(torch.nn.Module):
    def __init__(self, config: dict, places: int):
        super().__init__()
        hidden = config["hidden_size"]
        self.attention = Attention(places, hidden, config["attention_size"])
        self.embedding = torch.nn.Embedding(config["vocab_size"], config["embedding_size"])
        self.rnn = torch.nn.LSTM(config["embedding_size"] + places, hidden, 1, batch_first=True)
        self.init_h = torch.nn.Linear(places, hidden)
        self.init_c = torch.nn.Linear(places, hidden)
        self.f_beta = torch.nn.Linear(hidden, places)
        self.fc = torch.nn.Linear(hidden, config["vocab_size"])


class ShowAttendAndTell(torch.nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.encoder = resnet(config["encoder"])
        self.decoder = Decoder(config, config["encoder"]["hidden_sizes"][-1])
        self.generation_config = types.SimpleNamespace()

    def forward(self, images, ids, mask):
        places = self.encoder(images).last_hidden_state.flatten(2).transpose(1, 2)  # [B,N,A]
        decoder, words = self.decoder, self.decoder.embedding(ids)
        h, c = decoder.init_h(places.mean(1)), decoder.init_c(places.mean(1))
        outputs = []
        for t in range(ids.shape[1]):
            seen = torch.sigmoid(decoder.f_beta(h)) * decoder.attention(places, h)
            _, (h_next, c_next) = decoder.rnn(torch.cat([words[:, t], seen], 1)[:, None], (h[None], c[None]))
            exists = mask[:, t:t + 1]
            h, c = torch.where(exists, h_next[0], h), torch.where(exists, c_next[0], c)
            outputs.append(h)
        hidden = torch.stack(outputs, 1)
        return places, hidden, decoder.fc(hidden)


def goldens(make):
    encoder = {"model_type": "resnet", "num_channels": 3, "embedding_size": 6, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"}
    base = {"model_type": "show_attend_and_tell", "bos_token_id": 1, "eos_token_id": 2, "dropout": 0.0}
    yield golden(make, "basic", "a ResNet of basic blocks, sixteen places",
                 {**base, "encoder": encoder, "vocab_size": 41, "embedding_size": 10, "hidden_size": 12, "attention_size": 8}, ShowAttendAndTell, 41,
                 (32, 32), [6, 4], [1, 4, 2], 95, boost=("rnn.weight", "full_att.weight"))
    yield golden(make, "deep", "a ResNet of bottlenecks, a picture wider than high",
                 {**base, "encoder": {**encoder, "layer_type": "bottleneck", "hidden_sizes": [8, 16], "depths": [1, 2]}, "vocab_size": 37, "embedding_size": 12,
                  "hidden_size": 16, "attention_size": 14}, ShowAttendAndTell, 37, (24, 40), [4, 7, 5], [3, 1], 96, boost=("rnn.weight", "full_att.weight"))
