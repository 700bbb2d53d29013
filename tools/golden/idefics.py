"""IDEFICS: names of stages are "vision.embeddings", "vision.layers.<i>", "pictures" (with a resampler), "gated.<i>", "layers.<i>", "norm".

pixels are the pictures of all rows, row by row; each token of the prompt sees the last picture whose token stands before it,
and none after an end of text: continuations hold none, as a prompt that is read anew would differ from one that was continued.
"""

from types import SimpleNamespace

import torch
from transformers import IdeficsConfig, IdeficsForVisionText2Text
from transformers.models.idefics import modeling_idefics
from transformers.models.idefics.processing_idefics import image_attention_mask_for_packed_input_ids, incremental_to_binary_attention_mask

from golden.decoders import positions
from golden.inputs import text_inputs
from golden.picture_decoders import STEPS, next_tokens, picture_decoder_golden
from golden.two_tower import pixels

END = 2

# The reference hides pictures with the smallest number of the type and takes the softmax in float32, where that of float64 is -inf: for tokens that
# see nothing 0/0, whose gradient the gate does not stop. A number that both types have is as good.
attend = modeling_idefics.eager_attention_forward
modeling_idefics.eager_attention_forward = lambda module, query, key, value, attention_mask, **options: attend(
    module, query, key, value, None if attention_mask is None else attention_mask.clamp(min=-1e30), **options)


def golden(make, variant, about, config, vision, perceiver, lengths, places, prompts, prompt_places, ends, seed):
    """`places`: for each row where its pictures' tokens stand, as many in every row; `ends`: for each row where an end of text stands."""
    config = {"architectures": ["IdeficsForVisionText2Text"], "model_type": "idefics", "vocab_size": 51, "additional_vocab_size": 2, "hidden_size": 24,
              "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 3, "max_position_embeddings": 96, "bos_token_id": 1, "eos_token_id": END,
              "pad_token_id": 0, "freeze_text_layers": False, "freeze_vision_layers": False, "vision_config": vision, "perceiver_config": perceiver, **config}
    size, image = vision["image_size"], config["vocab_size"] + 1
    tokenizer = SimpleNamespace(convert_tokens_to_ids=lambda _: image, eos_token_id=END)

    def seen(ids, count):
        """bool [B,T,count]: which picture each token sees, as the processor says."""
        last, _ = image_attention_mask_for_packed_input_ids(ids, tokenizer, "pt")
        return incremental_to_binary_attention_mask(last, "pt", num_classes=count)

    def with_pictures(ids, at):
        ids = ids.clone()
        ids[at] = image
        return ids

    def model_of():
        made = IdeficsConfig(**{key: value for key, value in config.items() if key not in ("architectures", "model_type")})
        made._attn_implementation = made.vision_config._attn_implementation = "eager"
        return IdeficsForVisionText2Text(made)

    def pictures_of(model, given):
        found = model.model.vision_model(pixel_values=given).last_hidden_state
        return model.model.perceiver_resampler(found) if config.get("use_resampler") else found

    def forward(model, given):
        count = len(given["pixels"]) // len(given["ids"])
        outputs = model(input_ids=given["ids"], attention_mask=given["mask"].long(), position_ids=positions(given["mask"]),
                        pixel_values=given["pixels"].unflatten(0, (-1, count)), image_attention_mask=seen(given["ids"], count), output_hidden_states=True)
        return {"pictures": pictures_of(model, given["pixels"]), "hidden": outputs.hidden_states[-1], "token_logits": outputs.logits}

    def stages_of(model):
        found = {model.model.vision_model.embeddings: "vision.embeddings"}
        found.update({layer: f"vision.layers.{i}" for i, layer in enumerate(model.model.vision_model.encoder.layers)})
        if config.get("use_resampler"):
            found[model.model.perceiver_resampler] = "pictures"
        found.update({layer: f"gated.{i}" for i, layer in enumerate(model.model.gated_cross_attn_layers)})
        found.update({layer: f"layers.{i}" for i, layer in enumerate(model.model.layers)})
        found[model.model.norm] = "norm"
        return found

    def generate(model, ids, shown):
        return model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=shown[None], image_attention_mask=seen(ids, len(shown)),
                              max_new_tokens=STEPS, do_sample=False, eos_token_id=None, pad_token_id=0, output_logits=True, return_dict_in_generate=True)

    inputs = text_inputs(config["vocab_size"], lengths, seed)
    inputs["ids"] = torch.stack([with_pictures(row, at) for row, at in zip(inputs["ids"], places)])
    for row, at in zip(inputs["ids"], ends):
        row[at] = END
    inputs["targets"] = next_tokens(inputs["ids"], inputs["mask"])
    inputs["pixels"] = pixels((size, size), sum(map(len, places)), seed)
    source = torch.Generator().manual_seed(seed + 3)
    starts = [with_pictures(torch.randint(5, config["vocab_size"], (n,), generator=source), at) for n, at in zip(prompts, prompt_places)]
    shown = [pixels((size, size), len(at), seed + 7 + i) for i, at in enumerate(prompt_places)]
    tied = config.get("tie_word_embeddings", False)

    def drop(name):
        return "post_layernorm" in name or (tied and name.startswith("lm_head."))

    return picture_decoder_golden(make, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed, drop=drop, never=(image, END))


def goldens(make):
    yield golden(make, "resampler", "as published: a resampler, norms of queries and keys, gates of one number, a gated layer before every second; two pictures "
                 "in a row, an end of text between them",
                 {"use_resampler": True, "qk_layer_norms": True, "cross_layer_interval": 2, "alpha_type": "float", "additional_vocab_size": 3},
                 {"embed_dim": 16, "image_size": 8, "patch_size": 4, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2},
                 {"resampler_n_latents": 3, "resampler_depth": 2, "resampler_n_heads": 2, "resampler_head_dim": 6, "qk_layer_norms_perceiver": True},
                 [12, 9], [[2, 8], [0, 4]], [9, 6, 11], [[1], [0, 3, 4], [5, 8]], [[5], []], 81)
    yield golden(make, "plain", "the tower's own vectors, no norms of queries and keys, a gate for each element and layer, words tied",
                 {"alpha_type": "vector", "tie_word_embeddings": True, "hidden_size": 20, "num_attention_heads": 2, "vocab_size": 43, "hidden_act": "gelu",
                  "rms_norm_eps": 1e-5, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
                 {"embed_dim": 12, "image_size": 12, "patch_size": 6, "intermediate_size": 20, "num_hidden_layers": 1, "num_attention_heads": 3,
                  "hidden_act": "quick_gelu", "layer_norm_eps": 1e-6}, {},
                 [7, 10], [[3], [0]], [5, 8], [[0, 2], [7]], [[], [6]], 82)
