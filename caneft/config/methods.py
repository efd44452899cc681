"""The methods of the comparison, each a kind of entry under `methods`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from caneft.config.section import Positive, Section, Share


class Base(Section):
    """The model as it is, zero-shot."""

    method: Literal["base"]


class Trained(Section):
    """What every method that trains has."""

    learning_rate: Annotated[float, Field(gt=0)]
    """Peak learning rate."""


class Full(Trained):
    """All weights."""

    method: Literal["full"]


class Lora(Trained):
    """LoRA on the FFN modules (PEFT)."""

    method: Literal["lora"]
    rank: Positive = 16
    """Rank of every module."""
    alpha: Positive | None = None
    """Scaling numerator; by default twice the rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the low-rank product."""


class Neurons(Trained):
    """Selected FFN neurons: the criterion is the method's name."""

    method: Literal["caneft", "joint", "importance", "activation", "gradient", "random", "bottom", "specific"]
    fraction: Share | None = None
    """Overrides the budget of `selection` for this entry."""
    parameters: Positive | None = None
    """Overrides the budget of `selection` for this entry, in weights."""
    task_relevant: Share | None = None
    """Overrides `selection.task_relevant` for this entry, null switches it off (only MI criteria use it)."""

    @model_validator(mode="after")
    def _one_budget(self) -> "Neurons":
        if None not in (self.fraction, self.parameters):
            raise ValueError("at most one of fraction and parameters can be given")
        return self


Method = Annotated[Base | Full | Lora | Neurons, Field(discriminator="method")]
