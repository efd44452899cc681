"""Where raw corpora and local models lie."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from caneft.config.corpora import Source
from caneft.config.root import Config
from caneft.errors import InputError
from caneft.files import split_archive
from caneft.names import METRICS, PRETRAINING


def data_root(config: Config) -> Path | None:
    """Folder of relative paths: the configuration's, else the environment variable CANEFT_DATA, else None."""
    root = config.data_root or os.environ.get("CANEFT_DATA")
    return Path(root) if root else None


def publish_data_root(config: Config) -> None:
    """Puts the data root into CANEFT_DATA, where steps find it: it belongs to no result, so to no job's params."""
    if (root := data_root(config)) is not None:
        os.environ["CANEFT_DATA"] = str(root.resolve())


def work_offline() -> None:
    """Keeps this process's children from the hub: what is read twice is the same, and no job waits for a network.

    What the user had set of HF_HUB_OFFLINE stays in CANEFT_HF_HUB_OFFLINE, for the jobs that fetch.
    """
    os.environ.setdefault("CANEFT_HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE", ""))
    os.environ["HF_HUB_OFFLINE"] = "1"


def resolver(root: str | Path | None) -> Callable[[str], Path]:
    """Function from a path as configured to a path: relative ones start from `root`.

    It raises InputError for a relative path where there is no root.
    """

    def resolve(path: str) -> Path:
        if Path(path).is_absolute():
            return Path(path)
        if not root:
            raise InputError(
                f"'{path}' is relative, but there is no data_root.\n"
                "Set data_root in the configuration, by --config data_root=FOLDER, or in the variable CANEFT_DATA"
            )
        return Path(root) / path

    return resolve


def sources(config: Config) -> Iterator[tuple[str, Source]]:
    """Every corpus source with its key."""
    for direction_name, direction in config.directions.items():
        for domain_name, domain in direction.domains.items():
            for split in ("train", "dev", "test"):
                if (source := getattr(domain, split)) is not None:
                    yield f"directions.{direction_name}.domains.{domain_name}.{split}", source
    for name, model in config.models.items():
        for index, corpus in enumerate(model.pretrain.corpora if model.pretrain else ()):
            yield f"models.{name}.pretrain.corpora.{index}", corpus.corpus
    for name, corpora in _metric_corpora(config):
        for index, corpus in enumerate(corpora):
            yield f"scoring.{name}.train.corpora.{index}", corpus.corpus


def _metric_corpora(config: Config) -> Iterator[tuple[str, list]]:
    """What neural metrics that are trained here are trained on, by metric."""
    for name, metric in config.scoring.neural.items():
        if train := getattr(metric, "train", None):
            yield name, train.corpora


def remote_sources(config: Config) -> Iterator[tuple[str, dict[str, Source]]]:
    """Sources that are downloaded first: by `{direction}/{domain}` and split, or by `pretraining/{model}` or
    `metrics/{metric}` and number."""
    of_domains = {
        f"{direction_name}/{domain_name}": {split: getattr(domain, split) for split in ("train", "dev", "test")}
        for direction_name, direction in config.directions.items()
        for domain_name, domain in direction.domains.items()
    }
    of_models = {
        f"{PRETRAINING}/{name}": {str(index): corpus.corpus for index, corpus in enumerate(model.pretrain.corpora)}
        for name, model in config.models.items()
        if model.pretrain
    }
    of_metrics = {
        f"{METRICS}/{name}": {str(index): corpus.corpus for index, corpus in enumerate(corpora)}
        for name, corpora in _metric_corpora(config)
    }
    for name, found in (of_domains | of_models | of_metrics).items():
        if remote := {part: source for part, source in found.items() if source is not None and source.remote}:
            yield name, remote


def missing_files(config: Config) -> Iterator[tuple[str, str]]:
    """Corpus files (or the archives that hold them) and model folders that do not exist, as (key, message)."""
    wanted = [(key, path) for key, source in sources(config) for path in source.paths()]
    wanted += [(f"models.{name}.path", model.path) for name, model in config.models.items() if model.path]
    wanted += [(f"scoring.{name}.path", metric.path) for name, metric in config.scoring.neural.items() if metric.path]
    resolve = resolver(data_root(config))
    for key, path in wanted:
        try:
            full, _ = split_archive(resolve(path))
        except InputError as error:
            yield key, f"cannot be found: {error}"
            return
        if not full.exists():
            yield (
                key,
                f"names the file {full}, which does not exist. Correct the path or data_root ({data_root(config)})",
            )
