"""A finished results folder, as commands open it."""

from pathlib import Path

import yaml

from caneft import config
from caneft.errors import InputError
from caneft.plan import Plan


def open_plan(root: Path) -> Plan:
    """The plan that a results folder was made from. Raises InputError for a folder that holds no results."""
    path = root / "config.yaml"
    if not root.is_dir():
        raise InputError(f"{root}: no such folder. Name a results folder (`results_root` of a configuration)")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{root}: holds no config.yaml, so it is no results folder, or its run never began."
            " Name the folder that `results_root` of a configuration names"
        ) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: holds no configuration. Run the workflow again; it writes this file first")
    return Plan(config.load(raw, files=[path], check_files=False))
