"""An encoder of pictures with a decoder of text: names of stages are "encoder.layers.<i>", "pictures", "decoder.embeddings",
"decoder.layers.<i>"."""

import torch
from transformers import AutoConfig, VisionEncoderDecoderConfig, VisionEncoderDecoderModel

from golden.decoders import positions
from golden.inputs import text_inputs
from golden.picture_decoders import STEPS, next_tokens, picture_decoder_golden
from golden.two_tower import pixels, with_gradient_names
from golden.vision import as_in_files

VIT = as_in_files("", ("encoder.layers.", "encoder.encoder.layer."), (".mlp.fc1.", ".intermediate.dense."), (".mlp.fc2.", ".output.dense."))


def golden(make, variant, about, encoder, decoder, lengths, prompts, seed):
    decoder = {"model_type": "gpt2", "vocab_size": 53, "n_positions": 64, "n_embd": 24, "n_layer": 2, "n_head": 3, "add_cross_attention": True,
               "is_decoder": True, "bos_token_id": 1, "eos_token_id": 2, **decoder}
    encoder = {"num_hidden_layers": 2, "num_channels": 3, **encoder}
    config = {"architectures": ["VisionEncoderDecoderModel"], "model_type": "vision-encoder-decoder", "encoder": encoder, "decoder": decoder,
              "decoder_start_token_id": 1, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False}
    family = encoder["model_type"]

    def model_of():
        parts = [AutoConfig.for_model(**part) for part in (encoder, decoder)]
        for part in parts:
            part._attn_implementation = "eager"
        made = VisionEncoderDecoderConfig.from_encoder_decoder_configs(*parts, decoder_start_token_id=1, pad_token_id=0)
        made._attn_implementation = "eager"
        model = VisionEncoderDecoderModel(made)
        if hasattr(model.encoder, "pooler"):
            model.encoder.pooler = None  # reads nothing that the decoder sees
        assert decoder.get("tie_word_embeddings", True) == (model.decoder.lm_head.weight is model.decoder.transformer.wte.weight)
        return model

    def forward(model, given):
        text = given["mask"].long()
        states = model.encoder(given["pixels"]).last_hidden_state
        outputs = model(pixel_values=given["pixels"], decoder_input_ids=given["ids"], decoder_attention_mask=text,
                        decoder_position_ids=positions(given["mask"]), output_hidden_states=True)
        if hasattr(model, "enc_to_dec_proj"):
            states = model.enc_to_dec_proj(states)
        return {"pictures": states, "hidden": outputs.decoder_hidden_states[-1], "token_logits": outputs.logits}

    def stages_of(model):
        layers = model.encoder.layers if family == "vit" else model.encoder.encoder.layer
        found = {layer: f"encoder.layers.{i}" for i, layer in enumerate(layers)}
        if hasattr(model, "enc_to_dec_proj"):
            found[model.enc_to_dec_proj] = "pictures"
        found[model.decoder.transformer.drop] = "decoder.embeddings"
        found.update({layer: f"decoder.layers.{i}" for i, layer in enumerate(model.decoder.transformer.h)})
        return found

    def generate(model, ids, pictures):
        return model.generate(pixel_values=pictures, decoder_input_ids=ids, max_new_tokens=STEPS, do_sample=False, eos_token_id=None, pad_token_id=0,
                              output_logits=True, return_dict_in_generate=True)

    inputs = text_inputs(decoder["vocab_size"], lengths, seed)
    inputs["targets"] = next_tokens(inputs["ids"], inputs["mask"])
    size = (encoder["image_size"],) * 2
    inputs["pixels"] = pixels(size, len(lengths), seed)
    # generate() puts the start token before what does not begin with it.
    starts = [torch.cat([torch.tensor([1]), torch.randint(5, decoder["vocab_size"], (n,), generator=torch.Generator().manual_seed(seed + n))]) for n in prompts]
    shown = list(pixels(size, len(prompts), seed + 7).split(1))
    is_tied = decoder.get("tie_word_embeddings", True)
    made = with_gradient_names(make, lambda name, tensor: [(name.replace("encoder.", f"encoder.{family}.", 1) if name.startswith("encoder.") else name,
                                                            tensor)])

    def with_names(**keys):
        return made(rename=VIT if family == "vit" else as_in_files(""), **keys)

    return picture_decoder_golden(with_names, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed,
                                  drop=lambda name: (is_tied and name == "decoder.lm_head.weight") or name == "encoder.embeddings.mask_token")


def goldens(make):
    yield golden(make, "vit_gpt2", "ViT and GPT-2 of one width, words tied",
                 {"model_type": "vit", "hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 16, "patch_size": 8},
                 {"n_inner": 32}, [7, 4], [1, 4], 61)
    yield golden(make, "dinov2_gpt2", "DINOv2 and GPT-2 of other widths: a projection between them; a head of its own",
                 {"model_type": "dinov2", "hidden_size": 16, "num_attention_heads": 2, "mlp_ratio": 2, "image_size": 24, "patch_size": 8},
                 {"tie_word_embeddings": False, "n_head": 2, "n_embd": 20, "n_inner": 28, "activation_function": "relu", "n_layer": 1}, [5, 8, 6], [3, 1], 62)
