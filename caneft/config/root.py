"""The configuration as a whole."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from caneft.config.cleaning import Cleaning
from caneft.config.corpora import Direction, Mixture, domains_only
from caneft.config.methods import Method
from caneft.config.metrics import Scoring
from caneft.config.models import Model
from caneft.config.prompts import Prompt
from caneft.config.section import File, Folder, Section, Seed, Slug, Unique
from caneft.config.stages import Decoding, Importance, Report, Selection, Significance, Trials, Tuning


class Config(Section):
    """Configuration of a CANEFT workflow."""

    results_root: Folder = "results"
    """Folder of all results."""
    data_root: File | None = None
    """Where relative paths start; by default the environment variable CANEFT_DATA."""
    limit: Annotated[int, Field(ge=4)] | None = Field(None, exclude_if=lambda limit: limit is None)
    """For a first try: use at most this many pairs of every corpus, and one epoch. Results go to
    `{results_root}/limit{limit}`. The training text of bases and metrics is not cut."""
    verify_up_to_gb: Annotated[float, Field(ge=0)] | None = None
    """Size in GB of the largest file whose checksum is verified when it is read, which takes about a second per GB and
    job. By default every file is verified."""
    directions: Annotated[dict[Slug, Direction], Field(min_length=1)]
    """Language pairs, or other tasks, with their domains."""
    models: Annotated[dict[Slug, Model], Field(min_length=1)]
    """Base models."""
    mixtures: Annotated[dict[Slug, dict[Slug, Annotated[Mixture, BeforeValidator(domains_only)]]], Field(min_length=1)]
    """Training mixtures: by name, then by direction."""
    methods: Annotated[dict[Slug, Method], Field(min_length=1)]
    """Rows of the main table, in this order: variants of the methods."""
    seeds: Unique[Seed] = [1]
    """Seeds of tuning, and of the neurons of `random`."""
    prompt: Prompt = Prompt()
    """The text given to the model."""
    cleaning: Cleaning = Cleaning()
    """Repairs and filters of raw text."""
    importance: Importance = Importance()
    """Importance dumps."""
    selection: Selection
    """Neuron selection."""
    tuning: Tuning = Tuning()
    """Fine-tuning."""
    trials: Trials = Trials()
    """Choice of learning rates."""
    decoding: Decoding = Decoding()
    """Translation."""
    scoring: Scoring = Scoring()
    """Metrics."""
    significance: Significance = Significance()
    """Tests of significance."""
    report: Report = Report()
    """Wording of the report."""
