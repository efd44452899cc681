"""One thin command line per step: parse, call the package, write."""

import gc
import os
import sys

from caneft.runtime import cli, holding

# What torch and transformers make while they are imported stays to the end: seeking garbage among it again and again
# takes a tenth of the time that a step needs to start.
gc.set_threshold(100_000, 20, 100)
# A log is no screen: bars of weights that are loaded would fill it. Read when the libraries are imported.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
sys.excepthook = cli.explain_imports  # a step imports much before it is a step
holding.join()
