"""BLIP-2: names of stages are "vision.embeddings", "vision.layers.<i>", "qformer.layers.<i>", "pictures", and those of the language model after
"language.". With OPT the reference wants the tokens that stand for a picture before the text; here `input.ids` is the text alone and the outputs count
the picture's vectors. With T5 `input.ids` and `generate.ids` are the encoder's text, `input.decoder_ids` the decoder's."""

import torch
from transformers import AutoConfig, Blip2Config, Blip2ForConditionalGeneration, Blip2QFormerConfig, Blip2VisionConfig

from golden.decoders import positions
from golden.inputs import text_inputs
from golden.picture_decoders import STEPS, next_tokens, picture_decoder_golden
from golden.two_tower import pixels, tower

IMAGE = 4  # the token that stands for a picture's vectors; words begin at 5


def parts(vision, qformer, text, queries, tied):
    """(the text of config.json, a function that makes the model)"""
    qformer = {"hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 28, **qformer}
    config = {"architectures": ["Blip2ForConditionalGeneration"], "model_type": "blip-2", "num_query_tokens": queries, "image_token_index": IMAGE,
              "vision_config": vision, "qformer_config": qformer, "text_config": text}

    def model_of():
        made = Blip2Config(vision_config=Blip2VisionConfig(**vision), qformer_config=Blip2QFormerConfig(**qformer),
                           text_config=AutoConfig.for_model(**text), num_query_tokens=queries, image_token_index=IMAGE)
        for one in (made, made.vision_config, made.qformer_config, made.text_config):
            one._attn_implementation = "eager"
        model = Blip2ForConditionalGeneration(made)
        language = model.language_model
        language.generation_config.eos_token_id = None
        if not tied and language.lm_head.weight is language.get_input_embeddings().weight:  # this version ties T5's head whatever the configuration says
            language.lm_head.weight = torch.nn.Parameter(language.lm_head.weight.detach().clone())
        assert tied == (language.lm_head.weight is language.get_input_embeddings().weight)
        return model

    return config, model_of


def stages_of(model):
    found = {model.vision_model.embeddings: "vision.embeddings", model.language_projection: "pictures"}
    found.update({layer: f"vision.layers.{i}" for i, layer in enumerate(model.vision_model.encoder.layers)})
    found.update({layer: f"qformer.layers.{i}" for i, layer in enumerate(model.qformer.encoder.layer)})
    language = model.language_model
    if hasattr(language, "encoder"):
        found.update({block: f"language.encoder.{i}" for i, block in enumerate(language.encoder.block)})
        found.update({block: f"language.decoder.{i}" for i, block in enumerate(language.decoder.block)})
    else:
        found.update({layer: f"language.layers.{i}" for i, layer in enumerate(language.model.decoder.layers)})
    return found


def with_pictures(ids, count):
    return torch.cat([torch.full((len(ids), count), IMAGE), ids], 1)


def dropped(tied):
    return lambda name: "position_ids" in name or name.endswith(("encoder.embed_tokens.weight", "language_model.decoder.embed_tokens.weight")) or (
        tied and name == "language_model.lm_head.weight")


def prompts_of(words, prompts, size, seed, begin=()):
    source = torch.Generator().manual_seed(seed + 3)
    starts = [torch.cat([torch.tensor(begin, dtype=torch.int64), torch.randint(5, words, (n - len(begin),), generator=source)]) for n in prompts]
    return starts, list(pixels(size, len(prompts), seed + 7).split(1))


def opt(make, variant, about, vision, qformer, text, queries, lengths, prompts, seed):
    text = {"model_type": "opt", "vocab_size": 53, "hidden_size": 24, "num_hidden_layers": 2, "ffn_dim": 32, "num_attention_heads": 4,
            "max_position_embeddings": 64, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, **text}
    tied, size = text.get("tie_word_embeddings", True), (vision["image_size"],) * 2
    config, model_of = parts(vision, qformer, text, queries, tied)

    def forward(model, given):
        mask = torch.cat([torch.ones(len(given["ids"]), queries, dtype=torch.bool), given["mask"]], 1)
        outputs = model(pixel_values=given["pixels"], input_ids=with_pictures(given["ids"], queries), attention_mask=mask.long(), position_ids=positions(mask),
                        output_hidden_states=True)
        return {"pictures": model.get_image_features(given["pixels"]).pooler_output, "hidden": outputs.language_model_outputs.hidden_states[-1],
                "token_logits": outputs.logits}

    def generate(model, ids, pictures):
        return model.generate(pixel_values=pictures, input_ids=with_pictures(ids, queries), max_new_tokens=STEPS, do_sample=False, output_logits=True,
                              return_dict_in_generate=True)

    inputs = text_inputs(text["vocab_size"], lengths, seed)
    inputs["ids"][:, 0] = 2
    inputs["targets"] = torch.cat([torch.full((len(lengths), queries), -100), next_tokens(inputs["ids"], inputs["mask"])], 1)
    inputs["pixels"] = pixels(size, len(lengths), seed)
    starts, shown = prompts_of(text["vocab_size"], prompts, size, seed, begin=[2])
    return picture_decoder_golden(make, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed, drop=dropped(tied))


def t5(make, variant, about, vision, qformer, text, queries, lengths, answers, prompts, seed):
    text = {"model_type": "t5", "vocab_size": 47, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 1, "num_heads": 2, "relative_attention_num_buckets": 8,
            "relative_attention_max_distance": 20, "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, **text}
    tied, size = text.get("tie_word_embeddings", True), (vision["image_size"],) * 2
    config, model_of = parts(vision, qformer, text, queries, tied)

    def forward(model, given):
        mask = torch.cat([torch.ones(len(given["ids"]), queries, dtype=torch.bool), given["mask"]], 1)
        outputs = model(pixel_values=given["pixels"], input_ids=with_pictures(given["ids"], queries), attention_mask=mask.long(),
                        decoder_input_ids=given["decoder_ids"], decoder_attention_mask=given["decoder_mask"].long(), output_hidden_states=True)
        language = outputs.language_model_outputs
        return {"pictures": model.get_image_features(given["pixels"]).pooler_output, "text_tokens": language.encoder_last_hidden_state,
                "hidden": language.decoder_hidden_states[-1], "token_logits": outputs.logits}

    def generate(model, ids, pictures):
        return model.generate(pixel_values=pictures, input_ids=with_pictures(ids, queries), max_new_tokens=STEPS, do_sample=False, output_logits=True,
                              return_dict_in_generate=True)

    inputs = text_inputs(text["vocab_size"], lengths, seed)
    said = text_inputs(text["vocab_size"], answers, seed + 1)
    inputs["targets"] = torch.where(said["mask"], said["ids"], -100)
    inputs["decoder_ids"] = torch.cat([torch.zeros_like(said["ids"][:, :1]), said["ids"][:, :-1]], 1)
    inputs["decoder_mask"] = said["mask"]
    inputs["pixels"] = pixels(size, len(lengths), seed)
    starts, shown = prompts_of(text["vocab_size"], prompts, size, seed)
    return picture_decoder_golden(make, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed, drop=dropped(tied))


def goldens(make):
    yield opt(make, "opt", "OPT, words tied", tower(16, 2, 24, layers=1, image_size=16, patch_size=8), {}, {}, 3, [7, 5], [1, 4, 2], 161)
    yield opt(make, "opt_wide", "OPT with a head of its own; every layer of the Q-Former looks, no bias for q k v of the tower, other sizes",
              tower(20, 4, 20, layers=2, image_size=12, patch_size=4, qkv_bias=False, hidden_act="gelu_new", layer_norm_eps=1e-3),
              {"hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 1, "cross_attention_frequency": 1, "hidden_act": "relu", "layer_norm_eps": 1e-5},
              {"hidden_size": 20, "num_attention_heads": 2, "num_hidden_layers": 1, "tie_word_embeddings": False, "vocab_size": 41}, 5, [4, 8, 6], [3, 1], 162)
    yield t5(make, "t5", "T5, gated, a head of its own", tower(16, 2, 24, layers=1, image_size=16, patch_size=8), {"num_hidden_layers": 2},
             {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, 3, [7, 5], [5, 3], [4, 7, 2], 163)
    yield t5(make, "t5_first", "T5 as it was first: ReLU, words tied; a deeper Q-Former", tower(12, 3, 16, layers=1, image_size=12, patch_size=4),
             {"hidden_size": 12, "num_hidden_layers": 3, "intermediate_size": 20, "hidden_act": "gelu_new"}, {"d_model": 20, "num_heads": 3, "vocab_size": 53}, 4,
             [5, 9, 6], [4, 7, 2], [3, 6], 165)
