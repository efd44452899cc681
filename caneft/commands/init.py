"""The command line `python -m caneft init`: writes a configuration for corpora and a model of your own."""

import argparse
import math
import os
import re
import shlex
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caneft.errors import InputError

if TYPE_CHECKING:
    from caneft.config import Domain, Source

SCHEMA = Path(__file__).parents[2] / "config" / "schema.json"
FOLDER, MODEL = "FOLDER-OF-CORPORA", "FOLDER-OF-MODEL"
EXAMPLE = {
    domain: {split: {"format": "tsv", "path": f"{domain}.{split}.tsv"} for split in ("train", "dev", "test")}
    for domain in ("law", "medical")
}
"""Placeholders for corpora, used if none are named."""
DIRECTION = "de-en"
LEAST_MB, STEP_MB = 4000, 1000
COPIES, OF_GGUF = 4, 4
"""Copies of the weights in a job's memory, and how many times larger the weights are than a GGUF file of four bits."""
SMALL = 4 * 10**9
"""Most bytes of bfloat16 weights of a model that is assumed to run on this processor, if there is no GPU."""


def add(commands) -> None:
    """Adds `init` to a parser's commands."""
    about = "write a configuration for corpora and a model of your own"
    parser = commands.add_parser("init", help=about, description=about)
    parser.add_argument("file", type=Path, nargs="?", default=Path("mine.yaml"), help="to write; default: mine.yaml")
    parser.add_argument("--data", type=Path, help="folder of the corpora: it.train.tsv, law/test.tmx, ...")
    parser.add_argument("--model", help="folder of a model, .gguf file, package of one, or owner/name on the hub")
    parser.add_argument("--direction", help="codes of source and target language, such as de-en; needed with --data")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Writes the file, says what it found, and checks it as `caneft check` does."""
    from caneft.commands import check
    from caneft.config import languages  # late: --help does not need them
    from caneft.storage.files import atomic_write

    if args.file.exists():
        raise InputError(f"{args.file}: exists already. Name another file, or move this one away.")
    if args.data and not args.direction:
        raise InputError("--data needs --direction: the codes of source and target language, such as de-en.")
    if languages.of_direction(direction := (args.direction or DIRECTION).lower()) is None:
        raise InputError(
            f"--direction {direction}: does not name two languages, as de-en and en-zh_hans do.\n"
            "For a task other than translation, start from config/task-dates.yaml."
        )
    content = _content(args.file, args.data, args.model, direction)
    with atomic_write(args.file) as beside:
        beside.write_text(content, encoding="utf-8")
    print(f"{args.file}: written.")
    quoted = shlex.quote(str(args.file))
    if args.data and args.model:
        check.run(argparse.Namespace(files=[args.file]))
        print(f"A first try of minutes: snakemake --cores all --configfile {quoted} --config limit=10")
        print(f"Everything:             snakemake --cores all --configfile {quoted}")
    else:
        print(f"Put your own in place, then: python -m caneft check {quoted}")


def _content(file: Path, data: Path | None, model: str | None, direction: str) -> str:
    from caneft import config
    from caneft.commands import template
    from caneft.config import languages
    from caneft.corpora.finding import Sizes, sizes

    tags, tuning, samples = languages.of_direction(direction), config.Tuning(), config.Importance().samples
    asked = Sizes(max(tuning.pairs_per_domain, math.ceil(samples * 10 / 9)), tuning.dev_pairs_per_domain)
    corpora, has, said = EXAMPLE, asked, "A domain that has fewer pairs needs lower numbers."
    if data:
        domains = _domains(data, tags)
        corpora = {name: _written(domain) for name, domain in domains.items()}
        has = sizes(domains, data.joinpath, asked)
    if has != asked:
        said = f"The smallest domain has {has.train} training pairs that are clean and in no dev or test set."
    return template.text(
        template.Values(
            schema=os.path.relpath(SCHEMA, file.parent) if SCHEMA.exists() else None,
            results_root=f"results/{re.sub(r'[^A-Za-z0-9_.-]+', '-', file.stem)}",
            data_root=str(data or FOLDER),
            model=_model(model, data),
            direction=direction,
            languages=[languages.name(tag) for tag in tags],
            domains=corpora,
            samples=max(2, min(samples, math.ceil(has.train * 9 / 10))),
            pairs=min(tuning.pairs_per_domain, has.train),
            dev_pairs=has.dev,
            sizes=said,
            metrics=_metrics(tags[1]),
        )
    )


def _domains(folder: Path, tags: tuple[str, str]) -> "Mapping[str, Domain]":
    """The domains of a folder. Prints them, and the files that belong to none."""
    from caneft.config import Domain
    from caneft.corpora.finding import CONVENTION, find

    found = find(folder, tags)
    for name, splits in found.domains.items():
        print(f"{name}: " + ", ".join(f"{split} {_told(source)}" for split, source in splits.items()))
    for path, reason in found.left.items():
        print(f"Left out: {folder / path}: {reason.removeprefix(f'{folder / path}: ')}", file=sys.stderr)
    trained = [name for name, splits in found.domains.items() if "train" in splits]
    if len(trained) < 2:
        raise InputError(
            f"{folder}: neurons are selected by what tells domains apart, so two with training pairs are needed; found:"
            f" {', '.join(trained) or 'none'}.\n{CONVENTION}"
        )
    return {name: Domain(**splits) for name, splits in found.domains.items()}


def _written(domain: "Domain") -> dict[str, dict[str, Any]]:
    """A domain's entry, with keys in the order in which people write them."""
    splits = {split: getattr(domain, split) for split in ("train", "dev", "test")}
    return {
        split: {"format": source.format} | source.model_dump(exclude_defaults=True)
        for split, source in splits.items()
        if source is not None
    }


def _told(source: "Source") -> str:
    drawn = f"{source.limit} pairs of " if source.limit else ""
    return f"{drawn}{' and '.join(source.paths())} ({source.format})"


def _model(given: str | None, data: Path | None) -> dict[str, Any]:
    """The model's entry. Raises InputError if `given` is neither a path here, nor a name on the hub, nor a package."""
    from caneft.runtime.lease import usable

    resources = {"gpu": min(len(usable(os.environ)), 1), "mem_mb": LEAST_MB}
    if given is None:
        return {"path": MODEL, "dtype": "float32", "resources": resources}
    path = Path(given)
    if not path.exists():
        if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", given, re.ASCII) and not path.parent.is_dir():
            return {"hub": given, "dtype": "bfloat16", "resources": resources}
        if re.fullmatch(r"[^\W\d]\w*", given, re.ASCII) and find_spec(given):
            size = sum(part.stat().st_size for part in _in_package(given)) * OF_GGUF
            return {"package": given} | _loaded(size, False, resources)
        raise InputError(
            f"--model {given}: is neither a folder here nor owner/name on the hub, nor an installed package with a GGUF"
            " file."
        )
    place = os.path.relpath(path, data) if data and not path.is_absolute() else str(path.absolute())
    return {"path": place} | _loaded(*_weights(path), resources)


def _loaded(size: int, is_float32: bool, resources: dict[str, int]) -> dict[str, Any]:
    """dtype and resources of a model. size: bytes of its weights. A small model is loaded in float32 if it will run on
    a processor without bfloat16 units."""
    from caneft.runtime.devices import bfloat16_units

    if not is_float32 and not resources["gpu"] and size <= SMALL and bfloat16_units() is False:
        size, is_float32 = 2 * size, True
    resources["mem_mb"] += math.ceil(COPIES * size / 10**6 / STEP_MB) * STEP_MB
    return {"dtype": "float32" if is_float32 else "bfloat16", "resources": resources}


def _in_package(name: str) -> list[Path]:
    from caneft.config import Model
    from caneft.models import packages

    return packages.gguf_files(Model(package=name), Path)


def _weights(path: Path) -> tuple[int, bool]:
    """Bytes of a model's weights, and whether they are in float32. Raises InputError if none can be read."""
    from caneft.models import stored

    if path.is_file():
        return path.stat().st_size * OF_GGUF, False
    files = stored.weight_files(path)
    dtypes = {dtype for file in files for _, dtype in stored.shapes(file).values()}
    return sum(file.stat().st_size for file in files), dtypes == {"F32"}


def _metrics(target: str) -> list[str]:
    """The usual metrics, with BLEU only if it can be computed."""
    from caneft.config import languages

    tokenizer = languages.tokenizer(target)
    return ["chrf"] if tokenizer is None or languages.lacking_extra(tokenizer) else ["bleu", "chrf"]
