"""What would fail only after hours is refused at the start, with key and line: names, seeds, numbers, budgets."""

import pytest
import yaml

from caneft import config
from caneft.config import languages
from caneft.config.yamlfiles import faults
from caneft.plan import Plan
from caneft.reporting import inputs
from tests.cases.test_languages import direction
from tests.messages import assert_names, refused
from tests.unit.test_config import DOMAINS, SEEN, changed, message

FULL = {"method": "full", "learning_rate": 1e-3}
INFINITE = float("inf")

# --- names and values that stand for two things ----------------------------------------------------------------------


def test_a_method_with_the_name_of_a_row_of_the_tables_is_refused(command_line, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("methods:\n  copy: {method: base}\n")
    code, _, said = command_line("check", file)
    assert code == 1
    assert_names(said, f"{file}: methods.copy (line 2)", "another name")
    assert config.load(changed((*DOMAINS, "copy", SEEN), ("methods", "copies", FULL)))


TWICE = {
    "scoring.metrics": ([("scoring", "metrics", ["bleu", "chrf", "chrf"])], "chrf"),
    "seeds": ([("seeds", [4, 7, 4])], 4),
    "trials.seeds": ([("trials", "seeds", [0, 100, 100])], 100),
    "mixtures.all.de-en": ([("mixtures", "all", "de-en", ["it", "law", "it"])], "it"),
    "mixtures.all.de-en.domains": ([("mixtures", "all", "de-en", {"domains": ["it", "law", "it"]})], "it"),
    "methods.caneft.learning_rate": ([("methods", "caneft", "learning_rate", [0.01, 0.02, 0.01])], "0.01"),
}


@pytest.mark.parametrize("key", TWICE)
def test_what_a_list_names_twice_is_said(key):
    changes, value = TWICE[key]
    assert_names(message(changed(*changes)), f"{key} ", value, "twice", "once")


# --- seeds and numbers -----------------------------------------------------------------------------------------------

SEEDS = {
    "seeds.0": ("seeds", ["HERE"]),
    "trials.seeds.1": ("trials", "seeds", [0, "HERE"]),
    "importance.seed": ("importance", "seed", "HERE"),
    "selection.seed": ("selection", "seed", "HERE"),
    "tuning.seed": ("tuning", "seed", "HERE"),
    "significance.seed": ("significance", "seed", "HERE"),
    "models.tiny.pretrain.seed": ("models", "tiny", "pretrain", "seed", "HERE"),
    "methods.icl.seed": ("methods", "icl", {"method": "icl", "seed": "HERE"}),
    "directions.de-en.domains.it.test.seed": (*DOMAINS, "it", "test", "seed", "HERE"),
}


def put(value, change):
    """The change with `value` in place of HERE."""
    if isinstance(change, dict):
        return {key: put(value, inside) for key, inside in change.items()}
    if isinstance(change, list | tuple):
        return type(change)(put(value, inside) for inside in change)
    return value if change == "HERE" else change


@pytest.mark.parametrize("key", SEEDS)
def test_a_seed_is_one_that_every_generator_takes(key):
    """The largest seed is 2^32 - 1, 4294967295, in NumPy's legacy generator and 2^64 - 1 in torch's."""
    assert_names(message(changed(put(-1, SEEDS[key]))), f"{key} ", -1, 0)
    for beyond in (4294967296, 2**70):
        assert_names(message(changed(put(beyond, SEEDS[key]))), f"{key} ", beyond, 4294967295)
    assert config.load(changed(put(4294967295, SEEDS[key])))


def test_the_draw_of_a_seed_has_a_seed_too():
    """The seed of its draw is `importance.seed` + 1 + seed."""
    for seeds, fits in (([1, 4294967284], True), ([1, 4294967285], False)):
        raw = changed(("importance", {"seed": 10, "draws": "per_seed"}), ("seeds", seeds))
        if fits:
            assert config.load(raw)
        else:
            assert_names(message(raw), "seeds", 4294967285, "importance.seed", 4294967295)
    assert config.load(changed(("importance", {"seed": 10}), ("seeds", [4294967285])))


NUMBERS = {
    "methods.caneft.learning_rate": ("methods", "caneft", "learning_rate", "HERE"),
    "methods.caneft.learning_rate.1": ("methods", "caneft", "learning_rate", [1e-2, "HERE"]),
    "models.tiny.pretrain.learning_rate": ("models", "tiny", "pretrain", "learning_rate", "HERE"),
    "selection.gamma": ("selection", {"gamma": "HERE"}),
    "tuning.clip": ("tuning", "clip", "HERE"),
    "tuning.weight_decay": ("tuning", "weight_decay", "HERE"),
    "tuning.temperature": ("tuning", "temperature", "HERE"),
    "decoding.length_factor": ("decoding", "length_factor", "HERE"),
    "significance.expected_runs": ("significance", "expected_runs", "HERE"),
    "verify_up_to_gb": ("verify_up_to_gb", "HERE"),
}


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", [INFINITE, float("nan")])
def test_a_number_that_is_not_finite_is_refused(key, value):
    assert_names(message(changed(put(value, NUMBERS[key]))), f"{key} ", value, "finite")


TRUTHS = {key: value for key, value in NUMBERS.items() if not key.endswith(".1")} | {
    "seeds": ("seeds", ["HERE"]),
    "limit": ("limit", "HERE"),
    "importance.samples": ("importance", "samples", "HERE"),
    "tuning.pairs": ("tuning", "pairs", {"it": "HERE"}),
}


@pytest.mark.parametrize("key", TRUTHS)
def test_a_truth_value_is_no_number(key):
    """Taken as numbers, `limit: yes` would run on one pair and `verify_up_to_gb: no` without checks."""
    for value in (True, False):
        assert_names(message(changed(put(value, TRUTHS[key]))), f"{key} ", value, "number")
    assert config.load(changed(("tuning", "keep_full_weights", False))), "some keys are truth values"


def test_a_name_in_a_list_is_one_as_a_key_is():
    said = message(changed(("mixtures", "all", "de-en", ["it", "Läden"])))
    assert_names(said, "mixtures.all.de-en.1", "Läden", "lower-case")


def test_a_high_rate_is_no_mistake():
    assert config.load(changed(("methods", "caneft", "learning_rate", 1000.0)))


# --- budgets ---------------------------------------------------------------------------------------------------------

TOO_MANY = {  # changes -> key, and the two numbers that do not fit; the base has 3 layers of 384 neurons
    "the shared ones": ([("selection", "fraction", 0.6)], "selection.fraction", 0.6, "selection.task_relevant", 0.5),
    "one method's fraction": (
        [("methods", "caneft", "fraction", 0.7)],
        "methods.caneft.fraction",
        0.7,
        "selection.task_relevant",
        0.5,
    ),
    "one method's mask": (
        [("methods", "caneft", "task_relevant", 0.05)],
        "selection.fraction",
        0.1,
        "methods.caneft.task_relevant",
        0.05,
    ),
    "few of a layer": (
        [("selection", {"fraction": 0.1, "per_layer": 38})],  # asks for 115.2 neurons, but only 114 are left
        "selection.fraction",
        115,
        "selection.per_layer",
        114,
    ),
}


@pytest.mark.parametrize(("changes", "key", "asked", "limit", "left"), TOO_MANY.values(), ids=TOO_MANY)
def test_a_budget_that_can_never_fit_is_refused(changes, key, asked, limit, left):
    assert_names(message(changed(*changes)), f"{key} ", asked, limit, left, "Lower")


FITTING = {
    "as many as are left": [("selection", "fraction", 0.5)],
    "no mask": [("selection", {"fraction": 0.6, "task_relevant": None})],
    "no mask of this method": [("selection", "fraction", 0.6), ("methods", "caneft", "task_relevant", None)],
    "a method without a mask": [("methods", "random", {"method": "random", "fraction": 0.6, "learning_rate": 1e-2})],
    "another budget": [("selection", "fraction", 0.6), ("methods", "caneft", "parameters", 9000)],
    "as many of a layer": [("selection", {"fraction": 0.1, "per_layer": 39})],
    "layers that are not known yet": [
        ("selection", {"fraction": 0.1, "per_layer": 1}),
        ("models", "tiny", {"hub": "owner/tiny"}),
    ],
}


@pytest.mark.parametrize("changes", FITTING.values(), ids=FITTING)
def test_a_budget_that_may_fit_is_none_to_refuse(changes):
    assert config.load(changed(*changes))


# --- valid language codes that mean another language than the one named ---------------------------------------------

OTHERS = [  # name, words for source and target, side that is another language, its code
    ("en-tw", "English", "Chinese", "target", "zh"),  # Twi
    ("en-ch", "English", "Chinese", "target", "zh"),  # Chamorro
    ("en-cht", "English", "Chinese", "target", "zh"),  # Cholón
    ("en-kr", "English", "Korean", "target", "ko"),  # Kanuri
    ("en-se", "English", "Swedish", "target", "sv"),  # Northern Sami
    ("en-br", "English", "Portuguese", "target", "pt"),  # Breton
    ("en-zh", "English", "French", "target", "fr"),
    ("en-zh_hant", "English", "japanese ", "target", "ja"),
    ("hr-en", "Serbian", "English", "source", "sr"),
    ("en-nb", "English", "Norwegian Nynorsk", "target", "nn"),
]


@pytest.mark.parametrize(("name", "source", "target", "side", "code"), OTHERS)
def test_words_that_name_another_language_than_the_code_are_refused(name, source, target, side, code):
    said = message(changed(*direction(name, source_language=source, target_language=target)))
    written = languages.of_direction(name)[side == "target"]
    assert_names(said, f"directions.{name}.{side}_language", f"'{written}'", f"'{code}'", "Rename")
    other = {"source": "target", "target": "source"}[side]
    assert f"{other}_language" not in said


def test_two_languages_the_wrong_way_round_are_both_said():
    said = message(changed(*direction("de-en", source_language="English", target_language="German")))
    assert_names(said, "de-en.source_language", "de-en.target_language", "'de', the code of German")


@pytest.mark.parametrize(
    ("name", "source", "target"),
    [
        ("en-pt_br", "English", "Brazilian Portuguese"),
        ("en-pt_br", "english", "Portuguese"),
        ("de-zh", "Deutsch", "Simplified Chinese"),
        ("de-cmn", "German", "Chinese"),
        ("en-zh", "English (UK)", "Mandarin"),
        ("en-yue", "English", "Chinese"),
        ("en-nb", "English", "Norwegian"),
        ("en-no", "English", "Norwegian Bokmål"),
        ("arz-en", "Arabic", "English"),
        ("en-tw", "English", "Twi"),
        ("en-de", "legalese", "German"),
    ],
)
def test_words_that_say_more_or_are_no_known_name_stay(name, source, target):
    raw = changed(*direction(name, source_language=source, target_language=target))
    assert config.load(raw).directions[name].target_language == target


# --- one domain, where nothing is selected ---------------------------------------------------------------------------

ONE = ("mixtures", {"mine": {"de-en": ["it"]}})
TWO_METHODS = {"base": {"method": "base"}, "full": FULL}


@pytest.mark.parametrize("mixture", ["mine", "all"])
@pytest.mark.parametrize("method", [FULL, {"method": "lora", "rank": 2, "learning_rate": 1e-3}])
def test_one_domain_is_enough_where_no_neurons_are_selected(mixture, method):
    raw = changed(("mixtures", {mixture: {"de-en": ["it"]}}), ("methods", TWO_METHODS | {"full": method}))
    plan = Plan(config.load(raw))
    assert {run.name for run in plan.runs()} == {"base", f"{mixture}/full/seed1"}
    assert inputs.table_inputs(plan) and not any("neurons/" in path for path in inputs.table_inputs(plan))


def test_methods_without_neurons_are_those_of_the_mixture():
    chosen = {"domains": ["it"], "methods": ["base", "full"]}
    both = ("methods", "full", FULL)
    assert config.load(changed(("mixtures", {"mine": {"de-en": chosen}}), both))
    assert_names(message(changed(ONE, both)), "mixtures.mine.de-en.select_on", "add a domain")
    lora = {"method": "lora", "equal_to": "caneft", "learning_rate": 1e-3}  # takes its rank from a selection
    said = message(changed(("mixtures", {"mine": {"de-en": chosen}}), ("methods", "full", lora)))
    assert_names(said, "mixtures.mine.de-en.select_on")


def test_rates_of_one_domain_are_chosen_on_a_mixture_that_there_is():
    methods = ("methods", TWO_METHODS | {"full": FULL | {"learning_rate": [1e-3, 1e-4]}})
    assert_names(message(changed(ONE, methods)), "mixtures.mine.de-en.rates_on", "'all'", "'mine'")
    raw = changed(("mixtures", {"mine": {"de-en": {"domains": ["it"], "rates_on": "mine"}}}), methods)
    assert {run.mixture for run in Plan(config.load(raw)).runs()} == {None, "mine"}


# --- files -----------------------------------------------------------------------------------------------------------

FAULTS = {
    "an alias within itself": ("seeds: [1]\na: &a\n  b: *a\n", 2, "alias"),
    "an alias in its own list": ("seeds: [1]\na: &a\n  - 1\n  - *a\n", 2, "alias"),
    "an alias far below": ("seeds: [1]\na: &a\n  b:\n  - {c: [*a]}\n", 2, "alias"),
    "a merge of itself": ("seeds: [1]\na: &a\n  <<: *a\n", 2, "alias"),
    "a key that is nothing": ("seeds: [1]\n~: 3\n", "~ (line 2)", "quotes"),
    "Norway": ("directions:\n  de-en:\n    domains:\n      no: {}\n", "directions.de-en.domains.no (line 4)", "quotes"),
    "a number": ("report:\n  labels: {1: x}\n", "report.labels.1 (line 2)", "quotes"),
}


@pytest.mark.parametrize(("text", "place", "remedy"), FAULTS.values(), ids=FAULTS)
def test_what_is_yaml_but_cannot_be_meant_is_said_with_its_line(command_line, tmp_path, text, place, remedy):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    code, said, warned = command_line("check", file)
    assert code == 1 and "Traceback" not in said + warned
    assert_names(warned, f"{file}: ", place, remedy)
    assert "config/config.yaml" not in warned


NO_NUMBERS = {
    "octal": ("tuning:\n  epochs: 050\n", "tuning.epochs (line 2)", "050", 50),
    "octal in a list": ("seeds:\n- 1\n- 010\n", "seeds.1 (line 3)", "010", 10),
    "an underscore": ("limit: 0_10\n", "limit (line 1)", "0_10", 10),
    "a ratio": ("cleaning: {max_ratio: 3:1}\n", "cleaning.max_ratio (line 1)", "3:1", 181),
    "a time": ("tuning:\n  resources: {runtime: 12:30:00}\n", "tuning.resources.runtime (line 2)", "12:30:00", 45000),
    "base 60 with a fraction": ("tuning: {clip: -1:30.5}\n", "tuning.clip (line 1)", "-1:30.5", "-90.5"),
}


@pytest.mark.parametrize(("text", "place", "value", "other"), NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_a_number_that_yaml_reads_as_another_is_refused(command_line, tmp_path, text, place, value, other):
    """By `check`, and by the workflow, which merges the files itself and passes their names to `config.load`."""
    file = tmp_path / "a.yaml"
    file.write_text(text)
    code, _, said = command_line("check", file)
    assert code == 1
    assert_names(said, f"{file}: {place}", value, other)
    with refused(f"{file}: {place}", value, other):
        config.load(changed(), [file])


def test_numbers_that_yaml_reads_as_they_stand_and_text_are_not_refused():
    plain = ["0", "0.5", "-0.5", ".5", "1.0e-4", "0x1F", "0o17", "1_000", "100", "'010'", '"3:1"', "08:15h", "a:b", "~"]
    assert [*faults(yaml.compose(f"a: [{', '.join(plain)}]"))] == []


def test_an_alias_may_stand_in_many_places(command_line, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("tuning: &a {epochs: 1}\n<<: {tuning: *a}\n'seeds': [2]\n")
    assert command_line("check", file)[0] == 0


@pytest.mark.parametrize("below", ["", "/results", "/a/b"])
def test_results_have_no_place_in_a_file(tmp_path, below):
    (tmp_path / "taken").touch()
    raw = changed(("results_root", f"{tmp_path}/taken{below}"))
    assert_names(message(raw, check_files=True), "results_root", f"{tmp_path}/taken{below}", f"{tmp_path}/taken is")
    assert config.load(raw, check_files=False)
    assert config.load(changed(("results_root", f"{tmp_path}/free{below}")))


@pytest.mark.parametrize("place", ["~/x", "~", "~other/x", "$HOME/x", "/a/$USER"])
@pytest.mark.parametrize(
    ("key", "change"),
    {
        "results_root": ["results_root"],
        "data_root": ["data_root"],
        "models.tiny.path": ["models", "tiny", "path"],
        "directions.de-en.domains.it.test.path": [*DOMAINS, "it", "test"],
    }.items(),
)
def test_what_a_shell_would_replace_in_a_path_is_refused(key, change, place):
    value = {"format": "tsv", "path": place} if key.endswith("test.path") else place
    assert_names(message(changed((*change, value))), key, repr(place), "written out")


@pytest.mark.parametrize("place", ["a~", "a/~b", "a$", "$1"])
def test_other_names_with_such_characters_stay(place):
    assert config.load(changed(("results_root", place))).results_root == place
