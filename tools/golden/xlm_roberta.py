"""XLM-RoBERTa: RoBERTa's network under another name. Stages: embeddings, layers.<i>, pooled."""

from golden.roberta import golden
from golden.text_encoders import classes


def goldens(make):
    yield golden(make, "model", "encoder without pooler, two segments of which texts use one", "XLMRobertaModel", [11, 16], 41,
                 model_type="xlm-roberta", add_pooling_layer=False, type_vocab_size=2)
    yield golden(make, "classifier", "classes of texts (rerankers are such models), three layers", "XLMRobertaForSequenceClassification",
                 [5, 9], 42, model_type="xlm-roberta", head="classes", id2label=classes(), num_hidden_layers=3, hidden_size=16,
                 num_attention_heads=2, intermediate_size=24)
    yield golden(make, "mlm", "masked words, tied", "XLMRobertaForMaskedLM", [8, 3], 43, model_type="xlm-roberta", head="words",
                 hidden_size=16, num_attention_heads=4, intermediate_size=32)
