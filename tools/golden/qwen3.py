"""Qwen 3: names of stages are "embeddings", "layers.<i>", "norm"."""

from golden.decoders import decoder_golden


def golden(make, variant, about, config, lengths, prompts, seed):
    base = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 59, "hidden_size": 24, "intermediate_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 10, "max_position_embeddings": 128,
            "eos_token_id": 2}
    return decoder_golden(make, variant, about, {**base, **config}, lengths, prompts, seed, trunk=lambda model: model.model,
                          embeddings=lambda trunk: trunk.embed_tokens, layers=lambda trunk: trunk.layers, norm=lambda trunk: trunk.norm)


def goldens(make):
    yield golden(make, "tied", "words tied, as the small published ones", {"tie_word_embeddings": True, "rope_theta": 1000000.0}, [10, 7],
                 [6, 2, 4], 81)
    yield golden(make, "windows", "a window in the upper layers, a head of its own, biases", {
        "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1, "num_hidden_layers": 3, "hidden_size": 20,
        "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-4, "head_dim": 16, "attention_bias": True,
        "vocab_size": 73}, [11, 14], [8, 5], 82)
