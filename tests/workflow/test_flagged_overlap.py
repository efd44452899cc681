"""A test set shares pairs with a mixture's training data: the real workflow, up to the scores."""

import json

import pytest
import sacrebleu
import yaml

from caneft.corpora import store
from caneft.corpora.store import Row

HERE = "mini-llama/de-en"
TRAINED = ("full", "lora", "adapters", "random", "caneft", "attention")
RUNS = ["base", "all/icl", *(f"all/{variant}/seed1" for variant in TRAINED)]


@pytest.fixture(scope="module")
def mixed(finished, tmp_path_factory):
    """A copy, and the edit that adds a domain: koran's test set plus three segments from the mixture's train."""
    folder = tmp_path_factory.mktemp("overlapping")
    workspace = finished.copy(folder / "workspace")
    train = store.read(workspace.results / "mixtures/de-en/all/train.jsonl")
    koran = store.read(workspace.results / "corpora/de-en/koran/test.jsonl")
    other = Row("", f"  {train[100].source} ", "Another translation.")  # white space makes no difference
    test = [*koran[:5], train[0], *koran[5:10], other, train[-1], *koran[10:12]]
    store.write(folder / "mixed.jsonl", [row._replace(domain=None) for row in test])

    def add(config):
        source = {"format": "jsonl", "path": str(folder / "mixed.jsonl")}
        config["directions"]["de-en"]["domains"]["mixed"] = {"test": source}

    return workspace, workspace.configuration(add)


@pytest.fixture(scope="module")
def overlapping(mixed):
    """That copy with the scores on the new domain."""
    workspace, config = mixed
    (workspace.root / "mixed.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    target = "out/mini/tables/overlap.html"
    done = workspace.snakemake("--cores", "2", target, config="mixed.yaml", forked=True)
    assert done.returncode == 0, done.stdout[-5000:]
    return workspace


def assert_flagged(results):
    found = json.loads((results / "mixtures/de-en/all/overlap/mixed.json").read_text())
    flagged = {"mixed.test.6": "pair", "mixed.test.12": "source", "mixed.test.13": "pair"}
    assert found == {"format": 1, "ids": flagged, "segments": 15}
    assert json.loads((results / "mixtures/de-en/all/overlap/koran.json").read_text())["ids"] == {}


def test_the_shared_segments_are_flagged_and_no_other(mixed):
    """Runs only the two steps."""
    workspace, config = mixed
    commands = workspace.commands(config)
    for name in ("corpora/de-en/mixed/test.jsonl", "mixtures/de-en/all/overlap/mixed.json"):
        done = workspace.step_here(commands[f"out/mini/{name}"])
        assert done.returncode == 0, done.stdout
    assert_flagged(workspace.results)


@pytest.mark.slow
def test_the_workflow_flags_the_same(overlapping):
    assert_flagged(overlapping.results)


def scores_without(results):
    """Scores without overlap on the domains outside the mixture."""
    content = json.loads((results / f"scores/without-overlap/{HERE}/all.json").read_text())
    assert content["domains"].keys() == {"koran", "mixed"}
    return content["domains"]


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_every_run_is_scored_on_the_other_lines(overlapping, run):
    test = store.read(overlapping.results / "corpora/de-en/mixed/test.jsonl")
    said = (overlapping.results / f"runs/{HERE}/{run}/translations/test.jsonl").read_text(encoding="utf-8")
    lines = [line for line in map(json.loads, said.splitlines()) if line["domain"] == "mixed"]
    hypotheses = [line["hypothesis"] for line in lines]
    left = [n for n in range(15) if n + 1 not in (6, 12, 13)]
    found = scores_without(overlapping.results)["mixed"]
    assert sorted(found["runs"]) == sorted(RUNS)
    kept, references = [hypotheses[n] for n in left], [test[n].target for n in left]
    assert found["runs"][run]["bleu"]["score"] == pytest.approx(sacrebleu.corpus_bleu(kept, [references]).score)
    assert found["runs"][run]["chrf"]["score"] == pytest.approx(sacrebleu.corpus_chrf(kept, [references]).score)
    assert found["runs"][run]["segments"] == 12


@pytest.mark.slow
def test_where_nothing_is_shared_nothing_is_scored_again(overlapping):
    found = scores_without(overlapping.results)["koran"]
    assert (found["segments"], found["flagged"], found["runs"]) == (20, {"pair": 0, "source": 0}, {})


@pytest.mark.slow
def test_the_table_tells_of_them(overlapping):
    text = (overlapping.results / "tables/overlap.md").read_text(encoding="utf-8")
    counts = next(line for line in text.splitlines() if line.startswith("| all "))
    assert " ".join(counts.split()) == "| all | mixed | 15 | 2 | 1 | 20.00 |"
    assert text.count("3 of 15 flagged") == 2 and "koran" not in text
