"""T5: names of stages are "encoder.<i>" and "decoder.<i>". `input.ids` and `generate.ids` go into the encoder, `input.decoder_ids` into
the decoder, which begins with the token 0."""

import copy

import torch
import transformers

from golden.decoders import LEAST_TOKENS, MARGIN, STEPS
from golden.inputs import text_inputs


def golden(make, variant, about, config, lengths, targets, prompts, seed, tied=True):
    config = {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "vocab_size": 61, "d_model": 20, "d_kv": 6, "d_ff": 32,
              "num_layers": 2, "num_heads": 3, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 20,
              "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, **config}
    values = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
    inputs = text_inputs(config["vocab_size"], lengths, seed)
    answers = text_inputs(config["vocab_size"], targets, seed + 1)
    inputs["targets"] = torch.where(answers["mask"], answers["ids"], -100)
    inputs["decoder_ids"] = torch.cat([torch.zeros_like(answers["ids"][:, :1]), answers["ids"][:, :-1]], 1)
    inputs["decoder_mask"] = answers["mask"]
    starts = {name: value.flip(1) for name, value in text_inputs(config["vocab_size"], prompts, seed + 2).items()}

    def forward(model, given):
        outputs = model(input_ids=given["ids"], attention_mask=given["mask"], decoder_input_ids=given["decoder_ids"],
                        decoder_attention_mask=given["decoder_mask"], output_hidden_states=True)
        return {"text_tokens": outputs.encoder_last_hidden_state, "hidden": outputs.decoder_hidden_states[-1],
                "token_logits": outputs.logits}

    for attempt in range(200):
        made = transformers.T5Config(**values)
        made._attn_implementation = "eager"
        model = transformers.T5ForConditionalGeneration(made)
        if not tied:
            model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
        model.generation_config.eos_token_id = None
        stages = {block: f"encoder.{index}" for index, block in enumerate(model.encoder.block)}
        stages.update({block: f"decoder.{index}" for index, block in enumerate(model.decoder.block)})
        made_golden = make(variant=variant, about=about, config=config, model=model, forward=forward, stages=stages, inputs=dict(inputs),
                           loss=[{"kind": "cross_entropy", "output": "token_logits", "target": "targets"}],
                           generator=f"transformers {transformers.__version__}",
                           drop=lambda name: name.endswith("embed_tokens.weight") or (tied and name == "lm_head.weight"),
                           seed=seed + 100 * attempt)
        with torch.no_grad():
            found = copy.deepcopy(model).float().eval().generate(
                starts["ids"], attention_mask=starts["mask"], max_new_tokens=STEPS, do_sample=False, output_logits=True,
                return_dict_in_generate=True)
        logits = torch.stack(found.logits, 1)
        best = logits.topk(2).values
        lead = ((best[..., 0] - best[..., 1]) / logits.abs().amax(-1)).min().item()
        tokens = found.sequences[:, -STEPS:]
        if lead > MARGIN and len(tokens.unique()) >= LEAST_TOKENS:
            made_golden.extra = {f"generate.{name}": value for name, value in starts.items()}
            made_golden.extra["generate.expected"] = tokens
            return made_golden
    raise ValueError(f"{variant}: no seed gives clear continuations")


def goldens(make):
    yield golden(make, "first", "T5: ReLU, words tied, outputs scaled", {}, [9, 13], [7, 4], [6, 11, 3], 101)
    yield golden(make, "gated", "T5 1.1: gated GELU, a head of its own, one decoder layer beside three of the encoder",
                 {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_layers": 3, "num_decoder_layers": 1, "d_model": 16,
                  "d_kv": 10, "num_heads": 2, "relative_attention_num_buckets": 10, "relative_attention_max_distance": 16,
                  "layer_norm_epsilon": 1e-3, "vocab_size": 53}, [14, 6, 10], [5, 9, 8], [8, 12], 102, tied=False)
