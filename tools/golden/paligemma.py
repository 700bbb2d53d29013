"""PaliGemma: names of stages are "vision.layers.<i>", "pictures", "language.layers.<i>", "language.norm". The whole text of `input.ids` is a prompt:
its tokens see each other."""

import torch
from transformers import AutoConfig, PaliGemmaConfig, PaliGemmaForConditionalGeneration

from golden.decoders import positions
from golden.inputs import text_inputs
from golden.llava import IMAGE, as_in_files, with_pictures
from golden.picture_decoders import STEPS, next_tokens, picture_decoder_golden
from golden.two_tower import pixels, tower


def golden(make, variant, about, vision, text, lengths, places, prompts, prompt_places, seed):
    text = {"model_type": "gemma", "vocab_size": 47, "hidden_size": 20, "intermediate_size": 28, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": 10, "max_position_embeddings": 128, **text}
    vision = {"model_type": "siglip_vision_model", "vision_use_head": False, **vision}
    config = {"architectures": ["PaliGemmaForConditionalGeneration"], "model_type": "paligemma", "image_token_index": IMAGE, "text_config": text,
              "vision_config": vision, "projection_dim": text["hidden_size"], "hidden_size": text["hidden_size"]}
    size, count = (vision["image_size"],) * 2, (vision["image_size"] // vision["patch_size"]) ** 2

    def model_of():
        parts = {key: AutoConfig.for_model(**config[key]) for key in ("text_config", "vision_config")}
        made = PaliGemmaConfig(image_token_index=IMAGE, projection_dim=text["hidden_size"], hidden_size=text["hidden_size"], **parts)
        for one in (made, made.text_config, made.vision_config):
            one._attn_implementation = "eager"
        return PaliGemmaForConditionalGeneration(made)

    def forward(model, given):
        outputs = model(input_ids=given["ids"], attention_mask=given["mask"].long(), position_ids=positions(given["mask"]) + 1,
                        token_type_ids=torch.zeros_like(given["ids"]), pixel_values=given["pixels"], output_hidden_states=True)
        return {"pictures": model.model.get_image_features(given["pixels"]).pooler_output, "hidden": outputs.hidden_states[-1],
                "token_logits": outputs.logits}

    def stages_of(model):
        vision_model = getattr(model.model.vision_tower, "vision_model", model.model.vision_tower)
        found = {layer: f"vision.layers.{i}" for i, layer in enumerate(vision_model.encoder.layers)}
        found[model.model.multi_modal_projector] = "pictures"
        found.update({layer: f"language.layers.{i}" for i, layer in enumerate(model.model.language_model.layers)})
        found[model.model.language_model.norm] = "language.norm"
        return found

    def generate(model, ids, pictures):
        return model.generate(input_ids=ids, pixel_values=pictures, token_type_ids=torch.zeros_like(ids), attention_mask=torch.ones_like(ids),
                              max_new_tokens=STEPS, do_sample=False, eos_token_id=None, pad_token_id=0, output_logits=True, return_dict_in_generate=True)

    inputs = text_inputs(text["vocab_size"], lengths, seed)
    inputs["ids"] = torch.stack([with_pictures(row, starts, count) for row, starts in zip(inputs["ids"], places)])
    inputs["targets"] = next_tokens(inputs["ids"], inputs["mask"])
    inputs["targets"][inputs["targets"] == IMAGE] = -100
    inputs["pixels"] = pixels(size, sum(len(starts) for starts in places), seed)
    source = torch.Generator().manual_seed(seed + 3)
    starts = [with_pictures(torch.randint(5, text["vocab_size"], (n,), generator=source), at, count) for n, at in zip(prompts, prompt_places)]
    shown = list(pixels(size, sum(len(at) for at in prompt_places), seed + 7).split([len(at) for at in prompt_places]))

    def with_names(**keys):
        return make(rename=as_in_files, **keys)

    return picture_decoder_golden(with_names, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed,
                                  drop=lambda name: name == "lm_head.weight" or "position_ids" in name)


def goldens(make):
    yield golden(make, "one", "a picture before the words", tower(16, 2, 24, image_size=16, patch_size=8), {}, [11, 8], [[0], [0]], [8, 6, 11],
                 [[0], [0], [0]], 131)
    yield golden(make, "places", "pictures in other places, more of them", tower(20, 4, 16, layers=1, image_size=12, patch_size=6),
                 {"num_hidden_layers": 1, "head_dim": 6, "num_attention_heads": 3, "num_key_value_heads": 3, "hidden_size": 16}, [13, 9], [[3], [1]],
                 [14, 7], [[1, 8], [2]], 132)
