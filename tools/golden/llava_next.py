"""LLaVA-NeXT: names of stages are "vision.layers.<i>" (as far as they are looked at), "pictures" (of each tile), "language.layers.<i>",
"language.norm"."""

import torch
from transformers import AutoConfig, LlavaNextConfig, LlavaNextForConditionalGeneration
from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor

from golden.decoders import positions
from golden.inputs import text_inputs
from golden.llava import as_in_files as as_in_llava
from golden.picture_decoders import STEPS, next_tokens, picture_decoder_golden
from golden.two_tower import pixels, tower

IMAGE = 4  # the token that stands for a picture's vectors; words begin at 5


def as_in_files(name: str) -> str:
    return as_in_llava(name.removeprefix("model.") if name == "model.image_newline" else name)


def with_pictures(ids: torch.Tensor, places: list) -> torch.Tensor:
    """`ids` [T] with image tokens at `places`, pairs of a start and a count."""
    ids = ids.clone()
    for start, count in places:
        ids[start:start + count] = IMAGE
    return ids


def golden(make, variant, about, config, vision, text, lengths, pictures, prompts, prompt_pictures, seed):
    """`pictures`: for each row where its pictures begin and their heights and widths, [(start, Y, X), ...]; lengths and prompts count no
    image tokens, and places count from the end of the picture before."""
    text = {"vocab_size": 59, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 3,
            "max_position_embeddings": 160, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False, **text}
    config = {"architectures": ["LlavaNextForConditionalGeneration"], "model_type": "llava_next", "image_token_index": IMAGE, "text_config": text,
              "vision_config": {"model_type": "clip_vision_model", **vision}, **config}
    size, patch = vision["image_size"], vision["patch_size"]
    layers, asked = vision["num_hidden_layers"], config.get("vision_feature_layer", -2)
    seen = max(layer + layers + 1 if layer < 0 else layer for layer in (asked if isinstance(asked, list) else [asked]))

    def tiles_of(height, width):
        return get_anyres_image_grid_shape((height, width), config["image_grid_pinpoints"], size)

    def count_of(height, width):
        rows, columns = tiles_of(height, width)
        side = size // patch
        return side * side + sum(LlavaNextProcessor._get_unpadded_features(None, height, width, side, side, rows, columns))

    def shapes_of(rows):
        found = [(tiles_of(y, x), y, x) for row in rows for _, y, x in row]
        return torch.tensor([[1 + r * c, r, c, y, x] for (r, c), y, x in found])

    def ids_of(words, row):
        """`words` [T] with the row's pictures put in."""
        parts, at = [], 0
        for start, height, width in row:
            parts += [words[at:at + start], torch.full((count_of(height, width),), IMAGE)]
            at += start
        return torch.cat([*parts, words[at:]])

    def model_of():
        parts = {key: AutoConfig.for_model(**config[key]) for key in ("text_config", "vision_config")}
        for part in parts.values():
            part._attn_implementation = "eager"
        made = LlavaNextConfig(**{key: value for key, value in config.items()
                                  if key not in ("architectures", "model_type", "text_config", "vision_config")}, **parts)
        made._attn_implementation = "eager"
        return LlavaNextForConditionalGeneration(made)

    def forward(model, given):
        sizes = given["tile_shapes"][:, 3:]
        outputs = model(input_ids=given["ids"], attention_mask=given["mask"].long(), position_ids=positions(given["mask"]), pixel_values=given["pixels"],
                        image_sizes=sizes, output_hidden_states=True)
        shown = model.model.get_image_features(given["pixels"], sizes, vision_feature_layer=asked, vision_feature_select_strategy="default").pooler_output
        return {"pictures": torch.cat(list(shown))[None], "hidden": outputs.hidden_states[-1], "token_logits": outputs.logits}

    def stages_of(model):
        vision_model = getattr(model.model.vision_tower, "vision_model", model.model.vision_tower)
        found = {layer: f"vision.layers.{i}" for i, layer in enumerate(vision_model.encoder.layers) if i < seen}
        found[model.model.multi_modal_projector] = "pictures"
        found.update({layer: f"language.layers.{i}" for i, layer in enumerate(model.model.language_model.layers)})
        found[model.model.language_model.norm] = "language.norm"
        return found

    def generate(model, ids, shown):
        return model.generate(input_ids=ids, pixel_values=shown["pixels"], image_sizes=shown["tile_shapes"][:, 3:], max_new_tokens=STEPS, do_sample=False,
                              eos_token_id=None, pad_token_id=0, output_logits=True, return_dict_in_generate=True)

    words = text_inputs(text["vocab_size"], lengths, seed)
    rows = [ids_of(row[:length], places) for row, length, places in zip(words["ids"], lengths, pictures)]
    longest = max(map(len, rows))
    ids = torch.stack([torch.nn.functional.pad(row, (0, longest - len(row))) for row in rows])
    inputs = {"ids": ids, "mask": torch.stack([torch.arange(longest) < len(row) for row in rows])}
    inputs["targets"] = next_tokens(ids, inputs["mask"])
    inputs["targets"][inputs["targets"] == IMAGE] = -100
    inputs["tile_shapes"] = shapes_of(pictures)
    inputs["pixels"] = pixels((size, size), int(inputs["tile_shapes"][:, 0].sum()), seed)
    source = torch.Generator().manual_seed(seed + 3)
    starts = [ids_of(torch.randint(5, text["vocab_size"], (n,), generator=source), row) for n, row in zip(prompts, prompt_pictures)]
    shown = [{"pixels": pixels((size, size), int(shapes_of([row])[:, 0].sum()), seed + 7 + i), "tile_shapes": shapes_of([row])}
             for i, row in enumerate(prompt_pictures)]
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
    yield golden(make, "mistral", "LLaVA 1.6: the last block but one of CLIP; Mistral; borders above, beside and none",
                 {"image_grid_pinpoints": [[8, 16], [16, 8], [16, 16]]}, tower(16, 2, 24, image_size=8, patch_size=4),
                 {"model_type": "mistral", "num_key_value_heads": 1, "sliding_window": None}, [5, 7], [[(2, 30, 50)], [(4, 90, 33)]],
                 [4, 6, 5], [[(1, 16, 16)], [(0, 20, 61)], [(2, 7, 9), (2, 40, 21)]], 73)
    yield golden(make, "qwen2", "two layers of the tower, no biases in the projector, words tied; Qwen 2; a border of an odd number of patches",
                 {"image_grid_pinpoints": [[12, 24], [24, 12], [36, 12], [12, 36]], "vision_feature_layer": [-1, 1], "multimodal_projector_bias": False, "tie_word_embeddings": True,
                  "projector_hidden_act": "gelu_pytorch_tanh"},
                 tower(20, 2, 28, image_size=12, patch_size=4, hidden_act="gelu"),
                 {"model_type": "qwen2", "num_key_value_heads": 1, "hidden_size": 20, "num_attention_heads": 2, "tie_word_embeddings": True,
                  "vocab_size": 47}, [6, 4], [[(3, 11, 10)], [(0, 300, 101)]], [7, 5], [[(1, 12, 50), (2, 100, 99)], [(3, 64, 80)]], 74)
