"""One thin command line per step: parse, call the package, write."""

import gc
import os
import sys

from caneft.runtime import cli, holding

# The objects that importing torch and transformers creates stay to the end: searching them for garbage again and again
# takes a tenth of the time that a step needs to start.
gc.set_threshold(100_000, 20, 100)
# Progress bars of loading weights would fill a log. Read when the libraries are imported.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
sys.excepthook = cli.explain_imports  # explains failed imports, before `main` runs
holding.join()
