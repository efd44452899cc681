"""The neuron patch: a small file that turns a base model into the tuned one, and back.

    undo = patch.swap(model, patch.read(path))    # puts it into a model in memory, refuses any other base
    patch.swap(model, undo)                       # takes it out again, bit for bit

`form` defines the file, `memory` patches models in memory, `weights` and `folder` patch model folders on disk, `merge`
and `lora` write what other programs load, `compare` compares patches, `command` is the command line.
"""

from caneft.patch.form import Patch, read, save
from caneft.patch.memory import apply, slices_hash, swap, taken

__all__ = ["Patch", "apply", "read", "save", "slices_hash", "swap", "taken"]
