"""Snakemake plans config/paper.yaml with small files in place of the corpora; the jobs are checked by arithmetic."""

from collections import Counter

import pytest
import yaml

from caneft.commands.costs import DEVICES, Estimate, Text
from caneft.config import load


@pytest.mark.parametrize(
    ("models", "trials", "seeds"), [pytest.param(3, 4, 3, marks=pytest.mark.slow, id="whole"), (1, 2, 1)]
)
def test_the_grid_is_planned_as_a_whole(pristine, tmp_path, models, trials, seeds):
    """Takes the first of its models, learning rates and seeds: all of them, or fewer."""
    config = yaml.safe_load((pristine.root / "config/paper.yaml").read_text(encoding="utf-8"))
    config["models"] = dict(list(config["models"].items())[:models])
    config["seeds"] = config["seeds"][:seeds]
    for method in config["methods"].values():
        if isinstance(method.get("learning_rate"), list):
            method["learning_rate"] = method["learning_rate"][:trials]
    for direction in config["directions"].values():
        for source in (source for domain in direction["domains"].values() for source in domain.values()):
            for path in (source[key] for key in ("path", "source_path", "target_path") if key in source):
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_text("a\nb\n" * 20000, encoding="utf-8")  # enough pairs for all draws
    with pristine.planned(config | {"data_root": str(tmp_path)}, nodes=100) as dag:
        jobs = [job for job in dag.needrun_jobs(exclude_finished=False)]
        planned = Counter(job.rule.name for job in jobs)
        submitted = {id(dag.get_job_group(job) or job) for job in jobs if job.shellcmd}
    planned.pop("build_environment", None)  # it may exist already
    blocks = 2 * models  # 2 directions
    single = models * 4 * seeds * (4 + 3)  # four variants on each domain alone
    tried = 2 * trials  # two seeds each
    on_all = tried + seeds
    final = blocks * (1 + 2 + 13 * seeds) + single  # base, and two of icl
    assert planned == {
        "prepare_corpus": 4 + 3,
        "prepare_test_corpus": 1 + 2,
        "draw_mixture": 2 + 4 + 3,
        "flag_overlap": (1 + 4 * 4) + (2 + 3 * 4),  # test sets outside `all`, and outside each single domain
        "resolve_model": models,
        "dump_importance": models * (4 + 3),
        "measure_information": blocks,
        "measure_stability": blocks,
        "select_neurons": blocks * (7 + 2 * (seeds + 2)),  # random ones for each seed, also the trials'
        "tune_full": blocks * seeds + single // 4,
        "try_full": blocks * tried,
        "tune_lora": 2 * blocks * on_all + single // 4,
        "tune_adapters": blocks * on_all,
        "tune_neurons": 9 * blocks * on_all + single // 2,
        "choose_rate": 13 * blocks,
        "translate": final + 2 * 13 * tried * blocks,  # the trials also translate dev
        "score": final,
        "score_trials": 13 * blocks,
        "score_copy": 2,  # one per direction
        "resolve_metric": 1,
        "score_neural": blocks * (1 + 2 + 13 * seeds),
        "score_neural_copy": 2,
        "score_without_overlap": blocks + models * (4 + 3),
        "test_significance": blocks + models * (4 + 3),
        "overview": 1,
        "tabulate": 1,
        "plot": 1,
        "show_examples": 1,
        "all": 1,
    }
    assert len(submitted) <= 900  # as with --profile slurm
    jobs = Counter()
    for row in Estimate(
        load(config, check_files=False), DEVICES["h100"], dict.fromkeys(config["models"], Text())
    ).rows():
        jobs[row.stage.partition(",")[0]] += row.jobs
    assert jobs == {  # as `caneft plan` says
        "weights of the base": models,
        "importance": planned["dump_importance"],
        "neuron sets": planned["select_neurons"],
        "tuning": sum(count for rule, count in planned.items() if rule.startswith(("tune_", "try_"))),
        "translation": planned["translate"],
        "scores": planned["score"] + planned["score_trials"],
    }
