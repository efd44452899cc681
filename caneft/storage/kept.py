"""What a step has finished, kept until all jobs that share its Slurm job have ended well.

If a later job of a Slurm job fails, Snakemake removes what the earlier ones left; if Slurm requeues the Slurm job,
Snakemake runs all of them again. A step that keeps its results takes them instead of making them again. Hard links take
no room, and stay when the results are removed.
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
"""Set for jobs that an executor such as Slurm's has submitted; without it nothing is kept and nothing taken."""
PACKAGE = Path(__file__).parents[1]


class Kept:
    """Kept results of one step: links in `folder`/.kept/`name`, for one command line, its inputs and this code.

    folder: of the results; inputs: files whose content decides them; wanted: whether results of this kind are kept.
    """

    def __init__(self, folder: Path, name: str, inputs: Iterable[Path | None], wanted: bool = True):
        self.results, self.folder = folder, folder / NAME / name
        self._active = wanted and WANTED in os.environ
        # Now, not when it has ended: whoever changes code or inputs meanwhile has not made this result of them.
        self._identity = _identity(inputs) if self._active else ""

    def take(self) -> bool:
        """Puts kept results where they belong; False, and no result is changed, where none fit or one is damaged."""
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
        """Keeps these files. A file system without hard links keeps none."""
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
        else:  # last: until then nothing is taken
            write_json(self._about, {"identity": self._identity, "sha256": {f.name: sha256(f) for f in results}})

    @property
    def _about(self) -> Path:
        return self.folder / "kept.json"


def clear(root: Path) -> None:
    """Removes all that is kept below a folder."""
    for folder in list(root.rglob(NAME)):
        shutil.rmtree(folder, ignore_errors=True)


def _identity(inputs: Iterable[Path | None]) -> str:
    """Hash of the command line, the content of the inputs, packages, and the code, whether it is committed or not."""
    source = [sha256(file) for file in sorted(PACKAGE.rglob("*.py"))]
    content = [sha256(path) for path in sorted({path for path in inputs if path is not None})]
    made_by = [sys.argv[1:], content, records.provenance(), source]
    return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()
