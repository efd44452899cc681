"""The plan of a configuration: its runs, the domains that each is tested on, and the folders of both.

Rules and reporting both read the plan, so the workflow computes what the tables expect. Paths are relative
to `results_root`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from caneft.config import Adapters, Base, Config, Full, Icl, Lora, Mixture, Neurons, Resources, rates_on, select_on
from caneft.config.names import DEV, TEST

ARTEFACTS = {
    Full: "model.safetensors",
    Lora: "adapter_model.safetensors",
    Adapters: "adapters.safetensors",
    Neurons: "patch.safetensors",
}
"""File that a run of each kind of method writes to its folder, and from which its tuned model is loaded again."""


Block = tuple[str, str, str]
"""(model, direction, mixture): one block of the main table."""


@dataclass(frozen=True)
class Run:
    """model x direction x mixture x variant x seed; `base` has neither mixture nor seed, `icl` no seed.

    rate: the learning rate that a trial tries; None for other runs.
    """

    model: str
    direction: str
    variant: str
    mixture: str | None = None
    seed: int | None = None
    rate: float | None = None

    @property
    def attempt(self) -> str | None:
        """Last part of a trained run's path: `seed{seed}`, or `lr{rate}-seed{seed}` for a trial."""
        if self.seed is None:
            return None
        return f"seed{self.seed}" if self.rate is None else f"lr{self.rate:g}-seed{self.seed}"

    @property
    def name(self) -> str:
        """Part of the path below model and direction: `base`, or `{mixture}/{variant}/{attempt}`."""
        return "/".join(part for part in (self.mixture, self.variant, self.attempt) if part)

    @classmethod
    @cache  # the rules parse every run a dozen times
    def parse(cls, text: str) -> "Run":
        """Parses `{model}/{direction}/{name}`."""
        model, direction, *rest = text.split("/")
        if len(rest) == 1:
            return cls(model, direction, rest[0])
        mixture, variant, attempt = (*rest, None)[:3]
        rate, seed = re.fullmatch(r"(?:lr(.+)-)?seed(\d+)", attempt).groups() if attempt else (None, None)
        return cls(model, direction, variant, mixture, int(seed) if seed else None, float(rate) if rate else None)

    @property
    def folder(self) -> str:
        return f"runs/{self.model}/{self.direction}/{self.name}"

    def translations(self, split: str = TEST) -> str:
        """Path of the run's translations of a split."""
        return f"{self.folder}/translations/{split}.jsonl"

    def translation_cost(self, split: str = TEST) -> str:
        """Path of the sidecar of these translations: checksum, time and memory."""
        return f"{self.folder}/translations/{split}.cost.json"

    @property
    def scores(self) -> str:
        """Path of its scores on the test sets, without neural metrics. The trials of a grid share a file."""
        if self.rate is not None:
            return f"runs/{self.model}/{self.direction}/{self.mixture}/{self.variant}/trials.json"
        return f"{self.folder}/scores/{TEST}.json"


class Plan:
    """The runs of a configuration."""

    def __init__(self, config: Config):
        self.config = config

    def mixture(self, direction: str, mixture: str) -> Mixture:
        return self.config.mixtures[mixture][direction]

    def mixtures(self, direction: str) -> list[str]:
        """Mixtures of a direction, in the configuration's order."""
        return [name for name, by_direction in self.config.mixtures.items() if direction in by_direction]

    def directions(self, model: str) -> list[str]:
        """Directions that a model is run on: all, or those that its pretraining saw."""
        pretrain = self.config.models[model].pretrain
        seen = {corpus.direction for corpus in pretrain.corpora} if pretrain else set(self.config.directions)
        return [direction for direction in self.config.directions if direction in seen]

    def blocks(self) -> Iterator[Block]:
        """Every block, in the configuration's order."""
        for model in self.config.models:
            for direction in self.directions(model):
                for mixture in self.mixtures(direction):
                    yield model, direction, mixture

    def shown_blocks(self) -> list[Block]:
        """Blocks that figures and printed tables show: mixtures of several domains, or all blocks if there is none.

        Mixtures of one domain, of which there may be many, go into the table of interference and the CSV files.
        """
        blocks = list(self.blocks())
        return [block for block in blocks if len(self.seen(*block[1:])) > 1] or blocks

    def variants(self, *kinds: type) -> list[str]:
        """Variants whose method is of one of the kinds, in the configuration's order."""
        return [name for name, method in self.config.methods.items() if isinstance(method, kinds)]

    def variants_on(self, direction: str, mixture: str, *kinds: type) -> list[str]:
        """As `variants`, but only those that are run on a mixture."""
        chosen = self.mixture(direction, mixture).methods
        return [name for name in self.variants(*kinds) if chosen is None or name in chosen]

    def seen(self, direction: str, mixture: str) -> list[str]:
        """Domains of a mixture, sorted: what its runs are trained on."""
        return sorted(self.mixture(direction, mixture).domains)

    def unseen(self, direction: str, mixture: str) -> list[str]:
        """Further domains that a mixture's runs are tested on, sorted.

        By default those that have only a test set, so that a new trainable domain does not affect existing runs.
        """
        test = self.mixture(direction, mixture).test
        domains = self.config.directions[direction].domains
        chosen = test if test is not None else [name for name, domain in domains.items() if domain.train is None]
        return sorted(set(chosen) - set(self.seen(direction, mixture)))

    def selected_on(self, direction: str, mixture: str) -> str:
        """Mixture on whose domains the neurons of a mixture's runs are selected."""
        return select_on(mixture, self.mixture(direction, mixture))

    def decided_on(self, direction: str) -> str:
        """Mixture on which `importance.samples: auto` is decided: the configured one, if the direction has it.

        Else it is the direction's first mixture with two or more domains, or its first.
        """
        mixtures = self.mixtures(direction)
        first = next((name for name in mixtures if len(self.seen(direction, name)) > 1), mixtures[0])
        named = self.config.importance.auto.mixture
        return named if named in mixtures else first

    def rates_on(self, direction: str, mixture: str) -> str:
        """Mixture on which the learning rates of a mixture's runs are chosen."""
        return rates_on(mixture, self.mixture(direction, mixture))

    def tuning_resources(self, model: str, variant: str) -> Resources:
        """Resources that a tuning job requests."""
        shared, own = self.config.models[model].resources, self.config.methods[variant].resources
        return own.over(shared) if own else shared

    def tuning_threads(self, variant: str) -> int:
        """CPU cores of a tuning job."""
        own = self.config.methods[variant].resources
        return own.threads if own else 1

    def artefact(self, run: Run) -> str | None:
        """Path of the file that a run's tuning writes; None for the base and `icl`."""
        name = ARTEFACTS.get(type(self.config.methods[run.variant]))
        return f"{run.folder}/{name}" if name else None

    def unit(self, variant: str) -> str:
        """What a neuron variant selects: `neuron` or `head`."""
        return self.config.methods[variant].unit

    def own_draws(self) -> list[int]:
        """Final seeds that have their own draw of importance samples: all or none."""
        return self.config.seeds if self.config.importance.draws == "per_seed" else []

    def neuron_set(self, run: Run) -> str | None:
        """Path of the neurons that a run tunes, or whose number of parameters it matches (`equal_to`); None for others.

        `random` draws again for every seed. Trials, and runs without a seed, use the shared draw of importance samples.
        """
        method = self.config.methods[run.variant]
        variant = run.variant if isinstance(method, Neurons) else getattr(method, "equal_to", None)
        if variant is None:
            return None
        draw = run.seed if self.config.methods[variant].method == "random" else 0
        drawn_for = run.seed if run.rate is None and self.own_draws() else None
        folder = information_folder(self.unit(variant), drawn_for)
        mixture = self.selected_on(run.direction, run.mixture)
        return f"{folder}/{run.model}/{run.direction}/{mixture}/{variant}/draw{draw}.npz"

    def base_run(self, model: str, direction: str) -> Run | None:
        """The zero-shot run, if the configuration has one."""
        return next((Run(model, direction, variant) for variant in self.variants(Base)), None)

    def untrained_runs(self, model: str, direction: str, mixture: str) -> Iterator[Run]:
        """Runs of one block that train nothing: the base, and the base with examples in its prompt."""
        if base := self.base_run(model, direction):
            yield base
        for variant in self.variants_on(direction, mixture, Icl):
            yield Run(model, direction, variant, mixture)

    def trained_runs(self, model: str, direction: str, mixture: str) -> Iterator[Run]:
        """Runs of one block that train something."""
        for variant in self.variants_on(direction, mixture, *ARTEFACTS):
            for seed in self.config.seeds:
                yield Run(model, direction, variant, mixture, seed)

    def final_runs(self, model: str, direction: str, mixture: str) -> list[Run]:
        """Runs of one block without trials, in the configuration's order of variants, then by seed."""
        order = list(self.config.methods)
        runs = [*self.untrained_runs(model, direction, mixture), *self.trained_runs(model, direction, mixture)]
        return sorted(runs, key=lambda run: order.index(run.variant))

    def trials(self, model: str, direction: str, mixture: str) -> Iterator[Run]:
        """Trials that choose the learning rates of one block; they belong to the mixture on which these are chosen."""
        where = self.rates_on(direction, mixture)
        for variant in self.variants_on(direction, mixture, *ARTEFACTS):
            yield from self.trials_of(model, direction, variant, where)

    def trials_of(self, model: str, direction: str, variant: str, mixture: str) -> Iterator[Run]:
        """A trial for every rate of a variant's grid with every seed of the trials."""
        for rate in self.config.methods[variant].grid:
            for seed in self.config.trials.seeds:
                yield Run(model, direction, variant, mixture, seed, rate)

    def choice(self, run: Run) -> str | None:
        """Path of the choice of a trained run's learning rate; None for a fixed rate, and for a trial."""
        if run.rate is not None or not self.config.methods[run.variant].grid:
            return None
        where = self.rates_on(run.direction, run.mixture)
        return f"runs/{run.model}/{run.direction}/{where}/{run.variant}/choice.json"

    def runs(self) -> list[Run]:
        """Every run once, including trials."""
        kinds = self.untrained_runs, self.trials, self.trained_runs
        return list(dict.fromkeys(run for block in self.blocks() for kind in kinds for run in kind(*block)))

    def splits(self, run: Run) -> list[str]:
        """Splits that a run translates: `test`. A trial first translates `dev`, which judges its rate, then `test`
        unless `trials.test_sets` is off."""
        if run.rate is None:
            return [TEST]
        return [DEV, TEST] if self.config.trials.test_sets else [DEV]

    def domains(self, run: Run, split: str = TEST) -> list[str]:
        """Domains of a split that a run translates; for `dev`, those of its mixture. The base translates every domain
        that its direction is tested on."""
        if run.mixture is None:
            return self.all_tested(run.direction)
        return (self.seen if split == DEV else self.tested)(run.direction, run.mixture)

    def split_corpora(self, run: Run, split: str = TEST) -> list[str]:
        """Paths of the pairs of a split: a file for each domain, or for `dev` the one that the mixture drew."""
        if split == DEV:
            return [f"mixtures/{run.direction}/{run.mixture}/dev.jsonl"]
        return [f"corpora/{run.direction}/{domain}/test.jsonl" for domain in self.domains(run)]

    def all_tested(self, direction: str) -> list[str]:
        """Domains that any mixture of a direction is tested on, sorted."""
        return sorted({d for mixture in self.mixtures(direction) for d in self.tested(direction, mixture)})

    def tested(self, direction: str, mixture: str) -> list[str]:
        """Seen, then unseen domains of a mixture: the columns of its table."""
        return self.seen(direction, mixture) + self.unseen(direction, mixture)


def information_folder(unit: str, seed: int | None = None) -> str:
    """Folder of information on a kind of unit, and of selections. seed: the one whose own draw of importance samples
    they come from."""
    return _of_draw({"neuron": "neurons", "head": "heads"}[unit], seed)


def importance_folder(unit: str, seed: int | None = None) -> str:
    """Folder of the importance dumps of a kind of unit. seed: the one whose own draw of samples they have."""
    return _of_draw({"neuron": "importance", "head": "importance-heads"}[unit], seed)


def _of_draw(folder: str, seed: int | None) -> str:
    return folder if seed is None else f"{folder}-seed{seed}"
