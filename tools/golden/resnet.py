"""ResNet's golden variants.

Stages: `embeddings` (stem and pooling), `stages.<i>` (each stage), `pooled` (before flattening it is [B,1,1,D]).
"""

from transformers import ResNetConfig

from golden.vision import GENERATOR, PROJECTION, as_in_files, build, inputs


def golden(make, variant, about, architecture, picture, batch, seed, **keys):
    config, model = build(architecture, ResNetConfig, keys, "resnet")
    with_classes = architecture != "ResNetModel"
    network = model.resnet if with_classes else model

    def forward(model, given):
        out = network(given["pixels"])
        outputs = {"features": out.pooler_output.flatten(1), "grid": out.last_hidden_state}
        return {**outputs, "logits": model.classifier(out.pooler_output)} if with_classes else outputs

    stages = {network.embedder: "embeddings", network.pooler: "pooled"}
    stages.update({stage: f"stages.{index}" for index, stage in enumerate(network.encoder.stages)})
    return make(variant=variant, about=about, config=config, model=model, forward=forward, stages=stages,
                inputs=inputs(picture, batch, seed, config["num_channels"], with_classes), generator=GENERATOR,
                rename=as_in_files("resnet."), loss=None if with_classes else PROJECTION, with_training=with_classes, seed=seed)


def goldens(make):
    yield golden(make, "bottleneck", "a classifier of bottlenecks that shrink in their 3x3 convolution, as ResNet-50; training mode",
                 "ResNetForImageClassification", (40, 32), 3, seed=31, num_channels=3, embedding_size=8, hidden_sizes=[16, 24],
                 depths=[2, 1], layer_type="bottleneck", hidden_act="relu", downsample_in_first_stage=False,
                 downsample_in_bottleneck=False)
    yield golden(make, "shrinking", "bottlenecks that shrink in their first convolution, the first stage too, another activation, odd sizes",
                 "ResNetModel", (37, 53), 2, seed=32, num_channels=1, embedding_size=6, hidden_sizes=[12, 16, 20], depths=[1, 2, 1],
                 layer_type="bottleneck", hidden_act="gelu", downsample_in_first_stage=True, downsample_in_bottleneck=True)
    yield golden(make, "basic", "a classifier of basic blocks, as ResNet-18", "ResNetForImageClassification", (32, 32), 2, seed=33,
                 num_channels=3, embedding_size=8, hidden_sizes=[8, 12, 16], depths=[1, 1, 1], layer_type="basic", hidden_act="relu",
                 downsample_in_first_stage=False, downsample_in_bottleneck=False)
