"""Prompts and responses as token ids: one function for training, importance and inference.

A prompt ends where the response begins (the chat template's generation prompt included). A response ends with
the model's end-of-turn token, which is trained.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from caneft.errors import InputError


@dataclass(frozen=True)
class Example:
    """Token ids of one pair; `response` is empty at inference."""

    prompt: tuple[int, ...]
    response: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


class Prompts:
    """Encodes pairs for one tokenizer and one instruction.

    instruction: the text before the source, as a function of the domain's name (which most ignore).
    """

    def __init__(self, tokenizer, instruction: Callable[[str], str]):
        self.tokenizer = tokenizer
        self.instruction = instruction
        self.end_of_turn = self._end_of_turn()

    def encode(self, source: str, target: str | None = None, domain: str = "") -> Example:
        """Prompt of a source and, if a target is given, its response. domain: for instructions that name it."""
        user = f"{self.instruction(domain)}\n{source}"
        before = self._prompt_text(user)
        prompt = self._ids(before)
        if target is None:
            return Example(prompt)
        if self.end_of_turn in self._ids(target):
            token = self.tokenizer.convert_ids_to_tokens(self.end_of_turn)
            raise InputError(
                f"a target contains the end-of-turn token {token}: drop this pair from its corpus\n{target!r}"
            )
        response = self._continuation(before, prompt, self._response_text(before, user, target))
        if self.end_of_turn in response:
            response = response[: response.index(self.end_of_turn)]
        return Example(prompt, (*response, self.end_of_turn))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids up to the end of the turn, stripped."""
        ids = list(ids)
        if self.end_of_turn in ids:
            ids = ids[: ids.index(self.end_of_turn)]
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()

    def _prompt_text(self, user: str) -> str:
        if self.tokenizer.chat_template is None:
            return f"{self.tokenizer.bos_token or ''}{user}\n"
        turns = [{"role": "user", "content": user}]
        return self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    def _response_text(self, before: str, user: str, target: str) -> str:
        if self.tokenizer.chat_template is None:
            return target
        turns = [{"role": "user", "content": user}, {"role": "assistant", "content": target}]
        whole = self.tokenizer.apply_chat_template(turns, tokenize=False)
        if not whole.startswith(before):
            raise InputError(
                "the chat template does not continue its own generation prompt: a conversation with an answer does"
                f" not start with\n{before!r}\nSuch a template cannot be used for training."
            )
        return whole[len(before) :]

    def _continuation(self, before: str, prompt: tuple[int, ...], after: str) -> tuple[int, ...]:
        """Ids of a text as it stands after its prompt: on its own, SentencePiece would put one more space before it."""
        whole = self._ids(before + after)
        return whole[len(prompt) :] if whole[: len(prompt)] == prompt else self._ids(after)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _end_of_turn(self) -> int:
        """The first special token after an answer, else the end-of-sequence token."""
        if self.tokenizer.chat_template is not None:
            tail = self._ids(self._response_text(self._prompt_text("a"), "a", "b"))
            special = {
                i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special
            }  # Gemma 3 lists few
            for token in tail[1:]:
                if token in special:
                    return token
        if self.tokenizer.eos_token_id is None:
            raise InputError("the tokenizer has neither an end-of-turn nor an end-of-sequence token")
        return self.tokenizer.eos_token_id


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
