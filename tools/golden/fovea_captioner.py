"""The golden variants of Fovea's own captioner: its PyTorch twin, built from transformers' EfficientNet and GPT-2 and PyTorch's layers.

Stages: `vision.embeddings`, `vision.blocks.<i>`, `vision.top`, `memory.layers.<i>`, `memory`; those of the decoder are GPT-2's.
"""

import copy

import torch
import transformers
from torch import nn
from transformers import EfficientNetConfig, EfficientNetModel, GPT2Config, GPT2LMHeadModel

from golden.decoders import positions
from golden.efficientnet import lite_as_transformers
from golden.fovea_dual_encoder import vision_keys
from golden.inputs import text_inputs
from golden.picture_decoders import STEPS, next_tokens, picture_decoder_golden
from golden.two_tower import pixels


class Block(nn.Module):
    def __init__(self, width, heads, hidden, eps):
        super().__init__()
        self.self_attn = nn.Module()
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self.self_attn, name, nn.Linear(width, width))
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.heads = heads

    def forward(self, x):
        h = self.layer_norm1(x)
        q, k, v = (getattr(self.self_attn, name)(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in ("q_proj", "k_proj", "v_proj"))
        x = x + self.self_attn.out_proj(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp.fc2(nn.functional.gelu(self.mlp.fc1(self.layer_norm2(x))))


class Captioner(nn.Module):
    def __init__(self, vision, config: dict):
        super().__init__()
        self.vision_model = vision
        D, eps = config["decoder"]["n_embd"], config.get("layer_norm_eps", 1e-5)
        self.projection, self.norm = nn.Linear(vision.encoder.top_bn.num_features, D), nn.LayerNorm(D, eps)
        self.positions = nn.Embedding(config["grid_size"] ** 2, D)
        self.layers = nn.ModuleList(Block(D, config["encoder_attention_heads"], config["encoder_ffn_dim"], eps) for _ in range(config["encoder_layers"]))
        self.memory_norm = nn.LayerNorm(D, eps)
        keys = {key: value for key, value in config["decoder"].items() if key not in ("model_type", "architectures")}
        decoder = GPT2Config(**keys)
        decoder._attn_implementation = "eager"
        self.decoder = GPT2LMHeadModel(decoder)
        self.side = config["grid_size"]

    def memory(self, images):
        grid = self.vision_model.encoder(self.vision_model.embeddings(images)).last_hidden_state  # [B,C,P,Q]
        table = self.positions.weight
        if grid.shape[2:] != (self.side, self.side):
            table = nn.functional.interpolate(table.t().reshape(1, -1, self.side, self.side), size=grid.shape[2:], mode="bicubic", align_corners=False)
            table = table.flatten(2)[0].t()
        m = self.norm(self.projection(grid.flatten(2).transpose(1, 2))) + table
        for layer in self.layers:
            m = layer(m)
        return self.memory_norm(m)

    @property
    def generation_config(self):
        return self.decoder.generation_config


def golden(make, variant, about, vision, image_size, lengths, prompts, seed, decoder, **keys):
    decoder = {"model_type": "gpt2", "add_cross_attention": True, "n_layer": 2, "n_head": 2, "n_positions": 64, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
               "attn_pdrop": 0.0, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **decoder}
    config = {"architectures": ["FoveaCaptioner"], "model_type": "fovea-captioner", "vision_config": vision, "decoder": decoder, **keys}

    def model_of():
        tower = lite_as_transformers(vision, 2).efficientnet if vision.get("fix_head_stem") else EfficientNetModel(EfficientNetConfig(**vision))
        return Captioner(tower, config)

    def forward(model, given):
        memory = model.memory(given["pixels"])
        text = given["mask"].long()
        outputs = model.decoder(given["ids"], attention_mask=text, position_ids=positions(given["mask"]), encoder_hidden_states=memory,
                                output_hidden_states=True)
        return {"pictures": memory, "hidden": outputs.hidden_states[-1], "token_logits": outputs.logits}

    def stages_of(model):
        vision_model, trunk = model.vision_model, model.decoder.transformer
        return {vision_model.embeddings: "vision.embeddings", **{b: f"vision.blocks.{i}" for i, b in enumerate(vision_model.encoder.blocks)},
                vision_model.encoder.top_activation: "vision.top", **{b: f"memory.layers.{i}" for i, b in enumerate(model.layers)},
                model.memory_norm: "memory", **{b: f"layers.{i}" for i, b in enumerate(trunk.h)}, trunk.ln_f: "norm"}

    def generate(model, ids, pictures):
        return model.decoder.generate(ids, encoder_hidden_states=model.memory(pictures), max_new_tokens=STEPS, do_sample=False, pad_token_id=0,
                                      output_logits=True, return_dict_in_generate=True)

    inputs = text_inputs(decoder["vocab_size"], lengths, seed)
    inputs["targets"] = next_tokens(inputs["ids"], inputs["mask"])
    inputs["pixels"] = pixels(image_size, len(lengths), seed)
    starts = [torch.randint(5, decoder["vocab_size"], (n,), generator=torch.Generator().manual_seed(seed + n)) for n in prompts]
    shown = list(pixels(image_size, len(prompts), seed + 7).split(1))
    return picture_decoder_golden(make, variant, about, config, model_of, forward, stages_of, inputs, starts, shown, generate, seed,
                                  drop=lambda name: name == "decoder.lm_head.weight")


def goldens(make):
    yield golden(make, "base", "one layer over the grid, positions resized", vision_keys(), (32, 24), [6, 9], [3, 1, 5], 94,
                 {"n_embd": 18, "n_layer": 1, "vocab_size": 43}, encoder_layers=1, encoder_attention_heads=3, encoder_ffn_dim=20, grid_size=4)
    yield golden(make, "deep", "two layers, another epsilon, positions as they are", vision_keys(hidden_act="gelu", strides=[2, 2], kernel_sizes=[5, 3],
                 num_block_repeats=[1, 1]), (32, 32), [5, 7], [2, 4], 92, {"n_embd": 16, "vocab_size": 41, "n_layer": 1}, encoder_layers=2,
                 encoder_attention_heads=2, encoder_ffn_dim=24, grid_size=4, layer_norm_eps=1e-4)
