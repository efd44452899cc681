"""Where a process computes, and how strictly it repeats itself."""

import os
import subprocess
import sys

import pytest

SHOWN = """
import os, torch
from caneft.devices import prepare
prepare(2, 5)
print(torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
print(os.environ.get("CUBLAS_WORKSPACE_CONFIG"), torch.rand(1).item())
"""


@pytest.mark.parametrize(
    ("given", "asked"), [({}, ["False", "None"]), ({"CANEFT_DETERMINISTIC": "1"}, ["True", ":4096:8"])]
)
def test_threads_seed_and_determinism(given, asked):
    kept = {k: v for k, v in os.environ.items() if k not in ("CANEFT_DETERMINISTIC", "CUBLAS_WORKSPACE_CONFIG")}
    done = subprocess.run([sys.executable, "-c", SHOWN], env=kept | given, capture_output=True, text=True, check=True)
    threads, *determinism, drawn = done.stdout.split()
    assert (threads, determinism) == ("2", asked)
    import torch

    assert float(drawn) == torch.rand(1, generator=torch.Generator().manual_seed(5)).item()
