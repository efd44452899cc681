"""The neuron patch: a small file that turns a base model into the tuned one, and back.

    undo = patch.swap(model, patch.read(path))    # puts it into a model in memory, refuses any other base
    patch.swap(model, undo)                       # and out again, bit for bit

`form` is the file, `memory` models in memory, `weights` and `folder` model folders on disk, `merge` and `lora` what
other programs load, `compare` patches beside each other, `command` the command line.
"""

from caneft.patch.form import Patch, read, save
from caneft.patch.memory import apply, slices_hash, swap, taken

__all__ = ["Patch", "apply", "read", "save", "slices_hash", "swap", "taken"]
