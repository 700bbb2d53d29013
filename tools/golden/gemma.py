"""Gemma: names of stages are "embeddings", "layers.<i>", "norm"."""

from golden.decoders import decoder_golden


def golden(make, variant, about, config, lengths, prompts, seed):
    base = {"architectures": ["GemmaForCausalLM"], "model_type": "gemma", "vocab_size": 53, "hidden_size": 20, "intermediate_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 12, "max_position_embeddings": 128}
    return decoder_golden(make, variant, about, {**base, **config}, lengths, prompts, seed, trunk=lambda model: model.model,
                          layers=lambda trunk: trunk.layers, norm=lambda trunk: trunk.norm)


def goldens(make):
    yield golden(make, "tied", "one key head, heads wider than the model", {}, [9, 6], [3, 5], 121)
    yield golden(make, "wide", "as many key heads, biases, other positions, one layer", {"num_key_value_heads": 3, "num_attention_heads": 3, "head_dim": 8,
                 "attention_bias": True, "rope_theta": 100.0, "num_hidden_layers": 1, "rms_norm_eps": 1e-3, "hidden_size": 28}, [4, 11, 7], [6, 2], 122)
