"""`check` reports with its key what cannot work; and a configuration with a single method runs up to its tables."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from caneft import config
from caneft.__main__ import main
from caneft.commands import checking
from caneft.config import languages
from caneft.corpora import mixing
from caneft.corpora.store import Row
from caneft.plan import Plan, Run, comparison, needs
from caneft.runtime import devices
from caneft.scoring import comparing
from tests.cases.test_languages import direction
from tests.messages import assert_names, refused
from tests.unit.test_config import DEMO, DOMAINS, SEEN, VALID, changed, message

ROOT = Path(__file__).parents[2]

# --- one method alone ----------------------------------------------------------------------------------------------

ALONE = {
    "caneft": {"caneft": {"method": "caneft", "learning_rate": 1e-2}},
    "base": {"base": {"method": "base"}},
    "full": {"full": {"method": "full", "learning_rate": 1e-3}},
    "two without a baseline": {  # there is no caneft either to compare them with
        "full": {"method": "full", "learning_rate": 1e-3},
        "random": {"method": "random", "learning_rate": 1e-2},
    },
}


@pytest.mark.parametrize("methods", ALONE.values(), ids=ALONE)
@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_methods_that_are_compared_with_none_have_scores_all_the_same(methods, seeds):
    plan = Plan(config.load(changed(("methods", methods), ("seeds", seeds)), check_files=False))
    found = comparison.settings(plan, ("tiny", "de-en", "all"))
    systems = [(system.variant, system.seed) for system in found.systems]
    texts = {system: {"it": ["a b c d", "e f"], "law": ["g h i", "j"], "koran": ["k"]} for system in systems}
    references = {"it": ["a b c d", "e x"], "law": ["g h i", "j"], "koran": ["l"]}
    tested = comparing.test_metric(found, systems, comparing.surface_samples("exact", "en", references, texts))
    assert tested["comparisons"] == []
    assert tested["scores"].keys() == methods.keys()
    for columns in tested["scores"].values():
        assert [columns[name]["score"] for name in ("it", "law", "average_seen")] == [50.0, 100.0, 75.0]
        assert (columns["it"]["low"], columns["it"]["high"]) == (0.0, 100.0)
    assert all(np.shape(entry["covariance"]) == (len(methods),) * 2 for entry in tested["errors"].values())


def test_a_wide_comparison_fits_on_a_command_line():
    """Linux limits one argument to 128 kB. Here: 5 seeds of 12 variants on 4 seen and 13 unseen domains."""
    methods = {f"caneft-variant-number-{n}": {"method": "caneft", "fraction": n / 100} for n in range(1, 13)}
    methods = {name: method | {"learning_rate": 1e-2} for name, method in methods.items()}
    domains = {f"domain-number-{n}": SEEN if n < 4 else {"test": DEMO} for n in range(17)}
    seen = list(domains)[:4]
    plan = Plan(
        config.load(
            changed(
                (*DOMAINS, domains),
                ("methods", {"base": {"method": "base"}} | methods),
                ("seeds", [1, 2, 3, 4, 5]),
                ("mixtures", {"all": {"de-en": seen}}),
            ),
            check_files=False,
        )
    )
    given = comparison.settings(plan, ("tiny", "de-en", "all"))
    assert len(given.model_dump_json()) < 2**15
    assert len(given.systems) == 12 * 5 + 1 == len({system.translations for system in given.systems})
    assert given.seen == seen and plan.tested("de-en", "all") == seen + sorted(domains.keys() - set(seen))


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["samples", "average_seen", "average_unseen", "average_all"])
@pytest.mark.parametrize("corpora", [SEEN, {"test": DEMO}], ids=["seen", "unseen"])
def test_domains_with_the_names_of_files_and_columns_are_refused(name, corpora):
    assert_names(message(changed((*DOMAINS, name, corpora))), f"directions.de-en.domains.{name}")


@pytest.mark.parametrize("name", ["pretraining", "metrics"])
def test_directions_with_the_names_of_folders_are_refused(name):
    task = {"prompt": {"instruction": "Say it plainly:"}, "domains": {"it": SEEN}}
    said = message(changed(("directions", name, task), ("scoring", "metrics", ["exact"])))
    assert_names(said, f"directions.{name}")


@pytest.mark.parametrize("name", ["average", "copy", "all", "mean", "pretraining", "sample", "seen", "dev", "test"])
def test_other_domains_keep_their_names(name):
    assert config.load(changed((*DOMAINS, name, SEEN)))


# --- rates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [10**-2.5, 1 / 3000, 1.234567e-4])
def test_a_rate_that_a_folder_s_name_would_round_is_refused(rate):
    said = message(changed(("methods", "caneft", "learning_rate", [1e-2, rate])))
    assert_names(said, "methods.caneft.learning_rate", repr(rate), f"{rate:g}")


@pytest.mark.parametrize("rate", [1e-2, 0.00316228, 1.23456e-4, 3e-05, 123456.0])
def test_a_rate_of_six_digits_is_the_one_that_its_trial_is_trained_with(rate):
    plan = Plan(config.load(changed(("methods", "caneft", "learning_rate", [2e-2, rate]))))
    trials = plan.trials_of("tiny", "de-en", "caneft", "all")
    parsed = [Run.parse(trial.folder.removeprefix("runs/")).rate for trial in trials]
    assert set(parsed) == {2e-2, rate}


def test_a_single_rate_is_in_no_folder_s_name_and_may_have_any_digits():
    assert config.load(changed(("methods", "caneft", "learning_rate", 10**-2.5)))


# --- mixtures of one domain ----------------------------------------------------------------------------------------


def test_a_mixture_of_one_domain_is_told_what_it_needs():
    """The message must name mixtures that exist, and say what the user can write."""
    alone = message(changed(("mixtures", {"mine": {"de-en": ["it"]}})))
    assert_names(alone, "mixtures.mine.de-en.select_on", "de-en", "add a domain")
    beside = message(changed(("mixtures", {"mine": {"de-en": ["it"]}, "both": {"de-en": ["it", "law"]}})))
    assert_names(beside, "mixtures.mine.de-en.select_on", "both")
    assert "'all'" not in beside
    assert config.load(changed(("mixtures", {"mine": {"de-en": ["it"]}, "all": {"de-en": ["it", "law"]}})))


# --- files of a configuration --------------------------------------------------------------------------------------


@pytest.fixture
def checked(tmp_path, capsys, monkeypatch):
    """Runs `caneft check` on texts; returns its exit code and all its output."""
    monkeypatch.delenv("CANEFT_DATA", raising=False)

    def check(*texts):
        files = [tmp_path / f"{number}.yaml" for number in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text if isinstance(text, str) else yaml.safe_dump(text), encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["caneft", "check", *map(str, files)])
        try:
            main()
        except SystemExit as end:
            code = end.code
        else:
            code = 0
        said = capsys.readouterr()
        return code, said.out + said.err

    return check


WORKING = changed(
    ("tuning", {"pairs_per_domain": 10, "dev_pairs_per_domain": 10}),
    ("importance", {"samples": 10}),
)


def test_what_can_work_is_said_with_exit_code_0(checked, tmp_path):
    code, said = checked(WORKING)
    assert code == 0
    assert_names(said, tmp_path / "0.yaml")


def test_each_file_is_laid_over_the_one_before_and_the_first_over_the_demo(checked, tmp_path):
    assert checked(WORKING, "seeds: [4, 5]\n")[0] == 0
    code, said = checked(WORKING, "seeds: [4, 4]\n")
    assert code == 1
    assert_names(said, f"{tmp_path / '1.yaml'}: seeds (line 1)")
    assert checked("seeds: [4, 5]\n")[0] == 0  # a configuration without directions is laid over the demo
    code, said = checked("tuning: {epochs: 1}\nmixtures:\n  all:\n    de-en: [it, medcial]\n")
    assert code == 1
    assert_names(said, f"{tmp_path / '0.yaml'}: mixtures.all.de-en (line 4)", "'medical'")


TWICE = {
    "at the top": ("seeds: [1]\nmodels: {}\nseeds: [2]\n", "seeds", 3, 1),
    "two domains": (
        "directions:\n  de-en:\n    domains:\n      b: {test: {}}\n      c: {}\n      b: {train: {}}\n",
        "directions.de-en.domains.b",
        6,
        4,
    ),
    "in a list": ("seeds: [1]\nx:\n  - {a: 1}\n  - {a: 1,\n     a: 2}\n", "x.1.a", 5, 4),
    "a method in quotes": ("methods:\n  'base': {method: base}\n  base: {method: base}\n", "methods.base", 3, 2),
}


@pytest.mark.parametrize(("text", "key", "line", "first"), TWICE.values(), ids=TWICE)
def test_a_key_that_is_given_twice_is_an_error_with_both_lines(checked, tmp_path, text, key, line, first):
    code, said = checked(text)
    assert code == 1
    assert_names(said, f"{tmp_path / '0.yaml'}: {key} (line {line})", first)
    with refused(f"{tmp_path / '0.yaml'}: {key} (line {line})", first):  # the Snakefile's call
        config.load(WORKING, [tmp_path / "0.yaml"], check_files=False)


def test_what_is_taken_from_an_anchor_may_be_given_anew(checked):
    text = yaml.safe_dump(WORKING).replace("tuning:\n", "tuning:\n  <<: &more {epochs: 3}\n  epochs: 1\n")
    assert checked(text)[0] == 0


BROKEN = {
    "a tab": ("models:\n\ttiny: {}\n", "2:1"),
    "no blank behind a colon": ("seeds: [1]\nmodels:\n  tiny: {}\n  dtype:float32\n", "5:1"),
    "an open bracket": ("directions: [de-en\nmodels: {}\n", "2:7"),
    "an uneven indent": ("a:\n    b: 1\n  c: 2\n", "3:3"),
}


@pytest.mark.parametrize(("text", "place"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_yaml_is_said_with_line_and_column(checked, tmp_path, text, place):
    code, said = checked(text)
    assert code == 1
    assert_names(said, f"{tmp_path / '0.yaml'}:{place}:")
    assert "Traceback" not in said


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "a", "\x00"])
def test_what_is_no_configuration_is_said(checked, tmp_path, text):
    code, said = checked(text)
    assert code == 1
    assert_names(said, tmp_path / "0.yaml")
    assert "Traceback" not in said


def test_a_file_that_is_not_there_is_said(capsys, monkeypatch, tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        monkeypatch.setattr(sys, "argv", ["caneft", "check", str(path)])
        with pytest.raises(SystemExit):
            main()
        assert_names(capsys.readouterr().err, path)


@pytest.mark.parametrize("value", ["no", "off", "yes"])
def test_a_truth_value_that_was_meant_as_a_word_is_told_to_be_quoted(checked, value):
    tmx = f"{{format: tmx, path: a.tmx, source_language: {value}, target_language: de}}"
    text = yaml.safe_dump(changed((*DOMAINS, "it", "test", "HERE"))).replace("HERE", tmx)
    code, said = checked(text)
    assert code == 1
    assert_names(said, "directions.de-en.domains.it.test.source_language", value, '"no"')


def test_check_is_fast(tmp_path):
    """All of `check`, from the start of Python, takes under three seconds of processor time."""
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(WORKING))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "caneft", "check", str(tmp_path / "a.yaml")], cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3


# --- files that a configuration names ------------------------------------------------------------------------------


def files(tmp_path, lines=10, **splits):
    """Changes that make domain `it` read from files: split -> (name, more keys), each with that many lines."""
    for name, _ in splits.values():
        (tmp_path / name).write_text("a\tb\n" * lines)
    source = {"format": "tsv"}
    corpora = {split: source | {"path": str(tmp_path / name)} | more for split, (name, more) in splits.items()}
    return ((*DOMAINS, "it", corpora),)


NOTHING_LEFT = {
    "test is train": ({"train": ("a", {}), "dev": ("b", {}), "test": ("a", {})}, "train", "test"),
    "dev is train": ({"train": ("a", {}), "dev": ("a", {}), "test": ("b", {})}, "train", "dev"),
    "dev is test": ({"train": ("a", {}), "dev": ("b", {}), "test": ("b", {})}, "dev", "test"),
    "test is train but for other keys": (
        {"train": ("a", {"limit": 5, "seed": 3}), "dev": ("b", {}), "test": ("a", {"reverse": True})},
        "train",
        "test",
    ),
}


@pytest.mark.parametrize(("splits", "split", "other"), NOTHING_LEFT.values(), ids=NOTHING_LEFT)
def test_two_splits_of_one_file_are_refused(tmp_path, splits, split, other):
    said = message(changed(*files(tmp_path, **splits)), check_files=True)
    assert_names(said, f"directions.de-en.domains.it.{split}", other, "limit")


def test_the_same_file_is_known_by_another_way_to_it(tmp_path):
    (tmp_path / "x").mkdir()
    changes = files(tmp_path, train=("a", {}), dev=("b", {}), test=("x/../a", {}))
    assert_names(message(changed(*changes), check_files=True), "directions.de-en.domains.it.train", "test")


def test_a_part_of_a_file_can_be_held_out_of_it(tmp_path):
    held_out = {"limit": 3}
    changes = files(tmp_path, train=("a", {}), dev=("a", held_out | {"seed": 1}), test=("a", held_out))
    assert config.load(changed(*changes))
    hub = {"format": "datasets", "name": "owner/name", "split": "train"}
    others = {"train": hub, "dev": hub | {"split": "validation"}, "test": hub | {"split": "test"}}
    assert config.load(changed((*DOMAINS, "it", others)))
    assert_names(message(changed((*DOMAINS, "it", others | {"test": hub})), check_files=True), "it.train", "test")


def test_a_folder_where_a_file_belongs_is_said_with_what_is_in_it(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.tsv").touch()
    source = {"format": "tsv", "path": str(tmp_path / "corpus")}
    said = message(changed((*DOMAINS, "it", "test", source)), check_files=True)
    assert_names(said, "directions.de-en.domains.it.test", tmp_path / "corpus", "folder", "train.tsv")


@pytest.mark.parametrize("name", ["pipe", "/dev/null", "/dev/stdin", "/dev/fd/0", "/proc/self/cmdline"])
def test_a_corpus_must_be_a_regular_file(tmp_path, name):
    """Reading a pipe would wait forever, and what a process has as its standard input no job has."""
    os.mkfifo(tmp_path / "pipe")
    source = {"format": "tsv", "path": str(tmp_path / name)}
    said = message(changed((*DOMAINS, "it", "test", source)), check_files=True)
    assert_names(said, "directions.de-en.domains.it.test", tmp_path / name, "regular file")


def test_a_model_s_folder_must_hold_a_model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    model = changed(("models", "tiny", {"path": str(folder)}))
    assert_names(message(model, check_files=True), "models.tiny.path", folder, "config.json", "empty")
    (folder / "snapshots").mkdir()
    assert_names(message(model, check_files=True), "models.tiny.path", "config.json", "snapshots")
    (folder / "config.json").touch()
    assert config.load(model)
    of_file = changed(("models", "tiny", {"path": str(folder / "config.json")}))
    assert_names(message(of_file, check_files=True), "models.tiny.path", "file", "folder")


# --- too few pairs -------------------------------------------------------------------------------------------------


def test_what_is_too_few_is_said_at_once_and_with_every_key(checked):
    """The defaults, which nobody wrote, ask for 800, 800 and 100 pairs; there are ten."""
    code, said = checked(VALID)
    assert code == 1
    assert_names(said, "directions.de-en.domains.it.train", "tuning.pairs_per_domain", "importance.samples", 800, 10)
    assert_names(said, "directions.de-en.domains.it.dev", "tuning.dev_pairs_per_domain", 100)
    assert_names(said, "directions.de-en.domains.law.train", "directions.de-en.domains.law.dev")
    assert "medical" not in said  # no mixture is trained on it


FORMATS = {
    "tsv": ({"format": "tsv", "path": "a"}, "a\tb\n" * 9, 9),
    "jsonl without an end of line": ({"format": "jsonl", "path": "a"}, "{}\n" * 8 + "{}", 9),
    "alternating": ({"format": "alternating", "path": "a"}, "a\nb\n" * 9, 9),
    "moses": ({"format": "moses", "source_path": "a", "target_path": "a2"}, "a\n" * 9, 9),
    "a limit": ({"format": "tsv", "path": "a", "limit": 4}, "a\tb\n" * 9, 4),
    "packed": ({"format": "tsv", "path": "a.gz"}, "a\tb\n" * 9, None),
    "another shape": ({"format": "instruct", "path": "a"}, "[\n]\n", None),
    "enough": ({"format": "tsv", "path": "a"}, "a\tb\n" * 90, 20),
}


@pytest.mark.parametrize(("source", "text", "most"), FORMATS.values(), ids=FORMATS)
def test_how_many_pairs_a_file_has_at_most(tmp_path, source, text, most):
    for name in ("a", "a2", "a.gz"):
        (tmp_path / name).write_text(text)
    found = config.load(changed(("data_root", str(tmp_path)), (*DOMAINS, "it", "test", source)))
    assert checking.pairs_at_most(found, found.directions["de-en"].domains["it"].test, 20) == most


def test_only_what_is_asked_for_must_be_there():
    def asked(*changes):
        return needs.of_splits(config.load(changed(*changes), check_files=False), "de-en")

    both = {"tuning.pairs_per_domain": 800, "importance.samples": 800}
    assert asked() == {(d, s): both if s == "train" else DEV for d in ("it", "law") for s in ("train", "dev")}
    assert asked(("methods", {"base": {"method": "base"}})) == {}
    full = ("methods", {"full": {"method": "full", "learning_rate": 1e-3}})
    assert asked(full)["it", "train"] == {"tuning.pairs_per_domain": 800}
    pairs = ("tuning", {"pairs": {"law": 7}})
    assert asked(full, pairs)["law", "train"] == {"tuning.pairs.law": 7}
    assert asked(full, ("tuning", {"temperature": 2})).keys() == {("it", "dev"), ("law", "dev")}
    auto = ("importance", {"samples": "auto", "auto": {"smallest": 40}})
    assert asked(auto)["it", "train"] == {"tuning.pairs_per_domain": 800, "importance.auto.smallest": 40}
    one = ("mixtures", "one", {"de-en": ["medical"]})
    assert asked(one)["medical", "train"] == {"tuning.pairs_per_domain": 800}  # its neurons are selected on `all`


DEV = {"tuning.dev_pairs_per_domain": 100}


def test_the_draw_of_a_mixture_says_all_that_is_too_few(monkeypatch):
    """After cleaning, 5 train and 2 dev pairs are left."""
    monkeypatch.delenv(needs.SAMPLES, raising=False)
    rows = {
        split: [Row(f"it.{split}.{n}", f"{split} {n}", "x") for n in range(count)]
        for split, count in (("train", 5), ("dev", 2), ("test", 1))
    }
    needs.publish_samples(config.load(changed(("importance", {"samples": 6})), check_files=False))
    samples = needs.samples_of("de-en/all")
    assert samples == ("importance.samples", 6)
    assert needs.samples_of("de-en/other") is None
    with refused("tuning.pairs_per_domain", 9, 5, "tuning.dev_pairs_per_domain", 3, 2, "importance.samples", 6):
        mixing.mix({"it": rows}, 9, 3, seed=0, samples=samples)
    with refused("importance.samples", 6, 5):
        mixing.mix({"it": rows}, 5, 2, seed=0, samples=samples)
    assert len(mixing.mix({"it": rows}, 5, 2, seed=0, samples=("importance.samples", 5))[0]) == 5


# --- this machine --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "extra"), [("en-ja", "ja"), ("en-jpn", "ja"), ("en-ko", "ko"), ("de-kor_kore", "ko")])
def test_a_tokenizer_whose_packages_are_not_here_is_said_with_the_command(monkeypatch, name, extra):
    monkeypatch.setattr(languages.importlib.util, "find_spec", lambda module: None)
    raw = changed(*direction(name), *ENOUGH)
    with refused(f"directions.{name}", f'pip install "sacrebleu[{extra}]"', "scoring.metrics"):
        checking.checked(raw, [])
    assert checking.checked(raw, [], here=False)
    assert checking.checked(changed(*direction(name), *ENOUGH, ("scoring", "metrics", ["chrf"])), [])
    monkeypatch.setattr(languages.importlib.util, "find_spec", lambda module: object())
    assert checking.checked(raw, [])


@pytest.mark.parametrize("name", ["de-tlh", "kpi-en"])
def test_a_language_that_cannot_be_told_is_said_where_it_has_to_be(name):
    raw = changed(*direction(name), *ENOUGH, ("cleaning", {"wrong_language": "drop"}))
    with refused(f"directions.{name}", "cleaning.wrong_language"):
        checking.checked(raw, [])
    assert checking.checked(changed(*direction(name), *ENOUGH), [])


def test_gpus_that_are_asked_for_and_not_seen_are_a_warning(checked, monkeypatch):
    monkeypatch.setattr(checking, "usable", lambda environment: [])
    code, said = checked(WORKING | {"models": {"tiny": WORKING["models"]["tiny"] | {"resources": {"gpu": 1}}}})
    assert code == 0
    assert_names(said, "models.tiny.resources.gpu is 1", "CPU")
    assert "CPU" not in checked(WORKING)[1]
    own = changed(("methods", "caneft", "resources", {"gpu": 2}))
    assert "methods.caneft.resources.gpu is 2" in checking.without_gpu(
        checking.gpus_asked_for(config.load(own, check_files=False))
    )


@pytest.mark.parametrize(
    ("processor", "units"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_tile", True),
        ("flags\t\t: fpu amx_bf16", True),
        ("flags\t\t: fpu avx512f avx512_vnni", False),
        ("Features\t: fp asimd", None),  # an ARM processor
    ],
)
def test_bfloat16_on_a_processor_without_units_is_a_warning(processor, units, checked, monkeypatch, tmp_path):
    described = tmp_path / "cpuinfo"
    described.write_text(f"processor\t: 0\n{processor}\n")
    assert devices.bfloat16_units(described) is units
    assert devices.bfloat16_units(tmp_path / "none") is None
    monkeypatch.setattr(checking, "bfloat16_units", lambda: units)
    tiny = WORKING["models"]["tiny"]
    code, said = checked(WORKING | {"models": {"tiny": tiny | {"dtype": "bfloat16"}}})
    assert code == 0
    assert ("models.tiny.dtype is bfloat16" in said) == (units is False)
    assert "dtype" not in checked(WORKING)[1]
    on_gpu = changed(("models", "tiny", tiny | {"dtype": "bfloat16", "resources": {"gpu": 1}}))
    assert not checking.slow_dtype(config.load(on_gpu, check_files=False), 1, False)
    assert checking.slow_dtype(config.load(on_gpu, check_files=False), 0, False)


ENOUGH = [("tuning", {"pairs_per_domain": 10, "dev_pairs_per_domain": 10}), ("importance", {"samples": 10})]


@pytest.mark.parametrize("split", ["train", "test"])
def test_two_domains_with_the_same_pairs_are_a_warning(split, checked):
    domains = {name: {part: DEMO | {"domain": name} for part in SEEN} for name in ("it", "law", "medical")}
    apart = [*ENOUGH, ("directions", "de-en", "domains", domains), ("mixtures", {"all": {"de-en": ["it", "law"]}})]
    assert "same pairs" not in checked(changed(*apart))[1]
    code, said = checked(changed(*apart, ("directions", "de-en", "domains", "law", split, domains["it"][split])))
    assert code == 0
    assert f"domains.law.{split}" in said and f"domains.it.{split}" in said


def test_pairs_are_the_same_by_whatever_path_and_seed(tmp_path, monkeypatch):
    """Other columns, another draw or the other direction make other pairs."""
    monkeypatch.setenv("CANEFT_DATA", str(tmp_path))
    (tmp_path / "it.tsv").touch()
    (tmp_path / "link.tsv").symlink_to(tmp_path / "it.tsv")
    it = {"format": "tsv", "path": "it.tsv"}

    def said(law):
        domains = {name: {part: DEMO | {"domain": name} for part in SEEN} for name in ("medical", "sports")}
        domains |= {"it": {"test": it}, "law": {"test": it | law}}
        mixed = ("mixtures", {"all": {"de-en": ["medical", "sports"]}})
        raw = changed(("directions", "de-en", "domains", domains), mixed)
        return checking.same_pairs(config.load(raw, check_files=False))

    same = [{}, {"path": "./it.tsv"}, {"path": "link.tsv"}, {"path": str(tmp_path / "it.tsv")}, {"seed": 3}]
    others = [{"source_column": 2}, {"reverse": True}, {"limit": 5}, {"path": "law.tsv"}]
    assert all(map(said, same)) and not any(map(said, others))
    it["limit"] = 5
    assert said({}) and not said({"seed": 3})
