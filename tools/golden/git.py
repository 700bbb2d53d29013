"""GIT: names of stages are "vision.embeddings", "vision.layers.<i>", "pictures", "layers.<i>"."""

import torch
from transformers import GitConfig, GitForCausalLM

from golden.decoders import positions
from golden.inputs import text_inputs
from golden.picture_decoders import STEPS, next_tokens, picture_decoder_golden
from golden.two_tower import pixels, tower


def golden(make, variant, about, config, vision, lengths, prompts, seed):
    config = {"architectures": ["GitForCausalLM"], "model_type": "git", "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40,
              "num_hidden_layers": 2, "num_attention_heads": 3, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1,
              "eos_token_id": 2, **config, "vision_config": vision}
    values = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
    size = (vision["image_size"],) * 2
    N = (vision["image_size"] // vision["patch_size"]) ** 2 + 1

    def model_of():
        made = GitConfig(**values)
        made._attn_implementation = "eager"
        return GitForCausalLM(made)

    def forward(model, given):
        text = given["mask"].long()
        outputs = model(input_ids=given["ids"], attention_mask=text, position_ids=positions(given["mask"]), pixel_values=given["pixels"], output_hidden_states=True)
        pictures = model.git.visual_projection(model.git.image_encoder(given["pixels"]).last_hidden_state)
        return {"pictures": pictures, "hidden": outputs.hidden_states[-1], "token_logits": outputs.logits}

    def stages_of(model):
        vision_model = model.git.image_encoder.vision_model
        found = {vision_model.embeddings: "vision.embeddings"}
        found.update({layer: f"vision.layers.{i}" for i, layer in enumerate(vision_model.encoder.layers)})
        found[model.git.visual_projection] = "pictures"
        found.update({layer: f"layers.{i}" for i, layer in enumerate(model.git.encoder.layer)})
        return found

    def generate(model, ids, pictures):
        return model.generate(input_ids=ids, pixel_values=pictures, max_new_tokens=STEPS, do_sample=False, pad_token_id=0, output_logits=True,
                              return_dict_in_generate=True)

    inputs = text_inputs(config["vocab_size"], lengths, seed)
    targets = next_tokens(inputs["ids"], inputs["mask"])
    inputs["targets"] = torch.cat([torch.full((len(lengths), N), -100), targets], 1)
    inputs["pixels"] = pixels(size, len(lengths), seed)
    starts = [torch.randint(5, config["vocab_size"], (n,), generator=torch.Generator().manual_seed(seed + n)) for n in prompts]
    shown = list(pixels(size, len(prompts), seed + 7).split(1))
    tied = config.get("tie_word_embeddings", False)
    return picture_decoder_golden(make, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed,
                                  drop=lambda name: name.endswith("position_ids") or (tied and name == "output.weight"))


def goldens(make):
    yield golden(make, "base", "as published: quick_gelu in the tower, gelu in the decoder", {},
                 tower(16, 2, 24, image_size=16, patch_size=8), [6, 9], [3, 1, 5], 51)
    yield golden(make, "wide", "other sizes and activations, one layer of vision", {"hidden_size": 20, "num_attention_heads": 4, "intermediate_size": 24, "vocab_size": 41, "hidden_act": "relu",
                 "num_hidden_layers": 3, "layer_norm_eps": 1e-5}, tower(16, 4, 20, layers=1, image_size=24, patch_size=8, hidden_act="gelu", layer_norm_eps=1e-6),
                 [4, 7, 5], [2, 6], 52)
