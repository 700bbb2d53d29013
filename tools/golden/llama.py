"""LLaMA and Mistral: names of stages are "embeddings", "layers.<i>", "norm"."""

from golden.decoders import decoder_golden


def golden(make, variant, about, config, lengths, prompts, seed):
    base = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 67, "hidden_size": 24, "intermediate_size": 40,
            "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2}
    return decoder_golden(make, variant, about, {**base, **config}, lengths, prompts, seed, trunk=lambda model: model.model,
                          embeddings=lambda trunk: trunk.embed_tokens, layers=lambda trunk: trunk.layers, norm=lambda trunk: trunk.norm)


def goldens(make):
    yield golden(make, "plain", "LLaMA 1: as many key heads as query heads, head of its own", {}, [9, 6, 12], [3, 7, 5], 41)
    yield golden(make, "llama3", "grouped heads, llama3 positions in the old keys, words tied, biases, three end tokens",
                 {"num_key_value_heads": 2, "head_dim": 8, "hidden_size": 20, "rope_theta": 500.0,
                  "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                   "original_max_position_embeddings": 32}, "tie_word_embeddings": True, "attention_bias": True,
                  "mlp_bias": True, "rms_norm_eps": 1e-3, "eos_token_id": [2, 3, 4], "vocab_size": 83, "hidden_act": "gelu_new"},
                 [11, 4], [6, 2], 42)
    yield golden(make, "yarn", "yarn positions in the new keys, one key head, SmolLM's tied words",
                 {"num_key_value_heads": 1, "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                                                                "original_max_position_embeddings": 32},
                  "tie_word_embeddings": True, "hidden_size": 32, "num_hidden_layers": 3, "intermediate_size": 24}, [10, 13], [8, 4, 1],
                 43)
    yield golden(make, "mistral", "Mistral: a window of five tokens, linear positions",
                 {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 5,
                  "head_dim": 6, "rope_parameters": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 2.0}}, [12, 9], [9, 3], 44)
