"""LXMERT's golden variants, computed by transformers.

Stages: `embeddings` (words), `layers.<i>` (language layers), `region_embeddings`, `r_layers.<i>`, `x_layers.lang.<i>` and
`x_layers.visn.<i>` (both streams of a cross-modality layer), `pooled`.

Heads are stored by their names in the reference's output; those of the regions, which the reference keeps in a dictionary, as
`obj_scores`, `attr_scores` and `feat_scores`. Regions that no loss looks at have the label -100 (obj, attr) or a 0 in `feat_mask`.
"""

import torch
import transformers
from transformers import LxmertConfig, LxmertForPreTraining, LxmertForQuestionAnswering, LxmertModel

from golden.joint import corners, joint_inputs, some_labels

GENERATOR = f"transformers {transformers.__version__}"
MASKED_REGIONS = torch.tensor([[1, 0, 1, 0], [0, 1, 1, 1]])


def stages(network: LxmertModel) -> dict:
    encoder = network.encoder
    found = {network.embeddings: "embeddings", encoder.visn_fc: "region_embeddings", network.pooler: "pooled"}
    found.update({layer: f"layers.{index}" for index, layer in enumerate(encoder.layer)})
    found.update({layer: f"r_layers.{index}" for index, layer in enumerate(encoder.r_layers)})
    for index, layer in enumerate(encoder.x_layers):
        found.update({layer.lang_output: f"x_layers.lang.{index}", layer.visn_output: f"x_layers.visn.{index}"})
    return found


def arguments(inputs: dict) -> dict:
    return {"input_ids": inputs["ids"], "attention_mask": inputs.get("mask"), "token_type_ids": inputs.get("type_ids"),
            "visual_feats": inputs["regions"], "visual_pos": inputs["boxes"], "visual_attention_mask": inputs.get("region_mask")}


def forward(model, inputs: dict) -> dict:
    network = getattr(model, "lxmert", model)
    joint = network(**arguments(inputs))
    outputs = {"joint_features": joint.pooled_output, "joint_text_tokens": joint.language_output, "joint_regions": joint.vision_output}
    if hasattr(model, "cls"):
        outputs["prediction_logits"], outputs["cross_relationship_score"] = model.cls(joint.language_output, joint.pooled_output)
    if hasattr(model, "answer_head"):
        outputs["question_answering_score"] = model.answer_head(joint.pooled_output)
    if hasattr(model, "obj_predict_head"):
        outputs.update({f"{key}_scores": value for key, value in model.obj_predict_head(joint.vision_output).items()})
    return outputs


def inputs_of(config: dict, lengths: list, regions: int, seed: int, with_masks: bool) -> dict:
    inputs = joint_inputs(config, lengths, regions, config["visual_feat_dim"], seed, with_masks)
    return {**inputs, "boxes": corners(len(lengths), regions, seed)}


def pretraining_targets(config: dict, inputs: dict, seed: int) -> dict:
    source = torch.Generator().manual_seed(seed + 5000)
    seen = MASKED_REGIONS == 1
    every_third = torch.arange(inputs["ids"].numel()).reshape(inputs["ids"].shape) % 3 == 1
    return {"word_labels": some_labels(config["vocab_size"], every_third & inputs["mask"], source), "matched_label": torch.tensor([1, 0]),
            "answers": torch.tensor([2, 5]), "obj_labels": some_labels(config["num_object_labels"], seen, source),
            "attr_labels": some_labels(config["num_attr_labels"], seen, source), "feat_mask": MASKED_REGIONS.double(),
            "feat_labels": torch.randn(inputs["regions"].shape, generator=source)}


def pretraining_loss(config: dict) -> list:
    """The reference averages the losses of the regions over all regions, masked or not; cross_entropy over those with a label."""
    terms = [{"kind": "cross_entropy", "output": "prediction_logits", "target": "word_labels"},
             {"kind": "cross_entropy", "output": "cross_relationship_score", "target": "matched_label"}]
    if config["task_qa"]:
        terms.append({"kind": "cross_entropy", "output": "question_answering_score", "target": "answers"})
    weight, share = config["visual_loss_normalizer"], MASKED_REGIONS.double().mean().item()
    for key in ("obj", "attr"):
        if config[f"visual_{key}_loss"]:
            terms.append({"kind": "cross_entropy", "output": f"{key}_scores", "target": f"{key}_labels", "scale": weight * share})
    if config["visual_feat_loss"]:
        terms.append({"kind": "smooth_l1", "output": "feat_scores", "target": "feat_labels", "rows": "feat_mask", "scale": weight})
    return terms


def check_pretraining_loss(golden) -> None:
    """Fails unless the terms above add up to the loss that the reference computes itself."""
    inputs, seen = golden.inputs, golden.inputs["feat_mask"]
    labels = {"obj": (inputs["obj_labels"].clamp(min=0), seen), "attr": (inputs["attr_labels"].clamp(min=0), seen),
              "feat": (inputs["feat_labels"], seen)}
    reference = golden.model.eval()(**arguments(inputs), labels=inputs["word_labels"], matched_label=inputs["matched_label"],
                                    ans=inputs["answers"], obj_labels=labels).loss
    # The reference adds up in float32.
    torch.testing.assert_close(golden.run(record_stages=False)[1].float(), reference)


def config_of(architecture: str, **keys) -> dict:
    return {"architectures": [architecture], "model_type": "lxmert", "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
            "type_vocab_size": 2, "visual_pos_dim": 4, **keys}


def reference(model_class, config: dict):
    return model_class(LxmertConfig(**{key: value for key, value in config.items() if key != "architectures"}))


def pretraining(make, variant: str, about: str, lengths: list, seed: int, tied: bool, **keys):
    config = config_of("LxmertForPreTraining", tie_word_embeddings=tied, **keys)
    model = reference(LxmertForPreTraining, config)
    inputs = inputs_of(config, lengths, MASKED_REGIONS.shape[1], seed, with_masks=True)
    inputs.update(pretraining_targets(config, inputs, seed))
    golden = make(variant, about, config, model, forward, stages(model.lxmert), inputs, GENERATOR, loss=pretraining_loss(config),
                  drop=lambda name: tied and name == "cls.predictions.decoder.weight", seed=seed)
    check_pretraining_loss(golden)
    return golden


def goldens(make):
    yield pretraining(
        make, "pretraining", "every head and loss of pre-training, padding in text and regions, segments, tied words", [7, 5], seed=21,
        tied=True, vocab_size=40, hidden_size=16, num_attention_heads=2, intermediate_size=24, hidden_act="gelu", max_position_embeddings=12,
        l_layers=2, x_layers=2, r_layers=1, visual_feat_dim=10, num_qa_labels=9, num_object_labels=8, num_attr_labels=6,
        visual_loss_normalizer=6.67, task_qa=True, visual_obj_loss=True, visual_attr_loss=True, visual_feat_loss=True)
    yield pretraining(
        make, "few_heads", "pre-training without answers and attributes, words that are not tied, ReLU", [4, 6], seed=22, tied=False,
        vocab_size=30, hidden_size=12, num_attention_heads=3, intermediate_size=20, hidden_act="relu", max_position_embeddings=6,
        l_layers=1, x_layers=1, r_layers=2, visual_feat_dim=7, num_qa_labels=9, num_object_labels=5, num_attr_labels=6,
        visual_loss_normalizer=1.5, task_qa=False, visual_obj_loss=True, visual_attr_loss=False, visual_feat_loss=True)

    config = config_of("LxmertForQuestionAnswering", vocab_size=50, hidden_size=16, num_attention_heads=4, intermediate_size=20,
                       hidden_act="gelu_new", max_position_embeddings=9, l_layers=1, x_layers=2, r_layers=1, visual_feat_dim=6,
                       num_qa_labels=11)
    model = reference(LxmertForQuestionAnswering, config)
    inputs = inputs_of(config, [6, 6, 6], 3, 23, with_masks=False)
    inputs["answers"] = torch.tensor([3, 0, 10])
    # The answer does not depend on the regions after the last layer: the projection lets a gradient reach their weights.
    yield make("answering", "question answering, no padding, tanh GELU", config, model, forward, stages(model.lxmert), inputs, GENERATOR,
               loss=[{"kind": "cross_entropy", "output": "question_answering_score", "target": "answers"},
                     {"kind": "projection", "output": "joint_regions"}], seed=23)

    config = config_of("LxmertModel", vocab_size=30, hidden_size=16, num_attention_heads=4, intermediate_size=16, hidden_act="gelu",
                       max_position_embeddings=8, l_layers=1, x_layers=0, r_layers=1, visual_feat_dim=5)
    model = reference(LxmertModel, config)
    yield make("plain", "no heads, no cross-modality layers", config, model, forward, stages(model),
               inputs_of(config, [3, 8], 5, 24, with_masks=True), GENERATOR, seed=24,
               loss=[{"kind": "projection", "output": name} for name in ("joint_features", "joint_text_tokens", "joint_regions")],
               rename=lambda name: f"lxmert.{name}")
