"""BLIP-2: names of stages are "vision.layers.<i>", "qformer.layers.<i>", "pictures", then "language.layers.<i>" of OPT or "language.encoder.<i>"
and "language.decoder.<i>" of T5. Texts are stored without the reference's placeholders for the queries, which stand before them."""

import torch
from transformers import AutoConfig, Blip2Config, Blip2ForConditionalGeneration

from golden.decoders import positions
from golden.inputs import text_inputs
from golden.picture_decoders import STEPS, next_tokens, picture_decoder_golden
from golden.two_tower import pixels, tower

IMAGE = 4  # stands for a query in the reference; words begin at 5


def golden(make, variant, about, vision, qformer, text, queries, lengths, prompts, seed, answers=None):
    qformer = {"hidden_size": 16, "intermediate_size": 20, "num_attention_heads": 2, "num_hidden_layers": 2, **qformer}
    config = {"architectures": ["Blip2ForConditionalGeneration"], "model_type": "blip-2", "num_query_tokens": queries, "vision_config": vision,
              "qformer_config": qformer, "text_config": text}
    size, words = (vision["image_size"],) * 2, text["vocab_size"]
    is_t5 = text["model_type"] == "t5"

    def model_of():
        language = AutoConfig.for_model(**text)
        made = Blip2Config(vision_config=vision, qformer_config=qformer, text_config=language, num_query_tokens=queries, image_token_index=IMAGE)
        for one in (made, made.text_config, made.vision_config, made.qformer_config):
            one._attn_implementation = "eager"
        model = Blip2ForConditionalGeneration(made)
        model.language_model.generation_config.eos_token_id = None
        return model

    def with_queries(ids, mask):
        before = torch.full((len(ids), queries), IMAGE)
        return torch.cat([before, ids], 1), torch.cat([torch.ones_like(before), mask.long()], 1)

    def forward(model, given):
        ids, mask = with_queries(given["ids"], given["mask"])
        pictures = model.get_image_features(given["pixels"]).pooler_output
        if is_t5:
            outputs = model(pixel_values=given["pixels"], input_ids=ids, attention_mask=mask, decoder_input_ids=given["decoder_ids"],
                            decoder_attention_mask=given["decoder_mask"].long(), output_hidden_states=True).language_model_outputs
            return {"pictures": pictures, "text_tokens": outputs.encoder_last_hidden_state, "hidden": outputs.decoder_hidden_states[-1],
                    "token_logits": outputs.logits}
        outputs = model(pixel_values=given["pixels"], input_ids=ids, attention_mask=mask, position_ids=positions(mask.bool()),
                        output_hidden_states=True).language_model_outputs
        return {"pictures": pictures, "hidden": outputs.hidden_states[-1], "token_logits": outputs.logits}

    def stages_of(model):
        found = {layer: f"vision.layers.{i}" for i, layer in enumerate(model.vision_model.encoder.layers)}
        found.update({layer: f"qformer.layers.{i}" for i, layer in enumerate(model.qformer.encoder.layer)})
        found[model.language_projection] = "pictures"
        if is_t5:
            found.update({block: f"language.encoder.{i}" for i, block in enumerate(model.language_model.encoder.block)})
            found.update({block: f"language.decoder.{i}" for i, block in enumerate(model.language_model.decoder.block)})
        else:
            found.update({layer: f"language.layers.{i}" for i, layer in enumerate(model.language_model.model.decoder.layers)})
        return found

    def generate(model, ids, pictures):
        all_ids, mask = with_queries(ids, torch.ones_like(ids))
        return model.generate(pixel_values=pictures, input_ids=all_ids, attention_mask=mask, max_new_tokens=STEPS, do_sample=False, output_logits=True,
                              return_dict_in_generate=True)

    inputs = text_inputs(words, lengths, seed)
    inputs["targets"] = torch.cat([torch.full((len(lengths), queries), -100), next_tokens(inputs["ids"], inputs["mask"])], 1)
    if is_t5:
        said = text_inputs(words, answers, seed + 1)
        inputs["targets"] = torch.where(said["mask"], said["ids"], -100)
        inputs["decoder_ids"] = torch.cat([torch.zeros_like(said["ids"][:, :1]), said["ids"][:, :-1]], 1)
        inputs["decoder_mask"] = said["mask"]
    inputs["pixels"] = pixels(size, len(lengths), seed)
    source = torch.Generator().manual_seed(seed + 3)
    starts = [torch.randint(5, words, (n,), generator=source) for n in prompts]
    shown = list(pixels(size, len(prompts), seed + 7).split(1))
    tied = text.get("tie_word_embeddings", True)

    def drop(name):
        return "position_ids" in name or (tied and name == "language_model.lm_head.weight") or ("embed_tokens" in name and is_t5)

    return picture_decoder_golden(make, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed, drop=drop)


def goldens(make):
    opt = {"model_type": "opt", "vocab_size": 45, "hidden_size": 20, "ffn_dim": 28, "num_hidden_layers": 1, "num_attention_heads": 2,
           "max_position_embeddings": 64, "word_embed_proj_dim": 20, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 1}
    t5 = {"model_type": "t5", "vocab_size": 43, "d_model": 16, "d_kv": 6, "d_ff": 20, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2,
          "relative_attention_num_buckets": 8, "relative_attention_max_distance": 20, "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
    yield golden(make, "opt", "OPT", tower(16, 2, 20, layers=1, image_size=16, patch_size=8, layer_norm_eps=1e-6), {}, opt, 3, [7, 5], [4, 1, 2], 101)
    yield golden(make, "t5", "T5, a Q-Former with cross-attention in each layer", tower(20, 4, 16, layers=1, image_size=24, patch_size=8, qkv_bias=False,
                 hidden_act="quick_gelu"), {"cross_attention_frequency": 1, "hidden_act": "relu", "hidden_size": 12}, t5, 4, [6, 8], [3, 5], 102, answers=[4, 6])
