"""What the golden files of decoders of text share: inputs, loss, stages, and greedy continuations of prompts.

Beside the tensors of every golden file these hold
    input.targets             int64 [B,T], the next token; -100 where there is none
    input.memory, memory_mask [B,S,M], bool [B,S], of a model with cross-attention
    output.hidden             [B,T,D], output.token_logits [B,T,V]
    generate.ids, .mask       int64 and bool [B,P]: prompts of unequal lengths, padded on the left with 0
    generate.memory, .memory_mask  of a model with cross-attention
    generate.expected         int64 [B,32]: what transformers' generate(do_sample=False) adds, end of text disabled
The seed of the weights is the first at which the likeliest token of every step leads by more than rounding can change and the
continuations are not all alike.
"""

import copy

import torch
import transformers

from golden.inputs import text_inputs

STEPS = 32
MARGIN = 5e-4  # of the largest logit; rounding changes 1e-5
LEAST_TOKENS = 8  # that differ, in all continuations together


def positions(mask: torch.Tensor) -> torch.Tensor:
    return (mask.long().cumsum(-1) - 1).masked_fill(~mask, 0)


def memory_inputs(lengths: list, width: int, seed: int) -> dict:
    source = torch.Generator().manual_seed(seed + 5000)
    memory = torch.randn((len(lengths), max(lengths), width), generator=source)
    return {"memory": memory, "memory_mask": torch.arange(max(lengths))[None, :] < torch.tensor(lengths)[:, None]}


def memory_arguments(given: dict) -> dict:
    if "memory" not in given:
        return {}
    return {"encoder_hidden_states": given["memory"], "encoder_attention_mask": given["memory_mask"]}


def greedy(model, prompts: dict) -> tuple:
    """(tokens [B,STEPS], smallest lead of the likeliest token as a share of the largest logit)."""
    made = model.generate(prompts["ids"], attention_mask=prompts["mask"], max_new_tokens=STEPS, do_sample=False, pad_token_id=0,
                          output_logits=True, return_dict_in_generate=True, **memory_arguments(prompts))
    logits = torch.stack(made.logits, 1)  # [B,STEPS,V]
    best = logits.topk(2).values
    lead = ((best[..., 0] - best[..., 1]) / logits.abs().amax(-1)).min()
    return made.sequences[:, -STEPS:], lead.item()


def decoder_golden(make, variant, about, config, lengths, prompts, seed, trunk, layers, norm, embeddings=None, memory=None,
                   stages=None, drop=lambda name: False):
    """`config`: the text of config.json; `trunk(model)`, `layers(trunk)`, `norm(trunk)`, `embeddings(trunk)`: the modules whose outputs
    are stages; `prompts`: their lengths; `memory`: (lengths, width) of what cross-attention reads."""
    values = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
    inputs = text_inputs(config["vocab_size"], lengths, seed)
    following = torch.cat([inputs["ids"][:, 1:], torch.zeros_like(inputs["ids"][:, :1])], 1)
    exists = torch.cat([inputs["mask"][:, 1:], torch.zeros_like(inputs["mask"][:, :1])], 1)
    inputs["targets"] = torch.where(exists, following, -100)
    starts = {name: value.flip(1) for name, value in text_inputs(config["vocab_size"], prompts, seed + 1).items()}
    if memory is not None:
        inputs.update(memory_inputs(memory[0][:len(lengths)], memory[1], seed))
        starts.update(memory_inputs(memory[0][:len(prompts)], memory[1], seed + 1))

    def forward(model, given):
        outputs = model(input_ids=given["ids"], attention_mask=given["mask"], position_ids=positions(given["mask"]),
                        output_hidden_states=True, **memory_arguments(given))
        return {"hidden": outputs.hidden_states[-1], "token_logits": outputs.logits}

    for attempt in range(200):
        made = transformers.AutoConfig.for_model(config["model_type"], **values)
        made._attn_implementation = "eager"
        model = getattr(transformers, config["architectures"][0])(made)
        model.generation_config.eos_token_id = None
        network = trunk(model)
        watched = {} if embeddings is None else {embeddings(network): "embeddings"}
        watched.update({layer: f"layers.{index}" for index, layer in enumerate(layers(network))})
        if norm(network) is not None:
            watched[norm(network)] = "norm"
        is_tied = made.tie_word_embeddings
        golden = make(variant=variant, about=about, config=config, model=model, forward=forward, stages=watched,
                      inputs=dict(inputs), loss=[{"kind": "cross_entropy", "output": "token_logits", "target": "targets"}],
                      generator=f"transformers {transformers.__version__}",
                      drop=lambda name: (is_tied and name == "lm_head.weight") or drop(name), seed=seed + 100 * attempt)
        with torch.no_grad():
            # In float32: eager attention gives NaN for padding on the left in float64.
            tokens, lead = greedy(copy.deepcopy(model).float().eval(), starts)
        if lead > MARGIN and len(tokens.unique()) >= LEAST_TOKENS:
            golden.extra = {f"generate.{name}": value for name, value in starts.items()}
            golden.extra["generate.expected"] = tokens
            return golden
    raise ValueError(f"{variant}: no seed gives clear continuations")
