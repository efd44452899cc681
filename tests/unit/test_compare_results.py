"""`python -m caneft compare`: differences, tests compared with a naive computation, and unusable folders."""

import csv
import io
import json
import random
import shutil

import fake_results
import numpy as np
import pytest
import yaml
from sacrebleu.metrics import CHRF

from caneft.commands import differences
from caneft.commands.finished import open_plan
from caneft.plan import comparison
from caneft.reporting import inputs
from tests.messages import assert_names

DOMAINS, SIZE = ("it", "law", "koran"), 30
WORDS = ["the", "a", "file", "record", "law", "opens", "closes", "reads", "writes", "old", "new", "table"]
METHODS = {
    "base": {"method": "base"},
    "lora": {"method": "lora", "learning_rate": 1e-2},
    "caneft": {"method": "caneft", "learning_rate": 5e-4},
}


def sentences(seed):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=8)) for _ in range(SIZE)]


REFERENCES = {domain: sentences(place) for place, domain in enumerate(DOMAINS)}


def corrupted(texts, share, seed):
    """The text with a share of its words replaced."""
    rng = random.Random(seed)
    return [" ".join("x" if rng.random() < share else word for word in text.split()) for text in texts]


def neural_scores(file, share):
    """Segment scores around 1 - share."""
    rng = random.Random(f"{file.variant}{file.seed}")
    domains = {}
    for domain in file.domains:
        segments = [round(1 - share + rng.uniform(-0.2, 0.2), 6) for _ in range(SIZE)]
        domains[domain] = {"score": sum(segments) / SIZE, "signature": "tiny", "segments": segments}
    return {"format": 1, "metric": "comet", "domains": domains}


def write(root, share, methods=METHODS, seeds=(1, 2), references=REFERENCES, **sections):
    """A finished folder: test sets, translations with `share(variant)` of their words wrong, and scores of these."""
    sections = {"scoring": {"metrics": ["chrf"]}} | sections
    plan = fake_results.plan(methods, seeds, results_root=str(root), **sections)
    root.mkdir()
    raw = plan.config.model_dump(mode="json", exclude_unset=True)
    (root / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    for domain, texts in references.items():
        rows = [{"id": f"{domain}.test.{n}", "source": "x", "target": text} for n, text in enumerate(texts)]
        path = root / f"corpora/de-en/{domain}/test.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = {}
    for block in plan.blocks():
        for system in comparison.systems(plan, block):
            lines = []
            for domain in plan.tested(*block[1:]):
                texts = corrupted(references[domain], share(system.variant), f"{system.variant}{system.seed}{domain}")
                said[system.variant, system.seed, domain] = texts
                lines += [
                    {"id": f"{domain}.test.{n}", "domain": domain, "hypothesis": text, "flags": []}
                    for n, text in enumerate(texts)
                ]
            path = root / system.translations
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def score(method, variant, domain, seed, metric):
        texts = said.get((variant, seed, domain), ["x"] * SIZE)
        return CHRF().corpus_score(texts, [references[domain]]).score

    for file in inputs.score_files(plan):
        content = fake_results._scores(plan, file, score, lambda *_: fake_results.HEALTHY)
        fake_results.write_json(root / file.path, content)
        for path in file.neural.values():
            fake_results.add_domains(root / path, neural_scores(file, share(file.variant)))
    return said


@pytest.fixture
def call(command_line):
    return lambda *arguments: command_line("compare", *arguments)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """In b caneft makes fewer mistakes; everything else is equal. No test may change them."""
    place = tmp_path_factory.mktemp("folders")
    a = write(place / "a", lambda variant: {"caneft": 0.3}.get(variant, 0.4))
    b = write(place / "b", lambda variant: {"caneft": 0.25}.get(variant, 0.4), tuning={"epochs": 5})
    return place / "a", place / "b", a, b


@pytest.fixture
def spoilable(folders, tmp_path):
    """Folder a, and a copy of b that a test may change."""
    return folders[0], shutil.copytree(folders[1], tmp_path / "b")


RESAMPLES = 100  # for the naive test


def naive_p(pairs, references, resamples=RESAMPLES):
    """Paired randomisation of the mean chrF2 difference over the seeds, sentence by sentence with sacrebleu."""
    rng, metric = np.random.default_rng(9), CHRF()

    def difference(swaps):
        values = []
        for one, other in pairs:
            first = [b if swap else a for a, b, swap in zip(one, other, swaps, strict=True)]
            second = [a if swap else b for a, b, swap in zip(one, other, swaps, strict=True)]
            values.append(
                metric.corpus_score(second, [references]).score - metric.corpus_score(first, [references]).score
            )
        return np.mean(values)

    observed = difference([False] * len(references))
    count = sum(abs(difference(rng.random(SIZE) < 0.5)) >= abs(observed) - 1e-9 for _ in range(resamples))
    return observed, (count + 1) / (resamples + 1)


def test_difference_and_p_are_those_of_a_naive_computation(tmp_path, folders, call):
    """c is slightly better than a: on law, half of all random differences are as large."""
    root_a, _, a, _ = folders
    c = write(tmp_path / "c", lambda variant: {"caneft": 0.29}.get(variant, 0.4))
    code, out, _ = call(root_a, tmp_path / "c", "--json", "--resamples", 2000)
    rows = {(row["variant"], row["column"]): row for row in json.loads(out)["scores"]}
    assert code == 0
    pairs = [(a["caneft", seed, "law"], c["caneft", seed, "law"]) for seed in (1, 2)]
    observed, p = naive_p(pairs, REFERENCES["law"])
    row = rows["caneft", "law"]
    assert row["difference"] == pytest.approx(observed, abs=1e-9)
    assert row["low"] < observed < row["high"]
    assert 0.3 < p < 0.7 and row["p"] == pytest.approx(p, abs=3 * np.sqrt(p * (1 - p) / RESAMPLES))
    mean = (rows["caneft", "it"]["difference"] + rows["caneft", "law"]["difference"]) / 2
    assert rows["caneft", "average_seen"]["difference"] == pytest.approx(mean, abs=1e-9)


def test_equal_outputs_have_p_1_and_holm_counts_all_that_is_shown(folders, call):
    root_a, root_b, *_ = folders
    rows = json.loads(call(root_a, root_b, "--json", "--resamples", 500)[1])["scores"]
    equal = [row for row in rows if row["variant"] != "caneft"]
    assert len(equal) == 8 and all((row["difference"], row["p"], row["p_holm"]) == (0, 1, 1) for row in equal)
    smallest = min(rows, key=lambda row: row["p"])
    assert smallest["p_holm"] == pytest.approx(min(1, 12 * smallest["p"]))


def test_keys_and_runs_that_differ(tmp_path, folders, call):
    root_a, *_ = folders
    write(tmp_path / "c", lambda _: 0.4, {"base": METHODS["base"], "lora": {"method": "lora", "learning_rate": 2e-2}})
    code, out, _ = call(root_a, tmp_path / "c")
    assert code == 0
    assert "methods.lora.learning_rate: 0.01 -> 0.02" in out
    (gone,) = (line for line in out.splitlines() if "tiny/de-en/all/caneft/seed1" in line)
    assert_names(gone, 2, "tiny/de-en/all/caneft/seed2")
    assert "results_root" not in out
    assert max(map(len, out.splitlines()[2:])) <= 100


def test_other_test_sets_are_said_and_not_tested(tmp_path, folders, call):
    root_a, *_ = folders
    write(tmp_path / "c", lambda _: 0.4, references=REFERENCES | {"koran": sentences(77)})
    found = json.loads(call(root_a, tmp_path / "c", "--json", "--resamples", 100)[1])
    (note,) = found["notes"]
    assert_names(note, "koran", "de-en")
    tested = {row["column"] for row in found["scores"] if row["p"] is not None}
    assert tested == {"it", "law", "average_seen"}
    assert all(row["difference"] is not None for row in found["scores"])


def test_seeds_that_both_have_are_paired(tmp_path, folders, call):
    """b has seeds 2 and 3, so only seed 2 is compared."""
    root_a, _, a, _ = folders
    c = write(tmp_path / "c", lambda _: 0.2, seeds=(2, 3))
    rows = json.loads(call(root_a, tmp_path / "c", "--json", "--resamples", 100)[1])["scores"]
    row = next(row for row in rows if (row["variant"], row["column"]) == ("lora", "it"))
    one, other = (CHRF().corpus_score(of["lora", 2, "it"], [REFERENCES["it"]]).score for of in (a, c))
    assert (row["a"], row["b"], row["difference"]) == pytest.approx((one, other, other - one))
    assert differences._pairs([1, 2], [2, 3]) == [(2, 1)]
    assert differences._pairs([1], [2, 3]) == [(1, 0), (2, 0)], "no seed in both: each with each"


def test_neural_metrics_are_tested_on_their_segment_scores(tmp_path, call):
    """caneft's segments are all 0.05 better: p is as small as possible, and the difference is 5 points of 100."""
    scoring = {"metrics": ["chrf"], "comet": {"path": "tiny"}}
    for name, share in (("a", 0.3), ("b", 0.25)):
        write(tmp_path / name, lambda v, share=share: {"caneft": share}.get(v, 0.4), seeds=(1,), scoring=scoring)
    found = json.loads(call(tmp_path / "a", tmp_path / "b", "--json", "--resamples", 999)[1])
    rows = {(row["variant"], row["column"]): row for row in found["scores"] if row["metric"] == "comet"}
    row = rows["caneft", "it"]
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((5, 5, 5), abs=1e-3)
    assert row["p"] == 0.001 and rows["lora", "it"]["p"] == 1
    one = json.loads((tmp_path / "a/runs/tiny/de-en/all/caneft/seed1/scores/neural/comet.json").read_text())
    assert row["a"] == pytest.approx(100 * one["domains"]["it"]["score"])


def test_another_checkpoint_is_said_and_not_tested(tmp_path, call):
    scoring = {"metrics": ["chrf"], "comet": {"path": "tiny"}}
    for name in ("a", "b"):
        write(tmp_path / name, lambda _: 0.4, seeds=(1,), scoring=scoring)
    for path in (tmp_path / "b").rglob("neural/comet.json"):
        path.write_text(path.read_text().replace('"tiny"', '"other"'))
    found = json.loads(call(tmp_path / "a", tmp_path / "b", "--json", "--resamples", 99)[1])
    (note,) = found["notes"]
    assert_names(note, "comet", "tiny", "other")
    assert {row["metric"] for row in found["scores"] if row["p"] is None} == {"comet"}


def test_what_did_not_change_is_one_line(folders, call):
    root_a, root_b, *_ = folders
    out = call(root_a, root_b, "--resamples", 100)[1]
    assert len([line for line in out.splitlines() if "base" in line and "lora" in line]) == 1
    assert {line.split()[0] for line in out.splitlines() if " p " in line and "[" in line} == {"caneft"}


def test_translations_are_read_as_where_they_are_scored(spoilable, call):
    """If lines are out of order, cut off or no text, they are no outputs for this test set."""
    root_a, root_b = spoilable
    path = root_b / "runs/tiny/de-en/all/caneft/seed1/translations/test.jsonl"
    text = path.read_text()
    first, second, *others = text.splitlines()
    mistyped = text.replace('"hypothesis": "', '"hypothesis": 1, "x": "', 1)
    for content in ("\n".join([second, first, *others]), text[:-20], mistyped):
        path.write_text(content)
        code, _, err = call(root_a, root_b, "--resamples", 99)
        assert code == 1
        assert_names(err, path)
    path.unlink()
    code, _, err = call(root_a, root_b, "--resamples", 99)
    assert code == 1
    assert_names(err, path)


def test_what_one_configuration_lacks_is_named_by_its_highest_key():
    a = {"models": {"x": {"path": "p", "resources": {"gpu": 1}}}, "seeds": [1], "auto": None, "tuning": {"epochs": 1}}
    b = {"models": {"y": {"path": "p"}}, "seeds": [1, 2], "auto": {"gain": 1}, "tuning": {"epochs": 2}}
    assert list(differences._keys(a, b)) == [
        {"key": "models.x", "a": {"path": "p", "resources": {"gpu": 1}}, "b": None},
        {"key": "models.y", "a": None, "b": {"path": "p"}},
        {"key": "seeds", "a": [1], "b": [1, 2]},
        {"key": "auto", "a": None, "b": {"gain": 1}},
        {"key": "tuning.epochs", "a": 1, "b": 2},
    ]


def test_a_default_that_a_saved_configuration_leaves_out_is_named():
    one, other = (fake_results.plan(trials={"test_sets": tested}) for tested in (True, False))
    found = differences._keys(differences._settings(one), differences._settings(other))
    assert list(found) == [{"key": "trials.test_sets", "a": True, "b": False}]


def test_csv_has_a_line_for_each_score(folders, call):
    root_a, root_b, *_ = folders
    rows = list(csv.DictReader(io.StringIO(call(root_a, root_b, "--csv", "--resamples", 100)[1])))
    assert len(rows) == 12 and {row["variant"] for row in rows} == set(METHODS)


def test_too_few_resamples_are_said(folders, call):
    root_a, root_b, *_ = folders
    assert_names(call(root_a, root_b, "--resamples", 100)[1], "--resamples", "0.12")  # 12 comparisons
    assert "--resamples" not in call(root_a, root_b, "--resamples", 250)[1]


def test_folders_that_cannot_be_used(tmp_path, spoilable, call):
    root_a, root_b = spoilable
    (tmp_path / "empty").mkdir()
    (root_b / "runs/tiny/de-en/all/lora/seed2/scores/test.json").unlink()
    for folder, facts in [
        (tmp_path / "nowhere", ["results_root"]),
        (tmp_path / "empty", ["config.yaml"]),
        (root_b, [1, 6, "runs/tiny/de-en/all/lora/seed2/scores/test.json"]),
    ]:
        code, _, err = call(root_a, folder)
        assert code == 1
        assert_names(err, folder, *facts)


def test_a_score_file_of_another_format_is_named(spoilable, call):
    root_a, root_b = spoilable
    path = root_b / "runs/tiny/de-en/all/lora/seed2/scores/test.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 7'))
    code, _, err = call(root_a, root_b)
    assert code == 1
    assert_names(err, path, 7, 1)
    assert open_plan(root_a).config.seeds == [1, 2]
