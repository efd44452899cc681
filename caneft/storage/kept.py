"""Keeps what a step has finished until all jobs that share its Slurm job have succeeded.

If a later job of a Slurm job fails, Snakemake removes the results of the earlier ones; if Slurm requeues the Slurm job,
Snakemake runs all of them again. A step that keeps its results restores them instead of making them again. Hard links
take no room, and remain when the results are removed.
"""

import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from caneft.storage import records
from caneft.storage.files import link, sha256, write_json

logger = logging.getLogger(__name__)
NAME = ".kept"
WANTED = "CANEFT_KEEP"
"""Set for jobs that an executor such as Slurm's has submitted; without it nothing is kept or restored."""
PACKAGE = Path(__file__).parents[1]


class Kept:
    """Kept results of one step: links in `folder`/.kept/`name`, valid for one command line, its inputs and this code.

    folder: of the results; inputs: files whose content decides them; wanted: whether results of this kind are kept.
    """

    def __init__(self, folder: Path, name: str, inputs: Iterable[Path | None], wanted: bool = True):
        self.results, self.folder = folder, folder / NAME / name
        self._active = wanted and WANTED in os.environ
        # Now, not at the end: if code or inputs change meanwhile, the result does not come from the new ones.
        self._identity = _identity(inputs) if self._active else ""

    def take(self) -> bool:
        """Restores kept results; returns False, without changing any result, if none fit or one is damaged."""
        if not self._active:
            return False
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
            fit = about["identity"] == self._identity
            fit = fit and all(sha256(self.folder / file) == wanted for file, wanted in about["sha256"].items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            fit = False
        if not fit:
            shutil.rmtree(self.folder, ignore_errors=True)
            return False
        for file in about["sha256"]:
            link(self.folder / file, self.results / file)
        logger.info("finished before; the results that were kept are taken")
        return True

    def save(self, results: Iterable[Path]) -> None:
        """Keeps these files, unless the file system lacks hard links."""
        if not self._active:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        results = sorted(results)
        try:
            for file in results:
                link(file, self.folder / file.name)
        except OSError as error:
            logger.info("results are not kept for a second try: %s", error)
            shutil.rmtree(self.folder)
        else:  # last: nothing is restored without it
            write_json(self._about, {"identity": self._identity, "sha256": {f.name: sha256(f) for f in results}})

    @property
    def _about(self) -> Path:
        return self.folder / "kept.json"


def clear(root: Path) -> None:
    """Removes all kept results below a folder."""
    for folder in list(root.rglob(NAME)):
        shutil.rmtree(folder, ignore_errors=True)


def _identity(inputs: Iterable[Path | None]) -> str:
    """Hash of the command line, the content of the inputs, package versions, and the code, committed or not."""
    source = [sha256(file) for file in sorted(PACKAGE.rglob("*.py"))]
    content = [sha256(path) for path in sorted({path for path in inputs if path is not None})]
    made_by = [sys.argv[1:], content, records.provenance(), source]
    return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()
