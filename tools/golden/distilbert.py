"""DistilBERT. Stages: embeddings, layers.<i>."""

from golden.text_encoders import classes, encoder_golden


def golden(make, variant, about, architecture, lengths, seed, **keys):
    extra = {key: keys.pop(key) for key in ("head", "pad") if key in keys}
    config = {"architectures": [architecture], "model_type": "distilbert", "vocab_size": 53, "dim": 24, "n_layers": 2, "n_heads": 4,
              "hidden_dim": 40, "max_position_embeddings": 15, "activation": "gelu", "dropout": 0.1, "attention_dropout": 0.1,
              "seq_classif_dropout": 0.2, "sinusoidal_pos_embds": False, "pad_token_id": 0, **keys}
    trunk = (lambda model: model) if architecture == "DistilBertModel" else (lambda model: model.distilbert)
    return encoder_golden(make, variant, about, config, lengths, seed, trunk, lambda network: network.transformer.layer,
                          prefix="distilbert.", **extra)


def goldens(make):
    yield golden(make, "model", "encoder, as many tokens as there are positions, padded rows, another pad token", "DistilBertModel",
                 [15, 6, 1], 51, pad=4, pad_token_id=4)
    yield golden(make, "mlm", "masked words, tied, ReLU, three layers", "DistilBertForMaskedLM", [7, 9], 52, head="words",
                 activation="relu", n_layers=3, dim=16, n_heads=2, hidden_dim=24)
    yield golden(make, "classifier", "classes of texts", "DistilBertForSequenceClassification", [5, 3, 8], 53, head="classes",
                 id2label=classes(), n_heads=3)
