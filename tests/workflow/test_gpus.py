"""GPUs on one machine: what a plan limits and refuses, and two Snakemakes that share three devices."""

import itertools
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.messages import assert_names
from tests.workflow.conftest import message

SNAKEFILE = """
rule all:
    input: expand("done.{n}", n=range(6))

rule job:
    output: "done.{n}"
    resources: gpu=1
    shell:
        "python -m caneft.runtime.lease --gpus {resources.gpu} -- sh -c '"
        "echo got $$ $CUDA_VISIBLE_DEVICES >> ../notes; sleep 0.3; echo left $$ $CUDA_VISIBLE_DEVICES >> ../notes'"
        " 2> log.{wildcards.n} && touch {output}"
"""


def asking(pristine, tmp_path, resources):
    file = tmp_path / "asking.yaml"
    edit = lambda config: config["models"]["mini-llama"].update(resources=resources)  # noqa: E731
    file.write_text(yaml.safe_dump(pristine.configuration(edit)))
    return file


REFUSED = {
    "misspelt key": ({"gpus": 1}, [], ["resources.gpus", "'gpu'"], []),
    "more than there are": ({"gpu": 4}, [], ["models.mini-llama.resources.gpu", "nvidia-smi"], ["4", "3"]),
    "more than is given": ({"gpu": 2}, ["--resources", "gpu=1"], ["resources.gpu", "--resources gpu"], ["2", "1"]),
    "misspelt limit": ({"gpu": 1}, ["--resources", "gpus=1"], ["--resources", "'gpus'", "'gpu'"], []),
    "misspelt default": (
        {"gpu": 1},
        ["--default-resources", "gpus=1"],
        ["--default-resources", "'gpus'", "'gpu'"],
        [],
    ),
    "more for a rule": (
        {"gpu": 1},
        ["--set-resources", "dump_importance:gpu=4"],
        ["--set-resources dump_importance:gpu", "nvidia-smi"],
        ["4", "3"],
    ),
    "misspelt for a rule": (
        {"gpu": 1},
        ["--set-resources", "translate:gpus=1"],
        ["--set-resources", "translate", "'gpus'", "'gpu'"],
        [],
    ),
}
"""What is asked for, options, and the names and numbers of the message."""


@pytest.mark.parametrize(("resources", "options", "names", "numbers"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_had_is_one_message(pristine, tmp_path, three_gpus, resources, options, names, numbers):
    said = message(pristine.snakemake_here("-n", *options, config=asking(pristine, tmp_path, resources)))
    assert_names(said, *names)
    assert set(numbers) <= set(re.findall(r"\b\d+\b", said))


LIMITS = [((), {}, 3), (("--resources", "gpu=2"), {"gpu": 2}, 2)]


@pytest.mark.parametrize(("_", "resources", "limit"), LIMITS)
def test_the_limit_is_the_machine_s_unless_it_is_given(pristine, three_gpus, _, resources, limit):
    edit = lambda config: config["models"]["mini-llama"].update(resources={"gpu": 2})  # noqa: E731
    with pristine.planned(pristine.configuration(edit), resources=resources) as dag:
        assert dag.workflow.global_resources["gpu"].value == limit


@pytest.mark.slow
@pytest.mark.parametrize(("options", "_", "limit"), LIMITS)
def test_snakemake_keeps_to_that_limit(pristine, tmp_path, three_gpus, options, _, limit):
    """Snakemake prints its resources at the start; the target is one small job without a GPU."""
    copy = pristine.copy(tmp_path / "copy")
    target = "out/mini/corpora/de-en/koran/test.jsonl"
    done = copy.snakemake(*options, "--cores", "1", target, config=asking(copy, tmp_path, {"gpu": 2}))
    assert done.returncode == 0, done.stdout
    assert re.search(rf"^Provided resources:.*\bgpu={limit}\b", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.slow
def test_two_snakemakes_share_three_gpus(pristine, tmp_path, three_gpus):
    environment = pristine.environment | {"PYTHONPATH": str(pristine.root)}
    running = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "Snakefile").write_text(SNAKEFILE)
        command = [sys.executable, "-m", "snakemake", "--cores", "6", "--quiet"]
        running.append(subprocess.Popen(command, cwd=folder, env=environment))
    assert [process.wait(300) for process in running] == [0, 0]
    holders, most, got = {}, 0, 0
    for word, process, device in (line.split() for line in (tmp_path / "notes").read_text().splitlines()):
        if word == "got":
            assert device not in holders
            holders[device], got = process, got + 1
        else:
            assert holders.pop(device) == process
        most = max(most, len(holders))
    assert (got, most) == (12, 3)


def dumping(roots):
    """Devices of the dumps that run now in these folders, by process; a child before its exec looks like its parent."""
    found, parents = {}, {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"workflow.scripts.dump_importance" not in (process / "cmdline").read_bytes().split(b"\0"):
                continue
            variables = dict(entry.split(b"=", 1) for entry in (process / "environ").read_bytes().split(b"\0") if entry)
            if (process / "cwd").resolve() in roots and b"CUDA_VISIBLE_DEVICES" in variables:
                found[process.name] = variables[b"CUDA_VISIBLE_DEVICES"].decode()
                parents[process.name] = (process / "stat").read_text().rpartition(") ")[2].split()[1]
        except OSError:  # it has just ended
            continue
    return {process: device for process, device in found.items() if parents.get(process) not in found}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="jobs would compute on this machine's own GPUs")
def test_two_snakemakes_dump_at_once_and_never_two_jobs_on_one_gpu(finished, tmp_path, three_gpus):
    """The jobs are the workflow's own. A process seen before and after a look at all others kept its device."""
    copies = [finished.copy(tmp_path / name) for name in ("one", "other")]
    dumps = [f"importance/mini-llama/de-en/{domain}" for domain in ("it", "law", "medical")]
    running, most, processes = [], 0, set()
    for copy in copies:
        shutil.rmtree(copy.results / "importance")
        targets = [f"out/mini/{dump}.npy" for dump in dumps]
        with open(copy.root / "said", "w") as said:
            command = copy.command("--cores", "3", "--set-resources", "dump_importance:gpu=1", "--", *targets)
            running.append(
                subprocess.Popen(command, cwd=copy.root, env=copy.environment, stdout=said, stderr=subprocess.STDOUT)
            )
    roots = [copy.root.resolve() for copy in copies]
    while any(process.poll() is None for process in running):
        seen, again = dumping(roots), dumping(roots)
        both = [seen[process] for process in seen.keys() & again.keys()]
        assert len(both) == len(set(both)), f"devices of the jobs that run: {both}"
        most, processes = max(most, len(both)), processes | seen.keys()
        time.sleep(0.1)
    assert [process.returncode for process in running] == [0, 0], [(copy.root / "said").read_text() for copy in copies]
    assert len(processes) == 6 and most == 3
    for copy in copies:
        for dump, suffix in itertools.product(dumps, (".npy", ".json", ".stats.npz")):
            name = f"{dump}{suffix}"
            assert (copy.results / name).read_bytes() == (finished.results / name).read_bytes(), name
        logs = sorted((copy.results / "logs/dump_importance/importance").rglob("*.log"))
        assert len(logs) == 3 and all("this job has GPU" in log.read_text() for log in logs)
