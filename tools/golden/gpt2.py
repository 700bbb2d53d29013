"""GPT-2: names of stages are "embeddings", "layers.<i>", "norm"."""

from golden.decoders import decoder_golden


def golden(make, variant, about, config, lengths, prompts, seed, memory=None):
    base = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 71, "n_positions": 64, "n_embd": 24, "n_layer": 2,
            "n_head": 4, "bos_token_id": 1, "eos_token_id": 1}
    return decoder_golden(make, variant, about, {**base, **config}, lengths, prompts, seed, trunk=lambda model: model.transformer,
                          embeddings=lambda trunk: trunk.drop, layers=lambda trunk: trunk.h, norm=lambda trunk: trunk.ln_f, memory=memory)


def goldens(make):
    yield golden(make, "small", "as published, smaller", {}, [12, 7, 9], [5, 8, 2], 51)
    yield golden(make, "cross", "cross-attention to memories of unequal lengths, a head of its own, scores scaled by layer",
                 {"add_cross_attention": True, "tie_word_embeddings": False, "n_embd": 16, "n_head": 2, "n_inner": 40,
                  "activation_function": "relu", "scale_attn_by_inverse_layer_idx": True, "layer_norm_epsilon": 1e-3, "vocab_size": 53},
                 [6, 10], [4, 1, 3], 52, memory=([5, 8, 3], 16))
    yield golden(make, "unscaled", "scores not scaled, three layers, GELU",
                 {"scale_attn_weights": False, "n_layer": 3, "n_embd": 20, "n_head": 5, "activation_function": "gelu"}, [9, 5], [3, 6], 53)
