"""The text that `python -m caneft init` writes: a configuration that stands alone, with a comment on each choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Values:
    """The values that fill the template's gaps."""

    schema: str | None
    """Path of the JSON schema, for editors; None if the package was installed without it."""
    results_root: str
    data_root: str
    model: Mapping[str, Any]
    direction: str
    languages: Sequence[str | None]
    """English names of source and target language; None for a language without a known name."""
    domains: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Sections of corpora, by domain and split."""
    samples: int
    pairs: int
    dev_pairs: int
    sizes: str
    """A sentence on where the three numbers above come from."""
    metrics: Sequence[str]


def text(values: Values) -> str:
    """The configuration as YAML."""
    names = [name or "null # its English name, as the prompt has it" for name in values.languages]
    domains = "".join(
        f"      {_flow(domain)}:\n" + "".join(f"        {split}: {_flow(source)}\n" for split, source in splits.items())
        for domain, splits in values.domains.items()
    )
    seen = [domain for domain, splits in values.domains.items() if "train" in splits]
    schema = f"# yaml-language-server: $schema={values.schema}\n" if values.schema else ""
    return f"""\
{schema}# Every key, with its default: docs/configuration.md.
results_root: {_flow(values.results_root)} # what is computed
data_root: {_flow(values.data_root)} # relative paths of corpora and models start here

models:
  mine: {_flow(values.model)}

directions:
  {_flow(values.direction)}:
    source_language: {names[0]}
    target_language: {names[1]}
    domains: # one with only a test set is an unseen domain
{domains}
mixtures:
  all: {_flow({values.direction: seen})} # trained on together

methods: # a list of rates, such as [1.0e-4, 2.0e-4, 5.0e-4], is a grid, from which each method's is chosen on dev
  base: {{method: base}}
  lora: {{method: lora, equal_to: caneft, learning_rate: 2.0e-4}} # as many parameters as caneft
  random: {{method: random, layers_of: caneft, learning_rate: 2.0e-4}} # as many neurons in each layer as caneft
  caneft: {{method: caneft, learning_rate: 2.0e-4}}

seeds: [1] # a verdict needs three

selection:
  fraction: 0.05 # of all neurons

# {values.sizes}
importance:
  samples: {values.samples} # pairs of each domain
tuning:
  pairs_per_domain: {values.pairs}
  dev_pairs_per_domain: {values.dev_pairs}

scoring:
  metrics: {_flow(list(values.metrics))}
"""


def _flow(value: Any) -> str:
    """A value in one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True).split("\n")[
        0
    ]
