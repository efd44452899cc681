"""Greedy batched generation. Hypotheses stay aligned with their sources, one by one."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn
from tqdm import tqdm

from caneft.config import Decoding
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.models.loss import response_losses
from caneft.prompts import Example, Prompts, collate
from caneft.translation.retrieval import Examples

log = logging.getLogger(__name__)

CANNOT_HOLD = "can the dtype of the model (models.*.dtype) hold its activations?"


class Tuned(Protocol):
    """A model that translates. domains: those that have an adapter of their own, sorted; empty for most methods."""

    model: nn.Module
    domains: tuple[str, ...]

    def begin(self, domains: Sequence[str]) -> None:
        """Sets the domain of each row of the passes that follow."""


class Task(NamedTuple):
    """Prompts to generate from, as token ids, and the most tokens to generate after each."""

    prompts: list[Example]
    limits: list[int]


@dataclass(frozen=True)
class Hypothesis:
    """A translation. truncated: it did not end within its token limit and was cut there."""

    text: str
    truncated: bool

    @property
    def empty(self) -> bool:
        return not self.text


def limits(prompts: Prompts, sources: Sequence[str], settings: Decoding) -> list[int]:
    """The most tokens that each hypothesis may have, by the length of its source.

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
    model: nn.Module,
    prompts: Prompts,
    sources: Sequence[str],
    settings: Decoding,
    domain: str = "",
    examples: Examples | None = None,
    before: Callable[[int], None] = lambda rows: None,
) -> list[Hypothesis]:
    """Hypothesis of each source, in order. Sources of similar length are decoded together, padded on the left.

    domain: for instructions that name it, and for the examples. before: called with the number of rows of the passes
    that follow, whenever it changes. Raises InputError if the model's logits are not finite.
    """
    context = model.config.get_text_config().max_position_embeddings
    asked = task(prompts, sources, settings, context, domain, examples)
    return hypotheses(prompts, generate(model, prompts, asked, settings, before), asked.limits)


def generate(
    model: nn.Module,
    prompts: Prompts,
    asked: Task,
    settings: Decoding,
    before: Callable[[int], None] = lambda rows: None,
) -> list[list[int]]:
    """Tokens after each prompt, as in `translate`; some may go on after the token that ends them, or over the limit."""
    found: dict[int, list[int]] = {}
    with tqdm(total=len(asked.prompts), unit="sentence", mininterval=2) as bar:
        for chosen in _batches(asked, settings):
            batch = Task([asked.prompts[i] for i in chosen], [asked.limits[i] for i in chosen])
            with torch.inference_mode(), _finite_logits(model, f"source {chosen[0] + 1}"):
                found.update(zip(chosen, _together(model, prompts, batch, before), strict=True))
            bar.update(len(chosen))
    return [found[i] for i in range(len(asked.prompts))]


def _batches(asked: Task, settings: Decoding) -> Iterator[list[int]]:
    """Indices to decode together, longest first.

    So a lack of memory shows at once, and a batch that is not full has short sentences.
    """
    lengths = [len(prompt) + limit for prompt, limit in zip(*asked, strict=True)]
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    while order:
        size = max(1, min(settings.batch_size, settings.batch_tokens // lengths[order[0]]))
        yield order[:size]
        order = order[size:]


def _together(model: nn.Module, prompts: Prompts, asked: Task, before: Callable[[int], None]) -> list[list[int]]:
    """Tokens after each prompt of a batch, which rows leave when they have ended.

    The model's own `generate` stops when a quarter of its rows have ended, and is called again with the other rows.
    """
    from transformers import GenerationConfig

    pad, stops = prompts.tokenizer.pad_token_id, sorted(prompts.form.stops)
    batch = collate(asked.prompts, pad, side="left").to(model.device)
    ids, mask, width = batch.input_ids, batch.attention_mask, batch.input_ids.shape[1]
    rows, limits = torch.arange(len(ids)), torch.tensor(asked.limits, device=ids.device)
    ends, never_first = torch.tensor(stops, device=ids.device), sorted(prompts.form.never_first)

    def ended(ids: torch.Tensor) -> torch.Tensor:
        own = ids[:, width:]
        return torch.isin(own, ends).any(1) | (own.shape[1] >= limits)

    def enough(ids: torch.Tensor, *_, **__) -> torch.Tensor:
        done = ended(ids)
        return done | (4 * done.sum() >= len(done))  # for all rows, on the device, so nothing waits for it

    found: dict[int, list[int]] = {}
    cache = None
    while len(rows):
        before(len(rows))
        model.generation_config = GenerationConfig(
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            max_length=width + int(limits.max()),
            eos_token_id=stops,
            begin_suppress_tokens=(cache is None and never_first) or None,
            pad_token_id=pad,
            return_dict_in_generate=True,
        )
        made = model.generate(input_ids=ids, attention_mask=mask, past_key_values=cache, stopping_criteria=[enough])
        ids, cache, done = made.sequences, made.past_key_values, ended(made.sequences).cpu()
        found.update(zip(rows[done].tolist(), ids[done, width:].tolist(), strict=True))
        left = (~done).nonzero()[:, 0]  # on the CPU, as layers may be on several devices
        ids, rows, limits = ids[left], rows[left], limits[left]
        mask = nn.functional.pad(mask[left], (0, ids.shape[1] - mask.shape[1]), value=1)
        cache.batch_select_indices(left)
    return [found[row] for row in range(len(found))]


@contextmanager
def _finite_logits(model: nn.Module, name: str) -> Iterator[None]:
    """Raises InputError at the end of a batch if a logit was not finite in any step. name: of the batch's first source.

    Checks the least and the greatest logit of the head, before a soft-cap hides infinite ones. That is one more pass
    over logits that are copied and searched anyway, and it does not wait for the device before the end.
    """
    fine = []

    def look(_, __, logits: torch.Tensor) -> None:
        least, greatest = torch.aminmax(logits)
        fine.append(least.isfinite() & greatest.isfinite())

    hook = model.lm_head.register_forward_hook(look)
    try:
        yield
    finally:
        hook.remove()
    if not torch.stack(fine).all():
        raise InputError(f"logits are not finite while translating, in the batch of {name}; {CANNOT_HOLD}")


def task(
    prompts: Prompts,
    sources: Sequence[str],
    settings: Decoding,
    context: int,
    domain: str = "",
    examples: Examples | None = None,
) -> Task:
    """Prompts and limits of sources. context: number of positions of the model. Raises InputError as `limits` does."""
    most = limits(prompts, sources, settings)
    return Task(_encoded(prompts, sources, domain, examples, [context - limit for limit in most]), most)


def hypotheses(prompts: Prompts, generated: Sequence[Sequence[int]], most: Sequence[int]) -> list[Hypothesis]:
    """Hypotheses from generated tokens, each cut at its own limit, so that it does not depend on its batch."""
    cut = [ids[:limit] for ids, limit in zip(generated, most, strict=True)]
    return [Hypothesis(prompts.decode(ids), truncated=not prompts.ended(ids)) for ids in cut]


def _encoded(
    prompts: Prompts, sources: Sequence[str], domain: str, examples: Examples | None, room: Sequence[int]
) -> list[Example]:
    """Prompt of each source, with as many of its examples, the most similar ones, as its `room` in tokens allows."""
    if examples is None:
        return prompts.encode_sources(sources, domain)
    result, fewer, withheld = [], 0, examples.withheld
    for source, most in zip(sources, room, strict=True):
        shown = found = examples.of(source, domain)
        example = prompts.encode(source, domain=domain, examples=shown)
        while shown and len(example) > most:
            shown = shown[1:]
            example = prompts.encode(source, domain=domain, examples=shown)
        fewer += len(shown) < len(found)
        result.append(example)
    log.info("%s: %d of %d prompts have fewer examples than found, to fit the context", domain, fewer, len(sources))
    log.info("%s: %d pairs withheld, whose source is the one to translate", domain, examples.withheld - withheld)
    return result


@torch.inference_mode()
def source_losses(
    model: nn.Module,
    prompts: Prompts,
    sources: Sequence[str],
    settings: Decoding,
    domain: str = "",
    before: Callable[[int], None] = lambda rows: None,
) -> tuple[list[float], int]:
    """Cross-entropy of each source in its prompt, in nats, in order, and the total number of source tokens.

    domain, before: as for `translate`. Raises InputError for a loss that is not finite.
    """
    encoded = [prompts.encode_source(source, domain) for source in sources]
    order = sorted(range(len(sources)), key=lambda i: (len(encoded[i]), i))
    found = [0.0] * len(sources)
    for start in range(0, len(order), settings.batch_size):
        chosen = order[start : start + settings.batch_size]
        batch = collate([encoded[i] for i in chosen], prompts.tokenizer.pad_token_id).to(model.device)
        before(len(chosen))
        losses = response_losses(model, batch).double()
        sums = losses.new_zeros(len(chosen)).index_add(0, batch.rows.to(losses.device), losses)
        for i, nats in zip(chosen, sums.tolist(), strict=True):
            if not math.isfinite(nats):
                raise InputError(f"the loss on source {i + 1} is not finite; {CANNOT_HOLD}")
            found[i] = nats
    return found, sum(len(example.response) for example in encoded)


def translations(
    tuned: Tuned,
    prompts: Prompts,
    rows: Sequence[Row],
    settings: Decoding,
    domain: str,
    examples: Examples | None = None,
    route: str = "domain",
) -> list[dict[str, Any]]:
    """Lines of a translations file for the test set of one domain, in the order of its rows.

    A model with adapters uses the domain's. If there is none, or if the route is `source_loss`, every adapter
    translates, and the hypotheses are those of the adapter with the lowest loss on all sources (see `_by_source_loss`).
    """
    sources = [row.source for row in rows]
    if tuned.domains and (route == "source_loss" or domain not in tuned.domains):
        return _by_source_loss(tuned, prompts, rows, settings, domain)
    before = _beginner(tuned, domain)
    found = translate(tuned.model, prompts, sources, settings, domain, examples, before)
    return [as_line(row.id, domain, hypothesis) for row, hypothesis in zip(rows, found, strict=True)]


def _by_source_loss(
    tuned: Tuned, prompts: Prompts, rows: Sequence[Row], settings: Decoding, domain: str
) -> list[dict[str, Any]]:
    """Lines with the hypotheses and losses of all adapters, for a domain whose name does not choose one.

    The reported adapter has the lowest mean cross-entropy per source token over the whole test set, which needs no
    reference; among equals it is the first by name.
    """
    sources = [row.source for row in rows]
    found, losses = {}, {}
    for adapter in tuned.domains:
        before = _beginner(tuned, adapter)
        losses[adapter], tokens = source_losses(tuned.model, prompts, sources, settings, domain, before)
        found[adapter] = translate(tuned.model, prompts, sources, settings, domain, before=before)
        log.info("%s: adapter %s: %.4f nats per source token", domain, adapter, sum(losses[adapter]) / max(tokens, 1))
    chosen = min(sorted(tuned.domains), key=lambda adapter: math.fsum(losses[adapter]))
    log.info("%s: adapter %s is reported", domain, chosen)
    return [
        as_line(row.id, domain, found[chosen][i])
        | {
            "adapter": chosen,
            "alternatives": {adapter: found[adapter][i].text for adapter in tuned.domains},
            "source_loss": {adapter: losses[adapter][i] for adapter in tuned.domains},
        }
        for i, row in enumerate(rows)
    ]


def _beginner(tuned: Tuned, domain: str) -> Callable[[int], None]:
    """Function to call before a batch whose rows are all of one domain."""
    return lambda rows: tuned.begin([domain] * rows)


def as_line(name: str, domain: str, hypothesis: Hypothesis) -> dict:
    """A hypothesis as a line of a translations file. name: id of its test pair."""
    flags = [flag for flag in ("empty", "truncated") if getattr(hypothesis, flag)]
    return {"id": name, "domain": domain, "hypothesis": hypothesis.text, "flags": flags}
