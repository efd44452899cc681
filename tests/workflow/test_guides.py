"""Follows docs/guides.md word by word: writes its files, applies its changes, runs its commands.

The guides speak of the demo; here they are followed on the finished mini workflow, whose domains have the same names.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import warm

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "docs/guides.md").read_text(encoding="utf-8")
GUIDES = {part.split("\n", 1)[0]: part for part in TEXT.split("\n## ")[1:]}
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RESULTS = "out/mini"
PLAN = "  jobs  why\n"  # head of a dry run's table
MINI = {"config/config.yaml": "tests/workflow/mini.yaml", "tiny-llama": "mini-llama", "results/": f"{RESULTS}/"}


def as_mini(text):
    """Commands about the demo, rewritten for the mini workflow."""
    for demo, mini in MINI.items():
        text = text.replace(demo, mini)
    if "--config " in text:
        return text.replace("--config ", f"--config results_root={RESULTS} ")
    return text.replace("snakemake ", f"snakemake --config results_root={RESULTS} ")


def follow(workspace, title):
    """Does everything in a guide except running the whole workflow; returns what its commands printed."""
    printed = []
    for kind, name, content in BLOCK.findall(GUIDES[title]):
        if kind == "bash":
            printed += [run(workspace, command) for command in commands(content) if is_cheap(command)]
        else:
            (workspace.root / name).write_text(as_mini(content), encoding="utf-8")
    return "\n".join(printed)


def commands(content):
    """The commands of a block; a here-document belongs to its command."""
    if "<<'END'" in content:
        return [content]
    return [line for line in content.splitlines() if line.strip()]


def is_cheap(command):
    return not command.startswith("snakemake") or " -n " in command or "-- corpora" in command


def run(workspace, command):
    environment = warm.forking(workspace.environment) | {"PYTHONPATH": os.curdir}
    done = subprocess.run(
        ["bash", "-c", as_mini(command)],
        cwd=workspace.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}"
    return done.stdout


@pytest.fixture
def place(finished, tmp_path):
    """A copy of the finished mini workflow, to change, with the sources of the generated reference."""
    place = finished.copy(tmp_path / "place")
    shutil.copytree(REPOSITORY / "docs", place.root / "docs")
    return place


def jobs(output):
    """Rules and counts in the last dry run."""
    table = output.rpartition(PLAN)[2].partition("\ntotal ")[0]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+) ", table, re.MULTILINE)}


def test_every_guide_is_followed_here():
    assert set(GUIDES) == {
        "Start with your own data and model",
        "Add a domain",
        "Bring your own corpus",
        "Add a direction",
        "Add a model",
        "Add a selection criterion",
        "Add a tuning method",
    }


def test_own_data_and_model(place):
    """Small corpora get sizes that fit: 60 pairs of law minus 12 for test and 6 for dev."""
    planned = jobs(follow(place, "Start with your own data and model"))
    assert planned["prepare_corpus"] == 2 and planned["dump_importance"] == 2 and planned["resolve_model"] == 1
    written = yaml.safe_load((place.root / "own.yaml").read_text(encoding="utf-8"))
    assert written["tuning"] == {"pairs_per_domain": 42, "dev_pairs_per_domain": 6}


def test_the_readme_s_own_data_and_model(place):
    section = (REPOSITORY / "README.md").read_text(encoding="utf-8").split("\n## Your data, your model\n")[1]
    _, _, content = BLOCK.findall(section)[0]
    printed = [run(place, command) for command in commands(content)]
    assert len(printed) == 2 and jobs(printed[1])["prepare_corpus"] == 3


def test_a_domain(place):
    printed = follow(place, "Add a domain")
    with_garden, with_finance = (jobs(part) for part in printed.split(PLAN)[1:])
    assert with_garden["dump_importance"] == 2  # for neurons and for heads: the mini workflow has both
    assert with_garden["prepare_corpus"] == 1 and with_garden["draw_mixture"] == 1
    assert with_finance["prepare_test_corpus"] == 1
    assert not any(rule.startswith(("tune", "dump")) for rule in with_finance)


def test_a_corpus_of_your_own(place):
    printed = follow(place, "Bring your own corpus")
    report = json.loads(printed[printed.rindex("\n{\n") :])
    assert [report[split]["read"] for split in ("train", "dev", "test")] == [1000, 100, 400]
    lines = (place.results / "corpora/de-en/sports/test.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 400


def test_a_direction(place):
    planned = jobs(follow(place, "Add a direction"))
    assert planned["prepare_corpus"] == 2 and planned["pretrain_model"] == 1 and planned["dump_importance"] == 4


def test_a_model(place):
    planned = jobs(follow(place, "Add a model"))
    assert planned["resolve_model"] == 1 and planned["dump_importance"] == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("title", "rule", "variant"),
    [("Add a selection criterion", "tune_neurons", "spread"), ("Add a tuning method", "tune_norms", "norms")],
)
def test_code_is_added(place, title, rule, variant):
    """The workflow really runs: only the new variant is tuned, and it is in the table."""
    planned = jobs(follow(place, title))
    tuned = {name: count for name, count in planned.items() if name.startswith("tune")}
    assert tuned == {rule: 1} and planned.get("select_neurons", 0) == (variant == "spread")
    done = run(place, f"snakemake --cores 2 --configfile config/config.yaml {variant}.yaml")
    assert re.search(r" (\d+) of \1 jobs done", done), done[-2000:]
    table = (place.results / "tables/main.csv").read_text(encoding="utf-8")
    assert f",{variant}," in table
