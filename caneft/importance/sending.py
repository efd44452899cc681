"""The part of a dump that a process on another machine contributes."""

from typing import Any

import numpy as np

from caneft.importance.dumps import Part
from caneft.storage.files import atomic_write


class Sender(Part):
    """The `Part` of a process on another machine than the `Dump`, to which it sends each batch as a file.

    The two cannot map the same scores file into memory: it is written in whole pages, so each machine would overwrite
    the other's scores with what it had read before.
    """

    def _store(self, index: int, scores: np.ndarray) -> None:
        with atomic_write(self._sent(index), durable=False) as beside:
            np.save(beside, scores)

    def _opened(self) -> Any:
        return None
