"""Gemma 1: names of stages are "embeddings", "layers.<i>", "norm"."""

from golden.decoders import decoder_golden


def golden(make, variant, about, config, lengths, prompts, seed):
    base = {"architectures": ["GemmaForCausalLM"], "model_type": "gemma", "vocab_size": 61, "hidden_size": 20, "intermediate_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 12, "max_position_embeddings": 128}
    return decoder_golden(make, variant, about, {**base, **config}, lengths, prompts, seed, trunk=lambda model: model.model,
                          embeddings=lambda trunk: trunk.embed_tokens, layers=lambda trunk: trunk.layers, norm=lambda trunk: trunk.norm)


def goldens(make):
    yield golden(make, "two_b", "as the model of two billion: one key head, heads wider than the model divided by their number, words tied, the old "
                 "name of the activation", {"hidden_act": "gelu", "rope_theta": 10000.0}, [10, 12], [6, 3, 5], 143)
    yield golden(make, "seven_b", "as many key heads as query heads, a head of its own, biases, other activation and positions",
                 {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 10, "hidden_size": 16, "attention_bias": True,
                  "tie_word_embeddings": False, "hidden_act": "silu", "rms_norm_eps": 1e-3, "vocab_size": 47, "num_hidden_layers": 3,
                  "rope_parameters": {"rope_type": "linear", "rope_theta": 300.0, "factor": 2.0}}, [9, 7, 11], [4, 8], 142)
