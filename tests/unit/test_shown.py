"""Families of variants that differ only in their budget: which variant represents one, and whose examples are shown."""

import json

import fake_results
import pytest

from caneft import config
from caneft.plan import Plan, parts
from caneft.reporting.shown import example_files, example_inputs, example_runs, families, main_variants

METHODS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": 1e-3},
    "lora": {"method": "lora", "rank": 16, "learning_rate": 1e-2},
    "lora-equal": {"method": "lora", "equal_to": "caneft", "learning_rate": 2e-2},
    "lora-2": {"method": "lora", "rank": 2, "learning_rate": 1e-2},
    "lora-dropout": {"method": "lora", "rank": 2, "dropout": 0.1, "learning_rate": 1e-2},
    "random": {"method": "random", "learning_rate": 1e-2},
    "random-layers": {"method": "random", "layers_of": "caneft", "learning_rate": 1e-2},
    "caneft": {"method": "caneft", "learning_rate": 1e-2},
    "caneft-unfiltered": {"method": "caneft", "task_relevant": None, "learning_rate": 1e-2},
    "caneft-same": {"method": "caneft", "task_relevant": 0.5, "learning_rate": 2e-2},
    "caneft-layers": {"method": "caneft", "task_relevant_scope": "layer", "learning_rate": 1e-2},
    "caneft-model": {"method": "caneft", "task_relevant_scope": "model", "learning_rate": 1e-2},
    "caneft-2": {"method": "caneft", "fraction": 0.02, "learning_rate": 1e-2, "resources": {"gpu": 1}},
    "caneft-weights": {"method": "caneft", "parameters": 9000, "learning_rate": 1e-2},
}
FAMILIES = {
    "base": ("base",),
    "full": ("full",),
    "lora": ("lora", "lora-equal", "lora-2"),
    "lora-dropout": ("lora-dropout",),
    "random": ("random",),
    "random-layers": ("random-layers",),
    "caneft": ("caneft", "caneft-same", "caneft-model", "caneft-2", "caneft-weights"),
    "caneft-unfiltered": ("caneft-unfiltered",),
    "caneft-layers": ("caneft-layers",),
}


@pytest.fixture
def plan():
    return fake_results.plan(METHODS, seeds=(3, 1), selection={"fraction": 0.1, "task_relevant": 0.5})


def test_a_family_differs_in_its_budget_alone(plan):
    found = families(plan, METHODS)
    assert {family.variants[0]: tuple(family.variants) for family in found} == FAMILIES
    assert {family.variants[0]: family.budgets for family in found if family.budgets > 1} == {"lora": 3, "caneft": 3}
    assert [family.method for family in found] == [METHODS[name]["method"] for name in FAMILIES]


def test_the_same_holds_of_the_configuration_that_steps_get(plan):
    """`task_relevant: null` is the key's default value, but leaving the key out means something else."""
    passed = Plan(config.load(json.loads(parts.reporting(plan.config)), check_files=False))
    assert families(passed, METHODS) == families(plan, METHODS)


def test_one_budget_stands_for_a_family(plan):
    left_out = {"lora-2", "caneft-2", "caneft-weights"}
    assert main_variants(plan, METHODS) == [name for name in METHODS if name not in left_out]
    assert main_variants(plan, ["caneft-2", "caneft-weights"]) == ["caneft-2"], (
        "the first where none has the shared one"
    )


def test_examples_are_of_the_first_variant_of_each_kind_at_the_first_seed(plan):
    runs = example_runs(plan, ("tiny", "de-en", "all"))
    assert [run.name for run in runs] == [
        "base",
        *(f"all/{name}/seed3" for name in ("full", "lora", "random", "caneft")),
    ]


def test_examples_need_translations_of_what_they_show_and_the_test_corpora(plan):
    folder = "runs/tiny/de-en"
    names = ("base", *(f"all/{name}/seed3" for name in ("full", "lora", "random", "caneft")))
    runs = {f"{folder}/{name}/translations/test.jsonl" for name in names}
    corpora = {f"corpora/de-en/{domain}/test.jsonl" for domain in ("it", "law", "koran")}
    assert set(example_inputs(plan)) == runs | corpora
    by_path = {file.path: file.domains for file in example_files(plan)}
    assert by_path[f"{folder}/all/lora/seed3/translations/test.jsonl"] == plan.tested("de-en", "all")


def test_mixtures_of_one_domain_have_no_examples_beside_larger_ones():
    plan = fake_results.plan(mixtures={"all": {"de-en": ["it", "law"]}, "only": {"de-en": ["law"]}})
    assert {file.block for file in example_files(plan)} == set(plan.shown_blocks()) == {("tiny", "de-en", "all")}
