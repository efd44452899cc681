"""What is asked of a cluster before the first job, where there is none. tests/slurm asks a real one."""

import pytest

from caneft import slurm
from caneft.errors import InputError


def test_without_slurm_the_message_says_where_the_profile_belongs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="sinfo is not found: --profile slurm is for the login node"):
        slurm.check([("tune_lora", {"mem_mb": 4000})], "sacct")


def test_a_resource_that_slurm_is_never_told_is_named_before_anything_is_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="tune_lora asks for the resource 'gpus'.* 'gpu'"):
        slurm.check([("score", {"gpu": 1}), ("tune_lora", {"gpus": 2})], "sacct")
