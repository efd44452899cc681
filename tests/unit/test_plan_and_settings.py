"""The plan of a small configuration worked out by hand, and which step gets which part of a configuration."""

import copy
import itertools

import pytest
from pydantic import TypeAdapter

from caneft import config
from caneft.plan import Plan, Run, parts, settings
from caneft.reporting import inputs
from tests.messages import refused

DEMO = {"format": "demo", "domain": "it", "pairs": 10}
SEEN, UNSEEN = {"train": DEMO, "dev": DEMO, "test": DEMO}, {"test": DEMO}
RAW = {
    "directions": {
        "de-en": {
            "source_language": "German",
            "target_language": "English",
            "domains": {"law": SEEN, "it": SEEN, "koran": UNSEEN, "garden": SEEN},
        },
        "zh-en": {"source_language": "Chinese", "target_language": "English", "domains": {"news": SEEN, "talks": SEEN}},
    },
    "models": {
        "tiny": {
            "pretrain": {
                "corpora": [
                    {"direction": "de-en", "corpus": {"format": "demo-pretraining", "domains": ["it"], "pairs": 10}}
                ]
            }
        },
        "large": {"hub": "owner/large", "dtype": "bfloat16", "scale_exponent": 20},
    },
    "mixtures": {
        "all": {"de-en": ["law", "it"], "zh-en": ["news", "talks"]},
        "only-it": {"de-en": {"domains": ["it"], "select_on": "all", "test": ["law", "it"]}},
    },
    "methods": {
        "lora": {"method": "lora", "learning_rate": 1e-4},
        "zero": {"method": "base"},
        "full": {"method": "full", "learning_rate": 1e-5},
        "random": {"method": "random", "learning_rate": 1e-4},
        "caneft": {"method": "caneft", "learning_rate": 1e-4},
        "wide": {"method": "caneft", "learning_rate": 1e-4, "fraction": 0.5, "task_relevant": 0.9},
    },
    "seeds": [1, 2],
    "selection": {"fraction": 0.1},
}


def load(*changes):
    """The configuration with other values: each change is a path of keys, then the value."""
    raw = copy.deepcopy(RAW)
    for *path, key, value in changes:
        here = raw
        for part in path:
            here = here.setdefault(part, {})
        here[key] = value
    return config.load(raw, check_files=False)


PLAN = Plan(load())


# --- plan --------------------------------------------------------------------------------------------------------


def test_blocks():
    assert list(PLAN.blocks()) == [
        ("tiny", "de-en", "all"),  # not zh-en, which its pretraining lacks
        ("tiny", "de-en", "only-it"),
        ("large", "de-en", "all"),
        ("large", "de-en", "only-it"),
        ("large", "zh-en", "all"),
    ]


def test_runs():
    names = [run.folder for run in PLAN.runs() if run.model == "tiny"]
    trained = ("lora", "full", "random", "caneft", "wide")
    mixtures = ("all", "only-it")
    expected = {f"runs/tiny/de-en/{m}/{v}/seed{s}" for m in mixtures for v in trained for s in (1, 2)}
    assert set(names) == {"runs/tiny/de-en/zero"} | expected
    assert len(names) == 21  # the base once, though it is in two blocks
    assert len(PLAN.runs()) == len(set(PLAN.runs())) == 21 + 21 + 11


def test_a_run_is_read_back_from_its_folder():
    run = Run("tiny", "de-en", "caneft", "all", 2)
    assert run.folder == "runs/tiny/de-en/all/caneft/seed2" and run.name == "all/caneft/seed2"
    assert Run.parse(run.folder.removeprefix("runs/")) == run


@pytest.mark.parametrize(
    "name", ["zero", "all/shown", "all/caneft/seed2", "all/caneft/lr1e-05-seed0", "only-it/full/lr0.002-seed12"]
)
def test_every_kind_of_run_is_read_back_from_its_name(name):
    run = Run.parse(f"tiny/de-en/{name}")
    assert run.name == name and run.folder == f"runs/tiny/de-en/{name}"


def test_the_parts_of_names():
    assert Run.parse("tiny/de-en/all/full/lr1e-05-seed12") == Run("tiny", "de-en", "full", "all", 12, rate=1e-5)
    assert Run.parse("tiny/de-en/all/full/seed0") == Run("tiny", "de-en", "full", "all", 0)
    assert Run.parse("tiny/de-en/all/shown") == Run("tiny", "de-en", "shown", "all")
    assert Run.parse("tiny/de-en/zero") == Run("tiny", "de-en", "zero")


SHOWN = ("methods", "shown", {"method": "icl", "examples": 2, "seed": 3})
GRID = ("methods", "caneft", "learning_rate", [1e-2, 1e-3])


def test_examples_in_the_prompt_have_a_mixture_and_no_seed():
    plan = Plan(load(SHOWN))
    assert [run.folder for run in plan.untrained_runs("tiny", "de-en", "only-it")] == [
        "runs/tiny/de-en/zero",
        "runs/tiny/de-en/only-it/shown",
    ]
    assert plan.artefact(Run("tiny", "de-en", "shown", "only-it")) is None
    assert len(plan.runs()) == len(PLAN.runs()) + 5


def test_trials_stand_where_the_rates_are_chosen():
    """Both mixtures share one set of trials, on `all`, but have a block each; lora has a fixed rate."""
    plan = Plan(load(GRID))
    folders = [f"runs/tiny/de-en/all/caneft/lr{rate}-seed{seed}" for rate in ("0.001", "0.01") for seed in (0, 100)]
    for mixture in ("all", "only-it"):
        assert [run.folder for run in plan.trials("tiny", "de-en", mixture)] == folders
        assert plan.choice(Run("tiny", "de-en", "caneft", mixture, 1)) == "runs/tiny/de-en/all/caneft/choice.json"
        assert plan.choice(Run("tiny", "de-en", "lora", mixture, 1)) is None
    assert plan.choice(Run("tiny", "de-en", "caneft", "all", 0, 1e-2)) is None  # a trial needs no choice
    assert len(plan.runs()) == len(PLAN.runs()) + 3 * 4  # three pairs of model and direction
    own = Plan(load(GRID, ("mixtures", "only-it", "de-en", "rates_on", "only-it")))
    assert plan.rates_on("de-en", "only-it") == "all" and own.rates_on("de-en", "only-it") == "only-it"
    assert next(own.trials("tiny", "de-en", "only-it")).folder == "runs/tiny/de-en/only-it/caneft/lr0.001-seed0"


def test_a_trial_is_judged_on_dev_and_tested_too():
    trial, plan = Run("tiny", "de-en", "caneft", "all", 0, 1e-2), Plan(load(GRID))
    assert translated_by(plan, trial) == {"dev": ["it", "law"], "test": ["it", "law", "koran"]}
    assert plan.split_corpora(trial, "dev") == ["mixtures/de-en/all/dev.jsonl"]
    assert plan.split_corpora(trial) == [f"corpora/de-en/{domain}/test.jsonl" for domain in ("it", "law", "koran")]
    untested = Plan(load(GRID, ("trials", "test_sets", False)))
    assert translated_by(untested, trial) == {"dev": ["it", "law"]}
    final = Run("tiny", "de-en", "caneft", "all", 1)
    assert translated_by(untested, final) == translated_by(plan, final) == {"test": ["it", "law", "koran"]}


def test_a_mixture_may_name_its_methods():
    plan = Plan(load(("mixtures", "only-it", "de-en", "methods", ["caneft", "zero"])))
    assert {run.variant for run in plan.trained_runs("tiny", "de-en", "only-it")} == {"caneft"}
    assert {run.variant for run in plan.trained_runs("tiny", "de-en", "all")} == {
        "lora",
        "full",
        "random",
        "caneft",
        "wide",
    }


def test_neurons_of_a_run():
    plan = Plan(
        load(
            ("methods", "equal", {"method": "lora", "learning_rate": 1e-4, "equal_to": "random"}),
            ("methods", "heads", {"method": "caneft-attention", "learning_rate": 1e-4}),
        )
    )
    names = {v: plan.neuron_set(Run("tiny", "de-en", v, "only-it", 2)) for v in ("caneft", "equal", "heads", "lora")}
    assert names == {
        "caneft": "neurons/tiny/de-en/all/caneft/draw0.npz",
        "equal": "neurons/tiny/de-en/all/random/draw2.npz",  # the draw that this seed's random run tunes
        "heads": "heads/tiny/de-en/all/heads/draw0.npz",
        "lora": None,
    }


def translated_by(plan, run):
    """Domains of every split that a run translates."""
    return {split: plan.domains(run, split) for split in plan.splits(run)}


def test_the_files_of_a_run():
    """The trials of a grid share a file of scores."""
    final, trial = Run("tiny", "de-en", "caneft", "all", 1), Run("tiny", "de-en", "caneft", "all", 0, 1e-2)
    folder = "runs/tiny/de-en/all/caneft"
    assert final.translations() == f"{folder}/seed1/translations/test.jsonl"
    assert trial.translations("dev") == f"{folder}/lr0.01-seed0/translations/dev.jsonl"
    assert trial.translation_cost("dev") == f"{folder}/lr0.01-seed0/translations/dev.cost.json"
    assert final.translation_cost() == f"{folder}/seed1/translations/test.cost.json"
    assert (final.scores, trial.scores) == (f"{folder}/seed1/scores/test.json", f"{folder}/trials.json")


def test_what_runs_translate():
    trained, base = Run("tiny", "de-en", "caneft", "all", 1), Run("tiny", "de-en", "zero")
    # garden could be trained, but no mixture here has it: adding it must not change existing runs
    assert translated_by(PLAN, trained) == {"test": ["it", "law", "koran"]}
    assert translated_by(PLAN, base) == {"test": ["it", "koran", "law"]}


def test_test_overrides_what_a_mixture_is_tested_on():
    run = Run("tiny", "de-en", "caneft", "only-it", 1)
    assert translated_by(PLAN, run) == {"test": ["it", "law"]}  # without koran; `it` is named, but stays seen
    assert PLAN.tested("de-en", "only-it") == ["it", "law"]


def test_an_empty_test_list_leaves_the_seen_domains():
    plan = Plan(load(("mixtures", "only-it", "de-en", {"domains": ["it"], "test": []})))
    assert translated_by(plan, Run("tiny", "de-en", "caneft", "only-it", 1)) == {"test": ["it"]}


def test_neurons_of_a_single_domain_are_selected_on_all():
    assert PLAN.selected_on("de-en", "all") == "all"
    assert PLAN.selected_on("de-en", "only-it") == "all"
    unsaid = Plan(load(("mixtures", "only-it", "de-en", ["it"])))
    assert unsaid.selected_on("de-en", "only-it") == "all"


def test_random_neurons_are_drawn_for_every_seed():
    files = {file.path for file in inputs.neuron_files(PLAN) if file.block == ("tiny", "de-en", "only-it")}
    folder = "neurons/tiny/de-en/all"  # of the mixture to select on, so both mixtures share them
    assert files == {f"{folder}/{name}.npz" for name in ("random/draw1", "random/draw2", "caneft/draw0", "wide/draw0")}


def test_without_a_base_there_is_no_base_run():
    plan = Plan(load(("methods", {"full": RAW["methods"]["full"]})))
    assert plan.base_run("tiny", "de-en") is None
    assert [run.variant for run in plan.runs()] == ["full"] * 10


def test_the_order_of_a_mixtures_domains_means_nothing():
    turned = load(("mixtures", "all", "de-en", ["it", "law"]))
    assert Plan(turned).seen("de-en", "all") == PLAN.seen("de-en", "all") == ["it", "law"]
    assert everything(turned) == everything(load())


def test_a_variants_resources_stand_in_the_place_of_its_models():
    plan = Plan(
        load(
            ("models", "large", "resources", {"gpu": 1, "mem_mb": 9000, "runtime": 60}),
            ("methods", "full", "resources", {"gpu": 2, "device_map": "balanced", "threads": 8}),
        )
    )
    shared = config.Resources(gpu=1, mem_mb=9000, runtime=60)
    assert plan.tuning_resources("large", "lora") == shared and plan.tuning_threads("lora") == 1
    assert plan.tuning_resources("large", "full") == shared.model_copy(update={"gpu": 2, "device_map": "balanced"})
    assert plan.tuning_threads("full") == 8
    assert load(("methods", "full", "resources", {"gpu": 0})).methods["full"].resources.over(shared).gpu == 0


# --- settings ----------------------------------------------------------------------------------------------------


def everything(configuration):
    """JSON of every step's settings, as in the rules' params: name and wildcards -> JSON."""
    c, plan = configuration, Plan(configuration)
    pairs = [(model, direction) for model in c.models for direction in plan.directions(model)]
    kinds = plan.variants(config.Neurons)
    trained = plan.variants(config.Full, config.Lora, config.Neurons)
    told = plan.variants(config.Base, config.Full, config.Icl)
    found = {("information",): parts.information(c)}
    found |= {("stability",): parts.stability(c)}
    found |= {("selection", v): parts.selection(c, v) for v in kinds}
    found |= {("score", d): parts.score(c, d) for d in c.directions}
    found |= {("mixture", d, m): parts.mixture(c, d, m) for d in c.directions for m in plan.mixtures(d)}
    found |= {("dump", *pair): parts.dump(c, *pair) for pair in pairs}
    found |= {("translation", *pair, v): parts.translation(c, *pair, v) for pair in pairs for v in told}
    found |= {("tune", *pair, v): parts.tune(c, *pair, v) for pair in pairs for v in trained}
    for model in (name for name, entry in c.models.items() if entry.pretrain):
        found |= {("text", model): parts.pretraining_text(c, model)}
        found |= {("pretraining", model): parts.pretraining(c, model)}
    found |= {("corpus", d, name): parts.corpus(c, d, name) for d in c.directions for name in c.directions[d].domains}
    return {key: value.model_dump_json() for key, value in found.items()}


def reruns(*change):
    """Names of the steps whose settings a change reaches."""
    before, after = everything(load()), everything(load(change))
    assert before.keys() == after.keys()
    return {key for key in before if before[key] != after[key]}


@pytest.mark.parametrize(
    "change",
    [
        ("report", {"title": "Other", "note": "Other.", "labels": {"caneft": "CANEFT", "it": "IT"}}),
        ("models", "tiny", "resources", {"gpu": 2, "mem_mb": 9999, "runtime": 9}),
        ("methods", "full", "resources", {"gpu": 2, "mem_mb": 9999, "threads": 9}),
        ("results_root", "results/other"),
        ("data_root", "data"),
        ("verify_up_to_gb", 10),
        ("tuning", "keep_full_weights", False),
        ("seeds", [1, 2, 3]),
    ],
    ids=lambda change: ".".join(map(str, change[:-1])),
)
def test_what_belongs_to_no_result_reaches_no_step(change):
    assert reruns(*change) == set()


def test_folders_and_resources_do_not_reach_the_report_either():
    resources = ("models", "tiny", "resources", {"gpu": 2}), ("methods", "full", "resources", {"gpu": 1, "threads": 3})
    moved = load(("results_root", "elsewhere"), ("data_root", "data"), *resources)
    assert parts.reporting(moved) == parts.reporting(load())
    assert parts.reporting(load(("report", "title", "Other"))) != parts.reporting(load())


def tunes(*variants):
    pairs = [("tiny", "de-en"), ("large", "de-en"), ("large", "zh-en")]
    return {("tune", *pair, variant) for pair in pairs for variant in variants}


TRAINED = ("lora", "full", "random", "caneft", "wide")


def test_a_rate_of_the_grid_reaches_its_trial_and_what_waits_for_the_choice():
    wider = load(("methods", "caneft", "learning_rate", [1e-2, 1e-3, 3e-3]))
    asked = [parts.tune(c, "tiny", "de-en", "caneft", 1e-2) for c in (load(GRID), wider)]
    assert asked[0] == asked[1] and asked[0].method.learning_rate == 1e-2
    assert parts.tune(wider, "tiny", "de-en", "caneft") != parts.tune(load(GRID), "tiny", "de-en", "caneft")


def test_trials_are_judged_by_chrf_alone_whatever_the_tables_show():
    only_bleu, more = (load(("scoring", "metrics", metrics)) for metrics in (["bleu"], ["bleu", "chrf", "exact"]))
    assert parts.score(only_bleu, "de-en").metrics == ["bleu"]
    asked = parts.choice(only_bleu, "de-en", "all")
    assert (asked.metric, asked.domains) == ("chrf", ["it", "law"])
    assert parts.choice(more, "de-en", "all") == asked


def test_how_examples_are_shown_reaches_their_translation_alone():
    shown = [parts.translation(load(SHOWN), "tiny", "de-en", v).icl for v in ("shown", "zero")]
    assert shown == [config.Icl(method="icl", examples=2, seed=3), None]


def test_how_a_lora_is_served_reaches_its_translations_alone():
    merged = load(("methods", "lora", "merged", True))
    found = [parts.translation(c, "tiny", "de-en", "lora").lora for c in (load(), merged)]
    assert found == ["unmerged", "merged"]
    assert parts.tune(merged, "tiny", "de-en", "lora") == parts.tune(load(), "tiny", "de-en", "lora")
    assert parts.tune(load(), "tiny", "de-en", "lora").model_dump_json().count("merged") == 0
    others = (parts.translation(load(), "tiny", "de-en", v).model_dump_json() for v in ("zero", "full", "caneft"))
    assert not any("lora" in text for text in others), "finished translations of other methods stay"


def test_the_route_of_adapters_reaches_their_translations_alone():
    adapters = {"method": "adapters", "learning_rate": 1e-4}
    plain, routed = (load(("methods", "a", adapters | more)) for more in ({}, {"route": "source_loss"}))
    assert [parts.translation(c, "tiny", "de-en", "a").route for c in (plain, routed)] == ["domain", "source_loss"]
    assert "route" not in parts.translation(plain, "tiny", "de-en", "a").model_dump_json()
    told = (parts.tune(c, "tiny", "de-en", "a").model_dump_json() for c in (plain, routed))
    assert len(set(told)) == 1 and everything(plain) == everything(load()) | {
        key: value for key, value in everything(plain).items() if key[-1] == "a"
    }


def test_a_learning_rate_reaches_the_tuning_of_its_variant_alone():
    assert reruns("methods", "caneft", "learning_rate", 1e-3) == tunes("caneft")
    assert reruns("methods", "lora", "rank", 32) == tunes("lora")
    assert reruns("tuning", "epochs", 3) == tunes(*TRAINED)


def test_the_budget_reaches_the_selection_alone():
    shares = {("selection", "random"), ("selection", "caneft"), ("stability",)}  # `wide` has its own budget
    assert reruns("selection", "fraction", 0.2) == shares
    assert reruns("selection", {"gamma": 0.002}) == reruns("selection", {"parameters": 9000}) == shares
    assert reruns("selection", "task_relevant", None) == shares
    masked = {("selection", "caneft"), ("selection", "wide"), ("stability",)}  # `random` has no mask
    assert reruns("selection", "task_relevant_scope", "layer") == masked
    own = reruns("methods", "wide", "task_relevant_scope", "layer")
    assert own == {("selection", "wide")} | tunes("wide")
    assert reruns("selection", "per_layer", 200) == shares | {("selection", "wide")}
    assert reruns("methods", "caneft", "parameters", 9000) == {("selection", "caneft")} | tunes("caneft")


def test_a_variants_own_budget_replaces_the_shared_one():
    asked = {"gamma": 0.002}, {"parameters": 9000}, {"fraction": 0.1}
    for shared, own in itertools.product(asked, asked[1:]):
        changes = [("methods", "caneft", key, value) for key, value in own.items()]
        found = parts.selection(load(("selection", {**shared, "per_layer": 200}), *changes), "caneft")
        budget = {"fraction": found.fraction, "gamma": found.gamma, "parameters": found.parameters}
        assert {key: value for key, value in budget.items() if value is not None} == own
        assert (found.per_layer, found.task_relevant, found.budget_task_relevant) == (200, 0.5, None)
    shared = parts.selection(load(("selection", {"gamma": 0.002})), "caneft")
    assert (shared.gamma, shared.fraction, shared.parameters, shared.budget_task_relevant) == (0.002, None, None, 0.5)


def test_a_filter_of_active_neurons_reaches_its_variant_alone():
    entry = {"method": "specific", "learning_rate": 1e-4}
    plain, filtered = (everything(load(("methods", "own", entry | more))) for more in ({}, {"active_share": 0.05}))
    assert {key for key in plain if plain[key] != filtered[key]} == {("selection", "own")} | tunes("own")
    assert not any("active_share" in text for text in plain.values()), "finished results were made without the key"
    with refused("active_share", "specific"):
        load(("methods", "caneft", "active_share", 0.05))


def test_halves_reach_their_variant_alone():
    entry, among = {"method": "random", "learning_rate": 1e-4}, {"among": ["low-information", "late-layers"]}
    plain, limited = (everything(load(("methods", "own", entry | more))) for more in ({}, among))
    assert {key for key in plain if plain[key] != limited[key]} == {("selection", "own")} | tunes("own")
    assert not any("among" in text for text in plain.values()), "finished results were made without the key"
    with refused("among", "random"):
        load(("methods", "caneft", "among", ["late-layers"]))
    with refused("among"):
        load(("methods", "own", entry | {"among": ["late-layers", "early-layers"]}))
    with refused("among", "middle-layers"):
        load(("methods", "own", entry | {"among": ["middle-layers"]}))


def test_a_scope_at_its_default_is_in_no_job():
    """Jobs of finished results had JSON without scopes, because they are older than these."""
    before = everything(load())
    assert not any("scope" in text for text in before.values())
    assert reruns("selection", "task_relevant_scope", "model") == set()


def test_a_variants_own_scope_replaces_the_shared_one():
    layers = ("selection", {"gamma": 0.002, "task_relevant_scope": "layer"})
    shared, own = (
        parts.selection(load(layers, *more), "caneft")
        for more in ([], [("methods", "caneft", "task_relevant_scope", "model")])
    )
    assert (shared.task_relevant_scope, shared.budget_task_relevant_scope) == ("layer", "layer")
    assert (own.task_relevant_scope, own.budget_task_relevant_scope) == ("model", "layer")


def test_bins_reach_the_information_and_its_stability_alone():
    assert reruns("selection", "bins", 20) == reruns("selection", "seed", 7) == {("information",), ("stability",)}
    assert reruns("selection", "length_strata", 2) == {("information",), ("stability",)}
    assert reruns("selection", "stability_splits", 7) == {("stability",)}
    assert reruns("selection", "null_permutations", 7) == {("information",)}
    assert ("information",) in reruns("selection", "length_strata", 4)
    assert ("stability",) not in reruns("methods", "caneft", "fraction", 0.3)  # a variant's own budget


def test_importance_reaches_the_dumps():
    assert reruns("importance", "samples", 10) == {
        ("dump", "tiny", "de-en"),
        ("dump", "large", "de-en"),
        ("dump", "large", "zh-en"),
    }
    assert reruns("importance", "scale_exponent", 3) == {("dump", "tiny", "de-en")}  # `large` has its own exponent
    assert reruns("models", "large", "scale_exponent", 3) == {("dump", "large", "de-en"), ("dump", "large", "zh-en")}


def test_the_draw_of_pairs_reaches_the_mixtures_alone():
    mixtures = {("mixture", "de-en", "all"), ("mixture", "de-en", "only-it"), ("mixture", "zh-en", "all")}
    for key in ("pairs_per_domain", "dev_pairs_per_domain", "seed", "temperature"):
        assert reruns("tuning", key, 7) == mixtures
    assert reruns("tuning", "pairs", {"law": 7}) == {("mixture", "de-en", "all")}  # no other mixture has law


CORPORA = {("text", "tiny"), *(("corpus", "de-en", name) for name in ("law", "it", "koran", "garden"))}
CORPORA |= {("corpus", "zh-en", name) for name in ("news", "talks")}


def test_cleaning_reaches_the_corpora_alone():
    for change in ({"copies": "drop"}, {"max_ratio": None}, {"wrong_language": "drop"}):
        assert reruns("cleaning", change) == CORPORA
    assert reruns("cleaning", {"language_bytes": 90}) == set()  # without the language check it does nothing
    checked = [load(("cleaning", {"wrong_language": "drop", "language_bytes": size})) for size in (60, 90)]
    assert parts.corpus(checked[0], "zh-en", "news") != parts.corpus(checked[1], "zh-en", "news")


def test_languages_come_from_the_directions_name():
    checked = load(("cleaning", {"wrong_language": "drop"}))
    assert parts.corpus(load(), "zh-en", "news").languages is None
    assert parts.corpus(checked, "zh-en", "news").languages == ("zh", "en")
    assert parts.pretraining_text(checked, "tiny").languages == {"de-en": ("de", "en")}


def test_a_domains_entry_reaches_its_corpus_alone():
    more = SEEN | {"train": DEMO | {"pairs": 11}}
    assert reruns("directions", "de-en", "domains", "it", more) == {("corpus", "de-en", "it")}


def test_a_domain_that_is_added_reaches_no_other():
    before = everything(load())
    after = everything(load(("directions", "de-en", "domains", "finance", SEEN)))
    assert after.items() - before.items() == {(("corpus", "de-en", "finance"), after[("corpus", "de-en", "finance")])}
    assert before.items() <= after.items()


def test_decoding_reaches_the_translations_and_metrics_the_scores():
    assert {key[0] for key in reruns("decoding", "length_factor", 3.0)} == {"translation"}
    assert {key[0] for key in reruns("scoring", "metrics", ["chrf"])} == {"score"}


def test_the_instruction_reaches_all_that_a_model_reads():
    change = ("prompt", "instruction", "{source_language} to {target_language}")
    assert {key[0] for key in reruns(*change)} == {"dump", "tune", "translation", "pretraining"}


KINDS = {
    "information": settings.InformationSettings,
    "selection": settings.SelectionSettings,
    "stability": settings.StabilitySettings,
    "score": settings.ScoreSettings,
    "mixture": settings.MixtureSettings,
    "dump": settings.DumpSettings,
    "translation": settings.TranslationSettings,
    "tune": settings.TuneSettings,
    "text": settings.PretrainingTextSettings,
    "pretraining": settings.PretrainingSettings,
    "corpus": settings.CorpusSettings,
}


def test_a_step_reads_what_the_rule_wrote():
    null = load(("selection", {"gamma": "null", "task_relevant": None}))
    for key, text in (everything(load()) | everything(null)).items():
        read = TypeAdapter(KINDS[key[0]]).validate_json(text)
        assert read.model_dump_json() == text
    tune = parts.tune(load(), "tiny", "de-en", "lora")
    assert settings.TuneSettings.model_validate_json(tune.model_dump_json()) == tune
    assert isinstance(tune.method, config.Lora)


def test_the_instruction_is_filled_in():
    named = load(("prompt", {"instruction": "{domain}: {source_language} > {target_language}", "name_domain": True}))
    assert parts.prompt(named, "tiny", "zh-en").instruct("news") == "news: Chinese > English"
    assert parts.prompt(load(), "tiny", "de-en").instruct("it") == parts.prompt(load(), "tiny", "de-en").instruct()


def test_target_code():
    assert parts.score(load(), "zh-en").target_language == "en"
    assert [config.target_code(name) for name in ("de-en", "zh-pt-br", "dates", "dates-")] == [
        "en",
        "pt-br",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("metrics", "judge"),
    [
        (["bleu", "chrf"], "chrf"),
        (["bleu"], "chrf"),
        (["bleu", "exact"], "chrf"),
        (["exact"], "exact"),
        (["exact", "chrf"], "exact"),
    ],
)
def test_rates_are_judged_by_chrf_unless_the_headline_is_exact_match(metrics, judge):
    c = load(("scoring", {"metrics": metrics}))
    assert c.scoring.judge == judge
    assert parts.choice(c, "de-en", "all").metric == judge
    assert parts.score(c, "de-en").metrics == metrics


def test_samples_are_decided_on_the_mixture_that_is_named_where_there_is_one():
    """Otherwise it is the first mixture of at least two domains, even if another comes before it."""
    mixtures = {
        "one": {"de-en": {"domains": ["it"], "select_on": "two"}},
        "two": {"de-en": ["law", "it"]},
        "three": {"de-en": ["law", "it", "garden"]},
    }
    mixtures["two"]["zh-en"] = ["news", "talks"]
    named = Plan(load(("mixtures", mixtures), ("importance", "auto", "mixture", "three")))
    assert (named.decided_on("de-en"), named.decided_on("zh-en")) == ("three", "two")
    assert Plan(load(("mixtures", mixtures))).decided_on("de-en") == "two"


def test_what_is_not_said_is_one_stratum_and_neurons():
    """A unit is written only if it is not neurons."""
    plain = settings.InformationSettings(bins=4, null_permutations=3, error_rate=0.05, seed=0)
    assert plain.length_strata == settings.StabilitySettings.model_fields["length_strata"].default == 1
    prompt = settings.PromptSettings(instruction="T", source_language="German", target_language="English")
    given = {"importance": config.Importance(), "prompt": prompt, "dtype": "float32"}
    assert settings.DumpSettings(**given).model_dump().keys() == given.keys()
    assert settings.DumpSettings(**given, unit="head").model_dump()["unit"] == "head"


def test_a_system_is_compared_by_its_translations_and_its_segment_scores():
    system = settings.System(variant="caneft", seed=1, folder="runs/a")
    assert system.translations == "runs/a/translations/test.jsonl"
    assert system.segments("comet") == "runs/a/scores/neural/comet.json"


@pytest.mark.parametrize(
    "share, scope, mask", [(None, "layer", "off"), (0.5, "layer", "layer"), (0.5, "model", "model")]
)
def test_a_mask_is_off_or_has_a_scope(share, scope, mask):
    asked = settings.SelectionSettings.model_construct(task_relevant=share, task_relevant_scope=scope)
    assert asked.mask == mask
