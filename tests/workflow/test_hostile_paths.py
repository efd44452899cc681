"""Folders and files with spaces, quotes and commands in their names pass through plans and shells unchanged."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HOSTILE = ['ü it\'s "quoted" $(touch pwned) `touch pwned`; touch pwned && touch pwned #']
RULES = Path(__file__).parents[2] / "rules"
SAFE = (
    "params.module|wildcards|threads|resources"
    "|params.(seed|stage_version|domain|domains|about|runs|seen|trials|metric|neurons|choice|decided|like|adapted|examples)"
)
"""Names of a safe alphabet, numbers, and what `optional` has quoted."""


def test_every_path_in_a_shell_command_is_quoted():
    """Only numbers, names in the configuration's alphabet, and values that are quoted already may be unquoted."""
    commands = "".join(
        part for rules in RULES.rglob("*.smk") for part in re.findall(r"shell:\n((?: {8}.*\n)+)", rules.read_text())
    )
    assert "{log:q}" in commands
    unquoted = [name for name in re.findall(r"\{([^}]+)\}", commands) if not name.endswith(":q")]
    assert [name for name in unquoted if not re.fullmatch(rf"({SAFE})(\..*)?", name)] == []


@pytest.fixture
def hostile(tmp_path):
    """Writes raw files with hostile names; returns the edit that reads them and puts results into such a folder."""

    def write(name):
        raw = tmp_path / f"raw {name}"
        raw.mkdir()
        lines = [json.dumps({"source": f"Satz {n}.", "target": f"Sentence {n}."}) for n in range(100)]
        for split, part in {"train": lines[:70], "dev": lines[70:90], "test": lines[90:]}.items():
            (raw / f"{split} {name}.jsonl").write_text("\n".join(part) + "\n")

        def edit(config):
            config |= {"results_root": f"out {name}", "data_root": str(raw)}
            splits = {s: {"format": "jsonl", "path": f"{s} {name}.jsonl"} for s in ("train", "dev", "test")}
            config["directions"]["de-en"]["domains"]["law"] = splits

        return edit

    return write


@pytest.mark.parametrize("name", HOSTILE)
def test_every_command_hands_a_hostile_name_over_whole(pristine, hostile, name):
    """Split as the shell splits them: the name stays within one word, and each log is where it belongs."""
    whole, in_json = name, json.dumps(name, ensure_ascii=False)[1:-1]
    commands = pristine.commands(pristine.configuration(hostile(name)))
    assert f"out {name}/corpora/de-en/law/train.jsonl" in commands
    for command in commands.values():
        words = shlex.split(command)
        assert words[words.index(">") + 1].startswith(f"out {name}/logs/")
        assert [word for word in words if "pwned" in word and not (whole in word or in_json in word)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_corpus_and_its_mixture_are_made_in_folders_of_hostile_names(pristine, tmp_path, hostile, name):
    copy = pristine.copy(tmp_path / "copy")
    file = tmp_path / "hostile.yaml"
    file.write_text(yaml.safe_dump(copy.configuration(hostile(name))))
    call = {"cwd": copy.root, "env": copy.environment, "capture_output": True, "text": True}
    command = [sys.executable, "-m", "snakemake", "--configfile", str(file)]  # without --config, which is read as YAML
    planned = subprocess.run([*command, "-n", "-p"], **call)
    assert planned.returncode == 0, planned.stderr[-3000:]
    mixture = f"out {name}/mixtures/de-en/all/train.jsonl"
    done = subprocess.run([*command, "--cores", "1", mixture], **call)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (copy.root / mixture).read_text().count('"source": "Satz ') == 60
    assert list((copy.root / f"out {name}" / "logs").rglob("*.log"))
    assert not list(tmp_path.rglob("pwned"))
