#!/usr/bin/env python3
"""Writes tests/golden/runtime/sampling.json, what transformers makes of random logits, and beams.json, beam search with the tiny models of
tests/golden/models.

    python tools/dump_sampling_golden.py

"distributions": the probabilities that are left after its logits processors. "beams": beam search over a table of log-probabilities
that depends on the last token alone (a bigram model), by GenerationMixin.generate on a model that looks them up.
"""
import json
import pathlib

import torch
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.generation import logits_process as lp
from transformers.modeling_outputs import CausalLMOutput

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/runtime"
VOCAB = 24


def distributions():
    cases = []
    settings = [dict(temperature=0.7), dict(temperature=1.0, top_k=5), dict(temperature=1.3, top_p=0.8), dict(temperature=1.0, min_p=0.2),
                dict(temperature=0.9, top_k=12, top_p=0.9, min_p=0.05), dict(temperature=1.0, repetition_penalty=1.4), dict(temperature=1.0, top_p=0.0)]
    for seed, options in enumerate(settings):
        torch.manual_seed(seed)
        logits = (torch.randn(1, VOCAB) * 2).round(decimals=2)
        prompt = torch.randint(0, VOCAB, (1, 6))
        processors = []
        if "repetition_penalty" in options:
            processors.append(lp.RepetitionPenaltyLogitsProcessor(options["repetition_penalty"]))
        processors.append(lp.TemperatureLogitsWarper(options["temperature"]))
        if "top_k" in options:
            processors.append(lp.TopKLogitsWarper(options["top_k"]))
        if "top_p" in options:
            processors.append(lp.TopPLogitsWarper(options["top_p"]))
        if "min_p" in options:
            processors.append(lp.MinPLogitsWarper(options["min_p"]))
        scores = logits.clone()
        for processor in processors:
            scores = processor(prompt, scores)
        cases.append({"options": options, "prompt": prompt[0].tolist(), "logits": logits[0].tolist(), "probabilities": scores.softmax(-1)[0].tolist()})
    return cases


class Bigram(PreTrainedModel, GenerationMixin):
    config_class = PretrainedConfig
    _supports_cache_class = False

    def __init__(self, table):
        super().__init__(PretrainedConfig(vocab_size=VOCAB, is_encoder_decoder=False))
        self.table = torch.nn.Parameter(table)

    def forward(self, input_ids, attention_mask=None, **_):
        return CausalLMOutput(logits=self.table[input_ids])

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **_):
        return {"input_ids": input_ids, "attention_mask": attention_mask}


def beams():
    cases = []
    for seed in range(12):
        torch.manual_seed(100 + seed)
        table = (torch.randn(VOCAB, VOCAB) * 2).round(decimals=2)
        ends = [3] if seed % 3 else [3, 7]
        table[:, 3] += seed % 4
        options = {"num_beams": [2, 3, 4][seed % 3], "length_penalty": [1.0, 0.0, 2.0, -0.5][seed % 4], "early_stopping": [False, True, "never"][seed % 3],
                   "max_new_tokens": 9}
        model = Bigram(table).eval()
        config = GenerationConfig(do_sample=False, use_cache=False, eos_token_id=ends, pad_token_id=0, return_dict_in_generate=True, output_scores=True,
                                  num_return_sequences=options["num_beams"], **options)
        with torch.no_grad():
            out = model.generate(torch.tensor([[5]]), attention_mask=torch.ones(1, 1, dtype=torch.long), generation_config=config)
        texts = []
        for row in out.sequences[:, 1:].tolist():
            cut = next((i + 1 for i, t in enumerate(row) if t in ends), len(row))
            texts.append(row[:cut])
        cases.append({"options": options, "ends": ends, "table": table.flatten().tolist(), "sequences": texts, "scores": out.sequences_scores.tolist()})
    return cases


def model_beams():
    from safetensors import safe_open
    from transformers import AutoConfig, AutoModelForCausalLM

    cases = []
    for name in ("llama_plain", "gpt2_small"):
        with safe_open(OUT.parent / f"models/{name}.safetensors", "pt") as file:
            config = json.loads(file.metadata()["config"])
            weights = {k.removeprefix("weights."): file.get_tensor(k) for k in file.keys() if k.startswith("weights.")}
            ids, mask = file.get_tensor("generate.ids"), file.get_tensor("generate.mask").long()
            greedy = file.get_tensor("generate.expected")
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config)).eval()
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert not unexpected and all(m == "lm_head.weight" for m in missing), (missing, unexpected)
        model.tie_weights()
        for row in range(ids.shape[0]):
            for beams, penalty in ((2, 1.0), (4, 0.0)):
                prompt = ids[row][mask[row].bool()][None]
                ends = [int(greedy[row][5])]
                with torch.no_grad():
                    out = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, num_beams=beams, length_penalty=penalty, max_new_tokens=12,
                                         eos_token_id=ends, pad_token_id=0, return_dict_in_generate=True, output_scores=True)
                text = out.sequences[0, prompt.shape[1]:].tolist()
                text = text[:next((i for i, t in enumerate(text) if t in ends), len(text))]
                cases.append({"model": name, "row": row, "num_beams": beams, "length_penalty": penalty, "max_new_tokens": 12, "ends": ends, "ids": text,
                              "score": out.sequences_scores[0].item()})
    return cases


def rounded(x):
    if isinstance(x, float):
        return round(x, 6)
    if isinstance(x, list):
        return [rounded(v) for v in x]
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return x


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rounded({"vocab": VOCAB, "distributions": distributions(), "beams": beams()}), separators=(",", ":"))
    (OUT / "sampling.json").write_text(text + "\n")
    (OUT / "beams.json").write_text(json.dumps(rounded(model_beams()), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
