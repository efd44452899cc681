"""Sections about the stages, one for each."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from caneft.config.section import Positive, Scope, Section, Seed, Share, Slug, Unique


class AutoSamples(Section):
    """`samples: auto`, once per model and direction: doubles the samples until the neurons that `caneft-geometric`
    selects on disjoint halves hardly agree better. `caneft` needs more: on the demo, four times as many."""

    mixture: Slug | None = None
    """Mixture that decides; by default the first with two or more domains. It should not change later."""
    smallest: Annotated[int, Field(ge=4, multiple_of=2)] = 200
    """First number of samples per domain."""
    largest: Positive = 10000
    """Last number of samples per domain; the smallest domain limits it too."""
    gain: Share = 0.05
    """Stop when doubling raises the Jaccard index of the halves by less than this, and the index is more than this
    above that of shuffled labels."""


class Importance(Section):
    """Importance of every neuron for every sample."""

    samples: Annotated[int, Field(ge=2)] | Literal["auto"] = 800
    """Training pairs per domain; stability halves them."""
    auto: AutoSamples = AutoSamples()
    """The rule of `samples: auto`."""
    draws: Literal["shared", "per_seed"] = Field("shared", exclude_if=lambda draws: draws == "shared")
    """`per_seed`: each final seed selects on its own draw (docs/method.md)."""
    seed: Seed = 0
    """Seed of the shared draw."""
    tokens_per_batch: Positive = 4096
    """Tokens of a batch, padding included."""
    max_tokens: Positive = 512
    """Longer examples are left out and counted."""
    scale_exponent: int = 12
    """Scores are stored as float16, times 2 to this power."""


class Selection(Section):
    """From importance to neurons. Exactly one of `fraction`, `gamma` and `parameters` sets their number."""

    bins: Annotated[int, Field(ge=2, le=64)] = 10
    """Quantile bins of mutual information (MI)."""
    length_strata: Annotated[int, Field(ge=1, le=64)] = 1
    """Quantile strata of response length; above 1, MI is conditional on the stratum."""
    fraction: Share | None = None
    """Share of all FFN neurons."""
    gamma: Annotated[float, Field(ge=0)] | Literal["null"] | None = None
    """Threshold of consensus MI in nats; `"null"`: the 1 − `error_rate` quantile of the permutation null."""
    parameters: Positive | None = None
    """As many neurons as fit into this number of weights."""
    per_layer: Positive | None = None
    """Largest number of neurons in a layer."""
    error_rate: Annotated[float, Field(ge=1e-5, le=1)] = 0.01
    """Error rate of `gamma: "null"`."""
    null_permutations: Positive = 20
    """Permutations of the labels."""
    task_relevant: Share | None = 0.5
    """MI criteria keep only neurons in this top share by mean importance in every domain."""
    task_relevant_scope: Scope = "model"
    """Whether that share is of the model or of each layer."""
    stability_splits: Positive = 10
    """Splits into halves for the stability curves; a verdict needs ten."""
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
    """Training pairs of each domain."""
    temperature: Annotated[float, Field(ge=1)] | None = None
    """Draw numbers of pairs proportional to size^(1/temperature), with the same sum."""
    pairs: dict[Slug, Positive] = {}
    """Pairs of individual domains, in place of `pairs_per_domain`. Cannot be combined with a temperature."""
    dev_pairs_per_domain: Positive = 100
    """Dev pairs of each domain."""
    epochs: Positive = 2
    """Passes over the mixture."""
    batch_size: Positive = 32
    """Pairs of an optimizer step."""
    tokens_per_batch: Positive = 4096
    """Tokens of a forward pass; a step accumulates the passes it needs."""
    max_tokens: Positive = 512
    """Longer examples are left out and counted."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the steps with linear warm-up; then cosine to zero."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of AdamW."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest gradient norm."""
    gradient_checkpointing: bool = False
    """Less memory, more time."""
    dev_every: Positive | None = None
    """Steps between measurements of dev loss; by default an epoch."""
    patience: Positive | None = None
    """Stop after this many measurements without a lower dev loss, and keep the weights with the lowest."""
    seed: Seed = 0
    """Seed of the draw of pairs."""
    keep_full_weights: bool = True
    """Keep the weights of `full` runs; without them, a new test domain trains `full` again."""

    @model_validator(mode="after")
    def _one_rule_of_sizes(self) -> "Tuning":
        if self.pairs and self.temperature is not None:
            raise ValueError("pairs and temperature exclude each other: both say how many pairs a domain gives")
        return self


class Trials(Section):
    """The choice of a learning rate from a grid (docs/method.md)."""

    seeds: Unique[Seed] = [0, 100]
    """Seeds of the trials; none may be in `seeds`."""
    test_sets: bool = Field(True, exclude_if=lambda translated: translated)
    """Translate the test sets in trials too, for claim (b) and the figure and table of unseen domains. Rates are chosen
    on dev alone."""


class Decoding(Section):
    """Greedy generation; a checkpoint's own settings are ignored."""

    engine: Literal["transformers", "vllm"] = Field("transformers", exclude_if=lambda engine: engine == "transformers")
    """`vllm` is made for GPUs (docs/serving.md)."""
    batch_size: Positive = 64
    """Most sentences decoded together; fewer if prompt and longest translation have over 192 tokens."""
    length_factor: Annotated[float, Field(ge=0)] = 2.0
    """A hypothesis is cut at `length_factor` × source tokens + `length_offset` tokens."""
    length_offset: Annotated[int, Field(ge=1)] = 16
    """A hypothesis is cut at `length_factor` × source tokens + `length_offset` tokens."""
    max_source_tokens: Positive = 1024
    """A longer source is an error."""

    @property
    def batch_tokens(self) -> int:
        """Most tokens of a batch, prompts and longest translations together; a single sentence may have more."""
        return 192 * self.batch_size


class Significance(Section):
    """Tests of significance (docs/method.md)."""

    baseline: Slug | None = None
    """Variant that all are compared with; by default the one with `method: base`."""
    method: Slug | None = None
    """Variant that is compared with all; by default the first with `method: caneft`."""
    resamples: Positive = 20000
    """Randomisations. The smallest p is 1 / (resamples + 1): Holm over 150 comparisons needs 3,000."""
    bootstrap: Positive = 2000
    """Resamples of the 95 % intervals."""
    expected_segments: Annotated[float, Field(gt=0)] = 11.5
    """Standard deviation of a segment's part in a difference of two methods, from which the plan computes the smallest
    difference that can be found; by default that of BLEU in docs/study.md."""
    expected_runs: Annotated[float, Field(ge=0)] = 0.46
    """Standard deviation between runs of one method, for the same purpose."""
    alpha: Annotated[float, Field(ge=0.001, lt=1)] = 0.05
    """Chance of one or more false marks in a table."""
    seed: Seed = 0
    """Seed of randomisations and bootstrap."""


class Report(Section):
    """Wording of tables, figures and report."""

    title: str = "CANEFT"
    """Title of the report."""
    note: str = ""
    """Last sentence of every caption."""
    labels: dict[str, str] = {}
    """Labels of variants and domains; by default their names."""
