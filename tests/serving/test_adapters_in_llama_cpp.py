"""Exported adapters in llama.cpp, converted by its own script."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serving import uneven
from tests.serving.conftest import REPOSITORY

FOLDER = REPOSITORY / ".venv-llama"
CASES = {"llama": ((24, 3, 1), 64), "phi3": ((300, 3, 1), 320), "gemma3": ((24, 3, 1), 64)}
"""Neurons to tune, and of a layer. phi3's gate and up are one module, of rank 600; gemma3's names are longer."""
OFF = {"gemma3": 2e-3}
"""How far llama.cpp is from transformers in the model itself: it reads Gemma's activation from a table of 16 bits."""


@pytest.fixture(scope="module")
def llama_cpp():
    """llama.cpp's environment. If it cannot be built, tests are skipped, or fail with CANEFT_SERVING=1."""
    done = subprocess.run(["make", ".venv-llama/.ready"], cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode != 0:
        give_up = pytest.fail if os.environ.get("CANEFT_SERVING") == "1" else pytest.skip
        give_up(f"llama.cpp cannot be built here: {done.stderr[-1000:]}")
    return FOLDER / "bin" / "python"


@pytest.mark.parametrize("architecture", CASES)
def test_an_adapter_is_the_merged_model(tmp_path, vllm_environment, llama_cpp, architecture):
    """The converters run in vLLM's environment. In llama.cpp, an adapter with a rank per module is another model."""
    expected = uneven.make(tmp_path, architecture, *CASES[architecture])

    def run(*command, **options):
        environment = os.environ | {"LLAMA_CPP_LIB_PATH": str(FOLDER / "built" / "bin")}
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, **options)
        assert done.returncode == 0, done.stderr

    def convert(name):
        script = ["convert_lora_to_gguf.py", "--base", tmp_path / "base"]
        script = script if name in uneven.WAYS else ["convert_hf_to_gguf.py"]
        line = [vllm_environment, FOLDER / "source/vendor/llama.cpp" / script[0], *script[1:]]
        run(*line, "--outtype", "f32", "--outfile", tmp_path / f"{name}.gguf", tmp_path / name)

    run(vllm_environment, "tests/serving/byte_tokenizer.py", tmp_path / "base", tmp_path / "merged")
    with ThreadPoolExecutor(2) as two:  # most of the time goes into imports
        list(two.map(convert, expected))
    files = {name: str(tmp_path / f"{name}.gguf") for name in expected}
    models = {name: (files["base"], files[name]) for name in uneven.WAYS}
    models |= {name: (files[name], None) for name in ("base", "merged")}
    spec = uneven.asked(models=models, out=str(tmp_path / "out.json"))
    run(llama_cpp, "tests/serving/ask_llama_cpp.py", input=spec)
    found = json.loads((tmp_path / "out.json").read_text())
    for name in ("base", "merged"):
        assert uneven.same(found[name], expected[name], OFF.get(architecture, 5e-5)), name
    merged = found["merged"]
    assert {form: uneven.same(found[form], merged) for form in uneven.WAYS} == {"adapter": True, "own-ranks": False}
