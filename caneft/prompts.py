"""Prompts and responses as token ids: one function for training, importance and inference.

A prompt ends where the response begins (the chat template's generation prompt included). A response ends with
the model's end-of-turn token, which is trained.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import torch

from caneft.errors import InputError

logger = logging.getLogger(__name__)

ONE_DATE = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}{{ '' }}"
"""What stands before a chat template that prints the day's date, which would make another prompt of every day. It is
the date that Llama 3's print where they know of none."""

EMPTY_THOUGHT = re.compile(r"<think>\s*</think>\s*\Z")
"""How a generation prompt ends that says that the model has done its thinking."""


CHUNK = 1000
"""Training pairs that go through template and tokenizer together: one by one, the calls cost more than the work."""


class UnusableTarget(InputError):
    """A target that cannot be a response as it stands."""


@dataclass(frozen=True)
class Example:
    """Token ids of one pair; `response` is empty at inference. domain: of the pair, where it is known."""

    prompt: tuple[int, ...]
    response: tuple[int, ...] = ()
    domain: str = ""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True)
class Encoded:
    """Training pairs as token ids. kept: index of each example's pair. left_out: number of other pairs by reason,
    `too_long` or `unusable` (see `UnusableTarget`)."""

    examples: list[Example]
    kept: list[int]
    left_out: dict[str, int]


class Prompts:
    """Encodes pairs for one tokenizer and one instruction.

    instruction: the text before the source, as a function of the domain's name (which most ignore).
    """

    def __init__(self, tokenizer, instruction: Callable[[str], str]):
        self.tokenizer = tokenizer
        self.instruction = instruction
        self.end_of_turn = self._end_of_turn()

    def encode(
        self, source: str, target: str | None = None, domain: str = "", examples: Sequence[tuple[str, str]] = ()
    ) -> Example:
        """Prompt of a source and, if a target is given, its response.

        domain: for instructions that name it. examples: sources and targets that are shown before, each with the same
        instruction: as earlier turns of the conversation or, without a chat template, as text like that of training.
        """
        if target is None:
            return self.encode_sources([source], domain, examples)[0]
        (example,) = self._encode_pairs([(source, target, domain)], examples)
        if isinstance(example, UnusableTarget):
            raise example
        return example

    def encode_sources(
        self, sources: Sequence[str], domain: str = "", examples: Sequence[tuple[str, str]] = ()
    ) -> list[Example]:
        """Prompts of several sources, each as `encode` gives it; faster than one by one."""
        texts = self._prompt_texts([self._turns(source, domain, examples) for source in sources], examples)
        return [Example(ids, domain=domain) for ids in self._ids(texts)]

    def encode_training(self, pairs: Iterable[tuple[str, str, str]], max_tokens: int) -> Encoded:
        """Examples of (source, target, domain); what is too long or cannot be a response is left out and counted."""
        examples, kept, unusable, too_long = [], [], [], 0
        several = (self._encode_pairs(chunk) for chunk in _chunks(pairs))
        for index, example in enumerate(chain.from_iterable(several)):
            if isinstance(example, UnusableTarget):
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
            logger.warning(
                "%d pairs are left out whose target cannot be a response; first: %s", len(unusable), unusable[0]
            )
        return Encoded(examples, kept, {"too_long": too_long, "unusable": len(unusable)})

    def encode_source(self, source: str, domain: str = "") -> Example:
        """The source's own tokens as the response, what stands before them in its prompt as the prompt.

        A token that reaches over the border belongs to the source; and if the chat template has changed the user's
        words, so that they are not found again, all tokens do.
        """
        turns = self._turns(source, domain)
        (text,) = self._prompt_texts([turns])
        user = turns[-1].strip()  # templates may strip it
        found = text.rfind(user)
        end = found + len(user) if found >= 0 else len(text)
        start = end - len(source.rstrip()) if found >= 0 else 0
        ids, before, rest = self._ids([text, text[:start], text[end:]])
        first = max(1, _common(ids, before))  # nothing predicts the very first token
        after = _common(ids[::-1], rest[::-1])
        return Example(ids[:first], ids[first : len(ids) - after], domain)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids up to the end of the turn, stripped."""
        ids = list(ids)
        if self.end_of_turn in ids:
            ids = ids[: ids.index(self.end_of_turn)]
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()

    def _encode_pairs(
        self, pairs: Sequence[tuple[str, str, str]], examples: Sequence[tuple[str, str]] = ()
    ) -> list[Example | UnusableTarget]:
        """An example of each (source, target, domain), or why its target cannot be a response."""
        turns = [self._turns(source, domain, examples) for source, _, domain in pairs]
        before = self._prompt_texts(turns, examples)
        after = self._response_texts(before, turns, [target for _, target, _ in pairs])
        prompts = self._ids(before)
        whole = self._ids([b + a if isinstance(a, str) else b for b, a in zip(before, after, strict=True)])
        found: list[Example | UnusableTarget] = []
        for (_, _, domain), prompt, ids, text in zip(pairs, prompts, whole, after, strict=True):
            if isinstance(text, UnusableTarget):
                found.append(text)
                continue
            # Ids of the response as it stands after its prompt: on its own, SentencePiece would put a space before it.
            response = ids[len(prompt) :] if ids[: len(prompt)] == prompt else self._ids([text])[0]
            if self.end_of_turn in response:
                response = response[: response.index(self.end_of_turn)]
            found.append(Example(prompt, (*response, self.end_of_turn), domain))
        return found

    def _turns(self, source: str, domain: str, examples: Sequence[tuple[str, str]] = ()) -> list[str]:
        """What is said by turns: a question and its answer for each example, last the question."""
        said = [turn for shown, answer in examples for turn in (self._question(shown, domain), answer)]
        return [*said, self._question(source, domain)]

    def _question(self, source: str, domain: str) -> str:
        return f"{self.instruction(domain)}\n{source}"

    def _prompt_texts(
        self, conversations: Sequence[Sequence[str]], examples: Sequence[tuple[str, str]] = ()
    ) -> list[str]:
        """Text of each conversation up to where the answer begins. examples: those that it must show."""
        if self.tokenizer.chat_template is None:
            texts = [self._plain_text(turns) for turns in conversations]
        else:
            texts = self._rendered(conversations, add_generation_prompt=True)
        self._check_shown(texts, examples)
        return texts

    def _plain_text(self, turns: Sequence[str]) -> str:
        """Without a chat template, each example as it would be trained, so a model that goes on like them ends."""
        answers = (f"{q}\n{a}{self.tokenizer.eos_token}" for q, a in zip(turns[:-1:2], turns[1::2], strict=True))
        return f"{self.tokenizer.bos_token or ''}{''.join(answers)}{turns[-1]}\n"

    def _rendered(self, conversations: Sequence[Sequence[str]], add_generation_prompt: bool) -> list[str]:
        """By the chat template, of a model that does not think aloud where it has the choice."""
        if not conversations:
            return []
        template = self.tokenizer.get_chat_template()
        return self.tokenizer.apply_chat_template(
            [_messages(turns) for turns in conversations],
            chat_template=ONE_DATE + template if "strftime_now" in template else template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=False,
        )

    def _response_texts(
        self, before: Sequence[str], conversations: Sequence[Sequence[str]], targets: Sequence[str]
    ) -> list[str | UnusableTarget]:
        """What follows each prompt in a finished conversation, or why its target cannot."""
        found = [self._unusable(ids, target) for ids, target in zip(self._ids(targets), targets, strict=True)]
        if self.tokenizer.chat_template is None:
            return [unusable or target for unusable, target in zip(found, targets, strict=True)]
        finished = [[*turns, target] for turns, target in zip(conversations, targets, strict=True)]
        whole = self._rendered(finished, add_generation_prompt=False)
        parts = zip(found, before, whole, targets, strict=True)
        return [unusable or _response_text(text, of_whole, target) for unusable, text, of_whole, target in parts]

    def _unusable(self, ids: tuple[int, ...], target: str) -> UnusableTarget | None:
        if self.end_of_turn not in ids:
            return None
        token = self.tokenizer.convert_ids_to_tokens(self.end_of_turn)
        return UnusableTarget(
            f"a target contains the end-of-turn token {token}: drop this pair from its corpus\n{target!r}"
        )

    def _check_shown(self, texts: Sequence[str], examples: Sequence[tuple[str, str]]) -> None:
        """Some templates leave earlier turns out: examples that are not there must not count as shown."""
        for ids, (_, target) in zip(self._ids([target for _, target in examples]), examples, strict=True):
            if unusable := self._unusable(ids, target):
                raise unusable
        for text in texts if examples else ():
            if not all(source.strip() in text and target.strip() in text for source, target in examples):
                raise InputError(
                    "the chat template does not show earlier turns of a conversation, so it cannot show examples; the"
                    f" prompt is\n{text!r}"
                )

    def _ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Token ids of each text."""
        if not texts:
            return []
        return [tuple(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False).input_ids]

    def _end_of_turn(self) -> int:
        """The first special token after an answer, else the end-of-sequence token."""
        if self.tokenizer.chat_template is not None:
            (before,), (whole,) = self._prompt_texts([["a"]]), self._rendered([["a", "b"]], add_generation_prompt=False)
            after = _response_text(before, whole, "b")
            if isinstance(after, UnusableTarget):
                raise after
            (tail,) = self._ids([after])
            special = {
                i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special
            }  # Gemma 3 lists few
            for token in tail[1:]:
                if token in special:
                    return token
        if self.tokenizer.eos_token_id is None:
            raise InputError("the tokenizer has neither an end-of-turn nor an end-of-sequence token")
        return self.tokenizer.eos_token_id


def _response_text(before: str, whole: str, target: str) -> str | UnusableTarget:
    """What follows `before` in a finished conversation.

    Some templates put an empty thought into the generation prompt and none into finished conversations. It stays
    in the prompt of training too, as that of inference has it.
    """
    shared = before if whole.startswith(before) else EMPTY_THOUGHT.sub("", before)
    if not whole.startswith(shared):
        raise InputError(
            "the chat template does not continue its own generation prompt: a conversation with an answer does"
            f" not start with\n{before!r}\nSuch a template cannot be used for training."
        )
    after = whole[len(shared) :]
    if not after.strip().startswith(target.strip()):
        return UnusableTarget(
            f"the chat template changes the words of an answer: drop this pair from its corpus\n{target!r}\nbecame"
            f" {after!r}. A template that changes them all cannot be used for training."
        )
    return after


def _messages(turns: Sequence[str]) -> list[dict[str, str]]:
    """User and assistant by turns."""
    return [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]


def _chunks(pairs: Iterable[tuple[str, str, str]]) -> Iterator[list[tuple[str, str, str]]]:
    left = iter(pairs)
    while chunk := list(islice(left, CHUNK)):
        yield chunk


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the beginning that two sequences share."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@dataclass(frozen=True)
class Batch:
    """Padded examples.

    input_ids, attention_mask, position_ids: int64 (samples, tokens).
    response: bool (samples, tokens), true at positions whose next token belongs to the response.
    targets: int64 (response positions,), the next tokens there, row by row.
    rows: int64 (response positions,), the sample of each.
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
        """The first and the second half of the samples, as wide as the whole."""
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
    """Indices in batches of similar length, of at most so many tokens with padding (one example at least)."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    result: list[list[int]] = []
    for index in order:
        if result and lengths[index] * (len(result[-1]) + 1) <= tokens:
            result[-1].append(index)
        else:
            result.append([index])
    return result
