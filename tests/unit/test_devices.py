"""On which device a process computes, and how strictly it repeats its results."""

import os

import pytest
import torch

from caneft.runtime.devices import prepare


@pytest.fixture
def untouched(monkeypatch):
    """The environment without what `prepare` reads or sets; restores torch afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    for name in ("CANEFT_DETERMINISTIC", "CUBLAS_WORKSPACE_CONFIG", "RAYON_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that it is restored, however it is set
        monkeypatch.delenv(name)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.mark.parametrize(("asked", "workspace"), [(False, None), (True, ":4096:8")])
def test_threads_seed_and_determinism(untouched, monkeypatch, asked, workspace):
    if asked:
        monkeypatch.setenv("CANEFT_DETERMINISTIC", "1")
    prepare(2, 5)
    assert torch.get_num_threads() == 2
    assert torch.are_deterministic_algorithms_enabled() == asked
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == workspace
    assert torch.rand(1).item() == torch.rand(1, generator=torch.Generator().manual_seed(5)).item()
