"""Tiny random models, patches with very uneven layers in every form that is served, and the right answers."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from caneft.neurons import NeuronSet
from caneft.patch.lora import export
from caneft.patch.merge import merge
from tests import naive
from tests.unit.test_patch import changed, write

LAYERS, END, TOKENS = 3, 2, 12
LENGTHS = {2: 5, 3: 9, 5: 30, 8: 77, 11: 40}
PROMPTS = [[1, *range(first, first + 17 * length, 17)] for length, first in LENGTHS.items()]
WAYS = {"adapter": {}, "own-ranks": {"own_ranks": True}}
"""Both forms of an exported adapter, and the option that makes it."""


def random_model(architecture: str, vocabulary: int = 259, width: int = 64, seed: int = 0) -> PreTrainedModel:
    """Three layers with `width` neurons each, and heads of 64, which vLLM accepts on a CPU."""
    text = {
        "vocab_size": vocabulary,
        "hidden_size": 128,
        "intermediate_size": width,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 256,
        "initializer_range": 0.1,
        "bos_token_id": 1,
        "eos_token_id": END,
        "pad_token_id": 0,
        "tie_word_embeddings": architecture.startswith("gemma"),
    }
    if architecture.startswith("gemma"):
        text |= {"head_dim": 64, "query_pre_attn_scalar": 64}  # llama.cpp divides by the root of the head size
    sees = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sees |= {"image_size": 28, "patch_size": 14}
    options = {"text_config": text, "vision_config": sees, "mm_tokens_per_image": 4}
    torch.manual_seed(seed)
    config = AutoConfig.for_model(architecture, **(options if architecture == "gemma3" else text))
    model = AutoModelForCausalLM.from_config(config).requires_grad_(False).eval()
    for name, weight in model.named_parameters():
        if "post_" in name and "feedforward" in name:  # else Gemma would repeat its last word
            weight.fill_(9)
    return model


def neurons(counts: Sequence[int], width: int) -> NeuronSet:
    """Random neurons, this many in each layer."""
    drawn = np.random.default_rng(1)
    return NeuronSet(LAYERS, width, tuple(np.sort(drawn.choice(width, count, replace=False)) for count in counts))


def make(folder: Path, architecture: str, counts: Sequence[int], width: int = 64) -> dict[str, list]:
    """Writes `base`, `merged` and an adapter of each form into a folder; returns the `answers` of each model."""
    base, some = random_model(architecture, width=width), neurons(counts, width)
    base.save_pretrained(folder / "base")
    tuned = changed(base, some)
    path = write(folder / "patch.safetensors", base, tuned, some)
    merge(folder / "base", path, folder / "merged")
    for name, form in WAYS.items():
        export(folder / "base", path, folder / name, **form)
    of_base, of_tuned = answers(base), answers(tuned)
    assert [ids for ids, _ in of_base] != [ids for ids, _ in of_tuned]
    return {"base": of_base, "merged": of_tuned} | dict.fromkeys(WAYS, of_tuned)


def answers(model: PreTrainedModel) -> list:
    """For each prompt, the greedy tokens and the log-probability of the first, by a forward pass for each token."""
    found = []
    for prompt in PROMPTS:
        with torch.no_grad():
            first = model(input_ids=torch.tensor([prompt])).logits[0, -1].double()
        found.append((naive.greedy(model, prompt, END, TOKENS), float(first.log_softmax(-1).max())))
    return found


def same(found: list, expected: list, within: float = 5e-5) -> bool:
    """Whether all tokens are equal, and the probabilities to four digits or to the given tolerance."""
    return all(
        list(ids) == list(right) and abs(logarithm - by) < within
        for (ids, logarithm), (right, by) in zip(found, expected, strict=True)
    )


def asked(**more: object) -> str:
    """The input of the programs that ask a server."""
    return json.dumps({"prompts": PROMPTS, "tokens": TOKENS, "end": END} | more)
