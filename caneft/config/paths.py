"""Finds raw corpora and local models on disk."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from caneft.config.corpora import Hub, SacreBleu, Source
from caneft.config.names import METRICS, PRETRAINING
from caneft.config.root import Config
from caneft.errors import InputError
from caneft.storage.files import split_archive

OF_METRICS = {"metricx": "config.json"}
"""File that a metric's folder must contain, for metrics other than COMET models."""
OF_PROCESS = ("/dev/stdin", "/dev/fd/", "/proc/")
"""Paths that lead each process to a file of its own."""
LISTED = 5


def data_root(config: Config) -> Path | None:
    """Folder where relative paths start: the configuration's, else that in CANEFT_DATA, else None."""
    root = config.data_root or os.environ.get("CANEFT_DATA")
    return Path(root) if root else None


def publish_package(folder: Path) -> None:
    """Puts this folder on PYTHONPATH, so that every Python that this process starts finds the package in it."""
    given = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([given] if given else [])])


def publish_data_root(config: Config) -> None:
    """Puts the data root into CANEFT_DATA, where steps read it: no result depends on it, so no job has it in params."""
    if (root := data_root(config)) is not None:
        os.environ["CANEFT_DATA"] = str(root.resolve())


def work_offline() -> None:
    """Keeps child processes off the hub, so that all read the same files and none waits for a network.

    The user's own HF_HUB_OFFLINE is kept in CANEFT_HF_HUB_OFFLINE, for the jobs that fetch.
    """
    os.environ.setdefault("CANEFT_HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE", ""))
    os.environ["HF_HUB_OFFLINE"] = "1"


def resolver(root: str | Path | None) -> Callable[[str], Path]:
    """A function that resolves a configured path: relative ones start from `root`.

    It raises InputError for a relative path if there is no root.
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
    """Training corpora of the neural metrics that the workflow trains, by metric."""
    for name, metric in config.scoring.neural.items():
        if train := getattr(metric, "train", None):
            yield name, train.corpora


def remote_sources(config: Config) -> Iterator[tuple[str, dict[str, Source]]]:
    """Sources to download first, by `{direction}/{domain}` and split, or by `pretraining/{model}` or
    `metrics/{metric}` and index."""
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
    """Corpus files (or their archives) and models that are missing or of the wrong kind, and a results folder that is a
    file, as (key, message)."""
    results = Path(config.results_root)
    if file := next((place for place in (results, *results.parents) if place.is_file()), None):
        yield "results_root", f"is {results}, but {file} is a file. Name another folder, or move the file away"
    wanted = [(key, path, None) for key, source in sources(config) for path in source.paths()]
    for name, model in config.models.items():
        if model.path:
            wanted.append((f"models.{name}.path", model.path, None if model.quantised else "config.json"))
    for name, metric in config.scoring.neural.items():
        if metric.path:
            wanted.append((f"scoring.{name}.path", metric.path, OF_METRICS.get(name, "hparams.yaml")))
    root = data_root(config)
    if root is not None and not root.is_dir() and any(not Path(path).is_absolute() for _, path, _ in wanted):
        named = "names" if config.data_root else "is not given, and CANEFT_DATA names"
        yield "data_root", f"{named} the folder {root}, which does not exist. Relative paths start there"
        of_corpora = {key for key, _ in sources(config)}  # else the message would name all of them
        wanted = [entry for entry in wanted if Path(entry[1]).is_absolute() or entry[0] not in of_corpora]
    resolve = resolver(root)
    for key, path, inside in wanted:
        try:
            full, _ = split_archive(resolve(path))
        except InputError as error:
            yield key, f"cannot be found: {error}"
            return
        if not full.exists():
            remedy = "the path" if Path(path).is_absolute() else f"the path or data_root ({root})"
            yield key, f"names the file {full}, which does not exist. Correct {remedy}"
        elif inside is None and full.is_dir():
            yield key, f"names {full}, which is a folder; a file is needed. {_in_folder(full)}"
        elif inside is None and (not full.is_file() or str(full).startswith(OF_PROCESS)):
            said = "is not a regular file but a pipe, a device or the like. Write its content to a file and name that"
            yield key, f"names {full}, which {said}"
        elif inside is not None and not full.is_dir():
            yield key, f"names {full}, which is a file; the model's folder is needed, with {inside} in it"
        elif inside is not None and not (full / inside).is_file():
            yield key, f"names the folder {full}, which has no {inside}, so it holds no model. {_in_folder(full)}"


def _in_folder(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"In it: {', '.join(names[:LISTED])}{more}" if names else "It is empty"


def same_splits(config: Config) -> Iterator[tuple[str, str]]:
    """Splits of a domain that are read from the same file, so that one would be left empty, as (key, message).

    A held-out split with a `limit` may share the file: the pairs that are not drawn remain.
    """
    for direction_name, direction in config.directions.items():
        for name, domain in direction.domains.items():
            for split, other in (("train", "test"), ("dev", "test"), ("train", "dev")):
                source, held_out = getattr(domain, split), getattr(domain, other)
                if source is None or held_out.limit is not None:
                    continue
                if (place := _place(config, source)) is not None and place == _place(config, held_out):
                    yield (
                        f"directions.{direction_name}.domains.{name}.{split}",
                        f"is read from the same place as {other} ({place[0]}): the pairs of {other} are"
                        f" removed from it, so none would be left. Name another file, or give {other} a 'limit'",
                    )


def read_from(config: Config, source: Source) -> dict[str, Any]:
    """The keys on which a source's pairs depend. In place of each path is the file it leads to, with links followed."""
    root = data_root(config) or Path()
    of_draw = {"seed"} if source.paths() and source.limit is None else set()
    return {
        key: _file(root / value) if key.endswith("path") else value
        for key, value in source.model_dump(exclude=of_draw).items()
    }


def _file(path: Path) -> tuple[Path, str | None]:
    """The file on disk, and the name of the file in it if it is an archive."""
    file, member = split_archive(path)
    return file.resolve(), member


def _place(config: Config, source: Source) -> tuple | None:
    """Identifies the place a source's pairs come from, however it is written; None for built-in ones."""
    if isinstance(source, Hub | SacreBleu):
        kept = source.model_dump(exclude={"limit", "seed", "reverse", "source", "target"})
        return (source.name, *kept.items())
    if not source.paths():
        return None
    resolve = resolver(data_root(config))
    return tuple(part for path in source.paths() for part in _file(resolve(path)))
