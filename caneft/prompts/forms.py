"""Ways of writing pairs for a model: as a conversation, as an instruction, or as text to complete.

Chat models get a conversation in their own template. Base models continue a text: they get one that names the languages
and ends where the translation begins, and they stop at the line break.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import ClassVar

from caneft.errors import InputError
from caneft.prompts.controls import Controls, UnusableText, token_ids, unmarked

ONE_DATE = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}{{ '' }}"
"""Precedes a chat template that prints the current date, which would make another prompt every day. This date is what
Llama 3's templates print if they know of none."""

EMPTY_THOUGHT = re.compile(r"<think>\s*</think>\s*\Z")
"""The end of a generation prompt that says that the model has finished thinking."""

Instruction = Callable[[str], str]
"""Maps the domain's name, which most instructions ignore, to the text before the source."""

Completion = Callable[[str, str], str]
"""Maps source and domain to the text around the source, up to where its translation begins."""


class Form(ABC):
    """One way to write pairs for a tokenizer. A conversation alternates questions and answers; a question is last."""

    name: ClassVar[str]
    end_of_turn: int
    """Token to be trained at the end of a response."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.end_of_turn = self._end_of_turn()

    @abstractmethod
    def question(self, source: str, domain: str) -> str:
        """The text that presents a source to the model."""

    @abstractmethod
    def before(self, conversations: Sequence[Sequence[str]]) -> list[str]:
        """Text of each conversation up to where the answer begins."""

    @abstractmethod
    def after(
        self, before: Sequence[str], conversations: Sequence[Sequence[str]], targets: Sequence[str]
    ) -> list[str | UnusableText]:
        """The text that follows each `before` if the target is the answer, without the end of the turn in some forms.

        An UnusableText instead says why the target cannot be the answer.
        """

    @abstractmethod
    def _end_of_turn(self) -> int: ...

    @cached_property
    def controls(self) -> Controls:
        """The tokenizer's special tokens."""
        return Controls(self.tokenizer)

    @property
    def ends(self) -> frozenset[int]:
        """Tokens that no answer can contain."""
        return frozenset([self.end_of_turn])

    @property
    def stops(self) -> frozenset[int]:
        """Tokens that end what a model generates."""
        return self.ends

    @property
    def never_first(self) -> frozenset[int]:
        """Tokens that no generated answer may begin with."""
        return frozenset()

    def tidied(self, text: str) -> str:
        """A source or target in the shape that this form needs."""
        return text

    def content(self, text: str) -> str:
        """A source or target, tidied, with special tokens read as text: `<s>` in it is three characters."""
        return self.controls.as_text(self.tidied(text))

    def find(self, text: str, question: str, source: str, domain: str) -> tuple[int, int]:
        """Where a source begins and ends in a text that ends with its question; the whole text if it is not found."""
        said = question.strip()  # templates may strip it
        found = text.rfind(said)
        if found < 0:
            return 0, len(text)
        end = found + len(said)
        return end - len(source.rstrip()), end

    def answer(self, ids: Sequence[int]) -> str:
        """Text of generated tokens up to the first that ends them, stripped."""
        return self._read(ids[: self._length(ids)]).strip()

    def _read(self, ids: Sequence[int]) -> str:
        """Text of tokens without control tokens."""
        return self.tokenizer.decode([token for token in ids if token not in self.controls.ids])

    def _length(self, ids: Sequence[int]) -> int:
        """Number of tokens before the first that ends generation."""
        stops = self.stops
        return next((place for place, token in enumerate(ids) if token in stops), len(ids))

    def _end_of_sequence(self) -> int:
        if self.tokenizer.eos_token_id is None:
            raise InputError("the tokenizer has neither an end-of-turn nor an end-of-sequence token")
        return self.tokenizer.eos_token_id


class Instructed(Form):
    """Instruction, line break, source; then the answer and the end of the sequence."""

    name = "instruction"

    def __init__(self, tokenizer, instruction: Instruction):
        self.instruction = instruction
        super().__init__(tokenizer)

    def question(self, source: str, domain: str) -> str:
        return f"{self.instruction(domain)}\n{source}"

    def before(self, conversations: Sequence[Sequence[str]]) -> list[str]:
        """Writes each example as it would be trained, so a model that continues in this way ends its answer."""
        end = self.tokenizer.eos_token
        return [_text(self.tokenizer, [f"{q}\n{a}{end}" for q, a in _answered(t)], f"{t[-1]}\n") for t in conversations]

    def after(
        self, before: Sequence[str], conversations: Sequence[Sequence[str]], targets: Sequence[str]
    ) -> list[str | UnusableText]:
        return list(targets)

    def _end_of_turn(self) -> int:
        return self._end_of_sequence()


class Chat(Instructed):
    """The tokenizer's chat template: a user's turn of instruction, line break and source, then the model's answer."""

    name = "chat"

    def before(self, conversations: Sequence[Sequence[str]]) -> list[str]:
        texts = self._rendered(conversations, add_generation_prompt=True)
        for text, turns in zip(texts, conversations, strict=True):
            _check_shown(text, turns[:-1])
        return texts

    def after(
        self, before: Sequence[str], conversations: Sequence[Sequence[str]], targets: Sequence[str]
    ) -> list[str | UnusableText]:
        finished = [[*turns, target] for turns, target in zip(conversations, targets, strict=True)]
        whole = self._rendered(finished, add_generation_prompt=False)
        return [_response_text(*parts) for parts in zip(before, whole, targets, strict=True)]

    def _rendered(self, conversations: Sequence[Sequence[str]], add_generation_prompt: bool) -> list[str]:
        """Renders conversations with the chat template, without thinking if the model has the choice."""
        from jinja2 import TemplateError  # here, because the metrics' environment lacks it

        if not conversations:
            return []
        template = self.tokenizer.get_chat_template()
        try:
            return self.tokenizer.apply_chat_template(
                [_messages(turns) for turns in conversations],
                chat_template=ONE_DATE + template if "strftime_now" in template else template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                enable_thinking=False,
            )
        except TemplateError as error:
            raise InputError(
                f"the model's chat template cannot be used: {error}\n"
                "Correct it in the model's folder, or set prompt.form: completion, which does without it"
            ) from None

    def _end_of_turn(self) -> int:
        """The first special token after an answer, else the end-of-sequence token."""
        (after,) = self.after(self.before([["a"]]), [["a"]], ["b"])
        if isinstance(after, UnusableText):
            raise after
        for token in token_ids(self.tokenizer, [after])[0][1:]:
            if token in self.controls.ids:
                return token
        return self._end_of_sequence()


class Completed(Form):
    """Text that a base model continues: for each pair its template, a space, the target and a line break.

    The space belongs to the response: vocabularies have it in the same token as the word after it, so a prompt that
    ended with a space would ask for a word that begins unlike any that the model has read. The line break is the end of
    the turn. It is trained as a separate token, and generation stops at any token that contains one.
    """

    name = "completion"

    def __init__(self, tokenizer, completion: Completion):
        self.completion = completion
        super().__init__(tokenizer)

    def question(self, source: str, domain: str) -> str:
        """The wording may contain special tokens, but none that its end forms with the source, as in `<{source}>`."""
        before, after = self._around(domain)
        text = before + source + after
        return self.controls.apart(text, {len(before), len(text) - len(after)})

    def _around(self, domain: str) -> tuple[str, str]:
        """The text before and after a source."""
        before, after = self.completion("\0", domain).split("\0")
        return before, after

    def before(self, conversations: Sequence[Sequence[str]]) -> list[str]:
        return [_text(self.tokenizer, [f"{q} {a}\n" for q, a in _answered(t)], t[-1]) for t in conversations]

    def after(
        self, before: Sequence[str], conversations: Sequence[Sequence[str]], targets: Sequence[str]
    ) -> list[str | UnusableText]:
        return [f" {target}" for target in targets]

    @property
    def ends(self) -> frozenset[int]:
        return frozenset(token for token in (self.end_of_turn, self.tokenizer.eos_token_id) if token is not None)

    @cached_property
    def stops(self) -> frozenset[int]:
        """All tokens whose text contains a line break, such as a full stop with one, and the end of the sequence."""
        texts = self.tokenizer.batch_decode([[token] for token in range(len(self.tokenizer))])
        return self.ends.union(token for token, text in enumerate(texts) if "\n" in text)

    @property
    def never_first(self) -> frozenset[int]:
        """Tokens that end the answer: base models may take a label for a heading, and would begin on the line below."""
        return self.stops

    def tidied(self, text: str) -> str:
        """Joins lines, because a line break would end the answer."""
        return " ".join(part for line in text.splitlines() if (part := line.strip()))

    def find(self, text: str, question: str, source: str, domain: str) -> tuple[int, int]:
        """Finds the source by its place in the template, which may contain the same words."""
        before, after = self._around(domain)
        return len(text) - len(question) + len(before), len(text) - len(after)

    def answer(self, ids: Sequence[int]) -> str:
        """The first line, whose end may be part of the last token."""
        length = self._length(ids)
        ends_in_text = length < len(ids) and ids[length] != self.tokenizer.eos_token_id
        return self._read(ids[: length + ends_in_text]).partition("\n")[0].strip()

    def _end_of_turn(self) -> int:
        """The token of a line break, before which SentencePiece may put a space."""
        (ids,) = token_ids(self.tokenizer, ["\n"])
        if not ids or self.tokenizer.decode(ids[-1:]) != "\n":
            raise InputError(
                "the tokenizer has no token for a line break, at which a completion ends; set prompt.form: instruction"
            )
        return ids[-1]


def choose(tokenizer, instruction: Instruction, completion: Completion | None, name: str) -> Form:
    """The form of this name; `auto` chooses a conversation if the tokenizer has a template, else text to complete.

    completion: if None, `auto` chooses an instruction instead.
    """
    has_template = tokenizer.chat_template is not None
    if name == "auto":
        name = Chat.name if has_template else Instructed.name if completion is None else Completed.name
    if name == Chat.name and not has_template:
        raise InputError("prompt.form is chat, but the model's tokenizer has no chat template; set auto or completion")
    if name == Completed.name:
        return Completed(tokenizer, completion)
    return (Chat if name == Chat.name else Instructed)(tokenizer, instruction)


def _text(tokenizer, examples: Sequence[str], question: str) -> str:
    """The beginning of the sequence, if there is one, then examples and question."""
    return f"{tokenizer.bos_token or ''}{''.join(examples)}{question}"


def _answered(turns: Sequence[str]) -> list[tuple[str, str]]:
    """Each question of a conversation with its answer, without the last, which has none."""
    return list(zip(turns[:-1:2], turns[1::2], strict=True))


def _messages(turns: Sequence[str]) -> list[dict[str, str]]:
    """Turns as messages of user and assistant, alternately."""
    return [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]


def _check_shown(text: str, turns: Sequence[str]) -> None:
    """Raises InputError if a template leaves earlier turns out: examples must not count as shown then."""
    if not all(turn.strip() in text for turn in turns):
        raise InputError(
            "the chat template does not show earlier turns of a conversation, so it cannot show examples; the"
            f" prompt is\n{text!r}"
        )


def _response_text(before: str, whole: str, target: str) -> str | UnusableText:
    """The text after `before` in a finished conversation.

    Some templates put an empty thought into the generation prompt but not into finished conversations. It stays in the
    prompt of training too, because the prompt of inference has it.
    """
    shared = before if whole.startswith(before) else EMPTY_THOUGHT.sub("", before)
    if not whole.startswith(shared):
        raise InputError(
            "the chat template does not continue its own generation prompt: a conversation with an answer does"
            f" not start with\n{before!r}\nSuch a template cannot be used for training."
        )
    after = whole[len(shared) :]
    if not after.strip().startswith(target.strip()):
        return UnusableText(
            f"the chat template changes the words of an answer: drop this pair from its corpus\n{unmarked(target)!r}"
            f"\nbecame {unmarked(after)!r}. A template that changes them all cannot be used for training."
        )
    return after
