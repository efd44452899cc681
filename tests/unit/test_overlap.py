"""Overlap: flags checked by a naive search, scores without flagged segments by sacrebleu, the table by arithmetic."""

import json
import random
import re
import statistics
import sys

import fake_results
import pandas as pd
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from caneft.corpora import store
from caneft.corpora.overlap import flags
from caneft.corpora.store import Row
from caneft.reporting import inputs, overlap, results, tables
from caneft.reporting.latex import latex
from caneft.scoring.without_overlap import score_without
from tests.messages import assert_names, refused

# --- flags ----------------------------------------------------------------------------------------------------------


def test_flags_by_hand():
    train = [Row("it.train.1", "a", "1", "it"), Row("it.train.2", "a", "2", "it"), Row("law.train.1", "b", "3", "law")]
    test = [
        Row("koran.test.1", "a", "2"),  # the second of two targets
        Row("koran.test.2", "b", "1"),  # target of another source
        Row("koran.test.3", "c", "3"),  # only the target: does not count
        Row("koran.test.4", "A", "1"),  # equal but for case, as in the removal of leakage
        Row("koran.test.5", "a", "2"),  # twice in the test set, flagged twice
    ]
    found = {1: "pair", 2: "source", 4: "source", 5: "pair"}
    assert flags(test, train) == {f"koran.test.{number}": flag for number, flag in found.items()}
    assert flags(test, []) == flags([], train) == {}


def test_mojibake_is_flagged_by_its_repaired_copy_in_train():
    """Training text is repaired and a test set is not; compared as they are, they would seem to share nothing."""
    train = [Row("it.train.1", "Der Müll ist für alle da.", "The litter is for all.", "it")]
    test = [
        Row("koran.test.1", "Der MÃ¼ll ist fÃ¼r alle da.", "The litter is for all."),
        Row("koran.test.2", "Der MÃ¼ll ist fÃ¼r alle da.", "Rubbish is for everybody."),
        Row("koran.test.3", "Der MÃ¼ll ist fÃ¼r niemand da.", "The litter is for all."),
    ]
    assert flags(test, train) == {"koran.test.1": "pair", "koran.test.2": "source"}


def rows(split):
    sides = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("123")), max_size=12)
    return sides.map(lambda found: [Row(f"x.{split}.{n}", *pair) for n, pair in enumerate(found)])


@settings(deadline=None)  # speed is not tested
@given(test=rows("test"), train=rows("train"))
def test_flags_equal_a_search_through_all_of_train(test, train):
    expected = {}
    for row in test:
        for other in train:
            if other.source == row.source:
                same = other.target == row.target or expected.get(row.id) == "pair"
                expected[row.id] = "pair" if same else "source"
    found = flags(test, train)
    assert found == expected and list(found) == list(expected)


# --- scores without what is flagged ---------------------------------------------------------------------------------

WORDS = ["the", "dog", "doesn't", "sleep", "often", "and", "7.5%", "of", "it's", "cats", "purr", "."]


@pytest.fixture
def texts(tmp_path):
    """References of 30 segments, and two files of translations: (rows, files by run, hypotheses by run)."""
    rng = random.Random(0)
    said = [" ".join(rng.choice(WORDS) for _ in range(rng.randint(4, 15))) for _ in range(30)]
    test = [Row(f"koran.test.{n}", f"Quelle {n}", target) for n, target in enumerate(said, start=1)]
    files, hypotheses = {}, {}
    for run, share in {"base": 0.5, "all/lora/seed1": 0.8}.items():
        hypotheses[run] = [" ".join(w if rng.random() < share else rng.choice(WORDS) for w in t.split()) for t in said]
        files[run] = tmp_path / run.replace("/", "-")
        lines = [
            {"id": row.id, "domain": "koran", "hypothesis": text, "flags": ["truncated"] if row == test[0] else []}
            for row, text in zip(test, hypotheses[run], strict=True)
        ]
        files[run].write_text("".join(json.dumps(line) + "\n" for line in lines))
    return test, files, hypotheses


FLAGGED = {"koran.test.1": "pair", "koran.test.7": "source", "koran.test.8": "pair", "koran.test.30": "pair"}


def test_scores_without_the_flagged_are_sacrebleus_of_the_other_lines(texts):
    test, files, hypotheses = texts
    found = score_without(FLAGGED, {"koran": test}, files, "en", ["bleu", "chrf"])
    left = [n for n in range(30) if n + 1 not in (1, 7, 8, 30)]
    assert (found["segments"], found["flagged"]) == (30, {"pair": 3, "source": 1})
    assert list(found["runs"]) == ["base", "all/lora/seed1"]
    for run, entry in found["runs"].items():
        kept, references = ([lines[n] for n in left] for lines in (hypotheses[run], [row.target for row in test]))
        assert entry["bleu"]["score"] == pytest.approx(sacrebleu.corpus_bleu(kept, [references]).score, abs=1e-9)
        assert entry["chrf"]["score"] == pytest.approx(sacrebleu.corpus_chrf(kept, [references]).score, abs=1e-9)
        whole = sacrebleu.corpus_bleu(hypotheses[run], [[row.target for row in test]]).score
        assert abs(entry["bleu"]["score"] - whole) > 0.1
        assert entry["segments"] == 26 and entry["health"]["truncated"] == 0  # without the first line, which was cut


@pytest.mark.parametrize("flagged", [{}, {f"koran.test.{n}": "pair" for n in range(1, 31)}], ids=["none", "all"])
def test_nothing_is_read_where_nothing_changes_or_nothing_is_left(texts, flagged):
    test, files, _ = texts
    for file in files.values():
        file.unlink()
    found = score_without(flagged, {"koran": test}, files, "en", ["bleu"])
    assert found == {"segments": 30, "flagged": {"pair": len(flagged), "source": 0}, "runs": {}}


def test_alternatives_of_adapters_come_along(texts):
    test, files, _ = texts
    lines = [json.loads(line) for line in files["base"].read_text().splitlines()]
    for line in lines:
        line |= {"adapter": "it", "alternatives": {"it": line["hypothesis"], "law": "the dog"}}
    files["base"].write_text("".join(json.dumps(line) + "\n" for line in lines))
    entry = score_without(FLAGGED, {"koran": test}, files, "en", ["bleu"])["runs"]["base"]
    assert entry["adapters"]["it"]["bleu"] == entry["bleu"] and (entry["chosen"], entry["oracle"]) == ("it", "it")


def test_flags_and_translations_of_another_test_set_are_refused(texts):
    test, files, _ = texts
    with refused("koran.test.31", "flag_overlap"):
        score_without({"koran.test.31": "pair"}, {"koran": test}, files, "en", ["bleu"])
    files["base"].write_text("\n".join(files["base"].read_text().splitlines()[1:]) + "\n")
    with refused(f"{files['base']}:", "ids"):
        score_without(FLAGGED, {"koran": test}, files, "en", ["bleu"])


def test_the_steps_flag_and_score(texts, tmp_path, monkeypatch):
    """The steps read two files and write the flags; the scores without shared sources are worked out by hand."""
    from workflow.scripts import flag_overlap, score_without_overlap

    test, files, hypotheses = texts
    store.write(tmp_path / "test.jsonl", test)
    train = [Row("it.train.1", "Quelle 3", test[2].target, "it"), Row("it.train.2", "Quelle 9", "else", "it")]
    store.write(tmp_path / "train.jsonl", [*train, Row("it.train.3", "anderes", test[0].target, "it")])
    paths = {name: tmp_path / f"{name}.json" for name in ("overlap", "garden", "scores")}

    def run(step, *arguments):
        monkeypatch.setattr(sys, "argv", [step.__name__, *map(str, arguments)])
        step.main()

    files_of_test = tmp_path / "train.jsonl", "--test", tmp_path / "test.jsonl"
    run(flag_overlap, "--train", *files_of_test, "--overlap", paths["overlap"])
    flagged = {"koran.test.3": "pair", "koran.test.9": "source"}
    assert json.loads(paths["overlap"].read_text()) == {"format": 1, "ids": flagged, "segments": 30}
    settings = json.dumps({"metrics": ["bleu"], "target_language": "en"})
    store.write(tmp_path / "garden.jsonl", [Row("garden.test.1", "Quelle 1", "x")])
    run(
        flag_overlap,
        "--train",
        tmp_path / "train.jsonl",
        "--test",
        tmp_path / "garden.jsonl",
        "--overlap",
        paths["garden"],
    )
    for file in files.values():
        other = {"id": "garden.test.1", "domain": "garden", "hypothesis": "x", "flags": []}
        file.write_text(json.dumps(other) + "\n" + file.read_text())
    about = "--about", "tiny", "de-en", "all", "--domains", "garden", "koran"
    about += "--overlaps", paths["garden"], paths["overlap"], "--corpora", tmp_path / "garden.jsonl"
    runs = tmp_path / "test.jsonl", "--runs", *files, "--translations", *files.values()
    run(score_without_overlap, "--settings", settings, *about, *runs, "--scores", paths["scores"])
    found = json.loads(paths["scores"].read_text())
    assert [found[name] for name in ("format", "model", "direction", "mixture")] == [1, "tiny", "de-en", "all"]
    assert list(found["domains"]) == ["garden", "koran"]
    assert found["domains"]["garden"] == {"segments": 1, "flagged": {"pair": 0, "source": 0}, "runs": {}}
    found = found["domains"]["koran"]
    left = [n for n in range(30) if n not in (2, 8)]
    for name, said in hypotheses.items():
        expected = sacrebleu.corpus_bleu([said[n] for n in left], [[test[n].target for n in left]]).score
        assert found["runs"][name]["bleu"]["score"] == pytest.approx(expected, abs=1e-9)


# --- the table ------------------------------------------------------------------------------------------------------

MIXTURES = {
    "all": {"de-en": ["it", "law"]},
    "only-it": {"de-en": {"domains": ["it"], "test": ["law", "koran"], "methods": ["base", "lora"]}},
}
COUNTS = {("all", "koran"): (3, 1), ("only-it", "law"): (400, 0)}


def flagged(mixture, domain):
    return COUNTS.get((mixture, domain), (0, 0))


@pytest.fixture
def plan():
    return fake_results.plan(seeds=(1, 2), unseen=("koran", "garden"), mixtures=MIXTURES)


def table_of(plan, root):
    return overlap.overlap_table(results.scores(plan, root), overlap.without(plan, root))


def content(root, path):
    return json.loads((root / path).read_text())


def test_every_domain_outside_of_a_mixture_is_in_its_file_and_no_other(plan):
    files = list(inputs.overlap_files(plan))
    found = {file.path: (file.domains, list(file.runs)) for file in files}
    trained = {m: [f"{m}/{v}/seed{s}" for v in v_of for s in (1, 2)] for m, v_of in METHODS_OF.items()}
    folder = "scores/without-overlap/tiny/de-en"
    assert found == {
        f"{folder}/all.json": (["garden", "koran"], ["base", *trained["all"]]),
        f"{folder}/only-it.json": (["koran", "law"], ["base", *trained["only-it"]]),
    }
    assert set(found) <= set(inputs.table_inputs(plan))


METHODS_OF = {"all": ["lora", "caneft"], "only-it": ["lora"]}


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
@pytest.mark.parametrize("variant", ["base", "lora", "caneft"])
def test_with_and_without_are_means_over_the_seeds_of_the_files(plan, tmp_path, variant, metric):
    fake_results.write(plan, tmp_path, flagged=flagged)
    keys = "variant == @variant and metric == @metric and mixture == 'all' and domain == 'koran'"
    row = table_of(plan, tmp_path).query(keys).iloc[0]
    names = ["base"] if variant == "base" else [f"all/{variant}/seed{seed}" for seed in (1, 2)]
    whole = [
        content(tmp_path, f"runs/tiny/de-en/{n}/scores/test.json")["domains"]["koran"][metric]["score"] for n in names
    ]
    apart = content(tmp_path, "scores/without-overlap/tiny/de-en/all.json")["domains"]["koran"]["runs"]
    left = [apart[name][metric]["score"] for name in names]
    assert row[["segments", "pairs", "sources", "n_seeds"]].tolist() == [400, 3, 1, len(names)]
    assert (row["with_mean"], row["without_mean"]) == (statistics.mean(whole), statistics.mean(left))
    if variant == "base":
        assert pd.isna(row["with_std"]) and pd.isna(row["without_std"])
    else:
        deviations = pytest.approx((statistics.stdev(whole), statistics.stdev(left)))
        assert (row["with_std"], row["without_std"]) == deviations


def test_where_nothing_is_flagged_without_is_with_and_where_all_is_there_is_none(plan, tmp_path):
    fake_results.write(plan, tmp_path, flagged=flagged)
    table = table_of(plan, tmp_path)
    assert len(table) == 2 * (2 * 3 + 2 * 2)  # metrics x (domains x variants, in both blocks); without copy
    none, everything = table.query("pairs + sources == 0"), table.query("pairs == 400")
    assert len(none) == 10 and (none["with_mean"] == none["without_mean"]).all()
    assert len(everything) == 4 and everything["without_mean"].isna().all() and everything["with_mean"].notna().all()


def test_only_what_is_flagged_is_printed(plan, tmp_path):
    fake_results.write(plan, tmp_path, flagged=flagged)
    table = table_of(plan, tmp_path)
    counts, all_domains, alone = overlap.overlap_tables(plan, table)
    assert [[cell.text for cell in row] for row in counts.rows] == [
        ["all", "koran", "400", "3", "1", "1.00"],
        ["only-it", "law", "400", "400", "0", "100.00"],
    ]
    groups = [column.group for column in all_domains.columns]
    assert groups[0] == "" and groups[1] == groups[2]
    assert_names(groups[1], "koran", "4 of 400")
    bleu = table.query("mixture == 'all' and domain == 'koran' and metric == 'bleu'").set_index("variant")
    assert [[cell.text for cell in row] for row in all_domains.rows] == [
        [name, f"{bleu.loc[name, 'with_mean']:.1f}", f"{bleu.loc[name, 'without_mean']:.1f}"]
        for name in ("base", "lora", "caneft")
    ]
    assert [row[2].deviation for row in all_domains.rows[1:]] == [f"{d:.1f}" for d in bleu["without_std"][1:]]
    assert_names(all_domains.caption, "Base", "2 seeds")
    assert [row[2].text for row in alone.rows] == ["–", "–"]
    assert "400 of 400" in latex([alone])


@pytest.mark.parametrize(
    ("mixtures", "looked_at"),
    [
        (MIXTURES, 4),
        ({"all": {"de-en": {"domains": ["it", "law"], "test": []}}}, 0),
    ],
    ids=["nothing flagged", "nothing to look at"],
)
def test_what_is_said_where_nothing_is_found(tmp_path, mixtures, looked_at):
    plan = fake_results.plan(mixtures=mixtures, unseen=("koran", "garden"))
    fake_results.write(plan, tmp_path)
    table = table_of(plan, tmp_path)
    printed, said = list(overlap.overlap_tables(plan, table)), overlap.absent(table)
    tables.write(tmp_path / "overlap", table, printed, said)
    assert printed == [] and table.empty == (looked_at == 0)
    assert re.findall(r"\d+", said) == ([str(looked_at)] if looked_at else []), "how many test sets were looked at"
    assert (tmp_path / "overlap.md").read_text() == f"{said}\n"
    assert (tmp_path / "overlap.csv").read_text().startswith("model,direction,mixture,domain,segments,pairs,sources,")


def test_a_run_without_scores_names_the_file(plan, tmp_path):
    fake_results.write(plan, tmp_path, flagged=flagged)
    path = tmp_path / "scores/without-overlap/tiny/de-en/all.json"
    found = json.loads(path.read_text())
    del found["domains"]["koran"]["runs"]["all/lora/seed2"]
    path.write_text(json.dumps(found))
    with refused(f"{path}:", "'all/lora/seed2'"):
        overlap.without(plan, tmp_path)
