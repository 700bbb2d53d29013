"""RoBERTa and, through xlm_roberta.py, XLM-RoBERTa. Stages: embeddings, layers.<i>, pooled."""

from golden.text_encoders import classes, encoder_golden


def golden(make, variant, about, architecture, lengths, seed, model_type="roberta", **keys):
    extra = {key: keys.pop(key) for key in ("head", "pad", "pads_left") if key in keys}
    config = {"architectures": [architecture], "model_type": model_type, "vocab_size": 57, "hidden_size": 24, "num_hidden_layers": 2,
              "num_attention_heads": 4, "intermediate_size": 40, "max_position_embeddings": 18, "type_vocab_size": 1,
              "hidden_act": "gelu", "layer_norm_eps": 1e-5, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
              "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, **keys}
    trunk = (lambda model: model) if architecture.endswith("Model") else (lambda model: model.roberta)
    return encoder_golden(make, variant, about, config, lengths, seed, trunk, lambda network: network.encoder.layer,
                          prefix="roberta.", **{"pad": 1, **extra})


def goldens(make):
    yield golden(make, "model", "encoder with pooler, as many tokens as there are positions, padded rows", "RobertaModel", [16, 5, 1], 31)
    yield golden(make, "mlm", "masked words, tied; ReLU in the trunk, GELU in the head; another pad token, before the text; positions start at 4",
                 "RobertaForMaskedLM", [6, 9], 32, head="words", pads_left=True, hidden_act="relu", pad=3, pad_token_id=3, hidden_size=16,
                 num_attention_heads=2, intermediate_size=24, num_hidden_layers=3)
    yield golden(make, "mlm_untied", "masked words with a decoder of its own, no pad token in sight", "RobertaForMaskedLM", [7, 7], 33,
                 head="words", tie_word_embeddings=False, hidden_size=16, num_attention_heads=2, intermediate_size=24)
    yield golden(make, "classifier", "classes of texts", "RobertaForSequenceClassification", [4, 8, 6], 34, head="classes",
                 id2label=classes(), layer_norm_eps=1e-6)
