"""Gemma 3's decoder: names of stages are "embeddings", "layers.<i>", "norm"."""

from golden.decoders import decoder_golden


def golden(make, variant, about, config, lengths, prompts, seed):
    base = {"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "vocab_size": 61, "hidden_size": 16,
            "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 12,
            "max_position_embeddings": 128, "query_pre_attn_scalar": 10, "sliding_window": 4}
    return decoder_golden(make, variant, about, {**base, **config}, lengths, prompts, seed, trunk=lambda model: model.model,
                          embeddings=lambda trunk: trunk.embed_tokens, layers=lambda trunk: trunk.layers, norm=lambda trunk: trunk.norm)


def goldens(make):
    yield golden(make, "pattern", "every second layer full, the keys of the published configurations", {
        "sliding_window_pattern": 2, "rope_theta": 1000.0, "rope_local_base_freq": 20.0,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0}}, [12, 10], [7, 3, 5], 61)
    yield golden(make, "types", "kinds of layers by name, a head of its own, biases, capped logits", {
        "layer_types": ["full_attention", "sliding_attention"], "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "attention_bias": True, "tie_word_embeddings": False, "final_logit_softcapping": 5.0,
        "sliding_window": 6, "rms_norm_eps": 1e-3, "hidden_activation": "silu", "hidden_size": 20,
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 300.0},
                            "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}}}, [9, 13, 8], [4, 9], 62)
