"""Asks llama.cpp, in its environment, for models with adapters: JSON in, JSON in the file `out`.

For each of `models`, a GGUF file and an adapter's file or none, it gives what `tests.serving.uneven.answers` gives.
"""

import json
import sys
from pathlib import Path

import numpy as np
from llama_cpp import GGML_TYPE_F32, Llama


def main() -> None:
    asked = json.loads(sys.stdin.read())
    found = {name: answers(asked, *files) for name, files in asked["models"].items()}
    Path(asked["out"]).write_text(json.dumps(found), encoding="utf-8")


def answers(asked: dict, base: str, adapter: str | None) -> list:
    cache = {"type_k": GGML_TYPE_F32, "type_v": GGML_TYPE_F32}  # the default is 16 bits
    model = Llama(base, lora_path=adapter, n_ctx=256, n_threads=1, logits_all=True, verbose=False, **cache)
    found = []
    for prompt in asked["prompts"]:
        model.reset()
        model.eval(prompt)
        first = model.scores[model.n_tokens - 1].astype(np.float64)
        ids = [int(first.argmax())]
        while ids[-1] != asked["end"] and len(ids) < asked["tokens"]:
            model.eval(ids[-1:])
            ids.append(int(model.scores[model.n_tokens - 1].argmax()))
        found.append((ids, float(-np.log(np.exp(first - first.max()).sum()))))
    return found


if __name__ == "__main__":
    main()
