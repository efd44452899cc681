"""The configurations of a results folder: written by runs, opened by commands.

`config.yaml` belongs to the tables. A run under another configuration writes `config.pending.yaml` when it begins. When
it has finished, that takes the place of `config.yaml`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from caneft import config
from caneft.errors import InputError
from caneft.plan import Plan
from caneft.storage.files import atomic_write

OWN, PENDING = "config.yaml", "config.pending.yaml"


def begin(root: Path, configuration: Mapping[str, Any]) -> None:
    """Writes the configuration of a run that begins: as pending while there are tables made under another."""
    content, own = _content(configuration), root / OWN
    made = (root / "tables/main.csv").exists() and own.exists()
    if not made or own.read_bytes() != content:
        _write(root / PENDING if made else own, content)


def settle(root: Path, configuration: Mapping[str, Any]) -> None:
    """Takes over the configuration of a finished run that made the tables, or found them up to date."""
    _write(root / OWN, _content(configuration))
    (root / PENDING).unlink(missing_ok=True)


def open_plan(root: Path) -> Plan:
    """The plan that a results folder's tables were made from. Warns if a run under another has not finished.

    Raises InputError for a folder that holds no results.
    """
    path = root / OWN
    if not root.is_dir():
        raise InputError(f"{root}: no such folder. Name a results folder (`results_root` of a configuration)")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{root}: holds no config.yaml, so it is not a results folder, or its run never began."
            " Name the folder that `results_root` of a configuration names"
        ) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: holds no configuration. Run the workflow again; it writes this file first")
    if (root / PENDING).exists():
        print(
            f"Warning: the run of {root / PENDING} has not finished, so files may belong to it or to {path}. Run either"
            f" of them again. If the second has nothing to do, delete {PENDING}.",
            file=sys.stderr,
        )
    return Plan(config.load(raw, files=[path], check_files=False))


def _content(configuration: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(configuration), sort_keys=False, allow_unicode=True, encoding="utf-8")


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as beside:
        beside.write_bytes(content)
