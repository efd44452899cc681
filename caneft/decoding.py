"""Greedy batched generation. Hypotheses stay aligned with their sources, one by one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from tqdm import tqdm

from caneft.config import Decoding
from caneft.errors import InputError
from caneft.prompts import Prompts, collate


@dataclass(frozen=True)
class Hypothesis:
    """A translation. truncated: it did not end within its token limit and was cut there."""

    text: str
    truncated: bool

    @property
    def empty(self) -> bool:
        return not self.text


def limits(prompts: Prompts, sources: Sequence[str], settings: Decoding) -> list[int]:
    """Most tokens that each hypothesis may have, from the length of its source.

    Raises InputError for a source over `max_source_tokens`: nothing is cut silently.
    """
    result = []
    for number, source in enumerate(sources):
        length = len(prompts.tokenizer(source, add_special_tokens=False).input_ids)
        if length > settings.max_source_tokens:
            raise InputError(
                f"source {number + 1} has {length} tokens, but decoding.max_source_tokens is"
                f" {settings.max_source_tokens}; raise it or drop the segment from the test set"
            )
        result.append(math.ceil(settings.length_factor * length) + settings.length_offset)
    return result


def translate(
    model: nn.Module, prompts: Prompts, sources: Sequence[str], settings: Decoding, domain: str = ""
) -> list[Hypothesis]:
    """Hypothesis of each source, in order. Sources of similar length are decoded together, padded on the left.

    domain: for instructions that name it.
    """
    from transformers import GenerationConfig

    limit = limits(prompts, sources, settings)
    encoded = [prompts.encode(source, domain=domain) for source in sources]
    order = sorted(range(len(sources)), key=lambda i: (len(encoded[i]), i))
    pad = prompts.tokenizer.pad_token_id
    found: dict[int, Hypothesis] = {}
    with tqdm(total=len(sources), unit="sentence", mininterval=2) as bar:
        for start in range(0, len(order), settings.batch_size):
            chosen = order[start : start + settings.batch_size]
            batch = collate([encoded[i] for i in chosen], pad, side="left").to(model.device)
            model.generation_config = GenerationConfig(
                do_sample=False,
                num_beams=1,
                repetition_penalty=1.0,
                max_new_tokens=max(limit[i] for i in chosen),
                eos_token_id=prompts.end_of_turn,
                pad_token_id=pad,
            )
            with torch.inference_mode():
                ids = model.generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
            for row, i in enumerate(chosen):
                found[i] = _hypothesis(prompts, ids[row, batch.input_ids.shape[1] :].tolist(), limit[i])
            bar.update(len(chosen))
    return [found[i] for i in range(len(sources))]


def _hypothesis(prompts: Prompts, ids: list[int], limit: int) -> Hypothesis:
    """Cut at the sentence's own limit, so that a hypothesis does not depend on its batch."""
    ids = ids[:limit]
    return Hypothesis(prompts.decode(ids), truncated=prompts.end_of_turn not in ids)


def as_line(name: str, domain: str, hypothesis: Hypothesis) -> dict:
    """A hypothesis as it stands in a translations file; name: id of its test pair."""
    flags = [flag for flag in ("empty", "truncated") if getattr(hypothesis, flag)]
    return {"id": name, "domain": domain, "hypothesis": hypothesis.text, "flags": flags}
