"""What the golden files of BERT's family share: tiny configurations, inputs, and the names of outputs and stages."""

import torch
import transformers

from golden.inputs import text_inputs

CLASSES = 3
DECODERS = ("cls.predictions.decoder.weight", "lm_head.decoder.weight", "vocab_projector.weight")


def encoder_golden(make, variant, about, config, lengths, seed, trunk, layers, head=None, prefix="", type_ids=False, pad=0,
                   pads_left=False):
    """`config`: the text of config.json; `trunk(model)`: the module with the embeddings, `layers(trunk)` its layers; `head`: "words",
    "classes" or None; `prefix`: the name of the trunk, which a plain model's names lack; `pad`: the id of padding, which stands before the text with `pads_left`."""
    values = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
    made = transformers.AutoConfig.for_model(config["model_type"], **values)
    made._attn_implementation = "eager"
    extra = {key: config[key] for key in ("add_pooling_layer",) if key in config}
    model = getattr(transformers, config["architectures"][0])(made, **extra)
    inputs = text_inputs(config["vocab_size"], lengths, seed)
    inputs["ids"] = torch.where(inputs["mask"], inputs["ids"], pad)
    if pads_left:
        inputs = {name: value.flip(1) for name, value in inputs.items()}
    source = torch.Generator().manual_seed(seed + 4000)
    if type_ids:
        inputs["type_ids"] = (torch.rand(inputs["ids"].shape, generator=source) < 0.5).long() * inputs["mask"]
    if head == "words":
        targets = torch.randint(0, config["vocab_size"], inputs["ids"].shape, generator=source)
        asked = inputs["mask"] & (torch.rand(targets.shape, generator=source) < 0.6)
        inputs["targets"] = torch.where(asked, targets, -100)
    if head == "classes":
        inputs["targets"] = torch.randint(0, CLASSES, (len(lengths),), generator=source)

    def forward(model, given):
        arguments = {"input_ids": given["ids"], "attention_mask": given["mask"]}
        if type_ids:
            arguments["token_type_ids"] = given["type_ids"]
        outputs = model(**arguments, output_hidden_states=True)
        found = {"text_tokens": outputs.last_hidden_state if head is None else outputs.hidden_states[-1]}
        if getattr(outputs, "pooler_output", None) is not None:
            found["text_features"] = outputs.pooler_output
        if head is not None:
            found["text_logits"] = outputs.logits
        return found

    is_tied = config.get("tie_word_embeddings", True)

    def rename(name):
        if head is None:
            return prefix + name
        if is_tied and name in DECODERS:
            return prefix + "embeddings.word_embeddings.weight"
        # The decoder's bias is the one that is added; tied, it is the other's copy.
        return name.replace("decoder.bias", "bias")

    def drop(name):
        return not is_tied and name in ("cls.predictions.bias", "lm_head.bias")

    network = trunk(model)
    stages = {network.embeddings: "embeddings"}
    stages.update({layer: f"layers.{index}" for index, layer in enumerate(layers(network))})
    if getattr(network, "pooler", None) is not None:
        stages[network.pooler] = "pooled"
    if head is None:
        loss = [{"kind": "projection", "output": "text_tokens"}]
        if getattr(network, "pooler", None) is not None:
            loss.append({"kind": "projection", "output": "text_features"})
    else:
        loss = [{"kind": "cross_entropy", "output": "text_logits", "target": "targets"}]
    return make(variant=variant, about=about, config=config, model=model, forward=forward, stages=stages, inputs=inputs, loss=loss,
                generator=f"transformers {transformers.__version__}", rename=rename, drop=drop, seed=seed)


def classes() -> dict:
    return {str(index): f"class {index}" for index in range(CLASSES)}
