"""`python -m caneft verify` on a finished run, artefacts in other formats, and two Snakemakes on one results folder."""

import io
import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from snakemake.io import is_flagged

from caneft.commands import held
from caneft.config import load
from caneft.plan import Plan
from tests.messages import assert_names
from tests.workflow import job_sets as jobs
from tests.workflow.conftest import RESULTS
from tests.workflow.test_auto_samples import automatic
from tests.workflow.test_comet import TRAIN
from tests.workflow.test_fetch import from_the_hub

BLOCK = "mini-llama/de-en"
RUN = f"runs/{BLOCK}/all"
SUMMED = (
    f"importance/{BLOCK}/it.npy",
    f"importance/{BLOCK}/law.stats.npz",
    f"importance-heads/{BLOCK}/it.npy",
    f"neurons/{BLOCK}/all/information.parquet",
    f"{RUN}/caneft/seed1/patch.safetensors",
    f"{RUN}/lora/seed1/adapter_model.safetensors",
    f"{RUN}/adapters/seed1/adapters.safetensors",
    f"{RUN}/caneft/seed1/translations/test.jsonl",
    "models/mini-llama/model.safetensors",
    "models/mini-llama/tokenizer.json",
    "corpora/de-en/it/train.jsonl",
    "corpora/pretraining/mini-llama.jsonl",
    "mixtures/de-en/all/dev.jsonl",
)
"""Heavy files, each with a checksum in a sidecar."""
OPENED = (f"neurons/{BLOCK}/all/caneft/draw0.npz", f"{RUN}/caneft/seed1/scores/test.json")


@pytest.fixture(scope="module")
def copy(finished, tmp_path_factory):
    return finished.copy(tmp_path_factory.mktemp("verified"))


def test_a_finished_run_is_what_was_written(copy):
    command = [sys.executable, "-m", "caneft", "verify", str(copy.results)]
    done = subprocess.run(command, cwd=copy.root, env=copy.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\S+: \d{2,} files .* \d{2,} .*opened, 0 bad, 0 missing$", done.stdout, re.MULTILINE)


def test_every_file_with_another_bit_is_listed(copy, command_line):
    kept = {}
    for name in (*SUMMED, *OPENED):
        path = copy.results / name
        kept[path] = path.read_bytes()
        changed = bytearray(kept[path])
        if path.suffix == ".json" and name in OPENED:
            del changed[len(changed) // 2 :]
        else:
            changed[len(changed) // 2] ^= 4
        path.write_bytes(changed)
    try:
        code, said, _ = command_line("verify", copy.results)
        assert code == 1
        listed = {line.split(": ")[0] for line in said.splitlines()[:-1]}
        assert {str(copy.results / name) for name in (*SUMMED, *OPENED)} == listed
        assert said.count("elete ") == len(listed)  # the remedy, which tests/faults/recovery.py reads, too
        assert said.splitlines()[-1].endswith(f"{len(listed)} bad, 0 missing")
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def test_a_base_whose_weights_are_gone_is_listed(copy, command_line):
    weights = copy.results / "models/mini-llama/model.safetensors"
    weights.rename(weights.with_suffix(".kept"))
    try:
        code, said, _ = command_line("verify", copy.results)
        assert code == 1
        assert_names(said, weights)
        assert said.splitlines()[-1].endswith(" 1 bad, 1 missing")  # the model is bad, its file is missing
    finally:
        weights.with_suffix(".kept").rename(weights)


def test_a_patch_that_is_applied_is_said_with_the_way_back(copy, command_line):
    base, patch = copy.results / "models/mini-llama", copy.results / f"{RUN}/caneft/seed1/patch.safetensors"
    refused, _, _ = command_line("patch", "apply", base, patch)
    assert refused == 1 and command_line("verify", copy.results)[0] == 0
    assert command_line("patch", "apply", base, patch, "--force")[0] == 0
    try:
        code, said, _ = command_line("verify", copy.results)
        assert code == 1
        assert_names(said, base / "model.safetensors", f"patch revert {base}")
        assert "elete" not in said and said.splitlines()[-1].endswith(" 1 bad, 0 missing")
    finally:
        assert command_line("patch", "revert", base)[0] == 0
    assert command_line("verify", copy.results)[0] == 0


GONE = (
    f"{RUN}/caneft/seed1/scores/test.json",
    "tables/main.csv",
    f"{RUN}/full/seed1/config.json",  # a checksum names it
    f"{RUN}/caneft/seed1/record.json",  # no checksum names it
    "models/mini-llama/tokenizer.json",
    "report.html",
)
"""Files that nothing asks for when the workflow runs again, and others."""


def test_every_missing_file_is_listed_once_and_a_missing_folder_by_its_name(copy, command_line, monkeypatch):
    monkeypatch.chdir(copy.root)
    root, aside = copy.results.relative_to(copy.root), copy.root / "aside"
    dumps = sorted((copy.results / f"importance-heads/{BLOCK}").glob("[!.]*"))
    assert len(dumps) == 3 * 4  # domains x files of a dump
    for name in (*GONE, "importance-heads"):
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.results / name).rename(aside / name)
    try:
        code, said, _ = command_line("verify", root)
        assert code == 1
        listed = {line.split(": ")[0]: line for line in said.splitlines() if ": missing" in line}
        assert set(listed) == {str(root / name) for name in (*GONE, "importance-heads")}
        assert_names(listed[str(root / "importance-heads")], len(dumps))
        assert said.splitlines()[-1].endswith(f" 0 bad, {len(GONE) + len(dumps)} missing")
    finally:
        for name in (*GONE, "importance-heads"):
            (aside / name).rename(copy.results / name)


def of_one_domain(config):
    """A mixture beside `all` with one domain, and with the rates and neurons of `all`."""
    config["mixtures"]["law"] = {"de-en": {"domains": ["law"], "select_on": "all", "rates_on": "all", "test": ["it"]}}


def without_weights(config):
    """Full runs with a grid, whose weights are deleted, and two seeds that select neurons on their own draws."""
    config["methods"]["full"]["learning_rate"] = [5e-4, 1e-3]
    config["tuning"]["keep_full_weights"] = False
    jobs.draw_for_two_seeds(config)


def with_comet(config):
    """A COMET that is trained here."""
    config["scoring"] = {"comet": {"train": TRAIN}}


@pytest.mark.parametrize(
    "edit",
    [
        jobs.change_label,
        jobs.grow_mixture,
        jobs.add_model,
        jobs.add_comet,
        with_comet,
        of_one_domain,
        without_weights,
        automatic,
        from_the_hub,
    ],
    ids=lambda edit: edit.__name__,
)
def test_the_list_of_a_finished_run_is_what_snakemake_plans_to_leave(pristine, edit):
    """The list has all outputs except temporary files, plus the report, which the handler makes."""
    config = pristine.configuration(edit)
    with pristine.planned(config) as dag:
        outputs = [path for job in dag.jobs for path in job.output if not is_flagged(path, "temp")]
    below = {str(path).removeprefix(f"{RESULTS}/") for path in outputs if str(path).startswith(f"{RESULTS}/")}
    assert held.files(Plan(load(config, files=[], check_files=False))) == below | {"report.html"}


def with_format(content, number):
    """The bytes of an artefact with another format number, or with none (None)."""
    if content[:2] == b"PK":
        with np.load(io.BytesIO(content)) as archive:
            arrays = {name: archive[name] for name in archive.files if name != "format"}
        if number is not None:
            arrays["format"] = np.array(number)
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()
    found = json.loads(content)
    assert "format" in found
    del found["format"]
    return json.dumps(found if number is None else found | {"format": number}).encode()


READ_BY = {
    f"importance/{BLOCK}/it.json": f"neurons/{BLOCK}/all/information.parquet",
    f"neurons/{BLOCK}/all/information.json": f"neurons/{BLOCK}/all/caneft/draw0.npz",
    f"neurons/{BLOCK}/all/caneft/draw0.npz": f"{RUN}/caneft/seed1/record.json",
    f"{RUN}/lora/choice.json": f"{RUN}/lora/seed1/record.json",
    "models/mini-llama/manifest.json": f"{RUN}/caneft/seed1/translations/test.jsonl",
    "mixtures/de-en/all/report.json": f"{RUN}/caneft/seed1/record.json",
    "corpora/de-en/koran/report.json": "scores/copy/de-en/test.json",
    f"{RUN}/caneft/seed1/record.json": "tables/main.csv",
    f"significance/{BLOCK}/all.json": "tables/main.csv",
    f"neurons/{BLOCK}/all/stability.json": "figures/stability.svg",
}
"""Artefacts that carry a format, each with what a step makes of it."""


ALWAYS_SAID = (f"{RUN}/caneft/seed1/record.json", f"significance/{BLOCK}/all.json")
"""Of these, no version left the format out."""


def refused(artefact, number):
    return number == 99 or artefact in ALWAYS_SAID


def assert_refused(said, artefact, number):
    """Asserts one message with the artefact, its format and the remedy (as tests/faults/recovery.py reads it)."""
    assert "Traceback" not in said
    errors = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, said
    assert_names(errors[0], artefact, f"format {number}")
    assert "elete it" in said


@pytest.fixture(scope="module")
def commands(copy):
    return copy.commands()


@pytest.mark.parametrize("artefact", READ_BY)
def test_a_step_reads_an_artefact_of_another_version_or_wants_it_made_again(copy, commands, artefact):
    """Format 99 is from a newer version, no format from an older one. Figures get only 99, because they are slow."""
    path, result = copy.results / artefact, copy.results / READ_BY[artefact]
    root, content, kept = copy.results.relative_to(copy.root), path.read_bytes(), result.read_bytes()
    try:
        for number in (99,) if result.suffix == ".svg" else (99, None):
            path.write_bytes(with_format(content, number))
            result.unlink(missing_ok=True)
            done = copy.step_here(commands[str(root / READ_BY[artefact])])
            assert done.returncode == refused(artefact, number), done.stdout
            assert result.exists() != refused(artefact, number)
            if refused(artefact, number):
                assert_refused(done.stdout, root / artefact, number)
    finally:
        path.write_bytes(content)
        result.write_bytes(kept)


@pytest.mark.slow
@pytest.mark.parametrize("artefact", [f"{RUN}/caneft/seed1/record.json", f"neurons/{BLOCK}/all/stability.json"])
def test_the_workflow_reads_an_artefact_of_another_version_or_wants_it_made_again(finished, tmp_path, artefact):
    """The same with Snakemake and jobs, for an artefact that always has a format and one that a figure shows."""
    copy = finished.copy(tmp_path / "copy")
    path, result = copy.results / artefact, copy.results / READ_BY[artefact]
    root, content, times = copy.results.relative_to(copy.root), path.read_bytes(), path.stat()
    for number in (99, None):
        path.write_bytes(with_format(content, number))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # so that its time stamp reruns nothing
        result.unlink(missing_ok=True)
        done = copy.snakemake("--cores", "1", "--", str(root / READ_BY[artefact]), forked=True)
        assert done.returncode == refused(artefact, number), done.stdout
        assert result.exists() != refused(artefact, number)
        if refused(artefact, number):
            assert_refused(done.stdout, root / artefact, number)


@pytest.mark.slow
def test_two_snakemakes_of_two_folders_do_not_work_on_one_results_folder(pristine, tmp_path):
    """The second is refused with the process number of the first, and may work when the first has ended."""
    one, two = pristine.copy(tmp_path / "one"), pristine.copy(tmp_path / "two")
    shared = {"results_root": str(tmp_path / "shared")}
    for workspace in (one, two):
        content = yaml.safe_dump(workspace.configuration(lambda config: config.update(shared)))
        (workspace.root / "shared.yaml").write_text(content)
    commands = [
        [sys.executable, "-m", "snakemake", "--configfile", "shared.yaml", "--cores", "1", target]
        for target in (
            f"{tmp_path}/shared/corpora/pretraining/mini-llama.jsonl",
            f"{tmp_path}/shared/corpora/de-en/it/report.json",
        )
    ]
    lock = tmp_path / "shared/logs/running.lock"
    first = subprocess.Popen(
        commands[0], cwd=one.root, env=one.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not (lock.exists() and lock.read_text().endswith("\n")):
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.02)
    first.send_signal(19)  # SIGSTOP, so that it is certainly still there
    try:
        call = {"cwd": two.root, "env": two.environment, "capture_output": True, "text": True}
        refused = subprocess.run(commands[1], **call)
        assert refused.returncode != 0 and not (tmp_path / "shared/corpora/de-en").exists()
        said = refused.stdout + refused.stderr
        assert "Traceback" not in said
        assert_names(said, first.pid, one.root)
        dry = two.snakemake_here("-n", "--", commands[1][-1], config="shared.yaml", own=False)
        assert dry.returncode == 0, dry.stdout  # it does not get in the way
    finally:
        first.send_signal(18)
        first.communicate()
    assert first.returncode == 0
    done = subprocess.run(commands[1], **call)
    assert done.returncode == 0 and (tmp_path / "shared/corpora/de-en/it/report.json").exists(), done.stderr
