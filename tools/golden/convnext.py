"""ConvNeXt's golden variants.

Stages: `embeddings` (patches and norm), `stages.<i>` (each stage), `layernorm` (the pooled features).
"""

from transformers import ConvNextConfig

from golden.vision import GENERATOR, PROJECTION, as_in_files, build, inputs


def golden(make, variant, about, architecture, picture, batch, seed, **keys):
    config, model = build(architecture, ConvNextConfig, keys, "convnext")
    with_classes = architecture != "ConvNextModel"
    network = model.convnext if with_classes else model

    def forward(model, given):
        out = network(given["pixels"])
        outputs = {"features": out.pooler_output, "grid": out.last_hidden_state}
        return {**outputs, "logits": model.classifier(out.pooler_output)} if with_classes else outputs

    stages = {network.embeddings: "embeddings", network.layernorm: "layernorm"}
    stages.update({stage: f"stages.{index}" for index, stage in enumerate(network.encoder.stages)})
    return make(variant=variant, about=about, config=config, model=model, forward=forward, stages=stages,
                inputs=inputs(picture, batch, seed, config["num_channels"], with_classes), generator=GENERATOR,
                rename=as_in_files("convnext."), loss=None if with_classes else PROJECTION, seed=seed)


def goldens(make):
    yield golden(make, "classifier", "a classifier with layer scale, a picture wider than high", "ConvNextForImageClassification",
                 (32, 48), 2, seed=51, num_channels=3, patch_size=4, num_stages=3, hidden_sizes=[8, 12, 16], depths=[1, 2, 1],
                 hidden_act="gelu", layer_norm_eps=1e-12, layer_scale_init_value=1e-6)
    yield golden(make, "bare", "the bare model without layer scale, two stages of equal width, odd sizes, one colour, another epsilon",
                 "ConvNextModel", (29, 23), 2, seed=52, num_channels=1, patch_size=2, num_stages=2, hidden_sizes=[16, 16],
                 depths=[1, 1], hidden_act="relu", layer_norm_eps=1e-3, layer_scale_init_value=0.0)
