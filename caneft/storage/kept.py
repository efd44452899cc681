"""What a step has finished, kept until all jobs that share its Slurm allocation have ended well.

If a later job of the allocation fails, Snakemake removes what the earlier ones left; if Slurm puts the allocation back
into its queue, Snakemake runs all of them again. A step that keeps its results takes them instead of making them again.
Hard links take no room, and stay when the results are removed.
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
from caneft.storage.files import sha256, write_json

logger = logging.getLogger(__name__)
NAME = ".kept"


class Kept:
    """Kept results of one step: links in `folder`/.kept/`name`, for one command line, its inputs and this code.

    folder: of the results; inputs: files whose content decides them. Nothing is kept or taken outside of Slurm, or
    where it is not wanted.
    """

    def __init__(self, folder: Path, name: str, inputs: Iterable[Path | None], wanted: bool = True):
        self.results, self.folder = folder, folder / NAME / name
        self._active = wanted and "SLURM_JOB_ID" in os.environ
        self._inputs = sorted({path for path in inputs if path is not None})

    def take(self) -> bool:
        """Puts kept results where they belong; False, and nothing is changed, where none fit."""
        try:
            fit = self._active and json.loads(self._about.read_text(encoding="utf-8")) == self._identity()
        except (OSError, ValueError):
            fit = False
        if not fit:
            return False
        for file in self.folder.iterdir():
            if file != self._about:
                _link(file, self.results / file.name)
        logger.info("finished before; the results that were kept are taken")
        return True

    def save(self, results: Iterable[Path]) -> None:
        """Keeps these files. A file system without hard links keeps none."""
        if not self._active:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        try:
            for file in results:
                _link(file, self.folder / file.name)
        except OSError as error:
            logger.info("results are not kept for a second try: %s", error)
            shutil.rmtree(self.folder)
        else:
            write_json(self._about, self._identity())  # last: until then nothing is taken

    @property
    def _about(self) -> Path:
        return self.folder / "kept.json"

    def _identity(self) -> dict[str, str]:
        made_by = [sys.argv[1:], records.provenance(), [sha256(path) for path in self._inputs]]
        return {"sha256": hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()}


def clear(root: Path) -> None:
    """Removes all that is kept below a folder."""
    for folder in list(root.rglob(NAME)):
        shutil.rmtree(folder, ignore_errors=True)


def _link(file: Path, place: Path) -> None:
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    os.link(file, beside)
    os.replace(beside, place)
