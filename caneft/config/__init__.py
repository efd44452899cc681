"""The configuration: one model of it, from which the JSON schema and the reference are generated.

Unknown keys are errors. What pydantic cannot see (that a mixture's domains exist in its direction, say) is checked in
`loading`. `load` is the door: it returns a `Config` or raises one readable `InputError`.
"""

from caneft.config.corpora import (
    CorpusSource,
    Demo,
    DemoDates,
    DemoDatesPretraining,
    DemoPretraining,
    Direction,
    Domain,
    Hub,
    Instruct,
    Jsonl,
    Mixture,
    Moses,
    PretrainingSource,
    Source,
    Tsv,
    rates_on,
    select_on,
    target_code,
)
from caneft.config.loading import load, problems
from caneft.config.methods import Adapters, Base, Full, Icl, Lora, Method, Neurons, Trained
from caneft.config.models import Model, Pretraining, PretrainingCorpus, Resources
from caneft.config.paths import data_root, missing_files, publish_data_root, resolver, sources
from caneft.config.root import Config
from caneft.config.section import Section
from caneft.config.stages import AutoSamples, Decoding, Importance, Prompt, Report, Scoring, Selection, Trials, Tuning

__all__ = [
    "Adapters",
    "AutoSamples",
    "Base",
    "Config",
    "CorpusSource",
    "Decoding",
    "Demo",
    "DemoDates",
    "DemoDatesPretraining",
    "DemoPretraining",
    "Direction",
    "Domain",
    "Full",
    "Hub",
    "Icl",
    "Importance",
    "Instruct",
    "Jsonl",
    "Lora",
    "Method",
    "Mixture",
    "Model",
    "Moses",
    "Neurons",
    "Pretraining",
    "PretrainingCorpus",
    "PretrainingSource",
    "Prompt",
    "Report",
    "Resources",
    "Scoring",
    "Section",
    "Selection",
    "Source",
    "Trained",
    "Trials",
    "Tsv",
    "Tuning",
    "data_root",
    "load",
    "missing_files",
    "problems",
    "publish_data_root",
    "rates_on",
    "resolver",
    "select_on",
    "sources",
    "target_code",
]
