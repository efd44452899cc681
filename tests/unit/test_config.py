"""Every kind of mistake in a configuration gives one readable message: file, key, found and expected value."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from caneft import config
from caneft.errors import InputError
from tests.messages import assert_names, suggestion

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


def unshared(value):
    """A copy in which no two places hold the same object."""
    return json.loads(json.dumps(value))


def changed(*changes):
    """The valid configuration with other values: each change is a path of keys, then the value."""
    raw = unshared(VALID)
    for *path, key, value in changes:
        here = raw
        for part in path:
            here = here.setdefault(part, {}) if isinstance(here, dict) else here[part]
        if value is REMOVED:
            del here[key]
        else:
            here[key] = unshared(value)
    return raw


def message(raw, files=(), check_files=False):
    """The message that refuses the configuration, after checks that hold for every message."""
    with pytest.raises(InputError) as caught:
        config.load(raw, files, check_files)
    text = str(caught.value)
    lines = text.splitlines()
    assert 1 <= len(lines) <= 10 and all(line.strip() for line in lines)
    for trace in ("input should", "valid dictionary", "instance of", "after validation", "unable to", "None"):
        assert trace not in text
    for trace in ("Traceback", "pydantic", "validation error", "input_value", "errors.pydantic.dev", "Value error"):
        assert trace not in text
    return text


def test_the_valid_one_is_valid():
    assert config.load(VALID).mixtures["all"]["de-en"].domains == ["it", "law"]


DATES = {"format": "demo-dates", "domain": "logs", "pairs": 10}
TASK = [  # a direction without languages
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
    assert_names(message(changed(*unnamed)), "directions.de-en.source_language", "prompt.instruction")


def test_languages_are_asked_for_by_the_text_that_is_read():
    unnamed = [("directions", "de-en", key, REMOVED) for key in ("source_language", "target_language")]
    own = {"form": "completion", "completion": "Long: {source}\nShort:"}
    found = config.load(changed(*unnamed, ("prompt", own)))
    assert found.prompt.read == {"completion": "Long: {source}\nShort:"}
    assert config.load(changed()).prompt.read.keys() == {"instruction"}


GRID = [("methods", "caneft", "learning_rate", [1e-2, 1e-3])]
OFFLOAD = ("methods", "full", {"method": "full", "learning_rate": 1e-3, "optimizer": "adamw-offload"})

# A mistake, and what the message must name: the key, its value, and what would be valid.
MISTAKES = {
    "unknown key": (
        [("tuning", "epocs", 1)],
        ["tuning.epocs", "dev_pairs_per_domain", suggestion("epocs", "epochs")],
    ),
    "unknown key at the top": ([("modles", {})], ["modles", "mixtures", suggestion("modles", "models")]),
    "unknown key of a format": (
        [(*DOMAINS, "it", "test", "pears", 1)],
        ["directions.de-en.domains.it.test.pears", "limit", suggestion("pears", "pairs")],
    ),
    "unknown key of a method": (
        [("methods", "caneft", "learnin_rate", 1)],
        ["methods.caneft.learnin_rate", "task_relevant", suggestion("learnin_rate", "learning_rate")],
    ),
    "unknown key in a list": (
        [("models", "tiny", "pretrain", "corpora", 0, "diraction", "de-en")],
        ["models.tiny.pretrain.corpora.0.diraction", "corpus", suggestion("diraction", "direction")],
    ),
    "wrong type": ([("tuning", "epochs", "two")], ["tuning.epochs", "'two'"]),
    "out of range": ([("tuning", "epochs", -7)], ["tuning.epochs", -7, 0]),
    "unknown choice": ([("models", "tiny", "dtype", "bf16")], ["models.tiny.dtype", "'bf16'", "float32", "bfloat16"]),
    "section is a text": ([("tuning", "fast")], ["tuning", "'fast'"]),
    "missing section": ([("models", REMOVED)], ["models"]),
    "missing key": ([("methods", "caneft", "learning_rate", REMOVED)], ["methods.caneft.learning_rate"]),
    "a rate that is text": (
        [("methods", "caneft", "learning_rate", "fast")],
        ["methods.caneft.learning_rate", "'fast'"],
    ),
    "a grid of one": ([("methods", "caneft", "learning_rate", [1e-2])], ["methods.caneft.learning_rate", "[0.01]", 2]),
    "a negative rate in a grid": (
        [("methods", "caneft", "learning_rate", [1e-2, -1])],
        ["methods.caneft.learning_rate.1", -1, 0],
    ),
    "a rate twice": (
        [*GRID, ("methods", "caneft", "learning_rate", [1e-2, 1e-2])],
        ["methods.caneft.learning_rate"],
    ),
    "rates that differ beyond the sixth digit": (
        [*GRID, ("methods", "caneft", "learning_rate", [1e-2, 1.0000001e-2])],
        ["methods.caneft.learning_rate"],
    ),
    "grids of different sizes": (
        [*GRID, ("methods", "full", {"method": "full", "learning_rate": [1e-3, 1e-4, 1e-5]})],
        ["methods", "caneft 2", "full 3"],
    ),
    "the trials' seed is a final one": ([*GRID, ("trials", {"seeds": [0, 1]})], ["trials.seeds", 1, "seeds"]),
    "offloaded masters in two processes": (
        [OFFLOAD, ("models", "tiny", "resources", {"gpu": 2})],
        ["methods.full.resources", "'tiny'", 2, "adamw-offload", "gpu: 1", "device_map"],
    ),
    "offloaded masters on two nodes": (
        [OFFLOAD, ("models", "tiny", "resources", {"nodes": 2})],
        ["methods.full.resources", "'tiny'", 2, "adamw-offload", "nodes: 1"],
    ),
    "a model over the GPUs of two nodes": (
        [("models", "tiny", "resources", {"nodes": 2, "gpu": 2, "device_map": "auto"})],
        ["models.tiny.resources.nodes", 2, "device_map"],
    ),
    "a variant's model over the GPUs of two nodes": (
        [
            ("models", "tiny", "resources", {"nodes": 3}),
            ("methods", "caneft", "resources", {"gpu": 2, "device_map": "auto"}),
        ],
        ["methods.caneft.resources.nodes", 3, "device_map"],
    ),
    "offloaded masters in float16": (
        [OFFLOAD, ("models", "tiny", "dtype", "float16")],
        ["methods.full.optimizer", "adamw-offload", "'tiny'", "float16"],
    ),
    "layers of a variant that is none": (
        [("methods", "r", {"method": "random", "learning_rate": 1e-2, "layers_of": "canef"})],
        ["methods.r.layers_of", "'canef'", suggestion("canef", "caneft")],
    ),
    "layers of what is no random": (
        [("methods", "caneft", "layers_of", "caneft")],
        ["methods.caneft", "layers_of", "method: random"],
    ),
    "a size of a variant that has no neurons": (
        [("methods", "l", {"method": "lora", "learning_rate": 1e-2, "equal_to": "base"})],
        ["methods.l.equal_to", "'base'", "caneft"],
    ),
    "rank and size": (
        [("methods", "l", {"method": "lora", "learning_rate": 1e-2, "equal_to": "caneft", "rank": 4})],
        ["methods.l", "rank", "equal_to"],
    ),
    "methods of a mixture": (
        [("mixtures", "all", "de-en", {"domains": ["it", "law"], "methods": ["canef"]})],
        ["mixtures.all.de-en.methods", "'canef'", suggestion("canef", "caneft")],
    ),
    "rates of a mixture that is none": (
        [("mixtures", "all", "de-en", {"domains": ["it", "law"], "rates_on": "al"})],
        ["mixtures.all.de-en.rates_on", "'al'", "de-en", suggestion("al", "all")],
    ),
    "a domain named like a file": (
        [(*DOMAINS, "samples", {"test": {"format": "demo", "domain": "koran", "pairs": 3}})],
        ["directions.de-en.domains.samples"],
    ),
    "unknown format": (
        [(*DOMAINS, "it", "test", {"format": "mosses"})],
        ["directions.de-en.domains.it.test", "format", "'mosses'", "jsonl", suggestion("mosses", "moses")],
    ),
    "no format": ([(*DOMAINS, "it", "test", {"path": "a"})], ["directions.de-en.domains.it.test", "format"]),
    "unknown method": (
        [("methods", "caneft", "method", "canneft")],
        ["methods.caneft", "method", "'canneft'", "lora", suggestion("canneft", "caneft")],
    ),
    "unusable name": ([("methods", "My Method", {"method": "base"})], ["methods.My Method", "'-'", "'_'"]),
    "train without dev": (
        [(*DOMAINS, "it", "dev", REMOVED)],
        ["directions.de-en.domains.it", "train", "dev"],
    ),
    "two origins": ([("models", "tiny", "hub", "a/b")], ["models.tiny", "hub", "path", "pretrain"]),
    "no origin": ([("models", "tiny", {})], ["models.tiny", "hub", "path", "pretrain"]),
    "revision without hub": ([("models", "tiny", "revision", "main")], ["models.tiny", "revision", "hub"]),
    "two budgets": ([("selection", "gamma", 0.1)], ["selection", "fraction", "gamma", "parameters"]),
    "other two budgets": ([("selection", "parameters", 9)], ["selection", "fraction", "gamma", "parameters"]),
    "no budget": ([("selection", "fraction", None)], ["selection", "fraction", "gamma", "parameters"]),
    "two budgets of a method": (
        [("methods", "caneft", "fraction", 0.1), ("methods", "caneft", "parameters", 9)],
        ["methods.caneft", "fraction", "parameters"],
    ),
    "an error rate that the null does not resolve": (
        [("selection", "error_rate", 1e-6)],
        ["selection.error_rate", "1e-06", "0.00001"],
    ),
    "no stratum": ([("selection", "length_strata", 0)], ["selection.length_strata", 0, 1]),
    "no neuron per layer": ([("selection", "per_layer", -3)], ["selection.per_layer", -3, 0]),
    "unknown field of the prompt": (
        [("prompt", "instruction", "From {language}")],
        ["prompt.instruction", "'language'", "source_language", "target_language"],
    ),
    "domain in the prompt": (
        [("prompt", "instruction", "Translate this {domain} text")],
        ["prompt.instruction", "'domain'", "{domain}", "name_domain: true"],
    ),
    "no domain in the prompt": (
        [("prompt", "name_domain", True)],
        ["prompt.instruction", "name_domain: true", "{domain}"],
    ),
    "no domain in a mixture": ([("mixtures", "all", "de-en", [])], ["mixtures.all.de-en", "[]", 1]),
    "no seeds": ([("seeds", [])], ["seeds", "[]", 1]),
    "a single rate as a grid": (
        [("methods", "caneft", "learning_rate", [0.01])],
        ["methods.caneft.learning_rate", "[0.01]", 2],
    ),
    "a model as text": ([("models", "tiny", "owner/x")], ["models.tiny", "{hub: owner/x}"]),
    "a metric as text": ([("scoring", "comet", "owner/x")], ["scoring.comet", "{hub: owner/x}"]),
    "a corpus as text": (
        [(*DOMAINS, "law", "test", "law.tsv")],
        ["directions.de-en.domains.law.test", "format:", "path: law.tsv}"],
    ),
    "a method as text": ([("methods", "caneft", "joint")], ["methods.caneft", "{method: joint}"]),
    "an empty domain": ([(*DOMAINS, "law", None)], ["directions.de-en.domains.law", "empty", "test, train, dev"]),
    "one thing or another": ([("importance", {"samples": 1})], ["importance.samples", 1, "'auto'"]),
    "a list of one": ([("seeds", 1)], ["seeds", "[1]"]),
    "a number as text": ([("report", "title", 5)], ["report.title", 5, "quotes"]),
    "nearly a name": ([("scoring", "metrics", ["bleeu"])], ["scoring.metrics.0", "'bleeu'", "'bleu'?"]),
    "domain twice": ([("mixtures", "all", "de-en", ["it", "law", "it"])], ["mixtures.all.de-en", "it", "twice"]),
    "seeds twice": ([("seeds", [3, 14, 15, 14])], ["seeds", 14, "twice"]),
    "trials twice": ([("trials", "seeds", [7, 8, 8])], ["trials.seeds", 8, "twice"]),
    "rate twice": (
        [("methods", "caneft", "learning_rate", [0.01, 0.02, 0.02])],
        ["methods.caneft.learning_rate", "0.02", "twice"],
    ),
    "a label of nothing": (
        [("report", "labels", {"canefft": "X", "law": "Law", "caneft": "C"})],
        ["report.labels.canefft", "'caneft'?"],
    ),
    "a headline of which less is better": ([("scoring", "metrics", ["ter", "bleu"])], ["scoring", "ter", "chrf"]),
    "half a brace in the prompt": ([("prompt", "instruction", "a } b")], ["prompt.instruction", "'}'"]),
    "unknown form": ([("prompt", "form", "chats")], ["prompt.form", "'chats'", "'completion'"]),
    "unknown field of the text to complete": (
        [("prompt", "completion", "{source_langauge}: {source} =")],
        ["prompt.completion", "'source_langauge'", suggestion("source_langauge", "source_language")],
    ),
    "no source to complete": ([("prompt", "completion", "English:")], ["prompt.completion", "{source}"]),
    "two sources to complete": ([("prompt", "completion", "{source} {source} =")], ["prompt.completion", "{source}"]),
    "nothing behind the source": ([("prompt", "completion", "German: {source}")], ["prompt.completion", "{source}"]),
    "a space behind the text to complete": (
        [("prompt", "completion", "German: {source}\nEnglish: ")],
        ["prompt.completion", "white space", "answer"],
    ),
    "domain in the text to complete": (
        [("prompt", "completion", "{domain}: {source} =")],
        ["prompt.completion", "'domain'", "{domain}", "name_domain: true"],
    ),
    "no domain in the text to complete": (
        [("prompt", {"form": "completion", "name_domain": True})],
        ["prompt.completion", "name_domain: true", "{domain}"],
    ),
    "a language that the text to complete names": (
        [("prompt", "form", "completion"), ("directions", "de-en", "target_language", REMOVED)],
        ["directions.de-en.target_language", "prompt.completion", "{target_language}"],
    ),
    "unknown domain": (
        [("mixtures", "all", "de-en", ["it", "medcial"])],
        ["mixtures.all.de-en", "'medcial'", "koran", suggestion("medcial", "medical")],
    ),
    "unknown domain to test on": (
        [("mixtures", "all", "de-en", {"domains": ["it", "law"], "test": ["koran", "lew"]})],
        ["mixtures.all.de-en", "'lew'", suggestion("lew", "law")],
    ),
    "unknown direction": (
        [("mixtures", "all", {"de-em": ["it", "law"]})],
        ["mixtures.all.de-em", "'de-em'", suggestion("de-em", "de-en")],
    ),
    "unknown direction of pretraining": (
        [("models", "tiny", "pretrain", "corpora", 0, "direction", "en-de")],
        ["models.tiny.pretrain.corpora", "'en-de'", "de-en"],
    ),
    "trained on an unseen domain": (
        [("mixtures", "all", "de-en", ["it", "koran"])],
        ["mixtures.all.de-en", "'koran'"],
    ),
    "unknown mixture to select on": (
        [("mixtures", "one", {"de-en": {"domains": ["it"], "select_on": "al"}})],
        ["mixtures.one.de-en.select_on", "'al'", "de-en", suggestion("al", "all")],
    ),
    "selected on one domain": (
        [("mixtures", "one", {"de-en": {"domains": ["it"], "select_on": "one"}})],
        ["mixtures.one.de-en.select_on", "'one'"],
    ),
    "one domain and no mixture to select on": (
        [("mixtures", {"one": {"de-en": ["it"]}})],
        ["mixtures.one.de-en.select_on", "'all'"],
    ),
    "heads": ([("models", "tiny", "pretrain", "heads", 5)], ["models.tiny.pretrain.heads", "hidden_size"]),
    "two bases": ([("methods", "zero", {"method": "base"})], ["methods", "method: base"]),
    "seed twice": ([("seeds", [1, 2, 1])], ["seeds"]),
    "unknown built-in domain": (
        [(*DOMAINS, "it", "test", {"format": "demo", "domain": "lew", "pairs": 1})],
        ["directions.de-en.domains.it.test", "'lew'", "finance", suggestion("lew", "law")],
    ),
    "temperature below one": ([("tuning", "temperature", 0.5)], ["tuning.temperature", 0.5, 1]),
    "two rules of sizes": ([("tuning", {"temperature": 2, "pairs": {"it": 3}})], ["tuning", "pairs", "temperature"]),
    "pairs of a domain that is none": (
        [("tuning", {"pairs": {"lew": 3}})],
        ["tuning.pairs", "'lew'", "medical", suggestion("lew", "law")],
    ),
    "built-in domain of the other language": (
        [(*DOMAINS, "it", "test", {"format": "demo", "language": "zh", "domain": "law", "pairs": 1})],
        ["directions.de-en.domains.it.test", "'law'", "thesis", suggestion("law", "laws")],
    ),
    "unknown domain of dates": (
        [*TASK, ("scoring", "metrics", ["exact"]), (*DATES_TEST, "domain", "log")],
        ["directions.dates.domains.logs.test", "'log'", "invoices", suggestion("log", "logs")],
    ),
    "unknown domain of dates to pretrain on": (
        [("models", "tiny", "pretrain", "corpora", 0, "corpus", "format", "demo-dates-pretraining")],
        ["models.tiny.pretrain.corpora.0", "'it'", "forms", "invoices"],
    ),
    "a language that the instruction names": (
        [("directions", "de-en", "source_language", REMOVED)],
        ["directions.de-en.source_language", "prompt.instruction", "{source_language}"],
    ),
    "BLEU without a language code": (
        [*TASK, ("scoring", "metrics", ["exact", "bleu"])],
        ["directions.dates", "de-en", "bleu", "scoring.metrics"],
    ),
    "languages to check without a language code": (
        [*TASK, ("scoring", "metrics", ["exact"]), ("cleaning", {"wrong_language": "drop"})],
        ["directions.dates", "de-en", "cleaning.wrong_language: drop"],
    ),
    "BLEU by default": (TASK, ["directions.dates", "de-en", "bleu", "scoring.metrics"]),
    "unknown metric": ([("scoring", "metrics", ["exct"])], ["scoring.metrics.0", "'exct'", "'exact'"]),
    "reserved domain": ([(*DOMAINS, "average_all", {"test": DEMO})], ["directions.de-en.domains.average_all"]),
}


@pytest.mark.parametrize(("changes", "facts"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_message_of_its_key(changes, facts):
    key, *others = facts
    text = message(changed(*changes))
    assert_names(text, *others)
    assert re.fullmatch(rf"[^\n]*?(?<![\w.]){re.escape(key)}(?![\w-])(?!\.\w).*(\n(?!--config: ).*)*", text), text


def test_of_two_origins_the_message_names_those_that_were_found():
    said = message(changed(("models", "tiny", "hub", "a/b")))
    assert said.count("hub") == said.count("pretrain") == said.count("path") + 1


def test_offloaded_masters_may_belong_to_a_spread_model_or_have_a_card_of_their_own():
    for shared, own in (({"gpu": 2, "device_map": "auto"}, {}), ({"gpu": 2}, {"gpu": 1}), ({}, {"gpu": 1})):
        resources = ("models", "tiny", "resources", shared), ("methods", "full", "resources", own)
        config.load(changed(OFFLOAD, *resources), check_files=False)


def test_many_mistakes_are_cut_and_counted():
    text = message(changed(*(("tuning", f"key{number}", 1) for number in range(9))))
    assert [f"tuning.key{number}" in text for number in range(9)] == [True] * 4 + [False] * 5
    assert_names(text.splitlines()[-1], 5)


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
    assert_names(text, "directions.de-en.domains.it.test", tmp_path / "it.jsonl")
    assert "data_root" not in text  # the path is absolute
    assert config.load(changed(corpus(tmp_path / "it.jsonl")), check_files=False)


def test_of_a_file_in_an_archive_the_archive_must_exist(tmp_path):
    inside = corpus(tmp_path / "it.zip::it/test.jsonl")
    text = message(changed(inside), check_files=True)
    assert_names(text, tmp_path / "it.zip")
    assert "it.zip::" not in text
    (tmp_path / "it.zip").touch()
    assert config.load(changed(inside))


def test_missing_model_folder(tmp_path):
    text = message(changed(("models", "tiny", {"path": str(tmp_path / "model")})), check_files=True)
    assert_names(text, "models.tiny.path", tmp_path / "model")


def test_relative_path_without_data_root():
    text = message(changed(corpus("it.jsonl")), check_files=True)
    assert_names(text, "directions.de-en.domains.it.test", "'it.jsonl'", "data_root", "CANEFT_DATA")


def test_relative_paths_start_from_the_key_before_the_variable(tmp_path, monkeypatch):
    (tmp_path / "it.jsonl").touch()
    monkeypatch.setenv("CANEFT_DATA", str(tmp_path))
    assert config.load(changed(corpus("it.jsonl")))
    other = changed(corpus("it.jsonl"), ("data_root", str(tmp_path / "other")))
    assert_names(message(other, check_files=True), "data_root", tmp_path / "other")  # once, not for each file in it
    (tmp_path / "other").mkdir()
    assert_names(message(other, check_files=True), tmp_path / "other" / "it.jsonl")


def write(folder, name, content):
    path = folder / name
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def layered(tmp_path, *changes):
    """A whole file, a file laid over it, and the two merged."""
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
    below, over, raw = layered(tmp_path, ("tuning", "epocs", 1))
    assert message(raw, [below, over]).startswith(f"{over}: tuning.epocs")
    below, over, raw = layered(tmp_path, ("seeds", [1, 1]))
    assert message(raw, [below, over]).startswith(f"{over}: seeds")
    below, over, raw = layered(tmp_path, ("seeds", [1, 2]))
    del raw["models"]["tiny"]["pretrain"]
    assert message(raw, [below, over]).startswith(f"{below}: models.tiny")


def test_the_message_names_the_later_file_if_both_hold_the_key(tmp_path):
    below, over, raw = layered(tmp_path, ("tuning", "epochs", -1))
    assert message(raw, [below, over]).startswith(f"{over}: tuning.epochs")


@pytest.mark.parametrize("content", ["[", "\x00", "- 1\n", ""], ids=["yaml", "bytes", "list", "empty"])
def test_an_unreadable_file_does_not_hide_the_message(tmp_path, content):
    path = tmp_path / "broken.yaml"
    path.write_text(content, encoding="utf-8")
    assert "tuning.epocs" in message(changed(("tuning", "epocs", 1)), [path, tmp_path / "gone.yaml"])


def test_a_dry_run_names_the_file_that_was_given(tmp_path):
    over = write(tmp_path, "over.yaml", {"tuning": {"epochs": -1}})
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--configfile", str(over)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode and f"{over}: tuning.epochs" in done.stdout + done.stderr
