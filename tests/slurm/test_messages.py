"""What users see if their profile does not fit the cluster: one message, before anything is submitted."""

import dataclasses

import pytest

from tests.slurm.conftest import Login, copied
from tests.workflow.conftest import RESULTS

DEFAULTS = ("--default-resources", "mem_mb=2000", "runtime=30")


@pytest.fixture(scope="module")
def login(with_accounts, pristine, tmp_path_factory):
    return Login(with_accounts, copied(pristine, tmp_path_factory.mktemp("messages")))


def assert_refused(login, *arguments, expected):
    before = login.cluster.jobs()
    done = login.snakemake(*arguments)
    assert done.returncode != 0 and "Traceback" not in done.stdout, done.stdout
    assert done.stdout.count("WorkflowError") == 1 and "Error in rule" not in done.stdout, done.stdout
    for part in expected:
        assert part in done.stdout
    assert login.cluster.jobs() == before


MISTAKES = {
    "partition": (("slurm_partition=gpus",), ("the partition 'gpus'", "Did you mean 'gpu'?")),
    "account": (("slurm_account=transaltion",), ("slurm_account is 'transaltion'", "Did you mean 'translation'?")),
    "gpus": (("gpus=1",), ("the resource 'gpus'", "called 'gpu'")),
}


@pytest.mark.parametrize(("resources", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_profile_is_one_message(login, resources, expected):
    assert_refused(login, *DEFAULTS, *resources, expected=expected)


def test_gpus_in_the_configuration_is_a_message_at_plan_time(login):
    config = login.workspace.configuration(lambda c: c["models"]["mini-llama"].update(resources={"gpus": 1}))
    done = login.snakemake("-n", "--config", f"models={config['models']}", f"results_root={RESULTS}")
    assert done.returncode != 0 and "Did you mean 'gpu'?" in done.stdout, done.stdout


def test_a_cluster_without_accounts_needs_squeue(login, without_accounts):
    """Otherwise Snakemake would wait forever."""
    elsewhere = dataclasses.replace(login, cluster=without_accounts)
    assert_refused(elsewhere, expected=("slurm-status-command is sacct", "set it to squeue"))
