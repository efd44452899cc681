"""A stand-in for the environment, to be destroyed: links to this environment's packages, and copies of a few."""

import shutil
import sys
import sysconfig
from pathlib import Path

OWN = ("sacrebleu", "safetensors", "filelock", "portalocker", "pydantic", "tqdm")
PACKAGES = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)


def build(prefix: Path) -> Path:
    """Makes it afresh; returns its folder."""
    shutil.rmtree(prefix, ignore_errors=True)
    packages = prefix / PACKAGES
    packages.mkdir(parents=True)
    (prefix / "bin").mkdir()
    (prefix / "bin/python").symlink_to(Path(sys.executable).resolve())
    shutil.copy2(Path(sys.prefix) / "pyvenv.cfg", prefix)
    for entry in (Path(sys.prefix) / PACKAGES).iterdir():
        if entry.name in OWN and entry.is_dir():
            shutil.copytree(entry, packages / entry.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif entry.name != "__pycache__":
            (packages / entry.name).symlink_to(entry.resolve())
    return prefix


def own_files(prefix: Path) -> list[Path]:
    """Modules and libraries that a fault may remove, whether the workflow needs them or not."""
    packages = prefix / PACKAGES
    return sorted(
        path
        for name in OWN
        for path in (packages / name).rglob("*")
        if path.suffix in (".py", ".so") and path.is_file()
    )
