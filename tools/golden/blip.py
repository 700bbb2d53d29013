"""BLIP: names of stages are "vision.embeddings", "vision.layers.<i>", "encoder.layers.<i>" (a text beside a picture), "text.layers.<i>" (a text
alone), "decoder.layers.<i>". Of an answering model `input.ids` and `generate.ids` are questions, `input.decoder_ids` answers; questions are of one
length because this version of the reference forgets the mask of what cross-attention reads."""

import torch
import transformers
from transformers import BlipConfig

from golden.decoders import positions
from golden.inputs import text_inputs
from golden.picture_decoders import STEPS, next_tokens, picture_decoder_golden
from golden.two_tower import pixels, tower

BOS, SEP = 1, 2


def parts(architecture, vision, text, **keys):
    """(the text of config.json, a function that makes the model)"""
    text = {"vocab_size": 43, "hidden_size": 20, "intermediate_size": 28, "num_hidden_layers": 2, "num_attention_heads": 2,
            "max_position_embeddings": 64, "bos_token_id": BOS, "sep_token_id": SEP, "pad_token_id": 0, **text}
    config = {"architectures": [architecture], "model_type": "blip", "vision_config": vision, "text_config": text, **keys}

    def model_of():
        made = BlipConfig(vision_config=vision, text_config=text, **keys)
        for one in (made, made.text_config, made.vision_config):
            one._attn_implementation = "eager"
        model = getattr(transformers, architecture)(made)
        if hasattr(model, "text_decoder"):
            model.text_decoder.generation_config.eos_token_id = None
            model.config.text_config.sep_token_id = None
            decoder = model.text_decoder
            assert decoder.cls.predictions.decoder.weight is decoder.bert.embeddings.word_embeddings.weight
            assert decoder.cls.predictions.decoder.bias is decoder.cls.predictions.bias
        return model

    return config, model_of


def drop(name: str) -> bool:
    return "predictions.decoder" in name or "position_ids" in name


def stages_of(model):
    found = {model.vision_model.embeddings: "vision.embeddings"}
    found.update({layer: f"vision.layers.{i}" for i, layer in enumerate(model.vision_model.encoder.layers)})
    if hasattr(model, "text_encoder"):
        found.update({layer: f"encoder.layers.{i}" for i, layer in enumerate(model.text_encoder.encoder.layer)})
    if hasattr(model, "text_decoder"):
        found.update({layer: f"decoder.layers.{i}" for i, layer in enumerate(model.text_decoder.bert.encoder.layer)})
    return found


def caption(make, variant, about, vision, text, lengths, prompts, seed):
    config, model_of = parts("BlipForConditionalGeneration", vision, text)
    size, words = (vision["image_size"],) * 2, config["text_config"]["vocab_size"]

    def forward(model, given):
        pictures = model.vision_model(given["pixels"]).last_hidden_state
        hidden = model.text_decoder.bert(given["ids"], attention_mask=given["mask"], position_ids=positions(given["mask"]),
                                         encoder_hidden_states=pictures, is_decoder=True).last_hidden_state
        return {"pictures": pictures, "hidden": hidden, "token_logits": model.text_decoder.cls(hidden)}

    def generate(model, ids, pictures):
        # It takes the last token, the end of the prompt, away.
        return model.generate(pixel_values=pictures, input_ids=torch.cat([ids, torch.full_like(ids[:, :1], SEP)], 1), max_new_tokens=STEPS, do_sample=False,
                              output_logits=True, return_dict_in_generate=True)

    inputs = text_inputs(words, lengths, seed)
    inputs["ids"][:, 0] = BOS
    inputs["targets"] = next_tokens(inputs["ids"], inputs["mask"])
    inputs["pixels"] = pixels(size, len(lengths), seed)
    source = torch.Generator().manual_seed(seed + 3)
    starts = [torch.cat([torch.tensor([BOS]), torch.randint(5, words, (n - 1,), generator=source)]) for n in prompts]
    shown = list(pixels(size, len(prompts), seed + 7).split(1))
    return picture_decoder_golden(make, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed, drop=drop)


def answer(make, variant, about, vision, text, lengths, answers, prompts, seed):
    config, model_of = parts("BlipForQuestionAnswering", vision, text)
    size, words = (vision["image_size"],) * 2, config["text_config"]["vocab_size"]

    def forward(model, given):
        pictures = model.vision_model(given["pixels"]).last_hidden_state
        states = model.text_encoder(given["ids"], attention_mask=given["mask"], position_ids=positions(given["mask"]),
                                    encoder_hidden_states=pictures).last_hidden_state
        hidden = model.text_decoder.bert(given["decoder_ids"], attention_mask=given["decoder_mask"], position_ids=positions(given["decoder_mask"]),
                                         encoder_hidden_states=states, encoder_attention_mask=given["mask"], is_decoder=True).last_hidden_state
        return {"pictures": pictures, "text_tokens": states, "hidden": hidden, "token_logits": model.text_decoder.cls(hidden)}

    def generate(model, ids, pictures):
        return model.generate(input_ids=ids, pixel_values=pictures, max_new_tokens=STEPS, do_sample=False, output_logits=True,
                              return_dict_in_generate=True)

    inputs = text_inputs(words, lengths, seed)
    said = text_inputs(words, answers, seed + 1)
    said["ids"][:, 0] = BOS
    inputs.update({"decoder_ids": said["ids"], "decoder_mask": said["mask"], "targets": next_tokens(said["ids"], said["mask"])})
    inputs["pixels"] = pixels(size, len(lengths), seed)
    source = torch.Generator().manual_seed(seed + 3)
    starts = [torch.randint(5, words, (n,), generator=source) for n in prompts]
    shown = list(pixels(size, len(prompts), seed + 7).split(1))
    return picture_decoder_golden(make, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed, drop=drop)


def retrieval(make, variant, about, vision, text, lengths, seed, **keys):
    config, model_of = parts("BlipForImageTextRetrieval", vision, text, **keys)
    rows = vision["image_size"] // vision["patch_size"]

    def forward(model, given):
        seen = model.vision_model(given["pixels"]).last_hidden_state
        places = positions(given["mask"])
        alone = model.text_encoder(given["ids"], attention_mask=given["mask"], position_ids=places).last_hidden_state
        both = model.text_encoder(given["ids"], attention_mask=given["mask"], position_ids=places, encoder_hidden_states=seen).last_hidden_state
        image, words = model.vision_proj(seen[:, 0]), model.text_proj(alone[:, 0])
        cosines = torch.nn.functional.normalize(image, dim=-1) @ torch.nn.functional.normalize(words, dim=-1).t()
        scores = model.itm_head(both[:, 0])
        # The reference's own forward agrees.
        arange = given["mask"].all()
        if arange:
            assert torch.allclose(model(given["ids"], given["pixels"], attention_mask=given["mask"]).itm_score, scores)
            assert torch.allclose(model(given["ids"], given["pixels"], attention_mask=given["mask"], use_itm_head=False).itm_score, cosines)
        return {"features": image, "grid": seen[:, 1:].unflatten(1, (rows, -1)).permute(0, 3, 1, 2), "text_features": words, "text_tokens": alone,
                "match_logits": scores, "logits_per_image": cosines}

    inputs = text_inputs(config["text_config"]["vocab_size"], lengths, seed)
    inputs["pixels"] = pixels((vision["image_size"],) * 2, len(lengths), seed)
    inputs["match_labels"] = torch.arange(len(lengths)) % 2
    torch.manual_seed(seed)
    return make(variant=variant, about=about, config=config, model=model_of(), forward=forward, stages={}, inputs=inputs,
                loss=[{"kind": "contrastive", "output": "logits_per_image"},
                      {"kind": "cross_entropy", "output": "match_logits", "target": "match_labels"}],
                generator=f"transformers {transformers.__version__}", drop=drop, seed=seed)


def goldens(make):
    yield caption(make, "caption", "captions", tower(16, 2, 24, image_size=16, patch_size=8), {}, [7, 5], [1, 4, 2], 81)
    yield caption(make, "caption_wide", "captions: other widths and activations, one layer of text", tower(24, 3, 20, layers=1, image_size=24, patch_size=8,
                  hidden_act="quick_gelu", layer_norm_eps=1e-3), {"num_hidden_layers": 1, "hidden_act": "relu", "num_attention_heads": 5, "layer_norm_eps": 1e-5},
                  [4, 8, 6], [3, 1], 82)
    yield answer(make, "answer", "answers to questions", tower(20, 2, 24, layers=1, image_size=16, patch_size=8), {"num_hidden_layers": 1}, [7, 7], [5, 3],
                 [4, 7], 83)
    yield answer(make, "answer_deep", "answers to questions: other sizes", tower(16, 4, 20, layers=2, image_size=12, patch_size=4),
                 {"hidden_size": 16, "intermediate_size": 20, "num_attention_heads": 4, "hidden_act": "gelu_new"}, [6, 6, 6], [3, 6, 4], [6, 3, 2], 84)
    yield retrieval(make, "retrieval", "features of pictures and texts, and the score of a pair", tower(16, 2, 24, image_size=16, patch_size=8),
                    {}, [6, 6], 85, image_text_hidden_size=12)
    yield retrieval(make, "retrieval_wide", "the same with other sizes, padding", tower(20, 4, 16, layers=1, image_size=24, patch_size=8, hidden_act="gelu_new"),
                    {"hidden_size": 24, "num_attention_heads": 3}, [9, 5, 7], 86, image_text_hidden_size=20)
