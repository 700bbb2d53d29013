"""VisualBERT's golden variants, computed by transformers.

Stages: `embeddings` (words and regions), `layers.<i>`, `pooled`. The heads are stored by their names in the reference's output.
"""

import torch
import transformers
from transformers import (VisualBertConfig, VisualBertForMultipleChoice, VisualBertForPreTraining, VisualBertForQuestionAnswering,
                          VisualBertForVisualReasoning, VisualBertModel)

from golden.joint import joint_inputs, some_labels

GENERATOR = f"transformers {transformers.__version__}"


def stages(network: VisualBertModel) -> dict:
    found = {network.embeddings: "embeddings", network.pooler: "pooled"}
    found.update({layer: f"layers.{index}" for index, layer in enumerate(network.encoder.layer)})
    return found


def arguments(inputs: dict) -> dict:
    return {"input_ids": inputs["ids"], "attention_mask": inputs.get("mask"), "token_type_ids": inputs.get("type_ids"),
            "visual_embeds": inputs["regions"], "visual_attention_mask": inputs.get("region_mask")}


def forward(model, inputs: dict) -> dict:
    """The outputs of the model itself; its network is watched for the hidden states below them."""
    network, kept = getattr(model, "visual_bert", model), []
    watch = network.register_forward_hook(lambda _module, _arguments, output: kept.append(output))
    given = arguments(inputs)
    if isinstance(model, VisualBertForQuestionAnswering) and given["attention_mask"] is None:
        given["attention_mask"] = torch.ones_like(inputs["ids"])
    if isinstance(model, VisualBertForMultipleChoice):  # the rows are the choices of one question
        given = {name: None if value is None else value.unsqueeze(0) for name, value in given.items()}
    result = model(**given)
    watch.remove()
    joint, length = kept[0], inputs["ids"].shape[1]
    outputs = {"joint_features": joint.pooler_output, "joint_text_tokens": joint.last_hidden_state[:, :length],
               "joint_regions": joint.last_hidden_state[:, length:]}
    if isinstance(model, VisualBertForMultipleChoice):
        outputs["logits"] = result.logits.t()
    elif model is not network:
        outputs.update({name: result[name] for name in ("prediction_logits", "seq_relationship_logits", "logits") if name in result})
    return outputs


def build(model_class, seed: int, lengths: list, regions: int, with_masks: bool, **keys) -> tuple:
    """(config, model, inputs)"""
    config = {"architectures": [model_class.__name__], "model_type": "visual_bert", "hidden_dropout_prob": 0.0,
              "attention_probs_dropout_prob": 0.0, "type_vocab_size": 2, "pad_token_id": 1, **keys}
    model = model_class(VisualBertConfig(**{key: value for key, value in config.items() if key != "architectures"}))
    return config, model, joint_inputs(config, lengths, regions, config["visual_embedding_dim"], seed, with_masks)


def check_loss(golden, terms: int, **labels) -> None:
    """Fails unless the first terms of the golden loss add up to the loss that the reference computes itself."""
    reference = golden.model.eval()(**arguments(golden.inputs), **labels).loss
    outputs = golden.forward(golden.model, golden.inputs)
    torch.testing.assert_close(sum(golden.loss_of(term, outputs) for term in golden.loss[:terms]), reference)


def pretraining(make, variant: str, about: str, seed: int, tied: bool, **keys):
    config, model, inputs = build(VisualBertForPreTraining, seed, [7, 4], 3, True, tie_word_embeddings=tied, **keys)
    source = torch.Generator().manual_seed(seed + 5000)
    some = torch.arange(2 * 10).reshape(2, 10) % 4 == 1
    inputs.update({"word_labels": some_labels(config["vocab_size"], some, source), "match_labels": torch.tensor([0, 1])})
    copies = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias") if tied else ("cls.predictions.bias",)
    golden = make(variant, about, config, model, forward, stages(model.visual_bert), inputs, GENERATOR, seed=seed,
                  loss=[{"kind": "cross_entropy", "output": "prediction_logits", "target": "word_labels"},
                        {"kind": "cross_entropy", "output": "seq_relationship_logits", "target": "match_labels"}],
                  drop=lambda name: name in copies,
                  rename=lambda name: name.replace("cls.predictions.decoder.bias", "cls.predictions.bias"))
    check_loss(golden, 2, labels=inputs["word_labels"], sentence_image_labels=inputs["match_labels"])
    return golden


def goldens(make):
    yield pretraining(
        make, "pretraining", "masked words and matching, padding in text and regions, segments, tied words", seed=31, tied=True,
        vocab_size=40, hidden_size=16, num_attention_heads=2, intermediate_size=24, hidden_act="gelu", max_position_embeddings=9,
        num_hidden_layers=2, visual_embedding_dim=10, layer_norm_eps=1e-12)
    yield pretraining(
        make, "untied", "words that are not tied, another epsilon, ReLU", seed=32, tied=False, vocab_size=30, hidden_size=12,
        num_attention_heads=3, intermediate_size=20, hidden_act="relu", max_position_embeddings=8, num_hidden_layers=1,
        visual_embedding_dim=6, layer_norm_eps=1e-5)

    # The pooler has no part in the answer: the projection lets a gradient reach it.
    beside = [{"kind": "projection", "output": "joint_features"}]
    classes = {str(index): f"answer {index}" for index in range(5)}
    config, model, inputs = build(
        VisualBertForQuestionAnswering, 33, [6, 3, 5], 4, True, vocab_size=30, hidden_size=16, num_attention_heads=4,
        intermediate_size=20, hidden_act="gelu", max_position_embeddings=6, num_hidden_layers=2, visual_embedding_dim=7, id2label=classes)
    inputs["answers"] = torch.tensor([4, 0, 2])
    golden = make("answering", "answers from the last word of texts of different lengths", config, model, forward,
                  stages(model.visual_bert), inputs, GENERATOR, seed=33,
                  loss=[{"kind": "cross_entropy", "output": "logits", "target": "answers"}, *beside])
    check_loss(golden, 1, labels=torch.nn.functional.one_hot(inputs["answers"], len(classes)).double())
    yield golden

    config, model, inputs = build(
        VisualBertForVisualReasoning, 34, [5, 5], 2, False, vocab_size=20, hidden_size=16, num_attention_heads=2, intermediate_size=16,
        hidden_act="gelu", max_position_embeddings=8, num_hidden_layers=1, visual_embedding_dim=5)
    inputs["labels"] = torch.tensor([1, 0])
    golden = make("reasoning", "classes of the pooled token, nothing is padding", config, model, forward, stages(model.visual_bert), inputs,
                  GENERATOR, loss=[{"kind": "cross_entropy", "output": "logits", "target": "labels"}], seed=34)
    check_loss(golden, 1, labels=inputs["labels"])
    yield golden

    config, model, inputs = build(
        VisualBertForMultipleChoice, 35, [4, 6, 3], 3, True, vocab_size=20, hidden_size=8, num_attention_heads=2, intermediate_size=12,
        hidden_act="gelu", max_position_embeddings=6, num_hidden_layers=1, visual_embedding_dim=4)
    yield make("choice", "one score for each choice", config, model, forward, stages(model.visual_bert), inputs, GENERATOR, seed=35,
               loss=[{"kind": "projection", "output": "logits"}])
