"""What users see after a mistake or Ctrl-C: one message with file, key and remedy, and no traceback."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
import yaml

from tests.messages import assert_names
from tests.workflow.conftest import message


def law_files(path):
    """Edit: read the training pairs of the domain law from a file."""

    def edit(config):
        config["directions"]["de-en"]["domains"]["law"]["train"] = {"format": "jsonl", "path": path}

    return edit


def misspelt_key(config):
    config["tuning"]["epoch"] = 1


def unknown_domain(config):
    config["mixtures"]["all"]["de-en"].append("medcial")


def misspelt_demo_domain(config):
    config["directions"]["de-en"]["domains"]["koran"]["test"]["domain"] = "gardn"


def misspelt_pretraining_domain(config):
    config["models"]["mini-llama"]["pretrain"]["corpora"][0]["corpus"]["domains"] = ["it", "gardn"]


MISTAKES = {
    "misspelt key": (misspelt_key, ["tuning.epoch ", "'epochs'"]),
    "unknown domain": (unknown_domain, ["mixtures.all.de-en ", "'medcial'", "'medical'"]),
    "missing file": (law_files("/nowhere/law.jsonl"), ["domains.law.train ", "/nowhere/law.jsonl"]),
    "no data_root": (law_files("law.jsonl"), ["domains.law.train ", "'law.jsonl'", "data_root", "CANEFT_DATA"]),
    "demo domain": (misspelt_demo_domain, ["domains.koran.test ", "'gardn'", "'garden'"]),
    "pretraining domain": (misspelt_pretraining_domain, ["pretrain.corpora.0", "'gardn'", "'garden'"]),
}


@pytest.fixture
def mistaken(pristine, tmp_path):
    """Writes a configuration with an edit; returns its file."""

    def write(edit):
        file = tmp_path / "mistaken.yaml"
        file.write_text(yaml.safe_dump(pristine.configuration(edit)))
        return file

    return write


@pytest.mark.parametrize(("edit", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_configuration_is_one_message_before_anything_runs(pristine, mistaken, edit, expected):
    file = mistaken(edit)
    assert_names(message(pristine.snakemake_here("-n", config=file)), file, *expected)


def test_the_command_shows_that_message_and_nothing_else(pristine, mistaken):
    """Snakemake starts here as a user starts it; for the mistakes above it ran in this process."""
    file = mistaken(misspelt_key)
    assert message(pristine.snakemake("-n", config=file)) == message(pristine.snakemake_here("-n", config=file))


@pytest.mark.parametrize("text", ["models:\n\ttiny: {}\n", "directions: [de-en\nmodels: {}\n"], ids=["tab", "bracket"])
def test_broken_yaml_is_called_that(pristine, tmp_path, text):
    """Snakemake reads the file before the Snakefile, so the words are its own; they name neither file nor line."""
    (tmp_path / "broken.yaml").write_text(text)
    assert_names(message(pristine.snakemake_here("-n", config=tmp_path / "broken.yaml")), "YAML")


def test_a_broken_line_of_a_corpus_is_named_with_file_and_line(pristine, tmp_path):
    """The file is too large to be read completely before the first job."""
    copy = pristine.copy(tmp_path / "copy")
    raw, long = tmp_path / "law.jsonl", "lang " * 100
    lines = [json.dumps({"source": f"Satz {number} {long}", "target": f"{number}. {long}"}) for number in range(1, 81)]
    lines[69] = '{"source": "Satz 70.", "target": '
    raw.write_text("\n".join(lines) + "\n")
    file = tmp_path / "law.yaml"
    file.write_text(yaml.safe_dump(copy.configuration(law_files(str(raw)))))
    done = copy.snakemake(
        "--cores", "1", f"{copy.results.relative_to(copy.root)}/corpora/de-en/law/train.jsonl", config=file
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    said = [line for line in done.stdout.splitlines() if line.startswith("Error: ")]
    assert len(said) == 1
    assert_names(said[0], f"{raw}:70", "JSON")
    assert not list((copy.results / "corpora/de-en/law").glob("*"))


def interruptible():
    """Makes Ctrl-C work in the child, even if pytest itself runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_after_ctrl_c_in_tuning_the_same_command_finishes(finished, tmp_path):
    copy = finished.copy(tmp_path / "copy")
    run = copy.results / "runs/mini-llama/de-en/all/caneft/seed1"
    shutil.rmtree(run)
    file = tmp_path / "longer.yaml"
    file.write_text(yaml.safe_dump(copy.configuration(lambda config: config["tuning"].update(epochs=8))))
    target = str((run / "record.json").relative_to(copy.root))
    started = subprocess.Popen(
        copy.command("--cores", "1", target, config=file),
        cwd=copy.root,
        env=copy.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=interruptible,
    )
    waited_until = time.monotonic() + 900
    while not any(file.stat().st_size for file in run.glob(".checkpoint/log.jsonl")):
        assert started.poll() is None and time.monotonic() < waited_until, started.communicate()[0]
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGINT)  # to Snakemake and its jobs, as the terminal does
    said, _ = started.communicate(timeout=600)
    assert started.returncode != 0
    assert "Traceback" not in said, said
    assert [file.name for file in run.iterdir()] in ([], [".checkpoint"])

    done = copy.snakemake("--cores", "1", target, config=file, forked=True)
    assert done.returncode == 0, done.stdout
    assert not re.search(r"LockException|IncompleteFilesException", done.stdout)
    assert (run / "patch.safetensors").exists() and (run / "record.json").exists()
    assert not list(run.glob(".*"))
