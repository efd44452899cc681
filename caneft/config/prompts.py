"""The prompt: its section of the configuration, and the settings that steps read from it."""

from string import Formatter
from typing import Literal

from pydantic import Field, model_validator

from caneft.config.section import Section
from caneft.errors import InputError, did_you_mean

PromptForm = Literal["auto", "chat", "instruction", "completion"]

COMPLETION = "{source_language}: {source}\n{target_language}:"
"""The text that a base model completes by default."""

_QUOTED = f'"{COMPLETION}"'.replace("\n", "\\n")


def template_fields(template: str) -> list[str]:
    """Names of a template's fields, repeated as in the template. Raises ValueError for an unmatched brace."""
    return [name for _, name, _, _ in Formatter().parse(template) if name is not None]


class Prompt(Section):
    """The text given to a model: instruction and source in a chat template, or a text to complete (docs/method.md)."""

    instruction: str = (
        "Translate the following text from {source_language} into {target_language}. Reply only with the translation."
    )
    """Text before the source. Fields: `{source_language}`, `{target_language}`; with `name_domain`, `{domain}`."""
    name_domain: bool = False
    """Name the domain in the prompt. Every importance score then contains the label."""
    form: PromptForm = "auto"
    """`auto`: `chat` if there is a chat template, else `completion`, the text below. `instruction`: instruction and
    source, on one line each."""
    completion: str = COMPLETION
    """Text that a base model completes, up to a line break. Fields: those above, and `{source}` once. No white space at
    the end."""

    @property
    def read(self) -> dict[str, str]:
        """The text that is certainly used, by key. `auto` may use the completion too, depending on the model."""
        key = "completion" if self.form == "completion" else "instruction"
        return {key: getattr(self, key)}

    @model_validator(mode="after")
    def _fields(self) -> "Prompt":
        self._check("instruction", {"source_language", "target_language"})
        self._check("completion", {"source_language", "target_language", "source"})
        if template_fields(self.completion).count("source") != 1:
            raise ValueError("prompt.completion needs the field {source} once")
        if self.completion.endswith("{source}"):
            raise ValueError(f"prompt.completion ends with {{source}}; say after it what is asked for, as in {_QUOTED}")
        if self.completion[-1].isspace():
            raise ValueError(
                f"prompt.completion ends with white space; end it with a word or sign, as in {_QUOTED}. Vocabularies"
                " have a space in one token with the word behind it, so it belongs to the answer"
            )
        for key, text in self.read.items() if self.name_domain else ():
            if "domain" not in template_fields(text):
                raise ValueError(f"name_domain: true needs {{domain}} in prompt.{key}")
        return self

    def _check(self, key: str, allowed: set[str]) -> None:
        """Raises ValueError if a template has a field that is not allowed, or an unmatched brace."""
        template, allowed = getattr(self, key), allowed | ({"domain"} if self.name_domain else set())
        domain = "" if self.name_domain else " {domain} needs name_domain: true"
        try:
            unknown = [name for name in template_fields(template) if name not in allowed]
            if not unknown:
                template.format(**dict.fromkeys(allowed, ""))
        except ValueError as error:
            raise ValueError(f"prompt.{key} has an unusable field ({error})") from None
        if unknown:
            hint = did_you_mean(unknown[0], allowed)
            raise ValueError(f"prompt.{key} has the field '{unknown[0]}'. {hint}{domain}")


class PromptSettings(Section):
    """The prompt texts of a step, and the names of the languages if the direction has any. Which of the two texts a
    model gets may depend on its tokenizer."""

    instruction: str
    source_language: str | None = None
    target_language: str | None = None
    form: PromptForm = Field("auto", exclude_if=lambda form: form == "auto")
    """Not written at its default, and neither is `completion`, so that results from before these keys stay valid."""
    completion: str = Field(COMPLETION, exclude_if=lambda text: text == COMPLETION)

    def instruct(self, domain: str = "") -> str:
        """The instruction for a domain."""
        return self._filled(self.instruction, domain=domain)

    def complete(self, source: str, domain: str = "") -> str:
        """The text for a base model to complete.

        Raises InputError if it names a language that is not set, or lacks the domain that the instruction names.
        """
        fields = template_fields(self.completion)
        for name in ("source_language", "target_language"):
            if name in fields and getattr(self, name) is None:
                raise InputError(
                    f"the model has no chat template, so it gets prompt.completion, which has the field {{{name}}};"
                    f" this direction sets none. Set directions.*.{name}, or give it a directions.*.prompt.completion,"
                    ' such as "Question: {source}\nAnswer:"'
                )
        if "domain" in template_fields(self.instruction) and "domain" not in fields:
            raise InputError(
                "the model has no chat template, so it gets prompt.completion, which lacks the {domain} of"
                " prompt.instruction. Add it, as in"
                ' "{source_language} ({domain}): {source}\n{target_language}:"'
            )
        return self._filled(self.completion, source=source, domain=domain)

    def _filled(self, template: str, **fields: str) -> str:
        languages = {"source_language": self.source_language, "target_language": self.target_language}
        return template.format(**languages, **fields)
