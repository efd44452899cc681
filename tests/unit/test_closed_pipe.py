"""If the reader of a command's output is gone, as after `| head`, the command ends silently."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_reader_that_has_gone_is_no_error():
    command = [sys.executable, "-m", "caneft", "plan", "config/config.yaml"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        started.stdout.close()
        said = started.stderr.read()
    assert started.returncode == 0 and "roken pipe" not in said and "Error" not in said, said
