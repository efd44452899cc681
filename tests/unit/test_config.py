"""Every kind of mistake in a configuration is one readable message: file, key, what was found, what was expected."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from caneft import config
from caneft.errors import InputError

DEMO = {"format": "demo", "domain": "it", "pairs": 10}
SEEN = {"train": DEMO, "dev": DEMO, "test": DEMO}
VALID = {
    "directions": {
        "de-en": {
            "source_language": "German",
            "target_language": "English",
            "domains": {"it": SEEN, "law": SEEN, "medical": SEEN, "koran": {"test": DEMO}},
        }
    },
    "models": {
        "tiny": {
            "pretrain": {
                "corpora": [
                    {"direction": "de-en", "corpus": {"format": "demo-pretraining", "domains": ["it"], "pairs": 10}}
                ]
            }
        }
    },
    "mixtures": {"all": {"de-en": ["it", "law"]}},
    "methods": {"base": {"method": "base"}, "caneft": {"method": "caneft", "learning_rate": 1e-2}},
    "selection": {"fraction": 0.1},
}
DOMAINS = ("directions", "de-en", "domains")
DATES_TEST = ("directions", "dates", "domains", "logs", "test")
REMOVED = object()


def changed(*changes):
    """The valid configuration with other values: each change is a path of keys, then the value."""
    raw = copy.deepcopy(VALID)
    for *path, key, value in changes:
        here = raw
        for part in path:
            here = here.setdefault(part, {}) if isinstance(here, dict) else here[part]
        if value is REMOVED:
            del here[key]
        else:
            here[key] = value
    return raw


def message(raw, files=(), check_files=False):
    """What the configuration is refused with; checked for what every message must be."""
    with pytest.raises(InputError) as caught:
        config.load(raw, files, check_files)
    text = str(caught.value)
    lines = text.splitlines()
    assert 1 <= len(lines) <= 10 and all(line.strip() for line in lines)
    for trace in ("Traceback", "pydantic", "validation error", "input_value", "errors.pydantic.dev", "Value error"):
        assert trace not in text
    return text


def test_the_valid_one_is_valid():
    assert config.load(VALID).mixtures["all"]["de-en"].domains == ["it", "law"]


DATES = {"format": "demo-dates", "domain": "logs", "pairs": 10}
TASK = [  # a direction that no language has a part in
    ("directions", {"dates": {"domains": {name: dict.fromkeys(SEEN, DATES) for name in ("logs", "letters")}}}),
    ("models", "tiny", {"hub": "owner/tiny"}),
    ("mixtures", {"all": {"dates": ["logs", "letters"]}}),
    ("prompt", "instruction", "Date as YYYY-MM-DD:"),
]


@pytest.mark.parametrize("metrics", [["exact"], ["exact", "chrf"], ["chrf"]])
def test_a_task_without_languages(metrics):
    found = config.load(changed(*TASK, ("scoring", "metrics", metrics)))
    assert found.directions["dates"].source_language is None and found.scoring.metrics == metrics


def test_languages_are_asked_for_by_the_direction_s_own_instruction():
    own = ("directions", "de-en", "prompt", {"instruction": "Say it plainly:"})
    unnamed = [("directions", "de-en", key, REMOVED) for key in ("source_language", "target_language")]
    assert config.load(changed(own, *unnamed)).directions["de-en"].target_language is None
    assert "directions.de-en.source_language is missing" in message(changed(*unnamed))


GRID = [("methods", "caneft", "learning_rate", [1e-2, 1e-3])]
OFFLOAD = ("methods", "full", {"method": "full", "learning_rate": 1e-3, "optimizer": "adamw-offload"})

MISTAKES = {
    "unknown key": (
        [("tuning", "epocs", 1)],
        ["tuning.epocs is not a known key", "dev_pairs_per_domain, epochs", "Did you mean 'epochs'?"],
    ),
    "unknown key at the top": ([("modles", {})], ["modles is not a known key", "Did you mean 'models'?"]),
    "unknown key of a format": (
        [(*DOMAINS, "it", "test", "pears", 1)],
        ["directions.de-en.domains.it.test.pears is not a known key", "Did you mean 'pairs'?"],
    ),
    "unknown key of a method": (
        [("methods", "caneft", "learnin_rate", 1)],
        ["methods.caneft.learnin_rate is not a known key", "Did you mean 'learning_rate'?"],
    ),
    "unknown key in a list": (
        [("models", "tiny", "pretrain", "corpora", 0, "diraction", "de-en")],
        ["models.tiny.pretrain.corpora.0.diraction is not a known key", "Did you mean 'direction'?"],
    ),
    "wrong type": ([("tuning", "epochs", "two")], ["tuning.epochs is 'two'", "valid integer"]),
    "out of range": ([("tuning", "epochs", 0)], ["tuning.epochs is 0", "greater than 0"]),
    "unknown choice": ([("models", "tiny", "dtype", "bf16")], ["models.tiny.dtype is 'bf16'", "'bfloat16'"]),
    "section is a text": ([("tuning", "fast")], ["tuning is 'fast'"]),
    "missing section": ([("models", REMOVED)], ["models is missing; it is required"]),
    "missing key": (
        [("methods", "caneft", "learning_rate", REMOVED)],
        ["methods.caneft.learning_rate is missing; it is required"],
    ),
    "a rate that is text": (
        [("methods", "caneft", "learning_rate", "fast")],
        ["methods.caneft.learning_rate is 'fast'"],
    ),
    "a grid of one": ([("methods", "caneft", "learning_rate", [1e-2])], ["methods.caneft.learning_rate", "at least 2"]),
    "a negative rate in a grid": (
        [("methods", "caneft", "learning_rate", [1e-2, -1])],
        ["methods.caneft.learning_rate.1 is -1", "greater than 0"],
    ),
    "a rate twice": ([*GRID, ("methods", "caneft", "learning_rate", [1e-2, 1e-2])], ["names a rate twice"]),
    "rates that differ beyond the sixth digit": (
        [*GRID, ("methods", "caneft", "learning_rate", [1e-2, 1.0000001e-2])],
        ["methods.caneft.learning_rate names a rate twice"],
    ),
    "grids of different sizes": (
        [*GRID, ("methods", "full", {"method": "full", "learning_rate": [1e-3, 1e-4, 1e-5]})],
        ["methods has grids of learning rates of different sizes", "caneft 2, full 3"],
    ),
    "the trials' seed is a final one": ([*GRID, ("trials", {"seed": 1})], ["trials.seed is 1, which is one of seeds"]),
    "offloaded masters in two processes": (
        [OFFLOAD, ("models", "tiny", "resources", {"gpu": 2})],
        ["methods.full.resources give a job of 'tiny' 2 GPUs", "Set gpu: 1, or a device_map"],
    ),
    "offloaded masters in float16": (
        [OFFLOAD, ("models", "tiny", "dtype", "float16")],
        ["methods.full.optimizer is adamw-offload, which does not scale losses as 'tiny' in float16 needs"],
    ),
    "layers of a variant that is none": (
        [("methods", "r", {"method": "random", "learning_rate": 1e-2, "layers_of": "canef"})],
        ["methods.r.layers_of names 'canef'", "Did you mean 'caneft'?"],
    ),
    "layers of what is no random": (
        [("methods", "caneft", "layers_of", "caneft")],
        ["methods.caneft is not usable: layers_of goes with method: random only"],
    ),
    "a size of a variant that has no neurons": (
        [("methods", "l", {"method": "lora", "learning_rate": 1e-2, "equal_to": "base"})],
        ["methods.l.equal_to names 'base', which is no neuron variant"],
    ),
    "rank and size": (
        [("methods", "l", {"method": "lora", "learning_rate": 1e-2, "equal_to": "caneft", "rank": 4})],
        ["at most one of rank and equal_to"],
    ),
    "methods of a mixture": (
        [("mixtures", "all", "de-en", {"domains": ["it", "law"], "methods": ["canef"]})],
        ["mixtures.all.methods names the variant 'canef'", "Did you mean 'caneft'?"],
    ),
    "rates of a mixture that is none": (
        [("mixtures", "all", "de-en", {"domains": ["it", "law"], "rates_on": "al"})],
        ["mixtures.all.rates_on names the mixture 'al'", "Did you mean 'all'?"],
    ),
    "a domain named like a file": (
        [(*DOMAINS, "dev", {"test": {"format": "demo", "domain": "koran", "pairs": 3}})],
        ["directions.de-en.domains.dev is reserved"],
    ),
    "unknown format": (
        [(*DOMAINS, "it", "test", {"format": "mosses"})],
        ["directions.de-en.domains.it.test has format 'mosses'", "Did you mean 'moses'?"],
    ),
    "no format": ([(*DOMAINS, "it", "test", {"path": "a"})], ["domains.it.test needs the key 'format'"]),
    "unknown method": (
        [("methods", "caneft", "method", "canneft")],
        ["methods.caneft has method 'canneft'", "Did you mean 'caneft'?"],
    ),
    "unusable name": ([("methods", "My Method", {"method": "base"})], ["methods.My Method is not a usable name"]),
    "train without dev": ([(*DOMAINS, "it", "dev", REMOVED)], ["domains.it", "needs both train and dev"]),
    "two origins": (
        [("models", "tiny", "hub", "a/b")],
        ["models.tiny is not usable", "exactly one of hub, path and pretrain", "hub and pretrain"],
    ),
    "no origin": ([("models", "tiny", {})], ["models.tiny", "exactly one of hub, path and pretrain", "none"]),
    "revision without hub": ([("models", "tiny", "revision", "main")], ["models.tiny", "revision goes with hub only"]),
    "two budgets": ([("selection", "gamma", 0.1)], ["selection", "exactly one of fraction, gamma and parameters"]),
    "other two budgets": ([("selection", "parameters", 9)], ["selection", "exactly one of fraction, gamma and"]),
    "no budget": ([("selection", "fraction", None)], ["selection", "exactly one of fraction, gamma and parameters"]),
    "two budgets of a method": (
        [("methods", "caneft", "fraction", 0.1), ("methods", "caneft", "parameters", 9)],
        ["methods.caneft", "at most one of fraction and parameters"],
    ),
    "an error rate that the null does not resolve": (
        [("selection", "error_rate", 1e-6)],
        ["selection.error_rate is 1e-06", "greater than or equal to 0.00001"],
    ),
    "no stratum": ([("selection", "length_strata", 0)], ["selection.length_strata is 0", "greater than or equal to 1"]),
    "no neuron per layer": ([("selection", "per_layer", 0)], ["selection.per_layer is 0", "greater than 0"]),
    "unknown field of the prompt": (
        [("prompt", "instruction", "From {language}")],
        ["prompt", "unusable field ('language')", "allowed: source_language, target_language"],
    ),
    "domain in the prompt": (
        [("prompt", "instruction", "Translate this {domain} text")],
        ["prompt", "'domain'", "{domain} needs name_domain: true"],
    ),
    "no domain in the prompt": ([("prompt", "name_domain", True)], ["prompt", "name_domain: true needs {domain}"]),
    "half a brace in the prompt": ([("prompt", "instruction", "a } b")], ["prompt", "unusable field"]),
    "unknown domain": (
        [("mixtures", "all", "de-en", ["it", "medcial"])],
        ["mixtures.all names the domain 'medcial', which direction de-en does not have", "Did you mean 'medical'?"],
    ),
    "unknown domain to test on": (
        [("mixtures", "all", "de-en", {"domains": ["it", "law"], "test": ["koran", "lew"]})],
        ["mixtures.all names the domain 'lew'", "Did you mean 'law'?"],
    ),
    "unknown direction": (
        [("mixtures", "all", {"de-em": ["it", "law"]})],
        ["mixtures.all names the direction 'de-em'", "Did you mean 'de-en'?"],
    ),
    "unknown direction of pretraining": (
        [("models", "tiny", "pretrain", "corpora", 0, "direction", "en-de")],
        ["models.tiny.pretrain.corpora names the direction 'en-de'", "Known: de-en."],
    ),
    "trained on an unseen domain": (
        [("mixtures", "all", "de-en", ["it", "koran"])],
        ["mixtures.all trains on 'koran', which has only a test set in direction de-en"],
    ),
    "domain twice": ([("mixtures", "all", "de-en", ["it", "it"])], ["mixtures.all names a domain twice"]),
    "unknown mixture to select on": (
        [("mixtures", "one", {"de-en": {"domains": ["it"], "select_on": "al"}})],
        ["mixtures.one.select_on names the mixture 'al'", "Did you mean 'all'?"],
    ),
    "selected on one domain": (
        [("mixtures", "one", {"de-en": {"domains": ["it"], "select_on": "one"}})],
        ["mixtures.one.select_on is 'one' with one domain", "every MI is 0", "two or more"],
    ),
    "one domain and no mixture to select on": (
        [("mixtures", {"one": {"de-en": ["it"]}})],
        ["mixtures.one.select_on names the mixture 'all'"],
    ),
    "heads": ([("models", "tiny", "pretrain", "heads", 5)], ["models.tiny.pretrain.heads must divide hidden_size"]),
    "two bases": ([("methods", "zero", {"method": "base"})], ["methods has more than one entry with method: base"]),
    "seed twice": ([("seeds", [1, 2, 1])], ["seeds names a seed twice"]),
    "unknown built-in domain": (
        [(*DOMAINS, "it", "test", {"format": "demo", "domain": "lew", "pairs": 1})],
        ["directions.de-en.domains.it.test names the built-in domain 'lew'", "Did you mean 'law'?"],
    ),
    "temperature below one": ([("tuning", "temperature", 0.5)], ["tuning.temperature"]),
    "two rules of sizes": (
        [("tuning", {"temperature": 2, "pairs": {"it": 3}})],
        ["tuning", "pairs and temperature exclude each other"],
    ),
    "pairs of a domain that is none": (
        [("tuning", {"pairs": {"lew": 3}})],
        ["tuning.pairs names 'lew'", "Did you mean 'law'?"],
    ),
    "built-in domain of the other language": (
        [(*DOMAINS, "it", "test", {"format": "demo", "language": "zh", "domain": "law", "pairs": 1})],
        ["directions.de-en.domains.it.test names the built-in domain 'law'", "Did you mean 'laws'?"],
    ),
    "unknown domain of dates": (
        [*TASK, ("scoring", "metrics", ["exact"]), (*DATES_TEST, "domain", "log")],
        ["directions.dates.domains.logs.test names the built-in domain 'log'", "Did you mean 'logs'?"],
    ),
    "unknown domain of dates to pretrain on": (
        [("models", "tiny", "pretrain", "corpora", 0, "corpus", "format", "demo-dates-pretraining")],
        ["models.tiny.pretrain.corpora.0 names the built-in domain 'it'", "Known: forms, invoices"],
    ),
    "a language that the instruction names": (
        [("directions", "de-en", "source_language", REMOVED)],
        ["directions.de-en.source_language is missing, but prompt.instruction speaks of {source_language}"],
    ),
    "BLEU without a language code": (
        [*TASK, ("scoring", "metrics", ["exact", "bleu"])],
        ["directions.dates is not named by language codes, such as de-en", "the metric bleu", "scoring.metrics"],
    ),
    "languages to check without a language code": (
        [*TASK, ("scoring", "metrics", ["exact"]), ("cleaning", {"wrong_language": "drop"})],
        ["directions.dates is not named by language codes, such as de-en", "cleaning.wrong_language: drop"],
    ),
    "BLEU by default": (TASK, ["directions.dates is not named by language codes, such as de-en"]),
    "unknown metric": ([("scoring", "metrics", ["exct"])], ["scoring.metrics.0 is 'exct'", "'exact'"]),
    "reserved domain": ([(*DOMAINS, "seen", {"test": DEMO})], ["directions.de-en.domains.seen is reserved"]),
}


@pytest.mark.parametrize(("changes", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_message(changes, expected):
    text = message(changed(*changes))
    for part in expected:
        assert part in text


def test_offloaded_masters_may_belong_to_a_spread_model_or_have_a_card_of_their_own():
    for shared, own in (({"gpu": 2, "device_map": "auto"}, {}), ({"gpu": 2}, {"gpu": 1}), ({}, {"gpu": 1})):
        resources = ("models", "tiny", "resources", shared), ("methods", "full", "resources", own)
        config.load(changed(OFFLOAD, *resources), check_files=False)


def test_many_mistakes_are_cut_and_counted():
    text = message(changed(*(("tuning", f"key{number}", 1) for number in range(9))))
    assert "... and 5 more." in text


def test_a_mixture_is_a_list_or_a_section():
    short, long = (
        config.load(changed(("mixtures", "all", "de-en", value)))
        for value in (["it", "law"], {"domains": ["it", "law"]})
    )
    assert short == long


# --- files -------------------------------------------------------------------------------------------------------


def corpus(path):
    return (*DOMAINS, "it", "test", {"format": "jsonl", "path": str(path)})


@pytest.fixture(autouse=True)
def no_data_root(monkeypatch):
    monkeypatch.delenv("CANEFT_DATA", raising=False)


def test_missing_corpus_file(tmp_path):
    text = message(changed(corpus(tmp_path / "it.jsonl")), check_files=True)
    assert "directions.de-en.domains.it.test" in text and f"{tmp_path / 'it.jsonl'}, which does not exist" in text
    assert config.load(changed(corpus(tmp_path / "it.jsonl")), check_files=False)


def test_of_a_file_in_an_archive_the_archive_must_exist(tmp_path):
    inside = corpus(tmp_path / "it.zip::it/test.jsonl")
    assert f"{tmp_path / 'it.zip'}, which does not exist" in message(changed(inside), check_files=True)
    (tmp_path / "it.zip").touch()
    assert config.load(changed(inside))


def test_missing_model_folder(tmp_path):
    text = message(changed(("models", "tiny", {"path": str(tmp_path / "model")})), check_files=True)
    assert "models.tiny.path" in text and "does not exist" in text


def test_relative_path_without_data_root():
    text = message(changed(corpus("it.jsonl")), check_files=True)
    assert "directions.de-en.domains.it.test" in text and "'it.jsonl'" in text
    assert "no data_root" in text and "CANEFT_DATA" in text


def test_relative_paths_start_from_the_key_before_the_variable(tmp_path, monkeypatch):
    (tmp_path / "it.jsonl").touch()
    monkeypatch.setenv("CANEFT_DATA", str(tmp_path))
    assert config.load(changed(corpus("it.jsonl")))
    other = changed(corpus("it.jsonl"), ("data_root", str(tmp_path / "other")))
    assert str(tmp_path / "other" / "it.jsonl") in message(other, check_files=True)


def write(folder, name, content):
    path = folder / name
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def layered(tmp_path, *changes):
    """A whole file, a file laid over it, and the two put together."""
    below = changed(("tuning", {"epochs": 2, "clip": 1.0}))
    raw = copy.deepcopy(below)
    over = {}
    for *path, key, value in changes:
        for root in (raw, over):
            here = root
            for part in path:
                here = here.setdefault(part, {})
            here[key] = value
    return write(tmp_path, "below.yaml", below), write(tmp_path, "over.yaml", over), raw


def test_the_message_names_the_file_that_holds_the_key(tmp_path):
    below, over, raw = layered(tmp_path, ("tuning", "epocs", 1), ("seeds", [1, 1]))
    assert message(raw, [below, over]).startswith(f"{over}: tuning.epocs")
    below, over, raw = layered(tmp_path, ("seeds", [1, 1]))
    assert message(raw, [below, over]).startswith(f"{over}: seeds")
    below, over, raw = layered(tmp_path, ("seeds", [1, 2]))
    del raw["models"]["tiny"]["pretrain"]
    assert message(raw, [below, over]).startswith(f"{below}: models.tiny")


def test_the_message_names_the_later_file_if_both_hold_the_key(tmp_path):
    below, over, raw = layered(tmp_path, ("tuning", "epochs", -1))
    assert message(raw, [below, over]).startswith(f"{over}: tuning.epochs is -1")


@pytest.mark.parametrize("content", ["[", "\x00", "- 1\n", ""], ids=["yaml", "bytes", "list", "empty"])
def test_an_unreadable_file_does_not_hide_the_message(tmp_path, content):
    path = tmp_path / "broken.yaml"
    path.write_text(content, encoding="utf-8")
    assert "tuning.epocs" in message(changed(("tuning", "epocs", 1)), [path, tmp_path / "gone.yaml"])


def test_a_dry_run_names_the_file_that_was_given(tmp_path):
    over = write(tmp_path, "over.yaml", {"tuning": {"epochs": -1}})
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--configfile", str(over)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert f"{over}: tuning.epochs is -1" in done.stdout + done.stderr
