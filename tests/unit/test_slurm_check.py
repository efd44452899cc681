"""What is asked of a cluster before the first job, where there is none. tests/slurm asks a real one."""

import pytest

from caneft.runtime import slurm
from tests.messages import refused


def test_without_slurm_the_message_says_where_the_profile_belongs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with refused("sinfo", "--profile slurm"):
        slurm.check([("tune_lora", {"mem_mb": 4000})], "sacct")


def test_a_resource_that_slurm_is_never_told_is_named_before_anything_is_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with refused("tune_lora", "'gpus'", "'gpu'"):
        slurm.check([("score", {"gpu": 1}), ("tune_lora", {"gpus": 2})], "sacct")


@pytest.mark.parametrize("left", ["", "7\n8\n"])
def test_what_is_left_of_a_run_is_cancelled_by_the_run_s_name(monkeypatch, tmp_path, left):
    """squeue and scancel write down how they were called; nothing is cancelled where nothing is left."""
    for name, said in {"squeue": left, "scancel": ""}.items():
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\necho "{name} $@" >> {tmp_path}/calls\nprintf "{said!s}"\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    slurm.cancel("run-1")
    squeue, *scancel = (tmp_path / "calls").read_text().splitlines()
    assert "--name=run-1" in squeue and scancel == (["scancel --name=run-1"] if left else [])
