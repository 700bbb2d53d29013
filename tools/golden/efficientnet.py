"""EfficientNet's golden variants: B-like ones computed by transformers, Lite ones by the package efficientnet_lite_pytorch.

Stages: `embeddings` (stem), `blocks.<i>` (each MBConv block, after its skip connection), `top` (the last 1x1 convolution with norm
and activation), `pooled` (before flattening it is [B,1,1,D]).

A Lite model is described to Fovea by transformers' config keys and three meanings more:
    "squeeze_expansion_ratio": 0.0   no squeeze-excite layers at all
    "hidden_act": "relu6"             no swish
    "fix_head_stem": true             stem (32) and head (1280) are not scaled by width_coefficient, and the first and the last stage
                                      are not repeated more by depth_coefficient
The package pads as TensorFlow's SAME does: evenly where a layer's input has odd size, else one pixel more at the end. transformers'
key `depthwise_padding` (indices of blocks that are padded evenly) says just that; `lite_config` derives it from image_size.
"""

import math
import re

import efficientnet_lite_pytorch
import torch
import transformers
from efficientnet_lite_pytorch import EfficientNet as LiteNet
from efficientnet_lite_pytorch.utils import BlockDecoder, GlobalParams
from transformers import EfficientNetConfig, EfficientNetForImageClassification

from golden.inputs import image_inputs

CLASSES = 7

# The package's names -> transformers' names. `_bn0` of a block exists only where the block expands.
LITE_NAMES = (
    (r"^_conv_stem\.", "efficientnet.embeddings.convolution."),
    (r"^_bn0\.", "efficientnet.embeddings.batchnorm."),
    (r"^_blocks\.(\d+)\._expand_conv\.", r"efficientnet.encoder.blocks.\1.expansion.expand_conv."),
    (r"^_blocks\.(\d+)\._bn0\.", r"efficientnet.encoder.blocks.\1.expansion.expand_bn."),
    (r"^_blocks\.(\d+)\._depthwise_conv\.", r"efficientnet.encoder.blocks.\1.depthwise_conv.depthwise_conv."),
    (r"^_blocks\.(\d+)\._bn1\.", r"efficientnet.encoder.blocks.\1.depthwise_conv.depthwise_norm."),
    (r"^_blocks\.(\d+)\._se_reduce\.", r"efficientnet.encoder.blocks.\1.squeeze_excite.reduce."),
    (r"^_blocks\.(\d+)\._se_expand\.", r"efficientnet.encoder.blocks.\1.squeeze_excite.expand."),
    (r"^_blocks\.(\d+)\._project_conv\.", r"efficientnet.encoder.blocks.\1.projection.project_conv."),
    (r"^_blocks\.(\d+)\._bn2\.", r"efficientnet.encoder.blocks.\1.projection.project_bn."),
    (r"^_conv_head\.", "efficientnet.encoder.top_conv."),
    (r"^_bn1\.", "efficientnet.encoder.top_bn."),
    (r"^_fc\.", "classifier."),
)


def rename_lite(name: str) -> str:
    for pattern, replacement in LITE_NAMES:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    raise KeyError(f"no rule for {name}")


def lite_config(params: GlobalParams, blocks: list) -> dict:
    """The config.json of a Lite model: transformers' keys and the extras above."""
    size = math.ceil(params.image_size / 2)
    even_padding, index = [], 0
    for number, block in enumerate(blocks):
        fixed = number in (0, len(blocks) - 1)
        repeats = block.num_repeat if fixed else math.ceil(params.depth_coefficient * block.num_repeat)
        if block.stride[0] == 2:
            if size % 2 == 1:
                even_padding.append(index)
            size = math.ceil(size / 2)
        index += repeats
    assert params.image_size % 2 == 0, "the stem always pads at the end only"
    return {
        "architectures": ["EfficientNetForImageClassification"],
        "model_type": "efficientnet",
        "num_channels": 3,
        "image_size": params.image_size,
        "width_coefficient": params.width_coefficient,
        "depth_coefficient": params.depth_coefficient,
        "depth_divisor": params.depth_divisor,
        "kernel_sizes": [block.kernel_size for block in blocks],
        "in_channels": [block.input_filters for block in blocks],
        "out_channels": [block.output_filters for block in blocks],
        "depthwise_padding": even_padding,
        "strides": [block.stride[0] for block in blocks],
        "num_block_repeats": [block.num_repeat for block in blocks],
        "expand_ratios": [block.expand_ratio for block in blocks],
        "squeeze_expansion_ratio": 0.0,
        "hidden_act": "relu6",
        "hidden_dim": 1280,
        "pooling_type": "mean",
        "fix_head_stem": True,
        "batch_norm_eps": params.batch_norm_epsilon,
        "batch_norm_momentum": round(1 - params.batch_norm_momentum, 6),
        "dropout_rate": params.dropout_rate,
        "drop_connect_rate": params.drop_connect_rate,
    }


def lite_stages(model: LiteNet) -> dict:
    # The stem's and the head's activation is one module called twice; `forward_lite` passes both through these probes.
    model.stem_probe, model.top_probe, model.pooled_probe = (torch.nn.Identity() for _ in range(3))
    stages = {model.stem_probe: "embeddings"}
    stages.update({block: f"blocks.{index}" for index, block in enumerate(model._blocks)})
    stages.update({model.top_probe: "top", model.pooled_probe: "pooled"})
    return stages


def forward_lite(model: LiteNet, inputs: dict) -> dict:
    """The package's forward, spelt out so that each stage can be seen; `check_lite_forward` compares it with the original."""
    x = model.stem_probe(model._swish(model._bn0(model._conv_stem(inputs["pixels"]))))
    for block in model._blocks:
        x = block(x)
    x = model.top_probe(model._swish(model._bn1(model._conv_head(x))))
    features = model.pooled_probe(model._avg_pooling(x)).flatten(1)
    return {"features": features, "logits": model._fc(features)}


def lite_as_transformers(config: dict, classes: int) -> EfficientNetForImageClassification:
    """The same network built from transformers' modules: an independent reading of `lite_config`."""
    scale = EfficientNetConfig(**{k: v for k, v in config.items() if k != "architectures"})
    rounded = lambda channels: transformers.models.efficientnet.modeling_efficientnet.round_filters(scale, channels)
    last = len(config["in_channels"]) - 1
    repeats = [count if number in (0, last) else math.ceil(config["depth_coefficient"] * count)
               for number, count in enumerate(config["num_block_repeats"])]
    plain = dict(config, width_coefficient=1.0, depth_coefficient=1.0, depth_divisor=1, num_labels=classes,
                 squeeze_expansion_ratio=0.25, num_block_repeats=repeats,
                 in_channels=[32] + [rounded(c) for c in config["in_channels"][1:]],
                 out_channels=[rounded(c) for c in config["out_channels"]])
    model = EfficientNetForImageClassification(EfficientNetConfig(**plain))
    for block in model.efficientnet.encoder.blocks:
        block.squeeze_excite = torch.nn.Identity()
    return model


def check_lite(golden, classes: int) -> None:
    """Fails unless our view of a Lite model (names, config, spelt-out forward) computes what the package computes."""
    twin = lite_as_transformers(golden.config, classes).double().eval()
    twin.load_state_dict({rename_lite(name): value for name, value in golden.model.state_dict().items()}, strict=True)
    golden.model.eval()
    with torch.no_grad():
        original = golden.model(golden.inputs["pixels"])
        torch.testing.assert_close(forward_lite(golden.model, golden.inputs)["logits"], original)
        torch.testing.assert_close(twin(golden.inputs["pixels"]).logits, original)


def lite_golden(make, variant, about, image_size, width, depth, strings, seed):
    blocks = BlockDecoder.decode(strings)
    params = GlobalParams(width_coefficient=width, depth_coefficient=depth, image_size=image_size, dropout_rate=0.0,
                          num_classes=CLASSES, batch_norm_momentum=0.99, batch_norm_epsilon=1e-3, drop_connect_rate=0.0,
                          depth_divisor=8, min_depth=None, relu_fn="relu6", fix_head_stem=True, local_pooling=False, use_se=False)
    model = LiteNet(blocks, params)
    config = dict(lite_config(params, blocks), id2label={str(i): f"class {i}" for i in range(CLASSES)})
    generator = f"efficientnet_lite_pytorch {efficientnet_lite_pytorch.__version__}"
    inputs = image_inputs(3, (image_size, image_size), 2, CLASSES, seed)
    golden = make(variant, about, config, model, forward_lite, lite_stages(model), inputs, generator, rename=rename_lite, seed=seed)
    check_lite(golden, CLASSES)
    return golden


def transformers_golden(make, variant, about, image_size, batch, seed, with_training=False, **keys):
    classes = {str(i): f"class {i}" for i in range(CLASSES)}
    config = {"architectures": ["EfficientNetForImageClassification"], "model_type": "efficientnet", "num_channels": 3,
              "image_size": max(image_size), "dropout_rate": 0.0, "drop_connect_rate": 0.0, "id2label": classes, **keys}
    model = EfficientNetForImageClassification(EfficientNetConfig(**{k: v for k, v in config.items() if k != "architectures"}))
    network = model.efficientnet
    stages = {network.embeddings: "embeddings"}
    stages.update({block: f"blocks.{index}" for index, block in enumerate(network.encoder.blocks)})
    stages.update({network.encoder.top_activation: "top", network.pooler: "pooled"})

    def forward(model, inputs):
        features = model.efficientnet(inputs["pixels"]).pooler_output
        return {"features": features, "logits": model.classifier(features)}

    generator = f"transformers {transformers.__version__}"
    return make(variant, about, config, model, forward, stages, image_inputs(3, image_size, batch, CLASSES, seed), generator,
                with_training=with_training, seed=seed)


def goldens(make):
    yield transformers_golden(
        make, "b0", "B0 in small: all seven stages, squeeze-excite, swish, mean pooling, scaled width and depth, a picture wider than high",
        image_size=(48, 64), batch=2, seed=11, width_coefficient=0.1, depth_coefficient=1.2, depth_divisor=4,
        kernel_sizes=[3, 3, 5, 3, 5, 5, 3], in_channels=[32, 16, 24, 40, 80, 112, 192],
        out_channels=[16, 24, 40, 80, 112, 192, 320], depthwise_padding=[], strides=[1, 2, 2, 2, 1, 2, 1],
        num_block_repeats=[1, 1, 2, 1, 1, 1, 1], expand_ratios=[1, 4, 3, 3, 3, 3, 3], squeeze_expansion_ratio=0.25,
        hidden_act="swish", hidden_dim=128, pooling_type="mean", batch_norm_eps=0.001, batch_norm_momentum=0.99)
    yield transformers_golden(
        make, "odd", "odd picture size, kernels 3, 5 and 7, evenly padded and unevenly padded strides, GELU, max pooling, other epsilon",
        image_size=(37, 37), batch=2, seed=12, width_coefficient=0.05, depth_coefficient=1.0, depth_divisor=8,
        kernel_sizes=[3, 5, 7, 5], in_channels=[32, 160, 240, 400], out_channels=[160, 240, 400, 320], depthwise_padding=[1, 4],
        strides=[1, 2, 2, 2], num_block_repeats=[1, 2, 1, 2], expand_ratios=[1, 4, 3, 2], squeeze_expansion_ratio=0.5,
        hidden_act="gelu", hidden_dim=64, pooling_type="max", batch_norm_eps=0.00001, batch_norm_momentum=0.99)
    # The stem, the depthwise and the top norm take batch_norm_momentum; transformers leaves the two norms around each 1x1
    # convolution of a block at PyTorch's default of 0.1.
    yield transformers_golden(
        make, "train", "training mode: batch statistics, updated running statistics, gradients through batch norm",
        image_size=(20, 16), batch=4, seed=13, with_training=True, width_coefficient=0.05, depth_coefficient=1.0, depth_divisor=8,
        kernel_sizes=[3, 5], in_channels=[32, 160], out_channels=[160, 240], depthwise_padding=[], strides=[1, 2],
        num_block_repeats=[2, 2], expand_ratios=[1, 3], squeeze_expansion_ratio=0.25, hidden_act="swish", hidden_dim=64,
        pooling_type="mean", batch_norm_eps=0.001, batch_norm_momentum=0.9)
    yield lite_golden(
        make, "lite", "Lite in small: no squeeze-excite, ReLU6, fixed stem and head, even and odd sizes before each stride",
        image_size=44, width=0.25, depth=1.2, seed=14,
        strings=["r1_k3_s11_e1_i32_o16", "r1_k3_s22_e3_i16_o24", "r2_k5_s22_e3_i24_o48", "r1_k5_s22_e4_i48_o80", "r1_k3_s22_e2_i80_o112",
                 "r1_k3_s11_e2_i112_o64"])
