"""GPUs on one machine: what a plan limits and refuses, and two Snakemakes that share three devices."""

import re
import subprocess
import sys

import pytest
import yaml

SNAKEFILE = """
rule all:
    input: expand("done.{n}", n=range(6))

rule job:
    output: "done.{n}"
    resources: gpu=1
    shell:
        "python -m caneft.lease --gpus {resources.gpu} -- sh -c '"
        "echo got $$ $CUDA_VISIBLE_DEVICES >> ../notes; sleep 0.3; echo left $$ $CUDA_VISIBLE_DEVICES >> ../notes'"
        " 2> log.{wildcards.n} && touch {output}"
"""


def asking(pristine, tmp_path, resources):
    file = tmp_path / "asking.yaml"
    edit = lambda config: config["models"]["mini-llama"].update(resources=resources)  # noqa: E731
    file.write_text(yaml.safe_dump(pristine.configuration(edit)))
    return file


REFUSED = {
    "misspelt key": ({"gpus": 1}, [], ["resources.gpus is not a known key", "Did you mean 'gpu'?"]),
    "more than there are": ({"gpu": 4}, [], ["models.mini-llama.resources.gpu is 4", "leave 3 on this machine"]),
    "more than is given": (
        {"gpu": 2},
        ["--resources", "gpu=1"],
        ["resources.gpu is 2", "--resources gpu", " 1 on this"],
    ),
    "misspelt limit": ({"gpu": 1}, ["--resources", "gpus=1"], ["--resources,", "'gpus'", "It is called 'gpu'"]),
    "misspelt default": ({"gpu": 1}, ["--default-resources", "gpus=1"], ["--default-resources,", "It is called 'gpu'"]),
    "misspelt for a rule": ({"gpu": 1}, ["--set-resources", "translate:gpus=1"], ["of translate,", "called 'gpu'"]),
}


@pytest.mark.parametrize(("resources", "options", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_had_is_one_message(pristine, tmp_path, three_gpus, resources, options, expected):
    done = pristine.snakemake("-n", *options, config=asking(pristine, tmp_path, resources))
    assert done.returncode != 0 and "Traceback" not in done.stdout, done.stdout
    for part in expected:
        assert part in done.stdout


@pytest.mark.parametrize(("options", "limit"), [((), 3), (("--resources", "gpu=2"), 2)])
def test_the_limit_is_the_machine_s_unless_it_is_given(pristine, tmp_path, three_gpus, options, limit):
    """Snakemake says what it may give out when it begins; the target is one small job without a GPU."""
    copy = pristine.copy(tmp_path / "copy")
    target = "out/mini/corpora/de-en/koran/test.jsonl"
    done = copy.snakemake(*options, "--cores", "1", target, config=asking(copy, tmp_path, {"gpu": 2}))
    assert done.returncode == 0, done.stdout
    assert re.search(rf"Provided resources: gpu\D+{limit}\b", done.stdout), done.stdout


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
