"""The configuration: one model of it, from which the JSON schema and the reference are generated.

Unknown keys are errors. What pydantic cannot see (that a mixture's domains exist in its direction, say) is checked in
`loading`. `load` is the door: it returns a `Config` or raises one readable `InputError`.
"""

from caneft.config.cleaning import Cleaning
from caneft.config.corpora import (
    Alternating,
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
    SacreBleu,
    Source,
    Tmx,
    Tsv,
    rates_on,
    select_on,
    target_code,
)
from caneft.config.loading import load, problems
from caneft.config.methods import Adapters, Base, Full, Icl, Lora, Method, Neurons, Trained, TuningResources
from caneft.config.metrics import Comet, MetricCorpus, MetricTraining, NeuralMetric, Scoring
from caneft.config.models import Model, Pretraining, PretrainingCorpus, Resources
from caneft.config.paths import (
    data_root,
    missing_files,
    publish_data_root,
    remote_sources,
    resolver,
    sources,
    work_offline,
)
from caneft.config.root import Config
from caneft.config.section import Section
from caneft.config.stages import AutoSamples, Decoding, Importance, Prompt, Report, Selection, Trials, Tuning

__all__ = [
    "Adapters",
    "Alternating",
    "AutoSamples",
    "Base",
    "Cleaning",
    "Comet",
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
    "MetricCorpus",
    "MetricTraining",
    "Mixture",
    "Model",
    "Moses",
    "NeuralMetric",
    "Neurons",
    "Pretraining",
    "PretrainingCorpus",
    "PretrainingSource",
    "Prompt",
    "Report",
    "Resources",
    "SacreBleu",
    "Scoring",
    "Section",
    "Selection",
    "Source",
    "Tmx",
    "Trained",
    "Trials",
    "Tsv",
    "Tuning",
    "TuningResources",
    "data_root",
    "load",
    "missing_files",
    "problems",
    "publish_data_root",
    "rates_on",
    "remote_sources",
    "resolver",
    "select_on",
    "sources",
    "target_code",
    "work_offline",
]
