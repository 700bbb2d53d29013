"""OPT: names of stages are "layers.<i>" and, where there is one, "norm"."""

from golden.decoders import decoder_golden


def golden(make, variant, about, config, lengths, prompts, seed):
    base = {"architectures": ["OPTForCausalLM"], "model_type": "opt", "vocab_size": 63, "hidden_size": 24, "num_hidden_layers": 2,
            "ffn_dim": 40, "num_attention_heads": 4, "max_position_embeddings": 64, "pad_token_id": 1, "bos_token_id": 2,
            "eos_token_id": 2}
    return decoder_golden(make, variant, about, {**base, **config}, lengths, prompts, seed, trunk=lambda model: model.model.decoder,
                          layers=lambda trunk: trunk.layers, norm=lambda trunk: trunk.final_layer_norm)


def goldens(make):
    yield golden(make, "small", "as published, smaller", {}, [11, 8], [5, 7, 2], 91)
    yield golden(make, "after", "as the one of 350 million: norms after each part, narrower words; a head of its own, no biases, GELU", {
        "do_layer_norm_before": False, "word_embed_proj_dim": 12, "hidden_size": 16, "num_attention_heads": 2, "enable_bias": False,
        "activation_function": "gelu", "tie_word_embeddings": False, "vocab_size": 57, "ffn_dim": 48}, [9, 12, 6], [4, 8], 92)
