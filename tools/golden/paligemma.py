"""PaliGemma: names of stages are "vision.embeddings", "vision.layers.<i>", "pictures", "language.layers.<i>", "language.norm". All tokens of a row
are its prefix, which sees itself; what generate() adds is not."""

import torch
from transformers import AutoConfig, PaliGemmaConfig, PaliGemmaForConditionalGeneration

from golden.decoders import positions
from golden.inputs import text_inputs
from golden.llava import as_in_files, with_pictures
from golden.picture_decoders import STEPS, next_tokens, picture_decoder_golden
from golden.two_tower import pixels, tower


def golden(make, variant, about, image, vision, text, lengths, places, prompts, prompt_places, seed):
    """`image`: the token that stands for a picture's vectors; `places`: for each row where its pictures begin."""
    text = {"model_type": "gemma", "vocab_size": 59, "hidden_size": 20, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 3,
            "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 128, "tie_word_embeddings": True, **text}
    config = {"architectures": ["PaliGemmaForConditionalGeneration"], "model_type": "paligemma", "image_token_index": image,
              "projection_dim": text["hidden_size"], "hidden_size": text["hidden_size"], "text_config": text, "bos_token_id": 2, "eos_token_id": 1,
              "pad_token_id": 0, "vision_config": {"model_type": "siglip_vision_model", "vision_use_head": False, **vision}}
    size = (vision["image_size"],) * 2
    count = (vision["image_size"] // vision["patch_size"]) ** 2
    tied = text["tie_word_embeddings"]

    def model_of():
        parts = {key: AutoConfig.for_model(**config[key]) for key in ("text_config", "vision_config")}
        made = PaliGemmaConfig(image_token_index=image, projection_dim=text["hidden_size"], hidden_size=text["hidden_size"], tie_word_embeddings=tied, **parts)
        for one in (made, made.text_config, made.vision_config):
            one._attn_implementation = "eager"
        model = PaliGemmaForConditionalGeneration(made)
        assert tied == (model.lm_head.weight is model.model.language_model.embed_tokens.weight)
        return model

    def forward(model, given):
        outputs = model(input_ids=given["ids"], attention_mask=given["mask"].long(), position_ids=positions(given["mask"]) + 1,
                        token_type_ids=torch.zeros_like(given["ids"]), pixel_values=given["pixels"], output_hidden_states=True)
        seen = model.model.get_image_features(given["pixels"]).pooler_output
        return {"pictures": seen, "hidden": outputs.hidden_states[-1], "token_logits": outputs.logits}

    def stages_of(model):
        seen = getattr(model.model.vision_tower, "vision_model", model.model.vision_tower)
        found = {seen.embeddings: "vision.embeddings", **{layer: f"vision.layers.{i}" for i, layer in enumerate(seen.encoder.layers)}}
        found[model.model.multi_modal_projector] = "pictures"
        found.update({layer: f"language.layers.{i}" for i, layer in enumerate(model.model.language_model.layers)})
        found[model.model.language_model.norm] = "language.norm"
        return found

    def generate(model, ids, pictures):
        return model.generate(input_ids=ids, pixel_values=pictures, token_type_ids=torch.zeros_like(ids), max_new_tokens=STEPS, do_sample=False,
                              eos_token_id=None, pad_token_id=0, output_logits=True, return_dict_in_generate=True)

    def marked(ids, starts):
        return torch.where(with_pictures(ids, starts, count) == 4, image, ids)

    inputs = text_inputs(text["vocab_size"] - 1, lengths, seed)
    inputs["ids"] = torch.stack([marked(row, starts) for row, starts in zip(inputs["ids"], places)])
    inputs["targets"] = next_tokens(inputs["ids"], inputs["mask"])
    inputs["targets"][inputs["targets"] == image] = -100
    inputs["pixels"] = pixels(size, sum(len(starts) for starts in places), seed)
    source = torch.Generator().manual_seed(seed + 3)
    starts = [marked(torch.randint(5, text["vocab_size"] - 1, (n,), generator=source), at) for n, at in zip(prompts, prompt_places)]
    shown = list(pixels(size, sum(len(at) for at in prompt_places), seed + 7).split([len(at) for at in prompt_places]))

    def with_names(**keys):
        return make(rename=as_in_files, **keys)

    return picture_decoder_golden(with_names, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed,
                                  drop=lambda name: "position_ids" in name or (tied and name == "lm_head.weight"), never=image)


def goldens(make):
    yield golden(make, "base", "as published: words tied, a token for pictures among the words", 58, tower(16, 2, 24, image_size=16, patch_size=8), {},
                 [12, 9], [[0], [0]], [8, 6, 11], [[0], [0], [0]], 151)
    yield golden(make, "wide", "a head of its own, a token for pictures that is no word, two pictures in a prompt, other sizes and activations", 60,
                 tower(20, 4, 28, layers=1, image_size=12, patch_size=6, hidden_act="gelu", layer_norm_eps=1e-3),
                 {"num_key_value_heads": 2, "num_attention_heads": 4, "hidden_size": 16, "tie_word_embeddings": False, "hidden_act": "silu",
                  "vocab_size": 47, "rope_theta": 300.0}, [11, 14], [[0], [2]], [13, 9], [[0, 6], [1]], 152)
