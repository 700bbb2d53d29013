"""Qwen2-VL: names of stages are "vision.embeddings", "vision.layers.<i>", "pictures", "language.layers.<i>", "language.norm".

Patches are stored row by row, each once and as [y,x,colour]; the reference gets each twice, colours apart, in the order of its squares.
"""

import torch
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from golden.inputs import text_inputs
from golden.picture_decoders import STEPS, joined, next_tokens, picture_decoder_golden

IMAGE = 4  # the token that stands for a picture's vectors; words begin at 5


def as_in_files(name: str) -> str:
    for old, new in (("model.visual.", "visual."), ("model.language_model.", "language_model.model."), ("lm_head.", "language_model.lm_head.")):
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def golden(make, variant, about, config, vision, text, lengths, pictures, prompts, prompt_pictures, seed):
    """`pictures`: for each row where its pictures begin and their rows and columns of patches, [(start, R, C), ...]; lengths and prompts count
    no image tokens, and places count from the end of the picture before."""
    text = {"vocab_size": 59, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1,
            "max_position_embeddings": 160, "bos_token_id": 1, "eos_token_id": 2, **text}
    vision = {"model_type": "qwen2_vl_vision", "embed_dim": 16, "num_heads": 2, "depth": 2, "hidden_size": text["hidden_size"], "mlp_ratio": 2, **vision}
    nested = config.pop("nested", True)
    config = {"architectures": ["Qwen2VLForConditionalGeneration"], "model_type": "qwen2_vl", "image_token_id": IMAGE, "video_token_id": 3,
              "vision_start_token_id": 58, "vision_end_token_id": 57, "vision_config": vision,
              **({"text_config": {"model_type": "qwen2_vl_text", **text}} if nested else text), **config}
    patch, square, frames = vision["patch_size"], vision.get("spatial_merge_size", 2), vision.get("temporal_patch_size", 2)

    def shapes_of(rows):
        return torch.tensor([[r, c] for row in rows for _, r, c in row])

    def ids_of(words, row):
        parts, at = [], 0
        for start, rows, columns in row:
            parts += [words[at:at + start], torch.full((rows * columns // square**2,), IMAGE)]
            at += start
        return torch.cat([*parts, words[at:]])

    def patches_of(rows, number):
        source = torch.Generator().manual_seed(number)
        return joined([torch.randn((1, r * c, patch * patch * 3), generator=source) for row in rows for _, r, c in row])

    def as_in_reference(patches, shapes):
        """[R,P,F] -> [sum of P, C T Y X]."""
        found = []
        for picture, (rows, columns) in zip(patches, shapes.tolist()):
            grid = picture[:rows * columns].reshape(rows // square, square, columns // square, square, patch, patch, 3)
            ordered = grid.permute(0, 2, 1, 3, 6, 4, 5).unsqueeze(5).expand(-1, -1, -1, -1, -1, frames, -1, -1)
            found.append(ordered.reshape(rows * columns, -1))
        return torch.cat(found)

    def arguments(given):
        shapes = given["shapes"]
        return {"pixel_values": as_in_reference(given["patches"], shapes), "image_grid_thw": torch.cat([torch.ones_like(shapes[:, :1]), shapes], 1)}

    def model_of():
        made = Qwen2VLConfig(**{key: value for key, value in config.items() if key not in ("architectures", "model_type")})
        for part in (made, made.text_config, made.vision_config):
            part._attn_implementation = "eager"
        return Qwen2VLForConditionalGeneration(made)

    def forward(model, given):
        shown = arguments(given)
        outputs = model(input_ids=given["ids"], attention_mask=given["mask"].long(), mm_token_type_ids=(given["ids"] == IMAGE).int(), **shown,
                        output_hidden_states=True)
        pictures = model.model.get_image_features(**shown).pooler_output
        return {"pictures": torch.cat(list(pictures))[None], "hidden": outputs.hidden_states[-1], "token_logits": outputs.logits}

    def stages_of(model):
        visual = model.model.visual
        found = {visual.patch_embed: "vision.embeddings", visual.merger: "pictures"}
        found.update({layer: f"vision.layers.{i}" for i, layer in enumerate(visual.blocks)})
        found.update({layer: f"language.layers.{i}" for i, layer in enumerate(model.model.language_model.layers)})
        found[model.model.language_model.norm] = "language.norm"
        return found

    def generate(model, ids, shown):
        return model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=(ids == IMAGE).int(), **arguments(shown),
                              max_new_tokens=STEPS, do_sample=False, eos_token_id=None, pad_token_id=0, output_logits=True, return_dict_in_generate=True)

    words = text_inputs(text["vocab_size"] - 2, lengths, seed)
    rows = [ids_of(row[:length], places) for row, length, places in zip(words["ids"], lengths, pictures)]
    longest = max(map(len, rows))
    ids = torch.stack([torch.nn.functional.pad(row, (0, longest - len(row))) for row in rows])
    inputs = {"ids": ids, "mask": torch.stack([torch.arange(longest) < len(row) for row in rows])}
    inputs["targets"] = next_tokens(ids, inputs["mask"])
    inputs["targets"][inputs["targets"] == IMAGE] = -100
    inputs["shapes"] = shapes_of(pictures)
    inputs["patches"] = patches_of(pictures, seed + 1000)
    source = torch.Generator().manual_seed(seed + 3)
    starts = [ids_of(torch.randint(5, text["vocab_size"] - 2, (n,), generator=source), row) for n, row in zip(prompts, prompt_pictures)]
    shown = [{"patches": patches_of([row], seed + 2000 + i), "shapes": shapes_of([row])} for i, row in enumerate(prompt_pictures)]
    tied = config.get("tie_word_embeddings", False)

    def with_names(**keys):
        return make(rename=as_in_files, **keys)

    return picture_decoder_golden(with_names, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed,
                                  drop=lambda name: tied and name == "lm_head.weight", never=IMAGE)


def goldens(make):
    yield golden(make, "base", "pictures of several sizes and proportions, two in a prompt; keys of the text in text_config", {}, {"patch_size": 4},
                 {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1000.0}},
                 [6, 8], [[(2, 4, 6)], [(5, 6, 2)]], [5, 7, 4], [[(2, 2, 2)], [(0, 4, 8)], [(1, 2, 6), (2, 6, 4)]], 77)
    yield golden(make, "flat", "keys of the text among all others, words tied, a window, GELU; squares of 3x3, one frame",
                 {"nested": False, "tie_word_embeddings": True},
                 {"patch_size": 3, "spatial_merge_size": 3, "temporal_patch_size": 1, "depth": 1, "embed_dim": 20, "num_heads": 1, "hidden_act": "gelu"},
                 {"hidden_size": 16, "num_attention_heads": 2, "vocab_size": 49, "rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1]},
                  "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1, "rms_norm_eps": 1e-6},
                 [7, 5], [[(0, 3, 6)], [(4, 6, 6)]], [6, 9], [[(1, 6, 3), (2, 3, 3)], [(3, 9, 3)]], 78)
