"""config/paper.yaml, planned by Snakemake with stand-ins for the corpora: jobs by arithmetic."""

from collections import Counter

import yaml

BLOCKS, MODELS, TRIALS, SEEDS = 6, 3, 4, 3  # models x directions
SINGLE = MODELS * 4 * SEEDS * (4 + 3)  # four variants on each domain alone


def test_the_grid_is_planned_as_a_whole(pristine, tmp_path):
    config = yaml.safe_load((pristine.root / "config/paper.yaml").read_text(encoding="utf-8"))
    for direction in config["directions"].values():
        for source in (source for domain in direction["domains"].values() for source in domain.values()):
            for path in (source[key] for key in ("path", "source_path", "target_path") if key in source):
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_text("a\nb\n", encoding="utf-8")
    planned = Counter(job.split()[0] for job in pristine.plan(config | {"data_root": str(tmp_path)}))
    planned.pop("comet_environment", None)  # which may be there already
    on_all = TRIALS + SEEDS
    tests = {
        "base": MODELS * (5 + 5),
        "icl": 2 * MODELS * (2 + 3),
        "trials": 13 * TRIALS * MODELS * (3 + 4),  # dev, seen, and one or two unseen domains
        "seeds": 13 * SEEDS * MODELS * (2 + 3),
        "single": SINGLE * 5,
    }
    assert planned == {
        "prepare_corpus": 4 + 3,
        "prepare_test_corpus": 1 + 2,
        "draw_mixture": 2 + 4 + 3,
        "flag_overlap": (1 + 4 * 4) + (2 + 3 * 4),  # test sets outside of `all`, and of each single domain
        "resolve_model": MODELS,
        "dump_importance": MODELS * (4 + 3),
        "measure_information": BLOCKS,
        "measure_stability": BLOCKS,
        "select_neurons": BLOCKS * (7 + 2 * (SEEDS + 1)),  # random ones for each seed, that of the trials too
        "tune_full": BLOCKS * SEEDS + SINGLE // 4,
        "try_full": BLOCKS * TRIALS,
        "tune_lora": 2 * BLOCKS * on_all + SINGLE // 4,
        "tune_adapters": BLOCKS * on_all,
        "tune_neurons": 9 * BLOCKS * on_all + SINGLE // 2,
        "choose_rate": 13 * BLOCKS,
        "translate": sum(tests.values()),
        "score": sum(tests.values()),
        "score_copy": 5 + 5,
        "resolve_metric": 1,
        "score_neural": BLOCKS * (1 + 2 + 13 * SEEDS),
        "score_neural_copy": 2,
        "score_without_overlap": MODELS * (1 + 4 * 4 + 2 + 3 * 4),
        "test_significance": BLOCKS,
        "overview": 1,
        "tabulate": 1,
        "plot": 1,
        "show_examples": 1,
        "all": 1,
    }
