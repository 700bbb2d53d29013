#!/usr/bin/env python3
"""Writes tests/golden/seeing/NAME: folders of tiny models that talk about pictures, and what transformers' processor and model make of
conversations with them (expected.json): the ids of the prompt with the tokens of its pictures, and the greedy continuation.

    python tools/dump_tiny_seeing.py [NAME ...]

Every folder is one as transformers writes it: config.json, model.safetensors, tokenizer.json, preprocessor_config.json (Pillow backend) and
chat_template.jinja, that of the published model (tests/golden/chat). The tokenizer is a byte-level BPE that joins two ends of lines to one
token, as those of the published models do: what stands between tiles shows it.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from golden.decoders import MARGIN

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "tests/golden/seeing"
STEPS = 12
ENDS = ["</s>", "<s>", "<pad>"]
TEXT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 512,
        "eos_token_id": 0, "bos_token_id": 1, "pad_token_id": 2}
CLIP = {"model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28,
        "patch_size": 14}
CONVERSATIONS = [
    [("user", "What is this?", ["cat.jpg"])],
    [("user", "Two\n\nof them: <image>", ["rocket.jpg", "printed-page.png"])],
    [("user", "the cat", ["cat.jpg"]), ("assistant", "A cat.", []), ("user", "and this?", ["coffee.jpg"])],
    [("user", "no picture at all", [])],
]


class WithoutFilms(transformers.Qwen2VLProcessor):
    """The part for films would need torchvision."""

    def check_argument_for_proper_class(self, argument_name, argument):
        pass


def tokenizer_of(special: list, after: list = ()) -> PreTrainedTokenizerFast:
    """Special tokens before the words, and `after` them."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ċ", "Ċ"), ("t", "h"), ("th", "e"), ("Ġ", "the"), ("a", "t"), ("c", "at"), ("Ġ", "cat")]
    words = ENDS + special + letters + ["".join(pair) for pair in merges]
    plain = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=merges))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    plain.decoder = decoders.ByteLevel()
    plain.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in [*ENDS, *special, *after]])
    return PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def llava_next():
    special = ["<image>"]
    tokenizer = tokenizer_of(special)
    processor = LlavaNextImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28},
                                           image_grid_pinpoints=[[28, 56], [56, 28], [56, 56], [84, 28]])
    whole = transformers.LlavaNextProcessor(processor, tokenizer, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1)
    config = transformers.LlavaNextConfig(text_config={"model_type": "mistral", "vocab_size": len(tokenizer), "sliding_window": None, **TEXT}, vision_config=CLIP,
                                          image_grid_pinpoints=processor.image_grid_pinpoints, image_token_index=3, tie_word_embeddings=False)
    return config, transformers.LlavaNextForConditionalGeneration, tokenizer, whole, "llava"


def idefics3():
    special = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"] + [f"<row_{r}_col_{c}>" for r in (1, 2, 3) for c in (1, 2, 3)]
    tokenizer = tokenizer_of(special)
    processor = Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    whole = transformers.Idefics3Processor(processor, tokenizer, image_seq_len=4)
    config = transformers.Idefics3Config(
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **TEXT}, image_token_id=3, tie_word_embeddings=False,
        vision_config={"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8})
    return config, transformers.Idefics3ForConditionalGeneration, tokenizer, whole, "smolvlm"


def qwen2_vl():
    special = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = tokenizer_of(special)
    processor = Qwen2VLImageProcessorPil(patch_size=7, min_pixels=14 * 14 * 2, max_pixels=14 * 14 * 12)
    whole = WithoutFilms(processor, tokenizer, None)
    config = transformers.Qwen2VLConfig(
        text_config={"vocab_size": len(tokenizer), "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1000.0}, **TEXT},
        vision_config={"depth": 2, "embed_dim": 16, "num_heads": 2, "hidden_size": 16, "mlp_ratio": 2, "patch_size": 7}, image_token_id=3, video_token_id=4,
        vision_start_token_id=5, vision_end_token_id=6, tie_word_embeddings=False)
    return config, transformers.Qwen2VLForConditionalGeneration, tokenizer, whole, "qwen2_vl"


def idefics(template=""):
    special = ["<fake_token_around_image>", "<image>", "<end_of_utterance>"]
    tokenizer = tokenizer_of([], after=special)
    words = len(tokenizer) - len(special)
    whole = transformers.IdeficsProcessor(IdeficsImageProcessorPil(image_size=16), tokenizer, image_size=16)
    text = {key: value for key, value in TEXT.items() if key != "num_key_value_heads"}
    config = transformers.IdeficsConfig(
        vocab_size=words, additional_vocab_size=len(special), use_resampler=True, alpha_initializer="ones", tie_word_embeddings=True, **text,
        vision_config={"embed_dim": 16, "image_size": 16, "patch_size": 8, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2},
        perceiver_config={"resampler_n_latents": 3, "resampler_depth": 1, "resampler_n_heads": 2, "resampler_head_dim": 8})
    return config, transformers.IdeficsForVisionText2Text, tokenizer, whole, template


# IDEFICS' processor takes a list of texts and pictures. The template of its successor says what the list is; alone the model takes one message.
FOLDERS = {"llava_next": llava_next, "idefics3": idefics3, "qwen2_vl": qwen2_vl, "idefics": lambda: idefics("idefics"), "idefics_plain": idefics}


def conversation(turns):
    """As apply_chat_template takes it, pictures first."""
    return [{"role": role, "content": [{"type": "image"} for _ in pictures] + [{"type": "text", "text": text}]} for role, text, pictures in turns]


def spoken(text: str) -> str:
    """What a user writes is text: the processor would take this for a picture."""
    return text.replace("<image>", "<im age>")


def prepared(processor, template, turns):
    turns = [(role, spoken(text), pictures) for role, text, pictures in turns]
    shown = [Image.open(ROOT / "samples" / name).convert("RGB") for _, _, pictures in turns for name in pictures]
    text = turns[0][1]
    if template:
        text = processor.tokenizer.apply_chat_template(conversation(turns), chat_template=template, add_generation_prompt=True, tokenize=False)
    if isinstance(processor, transformers.IdeficsProcessor):
        words = text.removeprefix("<s>").split("<image>") if template else [""] * len(shown) + [text]
        items = [item for pair in zip(words, [*shown, None]) for item in pair if item not in ("", None)]
        return processor(text=[items], return_tensors="pt", add_end_of_utterance_token=False)
    return processor(text=[text], images=shown or None, return_tensors="pt")


def main():
    torch.set_num_threads(1)
    for name in sys.argv[1:] or FOLDERS:
        config, model_class, tokenizer, processor, template_name = FOLDERS[name]()
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        template = (ROOT / f"tests/golden/chat/{template_name}.jinja").read_text(encoding="utf-8").rstrip("\n") if template_name else ""
        if name == "idefics":
            template = "{{ bos_token }}" + template
        conversations = [turns for turns in CONVERSATIONS if template or len(turns) == 1]
        inputs = [prepared(processor, template, turns) for turns in conversations]
        for seed in range(100):
            torch.manual_seed(seed)
            config._attn_implementation = "eager"
            model = model_class(config).eval()
            model.generation_config.eos_token_id = None
            with torch.no_grad():
                for value in model.parameters():
                    value.copy_((torch.randn_like(value) * (0.3 if value.dim() > 1 else 0.1) + (value.dim() == 1)).half().float())
            cases, leads = [], []
            for turns, given in zip(conversations, inputs):
                with torch.no_grad():
                    made = model.generate(**given, max_new_tokens=STEPS, do_sample=False, output_logits=True, return_dict_in_generate=True)
                logits = torch.stack(made.logits, 1)
                best = logits.topk(2).values
                leads.append(((best[..., 0] - best[..., 1]) / logits.abs().amax(-1)).min().item())
                cases.append({"messages": [{"role": role, "text": spoken(text), "images": pictures} for role, text, pictures in turns],
                              "ids": given["input_ids"][0].tolist(), "made": made.sequences[0, -STEPS:].tolist()})
            if min(leads) > MARGIN and len({tuple(case["made"]) for case in cases}) == len(cases) and not any(0 in case["made"] for case in cases):
                break
        else:
            raise ValueError(f"{name}: no seed gives clear continuations")
        model.save_pretrained(folder)
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}) + "\n")
        if template:
            (folder / "chat_template.jinja").write_text(template + "\n", encoding="utf-8")
        (folder / "preprocessor_config.json").write_text(json.dumps(json.loads(processor.image_processor.to_json_string())) + "\n")
        (folder / "generation_config.json").unlink(missing_ok=True)
        (folder / "expected.json").write_text(json.dumps(cases) + "\n")
        print(name, seed, [len(case["ids"]) for case in cases], sum(file.stat().st_size for file in folder.iterdir()), "bytes")


if __name__ == "__main__":
    main()
