"""What a process on another machine adds to a dump."""

from typing import Any

import numpy as np

from caneft.importance.dumps import Part
from caneft.storage.files import atomic_write


class Sender(Part):
    """The `Part` of a process on another machine than the `Dump`'s, to which it sends each batch in a file.

    A file that two machines map into their memory is written by pages: one would put back what it had read of the
    other's.
    """

    def _store(self, index: int, scores: np.ndarray) -> None:
        with atomic_write(self._sent(index), durable=False) as beside:
            np.save(beside, scores)

    def _opened(self) -> Any:
        return None
