"""Prompts and responses as token ids: one function for training, importance and inference.

A prompt ends where the response begins (the chat template's generation prompt included). A response ends with
the model's end-of-turn token, which is trained.
"""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from caneft.errors import InputError

logger = logging.getLogger(__name__)

ONE_DATE = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}{{ '' }}"
"""What stands before a chat template that prints the day's date, which would make another prompt of every day. It is
the date that Llama 3's print where they know of none."""

EMPTY_THOUGHT = re.compile(r"<think>\s*</think>\s*\Z")
"""How a generation prompt ends that says that the model has done its thinking."""


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
        turns = self._turns(source, domain, examples)
        before = self._prompt_text(turns)
        self._check_shown(before, examples)
        prompt = self._ids(before)
        if target is None:
            return Example(prompt, domain=domain)
        self._check_target(target)
        response = self._continuation(before, prompt, self._response_text(before, turns, target))
        if self.end_of_turn in response:
            response = response[: response.index(self.end_of_turn)]
        return Example(prompt, (*response, self.end_of_turn), domain)

    def encode_training(self, pairs: Iterable[tuple[str, str, str]], max_tokens: int) -> Encoded:
        """Examples of (source, target, domain); what is too long or cannot be a response is left out and counted."""
        examples, kept, unusable, too_long = [], [], [], 0
        for index, (source, target, domain) in enumerate(pairs):
            try:
                example = self.encode(source, target, domain)
            except UnusableTarget as error:
                unusable.append(error)
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
        text = self._prompt_text(turns)
        ids, user = self._ids(text), turns[-1].strip()  # templates may strip it
        found = text.rfind(user)
        end = found + len(user) if found >= 0 else len(text)
        start = end - len(source.rstrip()) if found >= 0 else 0
        first = max(1, _common(ids, self._ids(text[:start])))  # nothing predicts the very first token
        after = _common(ids[::-1], self._ids(text[end:])[::-1])
        return Example(ids[:first], ids[first : len(ids) - after], domain)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids up to the end of the turn, stripped."""
        ids = list(ids)
        if self.end_of_turn in ids:
            ids = ids[: ids.index(self.end_of_turn)]
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()

    def _turns(self, source: str, domain: str, examples: Sequence[tuple[str, str]] = ()) -> list[str]:
        """What is said by turns: a question and its answer for each example, last the question."""
        said = [turn for shown, answer in examples for turn in (self._question(shown, domain), answer)]
        return [*said, self._question(source, domain)]

    def _question(self, source: str, domain: str) -> str:
        return f"{self.instruction(domain)}\n{source}"

    def _prompt_text(self, turns: Sequence[str]) -> str:
        """Text of a conversation up to where the answer begins."""
        if self.tokenizer.chat_template is None:
            # each example as it would be trained, so a model that goes on like them ends its answer too
            answers = (f"{q}\n{a}{self.tokenizer.eos_token}" for q, a in zip(turns[:-1:2], turns[1::2], strict=True))
            return f"{self.tokenizer.bos_token or ''}{''.join(answers)}{turns[-1]}\n"
        return self._rendered(turns, add_generation_prompt=True)

    def _rendered(self, turns: Sequence[str], add_generation_prompt: bool) -> str:
        """By the chat template, of a model that does not think aloud where it has the choice."""
        template = self.tokenizer.get_chat_template()
        return self.tokenizer.apply_chat_template(
            _messages(turns),
            chat_template=ONE_DATE + template if "strftime_now" in template else template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=False,
        )

    def _response_text(self, before: str, turns: Sequence[str], target: str) -> str:
        """What follows `before` in a finished conversation.

        Some templates put an empty thought into the generation prompt and none into finished conversations. It stays
        in the prompt of training too, as that of inference has it.
        """
        if self.tokenizer.chat_template is None:
            return target
        whole = self._rendered([*turns, target], add_generation_prompt=False)
        shared = before if whole.startswith(before) else EMPTY_THOUGHT.sub("", before)
        if not whole.startswith(shared):
            raise InputError(
                "the chat template does not continue its own generation prompt: a conversation with an answer does"
                f" not start with\n{before!r}\nSuch a template cannot be used for training."
            )
        after = whole[len(shared) :]
        if not after.strip().startswith(target.strip()):
            raise UnusableTarget(
                f"the chat template changes the words of an answer: drop this pair from its corpus\n{target!r}\nbecame"
                f" {after!r}. A template that changes them all cannot be used for training."
            )
        return after

    def _check_target(self, target: str) -> None:
        if self.end_of_turn in self._ids(target):
            token = self.tokenizer.convert_ids_to_tokens(self.end_of_turn)
            raise UnusableTarget(
                f"a target contains the end-of-turn token {token}: drop this pair from its corpus\n{target!r}"
            )

    def _check_shown(self, before: str, examples: Sequence[tuple[str, str]]) -> None:
        """Some templates leave earlier turns out: examples that are not there must not count as shown."""
        for source, target in examples:
            self._check_target(target)
            if not (source.strip() in before and target.strip() in before):
                raise InputError(
                    "the chat template does not show earlier turns of a conversation, so it cannot show examples; the"
                    f" prompt is\n{before!r}"
                )

    def _continuation(self, before: str, prompt: tuple[int, ...], after: str) -> tuple[int, ...]:
        """Ids of a text as it stands after its prompt: on its own, SentencePiece would put one more space before it."""
        whole = self._ids(before + after)
        return whole[len(prompt) :] if whole[: len(prompt)] == prompt else self._ids(after)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _end_of_turn(self) -> int:
        """The first special token after an answer, else the end-of-sequence token."""
        if self.tokenizer.chat_template is not None:
            tail = self._ids(self._response_text(self._prompt_text(["a"]), ["a"], "b"))
            special = {
                i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special
            }  # Gemma 3 lists few
            for token in tail[1:]:
                if token in special:
                    return token
        if self.tokenizer.eos_token_id is None:
            raise InputError("the tokenizer has neither an end-of-turn nor an end-of-sequence token")
        return self.tokenizer.eos_token_id


def _messages(turns: Sequence[str]) -> list[dict[str, str]]:
    """User and assistant by turns."""
    return [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]


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
    width = max(map(len, examples))
    ids = torch.full((len(examples), width), pad)
    mask = torch.zeros_like(ids)
    response = torch.zeros(ids.shape, dtype=torch.bool)
    for row, example in enumerate(examples):
        start = width - len(example) if side == "left" else 0
        ids[row, start : start + len(example)] = torch.tensor(example.prompt + example.response)
        mask[row, start : start + len(example)] = 1
        first = start + len(example.prompt) - 1  # predicts the first response token
        response[row, first : first + len(example.response)] = True
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
