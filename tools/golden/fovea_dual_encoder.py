"""The golden variants of Fovea's own dual encoder: its PyTorch twin, built from transformers' EfficientNet and BERT.

Stages: `vision.embeddings`, `vision.blocks.<i>`, `vision.top`, `vision.pooled`, `text.embeddings`, `text.layers.<i>`, `text.pooled`.
"""

import torch
import transformers
from torch import nn
from transformers import BertConfig, BertModel, EfficientNetConfig, EfficientNetModel

from golden.efficientnet import lite_as_transformers
from golden.inputs import text_inputs
from golden.two_tower import bert_stages, pixels, tower

GENERATOR = f"transformers {transformers.__version__}"


class Pooling(nn.Module):
    def __init__(self, kind: str, width: int, heads: int):
        super().__init__()
        self.heads = heads
        if kind == "attention":
            self.score = nn.Linear(width, heads)

    def forward(self, x, mask):  # x [B,N,D], mask [B,N]
        scores = self.score(x) if hasattr(self, "score") else x.new_zeros(*x.shape[:2], self.heads)
        weights = scores.masked_fill(~mask[..., None], -torch.inf).softmax(1)
        return torch.einsum("bnh,bnhe->bhe", weights, x.unflatten(-1, (self.heads, -1))).flatten(1)


class Head(nn.Module):
    def __init__(self, width: int, hidden: int, dim: int, eps: float):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps)
        self.linear = nn.Linear(width, dim, bias=False)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        x = self.norm(x)
        return self.linear(x) + self.fc2(nn.functional.gelu(self.fc1(x)))


class DualEncoder(nn.Module):
    def __init__(self, vision, text, config: dict):
        super().__init__()
        self.vision_model, self.text_model = vision, text
        width, text_width = vision.encoder.top_bn.num_features, text.config.hidden_size
        eps = config.get("layer_norm_eps", 1e-6)
        self.image_pooling = Pooling(config.get("image_pooling", "attention"), width, config["pooling_heads"])
        self.text_pooling = Pooling(config.get("text_pooling", "attention"), text_width, config["pooling_heads"])
        self.visual_projection = Head(width, config["projection_hidden"], config["projection_dim"], eps)
        self.text_projection = Head(text_width, config["projection_hidden"], config["projection_dim"], eps)
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def forward(self, inputs):
        grid = self.vision_model.encoder(self.vision_model.embeddings(inputs["pixels"])).last_hidden_state  # [B,D,P,Q]
        places = grid.flatten(2).transpose(1, 2)
        images = self.visual_projection(self.image_pooling(places, torch.ones(places.shape[:2], dtype=torch.bool)))
        tokens = self.text_model(inputs["ids"], inputs["mask"]).last_hidden_state
        texts = self.text_projection(self.text_pooling(tokens, inputs["mask"]))
        cosines = nn.functional.normalize(images) @ nn.functional.normalize(texts).t()
        return {"features": images, "grid": grid, "text_features": texts, "text_tokens": tokens,
                "logits_per_image": cosines * self.logit_scale.exp()}


def stages(model) -> dict:
    vision = model.vision_model
    return {vision.embeddings: "vision.embeddings", **{block: f"vision.blocks.{i}" for i, block in enumerate(vision.encoder.blocks)},
            vision.encoder.top_activation: "vision.top", model.image_pooling: "vision.pooled", **bert_stages(model.text_model),
            model.text_pooling: "text.pooled"}


def dual_golden(make, variant, about, vision, text, image_size, lengths, seed, **keys):
    text = {**text, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = {"architectures": ["FoveaDualEncoder"], "model_type": "fovea-dual-encoder", "vision_config": vision, "text_config": text, **keys}
    tower = lite_as_transformers(vision, 2).efficientnet if vision.get("fix_head_stem") else EfficientNetModel(EfficientNetConfig(**vision))
    model = DualEncoder(tower, BertModel(BertConfig(**text), add_pooling_layer=False), config)
    return make(variant, about, config, model, lambda model, inputs: model(inputs), stages(model),
                {"pixels": pixels(image_size, len(lengths), seed), **text_inputs(text["vocab_size"], lengths, seed)}, GENERATOR,
                loss=[{"kind": "contrastive", "output": "logits_per_image"}], seed=seed)


def vision_keys(**keys) -> dict:
    return {"num_channels": 3, "width_coefficient": 0.05, "depth_coefficient": 1.0, "depth_divisor": 8, "kernel_sizes": [3, 5],
            "in_channels": [32, 160], "out_channels": [160, 240], "depthwise_padding": [], "strides": [1, 2], "num_block_repeats": [1, 2],
            "expand_ratios": [1, 2], "squeeze_expansion_ratio": 0.25, "hidden_dim": 64, "drop_connect_rate": 0.0, "batch_norm_eps": 0.001,
            "hidden_act": "swish", "pooling_type": "mean", **keys}


def goldens(make):
    yield dual_golden(make, "base", "attention over places and tokens, swish, squeeze-excite, padded texts", vision_keys(),
                      tower(16, 2, 32, vocab_size=40, max_position_embeddings=12), image_size=(24, 20), lengths=[9, 4, 6], seed=81,
                      projection_dim=12, projection_hidden=20, pooling_heads=4)
    yield dual_golden(make, "mean", "means of places, other epsilon, a GELU in the pictures, ReLU in the texts",
                      vision_keys(hidden_act="gelu", strides=[2, 1], kernel_sizes=[5, 3], num_block_repeats=[1, 1]),
                      tower(24, 3, 20, layers=1, vocab_size=30, max_position_embeddings=9, type_vocab_size=1, hidden_act="relu"),
                      image_size=(21, 24), lengths=[9, 2], seed=82, projection_dim=10, projection_hidden=8, pooling_heads=2,
                      image_pooling="mean", layer_norm_eps=1e-3)
