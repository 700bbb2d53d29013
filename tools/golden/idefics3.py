"""Idefics 3 and SmolVLM: names of stages are "vision.embeddings", "vision.layers.<i>", "connector", "language.layers.<i>", "language.norm"."""

import torch
import transformers

from golden.decoders import positions
from golden.inputs import text_inputs
from golden.picture_decoders import STEPS, next_tokens, picture_decoder_golden
from golden.two_tower import pixels, tower

IMAGE = 4  # the token that stands for a picture's vectors; words begin at 5
CLASSES = {"idefics3": "Idefics3", "smolvlm": "SmolVLM"}


def as_in_files(name: str) -> str:
    for old, new in (("model.vision_model.", "vision_model."), ("model.connector.", "connector."), ("model.text_model.", "text_model.model."),
                     ("lm_head.", "text_model.lm_head.")):
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def golden(make, variant, about, model_type, config, vision, text, lengths, pictures, prompts, prompt_pictures, seed):
    """`pictures`: for each row where its pictures begin and their rows and columns of tiles, [(start, R, C), ...]; lengths and prompts count
    no image tokens, and places count from the end of the picture before. What a processor puts between tiles is a word like others."""
    family = CLASSES[model_type]
    text = {"model_type": "llama", "vocab_size": 59, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 3,
            "max_position_embeddings": 160, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "rms_norm_eps": 1e-5, **text}
    config = {"architectures": [f"{family}ForConditionalGeneration"], "model_type": model_type, "image_token_id": IMAGE, "text_config": text,
              "vision_config": {"model_type": f"{model_type}_vision", **vision}, **config}
    size = vision["image_size"]
    count = (size // vision["patch_size"]) ** 2 // config.get("scale_factor", 2) ** 2

    def shapes_of(rows):
        return torch.tensor([[1 + r * c, r, c, size * max(1, r), size * max(1, c)] for row in rows for _, r, c in row])

    def ids_of(words, row):
        """`words` [T] with the row's pictures put in, a word before each tile."""
        parts, at = [], 0
        for start, rows, columns in row:
            parts.append(words[at:at + start])
            at += start
            for i in range(rows * columns + 1):
                parts.append(torch.tensor([5 + i] + [IMAGE] * count))
        return torch.cat([*parts, words[at:]])

    def model_of():
        values = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
        made = getattr(transformers, f"{family}Config")(**values)
        for part in (made, made.text_config, made.vision_config):
            part._attn_implementation = "eager"
        return getattr(transformers, f"{family}ForConditionalGeneration")(made)

    def forward(model, given):
        outputs = model(input_ids=given["ids"], attention_mask=given["mask"].long(), position_ids=positions(given["mask"]), pixel_values=given["pixels"][None],
                        output_hidden_states=True)
        shown = model.model.get_image_features(given["pixels"][None]).pooler_output
        return {"pictures": torch.cat(list(shown))[None], "hidden": outputs.hidden_states[-1], "token_logits": outputs.logits}

    def stages_of(model):
        found = {model.model.vision_model.embeddings: "vision.embeddings"}
        found.update({layer: f"vision.layers.{i}" for i, layer in enumerate(model.model.vision_model.encoder.layers)})
        found[model.model.connector] = "connector"
        found.update({layer: f"language.layers.{i}" for i, layer in enumerate(model.model.text_model.layers)})
        found[model.model.text_model.norm] = "language.norm"
        return found

    def generate(model, ids, shown):
        return model.generate(input_ids=ids, pixel_values=shown["pixels"][None], max_new_tokens=STEPS, do_sample=False, eos_token_id=None, pad_token_id=0,
                              output_logits=True, return_dict_in_generate=True)

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
    tied = config.get("tie_word_embeddings", False)

    def with_names(**keys):
        return make(rename=as_in_files, **keys)

    return picture_decoder_golden(with_names, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed,
                                  drop=lambda name: tied and name == "lm_head.weight", never=IMAGE)


def goldens(make):
    yield golden(make, "base", "squares of 2x2, LLaMA with fewer key heads; pictures of one tile and of several", "idefics3", {},
                 tower(16, 2, 24, image_size=16, patch_size=4), {"num_key_value_heads": 1}, [5, 7], [[(2, 1, 2)], [(4, 0, 0)]],
                 [4, 6, 5], [[(1, 2, 1)], [(0, 0, 0)], [(2, 0, 0), (2, 1, 1)]], 75)
    yield golden(make, "tied", "squares of 3x3, words tied, GELU in the tower, one layer of it", "smolvlm", {"scale_factor": 3, "tie_word_embeddings": True},
                 tower(20, 4, 28, layers=1, image_size=18, patch_size=3, hidden_act="gelu", layer_norm_eps=1e-5),
                 {"hidden_size": 20, "num_attention_heads": 2, "vocab_size": 47, "rms_norm_eps": 1e-6}, [6, 4], [[(0, 1, 1)], [(3, 2, 2)]],
                 [7, 5], [[(3, 1, 2), (1, 0, 0)], [(2, 1, 3)]], 76)
