"""One thin command line per step: parse, call the package, write."""

import sys

from caneft import cli, holding

sys.excepthook = cli.explain_imports  # a step imports much before it is a step
holding.join()
