"""Prompts and responses as token ids: one function for training, importance and inference.

A prompt ends where the response begins, so it includes the chat template's generation prompt. A response ends with the
model's end-of-turn token, which is trained. `caneft/prompts/forms.py` defines how they are written.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

import numpy as np
import torch

from caneft.prompts.controls import UnusableText, token_ids, unmarked
from caneft.prompts.forms import Completion, Instruction, choose

logger = logging.getLogger(__name__)

CHUNK = 1000
"""Training pairs that go through template and tokenizer together; one by one, the calls cost more than the work."""


@dataclass(frozen=True)
class Example:
    """Token ids of one pair; `response` is empty at inference. domain: the pair's, if known."""

    prompt: tuple[int, ...]
    response: tuple[int, ...] = ()
    domain: str = ""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True)
class Encoded:
    """Training pairs as token ids.

    kept: index of each example's pair. left_out: number of other pairs by reason: `too_long`, or `unusable` (see
    `UnusableText`).
    """

    examples: list[Example]
    kept: list[int]
    left_out: dict[str, int]


class Wording(Protocol):
    """The configuration's wording of prompts. form: `auto`, or the name of a form."""

    @property
    def form(self) -> str: ...

    def instruct(self, domain: str) -> str:
        """The text before the source."""

    def complete(self, source: str, domain: str) -> str:
        """The text around a source up to where its translation begins."""


class Prompts:
    """Encodes pairs for one tokenizer, in one form (see `forms.choose`)."""

    def __init__(self, tokenizer, instruction: Instruction, completion: Completion | None = None, form: str = "auto"):
        self.tokenizer = tokenizer
        self.form = choose(tokenizer, instruction, completion, form)

    @classmethod
    def of(cls, tokenizer, wording: Wording) -> "Prompts":
        return cls(tokenizer, wording.instruct, wording.complete, wording.form)

    @property
    def end_of_turn(self) -> int:
        return self.form.end_of_turn

    def encode(
        self, source: str, target: str | None = None, domain: str = "", examples: Sequence[tuple[str, str]] = ()
    ) -> Example:
        """Prompt of a source and, if a target is given, its response.

        domain: for instructions that name it. examples: sources and targets to show first, each with the same
        instruction: as earlier turns of a conversation or, in forms without turns, as text like that of training.
        """
        if target is None:
            return self.encode_sources([source], domain, examples)[0]
        (example,) = self._encode_pairs([(source, target, domain)], examples)
        if isinstance(example, UnusableText):
            raise example
        return example

    def encode_sources(
        self, sources: Sequence[str], domain: str = "", examples: Sequence[tuple[str, str]] = ()
    ) -> list[Example]:
        """Prompts of several sources, each as `encode` returns it, but faster than one by one."""
        self._check(*sources)
        texts = self._texts([self._turns(source, domain, examples) for source in sources], examples)
        return [Example(ids, domain=domain) for ids in self._ids(texts)]

    def encode_training(self, pairs: Iterable[tuple[str, str, str]], max_tokens: int) -> Encoded:
        """Examples of (source, target, domain). Counts and omits pairs that are too long or cannot be a response."""
        examples, kept, unusable, too_long = [], [], [], 0
        several = (self._encode_pairs(chunk) for chunk in _chunks(pairs))
        for index, example in enumerate(chain.from_iterable(several)):
            if isinstance(example, UnusableText):
                unusable.append(example)
                continue
            if len(example) > max_tokens:
                too_long += 1
                continue
            examples.append(example)
            kept.append(index)
        if too_long:
            logger.info("%d pairs of more than %d tokens are left out", too_long, max_tokens)
        if unusable:
            logger.warning("%d pairs are left out that cannot be trained on; first: %s", len(unusable), unusable[0])
        return Encoded(examples, kept, {"too_long": too_long, "unusable": len(unusable)})

    def encode_source(self, source: str, domain: str = "") -> Example:
        """The source's own tokens as the response, and what precedes them in its prompt as the prompt.

        A token that crosses the border belongs to the source. If the chat template has changed the user's words so that
        they cannot be found, all tokens do.
        """
        self._check(source)
        turns = self._turns(source, domain)
        (text,) = self._texts([turns])
        start, end = self.form.find(text, turns[-1], self.form.content(source), domain)
        ids, before, rest = self._ids([text, text[:start], text[end:]])
        first = max(1, _common(ids, before))  # nothing predicts the very first token
        after = _common(ids[::-1], rest[::-1])
        return Example(ids[:first], ids[first : len(ids) - after], domain)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids up to the end of the turn, stripped."""
        return self.form.answer(list(ids))

    def described(self) -> dict[str, str]:
        """For records: the form, and its text around placeholders for source and domain."""
        return {"form": self.form.name, "text": self.form.question("{source}", "{domain}")}

    def ended(self, ids: Sequence[int]) -> bool:
        """Whether generated ids include one that ends the turn."""
        return not self.form.stops.isdisjoint(ids)

    def _encode_pairs(
        self, pairs: Sequence[tuple[str, str, str]], examples: Sequence[tuple[str, str]] = ()
    ) -> list[Example | UnusableText]:
        """An example for each (source, target, domain), or the reason why it cannot be one."""
        turns = [self._turns(source, domain, examples) for source, _, domain in pairs]
        targets = [self.form.content(target) for _, target, _ in pairs]
        before = self._texts(turns, examples)
        obeyed = [self.form.controls.obeyed(source) for source, _, _ in pairs]
        unusable = self._unusable(targets)
        after = [a or b or c for a, b, c in zip(obeyed, unusable, self.form.after(before, turns, targets), strict=True)]
        prompts = self._ids(before)
        whole = self._ids([b + a if isinstance(a, str) else b for b, a in zip(before, after, strict=True)])
        found: list[Example | UnusableText] = []
        for (_, _, domain), prompt, ids, text in zip(pairs, prompts, whole, after, strict=True):
            if isinstance(text, UnusableText):
                found.append(text)
                continue
            # Takes the response's ids from the whole text: on its own, SentencePiece would put a space before it.
            response = ids[len(prompt) :] if ids[: len(prompt)] == prompt else self._ids([text])[0]
            if self.end_of_turn in response:
                response = response[: response.index(self.end_of_turn)]
            found.append(Example(prompt, (*response, self.end_of_turn), domain))
        return found

    def _turns(self, source: str, domain: str, examples: Sequence[tuple[str, str]] = ()) -> list[str]:
        """Alternating user and assistant turns: question and answer of each example, then the source's question."""
        content, question = self.form.content, self.form.question
        said = [turn for shown, answer in examples for turn in (question(content(shown), domain), content(answer))]
        return [*said, question(content(source), domain)]

    def _texts(self, conversations: Sequence[Sequence[str]], examples: Sequence[tuple[str, str]] = ()) -> list[str]:
        """Text of each conversation up to where the answer begins. examples: those in it, which are checked."""
        self._check(*(source for source, _ in examples))
        for unusable in self._unusable([self.form.content(target) for _, target in examples]):
            if unusable:
                raise unusable
        return self.form.before(conversations)

    def _check(self, *sources: str) -> None:
        """Raises `UnusableText` for the first source that cannot be read as it stands."""
        for unusable in map(self.form.controls.obeyed, sources):
            if unusable:
                raise unusable

    def _unusable(self, targets: Sequence[str]) -> list[UnusableText | None]:
        """For each target, as content, why it cannot be a response, or None."""
        found: list[UnusableText | None] = []
        for ids, target in zip(self._ids(targets), targets, strict=True):
            ends = self.form.ends.intersection(ids)
            unusable = self.form.controls.obeyed(target)
            if ends and not unusable:
                token = self.tokenizer.convert_ids_to_tokens(min(ends))
                unusable = UnusableText(
                    f"a target contains the end-of-turn token {token}: drop this pair from its corpus"
                    f"\n{unmarked(target)!r}"
                )
            found.append(unusable)
        return found

    def _ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        return token_ids(self.tokenizer, texts)


def _chunks(pairs: Iterable[tuple[str, str, str]]) -> Iterator[list[tuple[str, str, str]]]:
    left = iter(pairs)
    while chunk := list(islice(left, CHUNK)):
        yield chunk


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common beginning of two sequences."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@dataclass(frozen=True)
class Batch:
    """Padded examples.

    input_ids, attention_mask, position_ids: int64 (samples, tokens).
    response: bool (samples, tokens), true at positions whose next token belongs to the response.
    targets: int64 (response positions,), the next tokens there, row by row.
    rows: int64 (response positions,), the sample of each position.
    positions: int64 (response positions,), where `response` is true, row by row in the flattened batch.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    response: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor
    positions: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})

    def halves(self) -> "tuple[Batch, Batch]":
        """The first and the second half of the samples, padded as wide as the whole."""
        middle, width = len(self.input_ids) // 2, self.input_ids.shape[1]
        first = self.rows < middle
        grid = [(value[:middle], value[middle:]) for value in (self.input_ids, self.attention_mask, self.position_ids)]
        response = self.response[:middle], self.response[middle:]
        flat = [
            (value[first], value[~first] - shift)
            for value, shift in ((self.targets, 0), (self.rows, middle), (self.positions, middle * width))
        ]
        return tuple(Batch(*parts) for parts in zip(*grid, response, *flat, strict=True))


def collate(examples: Sequence[Example], pad: int, side: str = "right") -> Batch:
    """Batch of examples, padded on one side ("left" for generation)."""
    lengths = np.array([len(example) for example in examples])[:, None]
    of_prompts = np.array([len(example.prompt) for example in examples])[:, None]
    column = np.arange(lengths.max())[None]
    start = lengths.max() - lengths if side == "left" else np.zeros_like(lengths)
    inside = (start <= column) & (column < start + lengths)
    grid = np.full(inside.shape, pad, dtype=np.int64)
    grid[inside] = [token for example in examples for token in (*example.prompt, *example.response)]
    first = start + of_prompts - 1  # predicts the first response token
    response = torch.from_numpy((first <= column) & (column < start + lengths - 1))
    ids, mask = torch.from_numpy(grid), torch.from_numpy(inside).long()
    width = ids.shape[1]
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    targets = ids.roll(-1, dims=1)[response]
    flat = response.flatten().nonzero()[:, 0]
    return Batch(ids, mask, positions, response, targets, flat // width, flat)


def batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Indices in batches of similar length, each of at most `tokens` tokens with padding (but at least one example)."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    result: list[list[int]] = []
    for index in order:
        if result and lengths[index] * (len(result[-1]) + 1) <= tokens:
            result[-1].append(index)
        else:
            result.append([index])
    return result
