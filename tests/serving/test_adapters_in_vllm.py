"""Exported adapters as LoRA requests to vLLM: each form equals the merged model; layers have 24, 3 and 1 neurons."""

import json
import os
import subprocess

import pytest

from caneft.patch.ranks import OF_VLLM
from caneft.translation.vllm_engine import EVERYWHERE, ON_CPU
from tests.serving import uneven
from tests.serving.conftest import REPOSITORY


@pytest.mark.parametrize("architecture, rank", [("llama", 32), ("phi3", 64), ("gemma3_text", 32)])
def test_an_adapter_is_the_merged_model(tmp_path, vllm, architecture, rank):
    """In phi3, gate and up are one module, of rank 48."""
    expected = uneven.make(tmp_path, architecture, (24, 3, 1))
    adapters = {name: str(tmp_path / name) for name in uneven.WAYS}
    spec = uneven.asked(base=str(tmp_path / "base"), adapters=adapters, rank=rank, out=str(tmp_path / "out.json"))
    done = subprocess.run(
        [vllm, "-m", "tests.serving.ask_vllm"],
        cwd=REPOSITORY,
        input=spec,
        env=os.environ | EVERYWHERE | ON_CPU | {"VLLM_CPU_KVCACHE_SPACE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert tuple(found.pop("ranks")) == OF_VLLM
    del expected["merged"]  # it is a folder, not an adapter
    assert {name: uneven.same(found[name], right) for name, right in expected.items()} == dict.fromkeys(expected, True)
