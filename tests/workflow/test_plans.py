"""What runs again after a change, as exact sets of jobs: dry runs on top of the finished mini workflow."""

import os
import shutil

import pytest
import yaml

from caneft.corpora import store

M = "mini-llama/de-en"
TRAINED = ("full", "lora", "adapters", "random", "caneft", "attention")
NEURONS = ("random", "caneft")
SELECTED = (*NEURONS, "attention")
DRAWS = {"random": 1, "caneft": 0, "attention": 0}
RATES = ("0.005", "0.01")  # of lora
AGGREGATES = {"tabulate", "plot", "show_examples", "overview", "all"}


def apart(domain="koran", mixture="all"):
    """What is made of all translations of a block: scores on a domain outside of its mixture without what stands in
    the training data, and tests of significance."""
    return {f"score_without_overlap {M}/{mixture}/{domain}", f"test_significance {M}/{mixture}"}


def flagged(domain="koran", mixture="all"):
    return {f"flag_overlap de-en/{mixture}/{domain}", *apart(domain, mixture)}


def tuned(*variants, mixture="all", seed=1):
    rules = {"full": "tune_full", "lora": "tune_lora", "adapters": "tune_adapters"}
    return {f"{rules.get(variant, 'tune_neurons')} {M}/{mixture}/{variant}/seed{seed}" for variant in variants}


def tried(*rates, mixture="all"):
    """Trials of lora, and the choice among them."""
    runs = [f"{mixture}/lora/lr{rate}" for rate in rates]
    tests = set().union(*(evaluated(run, "dev", "seen", "koran") for run in runs))
    return {f"choose_rate {M}/{mixture}/lora", *(f"tune_lora {M}/{run}" for run in runs), *tests}


def selected(*variants, mixture="all", draw=None):
    draws = DRAWS if draw is None else dict.fromkeys(variants, draw)
    units = {"attention": "heads"}
    return {f"select_neurons {units.get(v, 'neurons')}/{M}/{mixture}/{v}/{draws[v]}" for v in variants}


def measured(mixture="all"):
    return {f"measure_information {units}/{M}/{mixture}" for units in ("neurons", "heads")}


def dumped(domain):
    return {f"dump_importance {dumps}/{M}/{domain}" for dumps in ("importance", "importance-heads")}


def evaluated(run, *testsets):
    """Translation and score of a run's test sets."""
    return {f"{step} {M}/{run}/{testset}" for step in ("translate", "score") for testset in testsets}


def all_evaluated(variants, *testsets, mixture="all", seed=1):
    return set().union(*(evaluated(f"{mixture}/{variant}/seed{seed}", *testsets) for variant in variants))


def demo(domain, pairs=20):
    return {"format": "demo", "domain": domain, "pairs": pairs}


def add_trainable(config, domain):
    domains = config["directions"]["de-en"]["domains"]
    domains[domain] = {"train": demo(domain, 80), "dev": demo(domain), "test": demo(domain)}


def add_mixture(config):
    add_trainable(config, "subtitles")
    config["mixtures"]["more"] = {"de-en": ["it", "law", "medical", "subtitles"]}


NEW_MIXTURE = {
    "prepare_corpus de-en/subtitles",
    *dumped("subtitles"),
    "draw_mixture de-en/more",
    *measured("more"),
    f"measure_stability {M}/more",
    *selected(*SELECTED, mixture="more"),
    *tried(*RATES, mixture="more"),
    *tuned(*TRAINED, mixture="more"),
    *all_evaluated(TRAINED, "seen", "koran", mixture="more"),
    *evaluated("more/icl", "seen", "koran"),
    *flagged(mixture="more"),
    *evaluated("base", "subtitles"),
    "score_copy de-en/subtitles",
    *AGGREGATES,
}


ALL_RUNS = {
    *selected(*SELECTED),
    *tried(*RATES),
    *tuned(*TRAINED),
    *all_evaluated(TRAINED, "seen", "koran"),
    *evaluated("all/icl", "seen", "koran"),
}


def grow_mixture(config):
    add_trainable(config, "subtitles")
    config["mixtures"]["all"]["de-en"].append("subtitles")


GROWN_MIXTURE = {
    "prepare_corpus de-en/subtitles",
    *dumped("subtitles"),
    "draw_mixture de-en/all",
    *measured(),
    f"measure_stability {M}/all",
    *flagged(),
    *ALL_RUNS,
    *evaluated("base", "subtitles"),
    "score_copy de-en/subtitles",
    *AGGREGATES,
}


def add_unused(config):
    add_trainable(config, "subtitles")


def add_unseen(config):
    config["directions"]["de-en"]["domains"]["garden"] = {"test": demo("garden")}


UNSEEN = {
    "prepare_test_corpus de-en/garden",
    *flagged("garden"),
    *evaluated("base", "garden"),
    *all_evaluated(TRAINED, "garden"),
    *evaluated("all/icl", "garden"),
    *(job for rate in RATES for job in evaluated(f"all/lora/lr{rate}", "garden")),
    "score_copy de-en/garden",
    *AGGREGATES,
}


def change_rate(config):
    config["methods"]["caneft"]["learning_rate"] = 5e-3


def add_rate(config):
    config["methods"]["lora"]["learning_rate"].append(2e-2)


def fix_rate(config):
    config["methods"]["lora"]["learning_rate"] = 5e-3


LORA = {*tuned("lora"), *all_evaluated(["lora"], "seen", "koran"), *apart(), *AGGREGATES}


def add_seed(config):
    config["seeds"] = [1, 2]


SECOND_SEED = {
    *selected("random", draw=2),
    *tuned(*TRAINED, seed=2),
    *all_evaluated(TRAINED, "seen", "koran", seed=2),
    *apart(),
    *AGGREGATES,
}


def add_method(config):
    config["methods"]["joint"] = {"method": "joint", "learning_rate": 1e-2}


NEW_METHOD = {
    f"select_neurons neurons/{M}/all/joint/0",
    *tuned("joint"),
    *all_evaluated(["joint"], "seen", "koran"),
    *apart(),
    *AGGREGATES,
}


def change_fraction(config):
    config["selection"]["fraction"] = 0.2


# lora has as many parameters as caneft, so its rates are tried anew; the heads have a budget of their own
NEW_NEURONS = {
    *selected(*NEURONS),
    *tried(*RATES),
    *tuned(*NEURONS, "lora"),
    *all_evaluated((*NEURONS, "lora"), "seen", "koran"),
    *apart(),
    *AGGREGATES,
}
NEW_HEADS = {*selected("attention"), *tuned("attention"), *all_evaluated(["attention"], "seen", "koran")}


def change_bins(config):
    config["selection"]["bins"] = 8


def change_splits(config):
    config["selection"]["stability_splits"] = 2


def change_decoding(config):
    config["decoding"]["length_offset"] = 9


DECODED = {
    *evaluated("base", "it", "koran", "law", "medical"),
    *all_evaluated(TRAINED, "seen", "koran"),
    *evaluated("all/icl", "seen", "koran"),
    *(job for rate in RATES for job in evaluated(f"all/lora/lr{rate}", "dev", "seen", "koran")),
    f"choose_rate {M}/all/lora",
    *tuned("lora"),
    *apart(),
    *AGGREGATES,
}


def change_label(config):
    config["report"]["labels"] = {"caneft": "CANEFT"}


def change_alpha(config):
    config["significance"] = {"alpha": 0.01}


def change_baseline(config):
    config["significance"] = {"baseline": "lora"}


def change_resources(config):
    config["models"]["mini-llama"]["resources"] = {"mem_mb": 9000, "runtime": 600}


def change_order(config):
    config["mixtures"]["all"]["de-en"].reverse()


CHANGES = [
    (lambda config: None, set()),
    (add_mixture, NEW_MIXTURE),
    (grow_mixture, GROWN_MIXTURE),
    (add_unseen, UNSEEN),
    (change_rate, {*tuned("caneft"), *all_evaluated(["caneft"], "seen", "koran"), *apart(), *AGGREGATES}),
    (add_rate, {*tried("0.02"), *LORA}),
    (fix_rate, LORA),
    (add_seed, SECOND_SEED),
    (add_method, NEW_METHOD),
    (change_fraction, {f"measure_stability {M}/all", *NEW_NEURONS}),
    (change_bins, {*measured(), f"measure_stability {M}/all", *NEW_NEURONS, *NEW_HEADS}),
    (change_splits, {f"measure_stability {M}/all", *AGGREGATES}),
    (change_decoding, DECODED),
    (change_label, AGGREGATES),
    (change_alpha, AGGREGATES),
    (change_baseline, {f"test_significance {M}/all", *AGGREGATES}),
    (change_resources, set()),
    (add_unused, AGGREGATES),
    (change_order, AGGREGATES),
]


@pytest.mark.parametrize(("edit", "expected"), CHANGES, ids=[edit.__name__.strip("<>") for edit, _ in CHANGES])
def test_a_change_of_the_configuration_reruns_exactly_what_it_changes(finished, edit, expected):
    assert finished.plan(finished.configuration(edit)) == expected


def test_a_new_name_for_old_weights_is_another_model(finished):
    def rename(config):
        config["models"]["other"] = config["models"].pop("mini-llama")

    jobs = finished.plan(finished.configuration(rename))
    assert not any("mini-llama" in job for job in jobs)
    assert not any(job.startswith(("prepare_corpus", "draw_mixture", "score_copy")) for job in jobs)


@pytest.mark.parametrize("place", ["workflow/scripts", "out/mini/importance", "out/mini"])
def test_time_stamps_alone_rerun_nothing(finished, tmp_path, place):
    copy = finished.copy(tmp_path)
    touched = [file for file in (copy.root / place).rglob("*") if file.is_file()]
    assert touched
    for file in touched:
        os.utime(file)
    assert copy.plan() == set()


def test_lost_scores_are_made_again_and_nothing_else_but_the_aggregates(finished, tmp_path):
    copy = finished.copy(tmp_path)
    (copy.results / f"runs/{M}/all/caneft/seed1/scores/koran.json").unlink()
    assert copy.plan() == {f"score {M}/all/caneft/seed1/koran", *AGGREGATES} - {"show_examples"}


def test_an_edited_step_reruns_its_stage_and_what_follows(finished, tmp_path):
    copy = finished.copy(tmp_path)
    with open(copy.root / "workflow/scripts/select_neurons.py", "a") as script:
        script.write("# changed\n")
    assert copy.plan() == NEW_NEURONS | NEW_HEADS


def test_a_changed_raw_file_reruns_its_corpus_and_what_follows(finished, tmp_path):
    copy = finished.copy(tmp_path / "copy")
    raw, law = tmp_path / "raw", {}
    for split in ("train", "dev", "test"):
        law[split] = {"format": "jsonl", "path": f"law.{split}.jsonl"}
        raw.mkdir(exist_ok=True)
        shutil.copy(copy.results / f"corpora/de-en/law/{split}.jsonl", raw / f"law.{split}.jsonl")

    def read_files(config):
        config["directions"]["de-en"]["domains"]["law"] = law
        config["data_root"] = str(raw)

    config = copy.configuration(read_files)
    (tmp_path / "files.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    touched = copy.snakemake("--cores", "1", "--touch", config=tmp_path / "files.yaml")
    assert touched.returncode == 0, touched.stdout
    assert copy.plan(config) == set()

    os.utime(raw / "law.train.jsonl")
    assert copy.plan(config) == set()

    rows = store.read(raw / "law.train.jsonl")
    store.write(raw / "law.train.jsonl", [*rows[:-1], rows[-1]._replace(target="something else.")])
    assert copy.plan(config) == {
        "prepare_corpus de-en/law",
        "draw_mixture de-en/all",
        *flagged("koran"),
        *dumped("law"),
        *measured(),
        f"measure_stability {M}/all",
        *ALL_RUNS,
        *evaluated("base", "law"),
        "score_copy de-en/law",
        *AGGREGATES,
    }


def test_lint_finds_nothing(pristine):
    linted = pristine.snakemake("--lint")
    assert linted.returncode == 0, linted.stdout
