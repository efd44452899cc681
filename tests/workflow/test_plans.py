"""What runs again after a change, as exact sets of jobs: dry runs on top of the finished mini workflow."""

import os
import shutil

import pytest
import yaml

from caneft.corpora import store

M = "mini-llama/de-en"
TRAINED = ("full", "lora", "random", "caneft")
NEURONS = ("random", "caneft")
DRAWS = {"random": 1, "caneft": 0}
AGGREGATES = {"tabulate", "plot", "all"}


def tuned(*variants, mixture="all", seed=1):
    rules = {"full": "tune_full", "lora": "tune_lora"}
    return {f"{rules.get(variant, 'tune_neurons')} {M}/{mixture}/{variant}/{seed}" for variant in variants}


def selected(*variants, mixture="all"):
    return {f"select_neurons {M}/{mixture}/{variant}/{DRAWS[variant]}" for variant in variants}


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
    f"dump_importance {M}/subtitles",
    "draw_mixture de-en/more",
    f"measure_information {M}/more",
    f"measure_stability {M}/more",
    *selected(*NEURONS, mixture="more"),
    *tuned(*TRAINED, mixture="more"),
    *all_evaluated(TRAINED, "seen", "koran", mixture="more"),
    *evaluated("base", "subtitles"),
    "score_copy de-en/subtitles",
    *AGGREGATES,
}


def grow_mixture(config):
    add_trainable(config, "subtitles")
    config["mixtures"]["all"]["de-en"].append("subtitles")


GROWN_MIXTURE = {
    "prepare_corpus de-en/subtitles",
    f"dump_importance {M}/subtitles",
    "draw_mixture de-en/all",
    f"measure_information {M}/all",
    f"measure_stability {M}/all",
    *selected(*NEURONS),
    *tuned(*TRAINED),
    *all_evaluated(TRAINED, "seen", "koran"),
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
    *evaluated("base", "garden"),
    *all_evaluated(TRAINED, "garden"),
    "score_copy de-en/garden",
    *AGGREGATES,
}


def change_rate(config):
    config["methods"]["lora"]["learning_rate"] = 5e-3


def add_seed(config):
    config["seeds"] = [1, 2]


SECOND_SEED = {
    f"select_neurons {M}/all/random/2",
    *tuned(*TRAINED, seed=2),
    *all_evaluated(TRAINED, "seen", "koran", seed=2),
    *AGGREGATES,
}


def add_method(config):
    config["methods"]["joint"] = {"method": "joint", "learning_rate": 1e-2}


NEW_METHOD = {
    f"select_neurons {M}/all/joint/0",
    *tuned("joint"),
    *all_evaluated(["joint"], "seen", "koran"),
    *AGGREGATES,
}


def change_fraction(config):
    config["selection"]["fraction"] = 0.2


NEW_NEURONS = {*selected(*NEURONS), *tuned(*NEURONS), *all_evaluated(NEURONS, "seen", "koran"), *AGGREGATES}


def change_bins(config):
    config["selection"]["bins"] = 8


def change_splits(config):
    config["selection"]["stability_splits"] = 2


def change_decoding(config):
    config["decoding"]["length_offset"] = 9


DECODED = {
    *evaluated("base", "it", "koran", "law", "medical"),
    *all_evaluated(TRAINED, "seen", "koran"),
    *AGGREGATES,
}


def change_label(config):
    config["report"]["labels"] = {"caneft": "CANEFT"}


def change_resources(config):
    config["models"]["mini-llama"]["resources"] = {"mem_mb": 9000, "runtime": 600}


def change_order(config):
    config["mixtures"]["all"]["de-en"].reverse()


CHANGES = [
    (lambda config: None, set()),
    (add_mixture, NEW_MIXTURE),
    (grow_mixture, GROWN_MIXTURE),
    (add_unseen, UNSEEN),
    (change_rate, {*tuned("lora"), *all_evaluated(["lora"], "seen", "koran"), *AGGREGATES}),
    (add_seed, SECOND_SEED),
    (add_method, NEW_METHOD),
    (change_fraction, {f"measure_stability {M}/all", *NEW_NEURONS}),
    (change_bins, {f"measure_information {M}/all", f"measure_stability {M}/all", *NEW_NEURONS}),
    (change_splits, {f"measure_stability {M}/all", *AGGREGATES}),
    (change_decoding, DECODED),
    (change_label, AGGREGATES),
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


def test_an_edited_step_reruns_its_stage_and_what_follows(finished, tmp_path):
    copy = finished.copy(tmp_path)
    with open(copy.root / "workflow/scripts/select_neurons.py", "a") as script:
        script.write("# changed\n")
    assert copy.plan() == NEW_NEURONS


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
        f"dump_importance {M}/law",
        f"measure_information {M}/all",
        f"measure_stability {M}/all",
        *selected(*NEURONS),
        *tuned(*TRAINED),
        *all_evaluated(TRAINED, "seen", "koran"),
        *evaluated("base", "law"),
        "score_copy de-en/law",
        *AGGREGATES,
    }


def test_lint_finds_nothing(pristine):
    linted = pristine.snakemake("--lint")
    assert linted.returncode == 0, linted.stdout
