"""SigLIP 2 NaFlex's golden variants: whole models over pictures of several aspect ratios, a classifier.

Stages: see two_tower.py. Texts are padded and have no mask.
"""

import torch
import transformers
from transformers import Siglip2Config, Siglip2ForImageClassification, Siglip2Model

from golden.inputs import text_inputs
from golden.two_tower import stages, tower

GENERATOR = f"transformers {transformers.__version__}"


def patch_inputs(shapes: list, count: int, size: int, seed: int) -> dict:
    """`patches` [B,count,size] (0 in the padding), `patch_mask`, `shapes`."""
    source = torch.Generator().manual_seed(seed + 1000)
    mask = torch.arange(count)[None, :] < torch.tensor([rows * columns for rows, columns in shapes])[:, None]
    patches = torch.randn((len(shapes), count, size), generator=source) * mask[..., None]
    return {"patches": patches, "patch_mask": mask, "shapes": torch.tensor(shapes)}


def whole_golden(make, variant, about, text, vision, shapes, count, lengths, seed):
    config = {"architectures": ["Siglip2Model"], "model_type": "siglip2", "text_config": text, "vision_config": vision}
    model = Siglip2Model(Siglip2Config(text_config=text, vision_config=vision))
    ids = text_inputs(text["vocab_size"], lengths, seed)["ids"]

    def forward(model, inputs):
        outputs = model(inputs["ids"], inputs["patches"], inputs["patch_mask"], inputs["shapes"])
        image, words = outputs.vision_model_output, outputs.text_model_output
        return {"features": image.pooler_output, "grid": image.last_hidden_state, "text_features": words.pooler_output,
                "text_tokens": words.last_hidden_state, "logits_per_image": outputs.logits_per_image}

    return make(variant, about, config, model, forward, stages(model.vision_model, model.text_model),
                {**patch_inputs(shapes, count, 3 * vision["patch_size"] ** 2, seed), "ids": ids}, GENERATOR,
                loss=[{"kind": "sigmoid", "output": "logits_per_image"}], seed=seed)


def classifier_golden(make, variant, about, vision, shapes, count, seed, classes=5):
    config = {"architectures": ["Siglip2ForImageClassification"], "model_type": "siglip2", "vision_config": vision,
              "id2label": {str(i): f"class {i}" for i in range(classes)}}
    model = Siglip2ForImageClassification(Siglip2Config(vision_config=vision, num_labels=classes))
    model.mean_probe = torch.nn.Identity()
    model.classifier.register_forward_pre_hook(lambda _module, inputs: (model.mean_probe(inputs[0]),))
    kept = {}
    model.mean_probe.register_forward_hook(lambda _module, _inputs, output: kept.update(features=output))

    def forward(model, inputs):
        logits = model(inputs["patches"], inputs["patch_mask"], inputs["shapes"]).logits
        return {"features": kept["features"], "logits": logits}

    source = torch.Generator().manual_seed(seed + 1001)
    labels = torch.randint(0, classes, (len(shapes),), generator=source)
    return make(variant, about, config, model, forward, stages(model.vision_model),
                {**patch_inputs(shapes, count, 3 * vision["patch_size"] ** 2, seed), "labels": labels}, GENERATOR, seed=seed)


def goldens(make):
    yield whole_golden(
        make, "naflex", "wide, tall and square pictures in one batch, with padding; positions shrunk and enlarged",
        text=tower(16, 2, 32, vocab_size=60, max_position_embeddings=8), vision=tower(16, 2, 40, num_patches=16, patch_size=4),
        shapes=[[2, 6], [5, 2], [3, 3]], count=12, lengths=[8, 3, 5], seed=41)
    yield whole_golden(
        make, "full", "exact gelu, other epsilon, no padding, a picture with the table's own grid",
        text=tower(12, 3, 20, layers=3, vocab_size=40, max_position_embeddings=7, hidden_act="gelu", projection_size=20, layer_norm_eps=1e-5),
        vision=tower(20, 4, 28, layers=1, num_patches=9, patch_size=3, hidden_act="gelu", layer_norm_eps=1e-5),
        shapes=[[3, 3], [1, 9]], count=9, lengths=[7, 2], seed=42)
    yield classifier_golden(make, "classify", "a linear classifier on the mean of the patches that exist", seed=43,
                            vision=tower(16, 2, 32, num_patches=16, patch_size=2, vision_use_head=False), shapes=[[4, 3], [2, 2]], count=12)
