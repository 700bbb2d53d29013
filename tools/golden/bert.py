"""BERT. Stages: embeddings, layers.<i>, pooled."""

from golden.text_encoders import classes, encoder_golden


def golden(make, variant, about, architecture, lengths, seed, **keys):
    extra = {key: keys.pop(key) for key in ("head", "type_ids", "pad") if key in keys}
    config = {"architectures": [architecture], "model_type": "bert", "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2,
              "num_attention_heads": 4, "intermediate_size": 40, "max_position_embeddings": 20, "type_vocab_size": 2,
              "hidden_act": "gelu", "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
              "pad_token_id": 0, **keys}
    trunk = (lambda model: model) if architecture == "BertModel" else (lambda model: model.bert)
    return encoder_golden(make, variant, about, config, lengths, seed, trunk, lambda network: network.encoder.layer, prefix="bert.",
                          **extra)


def goldens(make):
    yield golden(make, "model", "encoder with pooler, segments, padded rows, GELU", "BertModel", [9, 4, 1], 21, type_ids=True,
                 position_embedding_type="absolute")
    yield golden(make, "no_pooler", "encoder without pooler, one segment, ReLU, another epsilon, one head, a pad token that is trained",
                 "BertModel", [20, 13], 22, hidden_size=16, num_attention_heads=1, num_hidden_layers=3, intermediate_size=24,
                 hidden_act="relu", layer_norm_eps=1e-5, type_vocab_size=1, pad_token_id=None, add_pooling_layer=False)
    yield golden(make, "mlm", "masked words with the decoder tied to the word vectors", "BertForMaskedLM", [7, 10], 23, head="words",
                 type_ids=True)
    yield golden(make, "mlm_untied", "masked words with a decoder of its own, tanh-GELU, three segments", "BertForMaskedLM", [6, 5], 24,
                 head="words", tie_word_embeddings=False, hidden_act="gelu_new", hidden_size=16, num_attention_heads=2,
                 intermediate_size=32, type_vocab_size=3)
    yield golden(make, "classifier", "classes of texts, another pad token", "BertForSequenceClassification", [5, 8, 3], 25,
                 head="classes", id2label=classes(), pad=3, pad_token_id=3, num_attention_heads=6)
