"""vLLM as the workflow installs it, once for all of these tests and for later sessions."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from caneft.translation.vllm_engine import EVERYWHERE, ON_CPU
from tests import warm

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / ".venv-vllm"
SERVING = "CANEFT_SERVING"


@pytest.fixture(scope="session")
def vllm_environment() -> Path:
    """Python of an environment with the packages of envs/vllm.txt. If it cannot be built, tests that need it are
    skipped; with CANEFT_SERVING=1, as in CI, they fail.

    The step of rule vllm_environment builds it in .venv-vllm, unless it exists; `make .venv-vllm/.ready` does the same.
    """
    lock, ready = REPOSITORY / "envs/vllm.txt", FOLDER / ".ready"
    command = [sys.executable, "-m", "workflow.scripts.build_environment", "--lock", str(lock), "--ready", str(ready)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode != 0:
        give_up = pytest.fail if os.environ.get(SERVING) == "1" else pytest.skip
        give_up(f"vLLM's environment cannot be built here: {done.stderr[-1000:]}")
    return FOLDER / "bin" / "python"


@pytest.fixture(scope="session")
def vllm(vllm_environment) -> Iterator[Path]:
    """Like that Python, but steps and modules of this folder find vLLM imported already."""
    imports = ["vllm.entrypoints.llm", "vllm.lora.request"]
    with warm.started(vllm_environment, imports, **EVERYWHERE, **ON_CPU) as python:
        yield python
