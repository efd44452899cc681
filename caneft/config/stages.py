"""Sections about the stages: one each."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from caneft.config.section import Positive, Scope, Section, Seed, Share, Slug, Unique


class AutoSamples(Section):
    """How `samples: auto` finds its number, once per model and direction: it doubles the samples until neurons that
    `caneft-geometric` selects on disjoint halves of them agree hardly better than before. Its curve decides whatever
    criteria the methods have: on the demo the minimum, by which `caneft` selects, takes four times the samples."""

    mixture: Slug | None = None
    """Mixture on whose domains it is decided; by default the direction's first. Best one that will not grow."""
    smallest: Annotated[int, Field(ge=4, multiple_of=2)] = 200
    """Samples per domain to begin with."""
    largest: Positive = 10000
    """Samples per domain to end with, flat or not; the number of pairs in the smallest domain limits it too."""
    gain: Share = 0.05
    """Flat: doubling raised the Jaccard index of the halves' neurons by less than this, and they agree better than
    shuffled labels by more than this."""


class Importance(Section):
    """The importance dump: activation times gradient per sample and neuron."""

    samples: Positive | Literal["auto"] = 800
    """Training pairs per domain, drawn with `seed`; `auto`: as many as it takes, see `auto`."""
    auto: AutoSamples = AutoSamples()
    """The rule of `samples: auto`."""
    draws: Literal["shared", "per_seed"] = Field("shared", exclude_if=lambda draws: draws == "shared")
    """`per_seed`: each final seed has a draw of its own and selects on it, so that deviations over seeds contain the
    selection. Trials keep the shared draw; k seeds are k + 1 draws."""
    seed: Seed = 0
    """Seed of the shared draw. The draw of a final seed s has `seed` + 1 + s, so it is never the shared one."""
    tokens_per_batch: Positive = 4096
    """Token budget of a batch, padding included. Does not change the numbers beyond float tolerance."""
    max_tokens: Positive = 512
    """Longer examples are left out before the draw (and counted)."""
    scale_exponent: int = 12
    """Scores are stored as float16 times 2 to this power; one constant per model."""


class Selection(Section):
    """From importance to neurons. One of `fraction`, `gamma`, `parameters`; every method gets as many neurons."""

    bins: Annotated[int, Field(ge=2, le=64)] = 10
    """Quantile bins of the mutual information."""
    length_strata: Annotated[int, Field(ge=1, le=64)] = 1
    """Quantile strata of response length: above 1, every MI is that given the stratum. What length tells drops out."""
    fraction: Share | None = None
    """Budget: this share of all FFN neurons."""
    gamma: Annotated[float, Field(ge=0)] | Literal["null"] | None = None
    """Threshold of consensus MI in nats; `"null"`: the 1 - error_rate quantile of the permutation null."""
    parameters: Positive | None = None
    """Budget: as many neurons as have at most so many weights, three times the hidden size each."""
    per_layer: Positive | None = None
    """No more neurons of one layer, for every criterion: a neuron of a full layer is passed over; null: no limit."""
    error_rate: Annotated[float, Field(ge=1e-5, le=1)] = 0.01
    """Error rate of `gamma: "null"`."""
    null_permutations: Positive = 20
    """Permutations of the labels behind the null columns."""
    task_relevant: Share | None = 0.5
    """For MI criteria: first keep neurons whose mean importance is in this top share of every domain; null: off."""
    task_relevant_scope: Scope = "model"
    """That share of all neurons of the model, or of those of each layer: then no layer gets more by its scale alone."""
    stability_splits: Positive = 10
    """Random splits of the samples into disjoint halves, behind the stability curves; a verdict needs ten."""
    seed: Seed = 0
    """Seed of the permutations."""

    @model_validator(mode="after")
    def _one_budget(self) -> "Selection":
        if sum(budget is not None for budget in (self.fraction, self.gamma, self.parameters)) != 1:
            raise ValueError("exactly one of fraction, gamma and parameters is needed")
        return self


class Tuning(Section):
    """The training loop that all methods share."""

    pairs_per_domain: Positive = 800
    """Training pairs drawn from each domain of the mixture."""
    temperature: Annotated[float, Field(ge=1)] | None = None
    """Shares instead of equal numbers: proportional to size^(1/temperature), of as many pairs in all; 1: by size."""
    pairs: dict[Slug, Positive] = {}
    """Training pairs of single domains, by name, instead of `pairs_per_domain`; not with a temperature."""
    dev_pairs_per_domain: Positive = 100
    """Dev pairs drawn from each domain, for the dev loss."""
    epochs: Positive = 2
    """Passes over the mixture."""
    batch_size: Positive = 32
    """Pairs of one optimizer step."""
    tokens_per_batch: Positive = 4096
    """Token budget of one forward pass; a step is accumulated from as many as it takes."""
    max_tokens: Positive = 512
    """Longer examples are left out (and counted)."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the steps with linear warm-up; cosine to zero afterwards."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of AdamW."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest gradient norm."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, more time."""
    dev_every: Positive | None = None
    """Steps between measurements of the dev loss; by default once an epoch."""
    patience: Positive | None = None
    """Stop early after so many measurements without a lower dev loss, at the weights of the lowest; null: never."""
    seed: Seed = 0
    """Seed of the draw of pairs; the order of training follows the run's seed."""
    keep_full_weights: bool = True
    """Keep the weights of `full` runs. Without them a test domain added later trains `full` again."""

    @model_validator(mode="after")
    def _one_rule_of_sizes(self) -> "Tuning":
        if self.pairs and self.temperature is not None:
            raise ValueError("pairs and temperature exclude each other: both say how many pairs a domain gives")
        return self


class Trials(Section):
    """How a learning rate is chosen from a grid: each rate is tried with each seed of the trials. Of the rates whose
    mean dev chrF2 over the mixture's domains (exact match, where that is the headline) lies within one standard error
    of the highest, the lowest is taken: dev does not tell these apart, and a lower rate forgets less."""

    seeds: Unique[Seed] = [0, 100]
    """Seeds of the trials; none of them is one of `seeds`. With one seed the standard error knows of the segments only,
    not of the runs."""


class Decoding(Section):
    """Greedy generation. Nothing is inherited from the checkpoint's generation settings."""

    batch_size: Positive = 64
    """Sentences decoded together, sorted by length."""
    length_factor: Annotated[float, Field(ge=0)] = 2.0
    """A hypothesis may have so many tokens per source token (0 for answers whose length is no matter of the source's)
    ..."""
    length_offset: Annotated[int, Field(ge=1)] = 16
    """... plus so many; one that does not end by then is cut, flagged and counted."""
    max_source_tokens: Positive = 1024
    """A source longer than this is an error, never cut silently."""


class Significance(Section):
    """Tests of significance: paired approximate randomisation of the variants of a block (docs/method.md)."""

    baseline: Slug | None = None
    """Variant that every other one is compared with; by default the one with `method: base`."""
    method: Slug | None = None
    """Variant that is compared with every other one, and with its best rival; by default the first with `method:
    caneft`."""
    resamples: Positive = 20000
    """Randomisations; no p is below one in so many plus one. With Holm's correction over 150 comparisons, 3,000 are
    the least that can tell anything at 0.05."""
    bootstrap: Positive = 2000
    """Bootstrap resamples behind the 95 % intervals."""
    expected_segments: Annotated[float, Field(gt=0)] = 11.5
    """Deviation of one segment's part in a difference of two methods, in points of the headline metric. Only for the
    smallest difference that the plan says it can show; the default is that of BLEU in docs/study.md."""
    expected_runs: Annotated[float, Field(ge=0)] = 0.46
    """Deviation of the average between runs of one method, for the same purpose."""
    alpha: Annotated[float, Field(ge=0.001, lt=1)] = 0.05
    """Level of the marks in tables: the largest chance of one or more false ones in a table."""
    seed: Seed = 0
    """Seed of both."""


class Report(Section):
    """Words of tables, figures and report. Never part of a result's identity."""

    title: str = "CANEFT"
    """Title of the report."""
    note: str = ""
    """A sentence that every caption ends with, e.g. what the numbers cannot show."""
    labels: dict[str, str] = {}
    """Labels of variants and domains in tables and figures; by default their names."""
