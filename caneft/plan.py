"""What a configuration asks for: runs, the domains that each is tested on, and the folders they live in.

Rules and reporting both read the plan, so the workflow computes what the tables expect. Paths are relative
to `results_root`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from caneft.config import Base, Config, Full, Lora, Mixture, Neurons, select_on

SEEN = "seen"

ARTEFACTS = {Full: "model.safetensors", Lora: "adapter_model.safetensors", Neurons: "patch.safetensors"}
"""File that a run of each kind of method leaves in its folder, and by which its tuned model is loaded again."""


@dataclass(frozen=True)
class Run:
    """model x direction x mixture x variant x seed; `base` has neither mixture nor seed."""

    model: str
    direction: str
    variant: str
    mixture: str | None = None
    seed: int | None = None

    @property
    def name(self) -> str:
        """Part of the path below model and direction: `base`, or `{mixture}/{variant}/seed{seed}`."""
        return self.variant if self.mixture is None else f"{self.mixture}/{self.variant}/seed{self.seed}"

    @classmethod
    def parse(cls, text: str) -> "Run":
        """A trained run from `{model}/{direction}/{mixture}/{variant}/seed{seed}`."""
        model, direction, mixture, variant, seed = text.split("/")
        return cls(model, direction, variant, mixture, int(seed.removeprefix("seed")))

    @property
    def folder(self) -> str:
        return f"runs/{self.model}/{self.direction}/{self.name}"


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

    def blocks(self) -> Iterator[tuple[str, str, str]]:
        """(model, direction, mixture): one block of the main table each."""
        for model in self.config.models:
            for direction in self.directions(model):
                for mixture in self.mixtures(direction):
                    yield model, direction, mixture

    def variants(self, *kinds: type) -> list[str]:
        """Variants whose method is of one of the kinds, in the configuration's order."""
        return [name for name, method in self.config.methods.items() if isinstance(method, kinds)]

    def seen(self, direction: str, mixture: str) -> list[str]:
        """Domains of a mixture, sorted: what its runs are trained on."""
        return sorted(self.mixture(direction, mixture).domains)

    def unseen(self, direction: str, mixture: str) -> list[str]:
        """Further domains that a mixture's runs are tested on, sorted.

        By default those that have only a test set, so that a new trainable domain leaves existing runs alone.
        """
        test = self.mixture(direction, mixture).test
        domains = self.config.directions[direction].domains
        chosen = test if test is not None else [name for name, domain in domains.items() if domain.train is None]
        return sorted(set(chosen) - set(self.seen(direction, mixture)))

    def selected_on(self, direction: str, mixture: str) -> str:
        """Mixture whose domains the neurons of a mixture's runs are selected on."""
        return select_on(mixture, self.mixture(direction, mixture))

    def decided_on(self, direction: str) -> str:
        """Mixture on which `importance.samples: auto` is decided: the configured one, else the first with two domains.

        A direction that lacks the configured one falls back to its own first.
        """
        mixtures = self.mixtures(direction)
        first = next((name for name in mixtures if len(self.seen(direction, name)) > 1), mixtures[0])
        named = self.config.importance.auto.mixture
        return named if named in mixtures else first

    def artefact(self, run: Run) -> str | None:
        """Path of what a run's tuning leaves; None for the base."""
        name = ARTEFACTS.get(type(self.config.methods[run.variant]))
        return f"{run.folder}/{name}" if name else None

    def neuron_set(self, run: Run) -> str:
        """Path of the neurons that a run of a neuron method tunes. `random` draws anew for every seed."""
        mixture = self.selected_on(run.direction, run.mixture)
        draw = run.seed if self.config.methods[run.variant].method == "random" else 0
        return f"neurons/{run.model}/{run.direction}/{mixture}/{run.variant}/draw{draw}.npz"

    def base_run(self, model: str, direction: str) -> Run | None:
        """The zero-shot run, if the configuration has one."""
        return next((Run(model, direction, variant) for variant in self.variants(Base)), None)

    def trained_runs(self, model: str, direction: str, mixture: str) -> Iterator[Run]:
        """Runs of one block that train something."""
        for variant in self.variants(Full, Lora, Neurons):
            for seed in self.config.seeds:
                yield Run(model, direction, variant, mixture, seed)

    def runs(self) -> list[Run]:
        """Every run, each once."""
        every = []
        for model, direction, mixture in self.blocks():
            base = self.base_run(model, direction)
            every += ([base] if base else []) + list(self.trained_runs(model, direction, mixture))
        return list(dict.fromkeys(every))

    def testsets(self, run: Run) -> dict[str, list[str]]:
        """Test sets of a run: name -> domains that one process translates and scores together.

        A run's own mixture is one test set, `seen`: growing the mixture trains the run again anyway. Every other
        domain stands alone, so that adding one costs only itself.
        """
        if run.mixture is None:
            tested = {d for m in self.mixtures(run.direction) for d in self.tested(run.direction, m)}
            return {domain: [domain] for domain in sorted(tested)}
        alone = {domain: [domain] for domain in self.unseen(run.direction, run.mixture)}
        return {SEEN: self.seen(run.direction, run.mixture)} | alone

    def tested(self, direction: str, mixture: str) -> list[str]:
        """Seen, then unseen domains of a mixture: the columns of its table."""
        return self.seen(direction, mixture) + self.unseen(direction, mixture)
