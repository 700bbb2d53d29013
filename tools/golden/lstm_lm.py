"""An LSTM language model of torch.nn modules, as PyTorch's word_language_model. Padding stands after the text and
takes part in the reference, where it changes nothing that is compared: outputs there are set to those of the last token that exists."""

import copy

import torch

from golden.decoders import LEAST_TOKENS, MARGIN, STEPS
from golden.inputs import text_inputs


class LanguageModel(torch.nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.encoder = torch.nn.Embedding(config["vocab_size"], config["embedding_size"])
        self.rnn = torch.nn.LSTM(config["embedding_size"], config["hidden_size"], config["num_hidden_layers"], batch_first=True)
        self.decoder = torch.nn.Linear(config["hidden_size"], config["vocab_size"])
        if config["tie_word_embeddings"]:
            self.decoder.weight = self.encoder.weight

    def forward(self, ids, mask):
        hidden, _ = self.rnn(self.encoder(ids))
        last = (mask.long().cumsum(1) - 1).clamp(min=0)
        hidden = hidden.gather(1, last[..., None].expand_as(hidden))
        return hidden, self.decoder(hidden)


def greedy(model, prompts: dict) -> tuple:
    rows, lead = [], float("inf")
    for ids, mask in zip(prompts["ids"], prompts["mask"]):
        text = ids[mask][None]
        for _ in range(STEPS):
            logits = model(text, torch.ones_like(text, dtype=torch.bool))[1][:, -1]
            best = logits.topk(2).values[0]
            lead = min(lead, ((best[0] - best[1]) / logits.abs().max()).item())
            text = torch.cat([text, logits.argmax(-1, keepdim=True)], 1)
        rows.append(text[:, -STEPS:])
    return torch.cat(rows), lead


def golden(make, variant, about, config, lengths, prompts, seed):
    config = {"model_type": "lstm_lm", "vocab_size": 47, "embedding_size": 12, "hidden_size": 16, "num_hidden_layers": 2,
              "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, **config}
    inputs = text_inputs(config["vocab_size"], lengths, seed)
    following = torch.cat([inputs["ids"][:, 1:], torch.zeros_like(inputs["ids"][:, :1])], 1)
    exists = torch.cat([inputs["mask"][:, 1:], torch.zeros_like(inputs["mask"][:, :1])], 1)
    inputs["targets"] = torch.where(exists, following, -100)
    starts = {name: value.flip(1) for name, value in text_inputs(config["vocab_size"], prompts, seed + 1).items()}

    def forward(model, given):
        hidden, logits = model(given["ids"], given["mask"])
        return {"hidden": hidden, "token_logits": logits}

    for attempt in range(200):
        model = LanguageModel(config)
        made = make(variant=variant, about=about, config=config, model=model, forward=forward, stages={}, inputs=dict(inputs),
                    loss=[{"kind": "cross_entropy", "output": "token_logits", "target": "targets"}], generator="torch.nn",
                    drop=lambda name: config["tie_word_embeddings"] and name == "decoder.weight", seed=seed + 100 * attempt)
        with torch.no_grad():
            for name, value in model.named_parameters():  # larger, so that words differ
                value.mul_(2.0 if name.startswith("rnn.weight") else 1.0)
            tokens, lead = greedy(copy.deepcopy(model).eval(), starts)
        if lead > MARGIN and len(tokens.unique()) >= LEAST_TOKENS:
            made.extra = {f"generate.{name}": value for name, value in starts.items()}
            made.extra["generate.expected"] = tokens
            return made
    raise ValueError(f"{variant}: no seed gives clear continuations")


def goldens(make):
    yield golden(make, "two", "two layers, a head of its own", {}, [9, 6, 11], [4, 7, 2], 111)
    yield golden(make, "tied", "one layer, words tied", {"tie_word_embeddings": True, "num_hidden_layers": 1, "embedding_size": 20,
                                                         "hidden_size": 20}, [8, 12], [5, 3], 112)
