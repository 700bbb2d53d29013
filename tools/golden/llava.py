"""LLaVA: names of stages are "vision.layers.<i>" (as far as they are looked at), "pictures", "language.layers.<i>", "language.norm"."""

import torch
from transformers import AutoConfig, LlavaConfig, LlavaForConditionalGeneration

from golden.decoders import positions
from golden.inputs import text_inputs
from golden.picture_decoders import STEPS, next_tokens, picture_decoder_golden
from golden.two_tower import pixels, tower

IMAGE = 4  # the token that stands for a picture's vectors; words begin at 5


def with_pictures(ids: torch.Tensor, starts: list, count: int) -> torch.Tensor:
    """`ids` [T] with `count` image tokens from each place of `starts` on."""
    ids = ids.clone()
    for start in starts:
        ids[start:start + count] = IMAGE
    return ids


def as_in_files(name: str) -> str:
    for old, new in (("model.vision_tower.", "vision_tower.vision_model."), ("model.multi_modal_projector.", "multi_modal_projector."),
                     ("model.language_model.", "language_model.model."), ("lm_head.", "language_model.lm_head.")):
        if name.startswith(old):
            return (new + name.removeprefix(old)).replace("vision_model.vision_model.", "vision_model.")
    return name


def golden(make, variant, about, config, vision, text, lengths, places, prompts, prompt_places, seed):
    """`places`: for each row where its pictures begin."""
    text = {"vocab_size": 59, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 3,
            "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False, **text}
    config = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "image_token_index": IMAGE, "text_config": text,
              "vision_config": {"model_type": "clip_vision_model", **vision}, **config}
    size = (vision["image_size"],) * 2
    count = (vision["image_size"] // vision["patch_size"]) ** 2 + (config.get("vision_feature_select_strategy") == "full")
    layers = vision["num_hidden_layers"]
    asked = config.get("vision_feature_layer", -2)
    seen = max(layer + layers + 1 if layer < 0 else layer for layer in (asked if isinstance(asked, list) else [asked]))

    def model_of():
        parts = {key: AutoConfig.for_model(**config[key]) for key in ("text_config", "vision_config")}
        for part in parts.values():
            part._attn_implementation = "eager"
        made = LlavaConfig(**{key: value for key, value in config.items() if key not in ("architectures", "model_type", "text_config", "vision_config")},
                           **parts)
        made._attn_implementation = "eager"
        return LlavaForConditionalGeneration(made)

    def forward(model, given):
        text = given["mask"].long()
        outputs = model(input_ids=given["ids"], attention_mask=text, position_ids=positions(given["mask"]), pixel_values=given["pixels"],
                        output_hidden_states=True)
        pictures = torch.stack(list(model.model.get_image_features(given["pixels"], vision_feature_layer=asked, vision_feature_select_strategy=config.get(
            "vision_feature_select_strategy", "default")).pooler_output))
        return {"pictures": pictures, "hidden": outputs.hidden_states[-1], "token_logits": outputs.logits}

    def stages_of(model):
        vision_model = getattr(model.model.vision_tower, "vision_model", model.model.vision_tower)
        found = {layer: f"vision.layers.{i}" for i, layer in enumerate(vision_model.encoder.layers) if i < seen}
        found[model.model.multi_modal_projector] = "pictures"
        found.update({layer: f"language.layers.{i}" for i, layer in enumerate(model.model.language_model.layers)})
        found[model.model.language_model.norm] = "language.norm"
        return found

    def generate(model, ids, pictures):
        return model.generate(input_ids=ids, pixel_values=pictures, max_new_tokens=STEPS, do_sample=False, eos_token_id=None, pad_token_id=0,
                              suppress_tokens=[], output_logits=True, return_dict_in_generate=True)

    inputs = text_inputs(text["vocab_size"], lengths, seed)
    inputs["ids"] = torch.stack([with_pictures(row, starts, count) for row, starts in zip(inputs["ids"], places)])
    inputs["targets"] = next_tokens(inputs["ids"], inputs["mask"])
    inputs["targets"][inputs["targets"] == IMAGE] = -100
    inputs["pixels"] = pixels(size, sum(len(starts) for starts in places), seed)
    source = torch.Generator().manual_seed(seed + 3)
    starts = [with_pictures(torch.randint(5, text["vocab_size"], (n,), generator=source), at, count) for n, at in zip(prompts, prompt_places)]
    shown = list(pixels(size, sum(len(at) for at in prompt_places), seed + 7).split([len(at) for at in prompt_places]))
    tied = text["tie_word_embeddings"]

    def drop(name):
        place = as_in_files(name)
        if place.startswith("vision_tower.vision_model.encoder.layers."):
            return int(place.split(".")[4]) >= seen
        return "post_layernorm" in place or "position_ids" in place or (tied and name == "lm_head.weight")

    def with_names(**keys):
        return make(rename=as_in_files, **keys)

    return picture_decoder_golden(with_names, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed, drop=drop,
                                  never=IMAGE)


def goldens(make):
    yield golden(make, "llama", "LLaVA 1.5: the last block but one of CLIP, without the class token; LLaMA", {}, tower(16, 2, 24, image_size=16, patch_size=8),
                 {"model_type": "llama"}, [12, 9], [[2], [4]], [8, 6, 11], [[1], [0], [6]], 71)
    yield golden(make, "qwen2", "two layers of the tower, the class token with them, two pictures in a prompt; Qwen 2, words tied",
                 {"vision_feature_layer": [-1, 1], "vision_feature_select_strategy": "full", "multimodal_projector_bias": False,
                  "projector_hidden_act": "gelu_pytorch_tanh"},
                 tower(20, 2, 28, image_size=12, patch_size=6, hidden_act="gelu"),
                 {"model_type": "qwen2", "num_key_value_heads": 1, "hidden_size": 20, "num_attention_heads": 2, "tie_word_embeddings": True,
                  "vocab_size": 47}, [13, 16], [[3], [0]], [15, 9], [[1, 8], [3]], 72)
