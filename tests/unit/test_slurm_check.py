"""What is checked on a cluster before the first job, here without a cluster. tests/slurm checks a real one."""

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
    """Doubles of squeue and scancel record their calls; if no job is left, nothing is cancelled."""
    for name, said in {"squeue": left, "scancel": ""}.items():
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\necho "{name} $@" >> {tmp_path}/calls\nprintf "{said!s}"\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    slurm.cancel("run-1")
    squeue, *scancel = (tmp_path / "calls").read_text().splitlines()
    assert "--name=run-1" in squeue and scancel == (["scancel --name=run-1"] if left else [])


@pytest.fixture
def partitions(tmp_path, monkeypatch):
    """A `sinfo` that prints these lines, one per partition. tests/slurm has a real one."""

    def of(*said: str) -> None:
        program = tmp_path / "sinfo"
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' {' '.join(said)}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return of


def test_more_time_than_any_partition_gives_is_refused(partitions):
    """Slurm would accept such a job, but never start it. Two days are 2,880 minutes."""
    partitions("2-00:00:00", "1:00:00", "30:00")
    slurm.check_time("group_trial", 2880)
    with refused("group_trial", 2881, 2880, "group-components", "translation_runtime"):
        slurm.check_time("group_trial", 2881)


def test_more_nodes_than_any_partition_has_are_refused(partitions):
    """Such a job, too, would wait forever."""
    partitions("2", "16", "4")
    for nodes in (1, 16):
        slurm.check_nodes("dump_importance", nodes)
    with refused("dump_importance", 17, 16, "resources.nodes"):
        slurm.check_nodes("dump_importance", 17)


@pytest.mark.parametrize("limit, minutes", [("30:00", 30), ("1:30:00", 90), ("3-12:00:00", 5040), ("infinite", 10**9)])
def test_time_limits_as_sinfo_writes_them(partitions, limit, minutes):
    partitions(limit)
    slurm.check_time("a", minutes)
    if limit != "infinite":
        with refused("a", minutes + 1, minutes):
            slurm.check_time("a", minutes + 1)
