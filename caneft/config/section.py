"""Base of every section of the configuration, and the types that sections share."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails

SLUG = r"^[a-z0-9][a-z0-9_-]*$"
Slug = Annotated[str, StringConstraints(pattern=SLUG, max_length=64)]
HubName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$")]
"""`owner/name` or `name`, but no address: that could carry a password, which records and reports would then show."""
Positive = Annotated[int, Field(gt=0)]
LAST_SEED = 2**32 - 1
Seed = Annotated[int, Field(ge=0, le=LAST_SEED)]
"""A seed that the random number generators of Python, NumPy and torch all accept."""
Share = Annotated[float, Field(gt=0, le=1)]
Scope = Literal["model", "layer"]
"""The neurons among which a neuron is ranked: all of the model, or those of its layer."""


def _written_out(path: str) -> str:
    """Rejects what a shell would replace: a folder of that name would be looked for, or made."""
    if re.match(r"~[\w.-]*(/|$)", path) or re.search(r"\$[A-Za-z_]", path):
        here = os.path.expandvars(os.path.expanduser(path))
        meant = f", as in {here}" if here != path else ""
        raise ValueError(f"a path written out is needed{meant}: neither ~ nor $NAME is replaced in {path!r}")
    return path


def _folder(name: str) -> str:
    """Rejects names that Snakemake reads as a wildcard or path variable, or programs as an option."""
    if found := re.search(r"[{}<>\x00-\x1f\x7f\ud800-\udfff]|^-|^\s*$", name):
        said = f"{found[0]!r} in it" if found[0].strip() else f"{name!r}"
        raise ValueError(
            f"a folder without braces, angle brackets, control characters or a leading '-' is needed: {said}"
        )
    return name


def twice(values: Sequence[Any]) -> str:
    """The values that a list contains more than once, as text; empty if there are none."""
    return ", ".join(dict.fromkeys(str(value) for value in values if values.count(value) > 1))


def _once(values: list) -> list:
    if repeated := twice(values):
        raise ValueError(f"it names {repeated} twice; name each once")
    return values


T = TypeVar("T")
Unique = Annotated[list[T], Field(min_length=1, json_schema_extra={"uniqueItems": True}), AfterValidator(_once)]
"""A list of at least one value, without duplicates."""
File = Annotated[str, AfterValidator(_written_out)]
"""A path, of a file or a folder, that is read."""
Folder = Annotated[File, AfterValidator(_folder)]


def _kinds(annotation: Any) -> Iterator[Any]:
    """The plain types in an annotation."""
    for part in get_args(annotation) or [annotation]:
        yield from _kinds(part) if get_args(part) else [part]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, numbers are finite and never booleans, values do not change after
    loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers(cls, content: Any) -> Any:
        """Rejects booleans for numbers, as pydantic takes them for 1 and 0: `limit: yes` would mean one pair."""
        wrong: list[InitErrorDetails] = []
        for name, value in content.items() if isinstance(content, Mapping) else ():
            kinds = {*_kinds(cls.model_fields[name].annotation)} if name in cls.model_fields else set()
            parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
            if kinds & {int, float} and bool not in kinds and any(isinstance(part, bool) for part in parts):
                wrong.append({"type": "float_type" if float in kinds else "int_type", "loc": (name,), "input": value})
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return content
