"""Memory on one machine: what a plan limits and what jobs ask for; a cluster is asked for the same."""

import json

import pytest
import yaml
from snakemake.scheduling.job_scheduler import JobScheduler

from caneft.runtime.memory import limit_mb
from tests.messages import assert_names


def memory_of_jobs(dag, rule):
    """What the jobs of a rule ask for; there must be some."""
    asked = {job.resources.mem_mb for job in dag.jobs if job.rule.name == rule}
    assert asked
    return asked


def asking(pristine, megabytes):
    return pristine.configuration(lambda config: config["models"]["mini-llama"].update(resources={"mem_mb": megabytes}))


def test_the_limit_is_the_machine_s_unless_it_is_given(pristine):
    with pristine.planned() as dag:
        assert dag.workflow.global_resources["mem_mb"].value == limit_mb()
    with pristine.planned(resources={"mem_mb": 5000}) as dag:
        assert dag.workflow.global_resources["mem_mb"].value == 5000


def test_a_job_that_needs_more_than_the_machine_has_gets_it_all(pristine):
    """So no job that counts memory runs beside it."""
    with pristine.planned(asking(pristine, 9000), resources={"mem_mb": 5000}) as dag:
        assert memory_of_jobs(dag, "tune_neurons") == memory_of_jobs(dag, "dump_importance") == {5000}
        assert memory_of_jobs(dag, "score") == {2000}


def test_that_is_said_beforehand(pristine, tmp_path):
    (tmp_path / "asking.yaml").write_text(yaml.safe_dump(asking(pristine, 9000)))
    done = pristine.snakemake_here("-n", "--resources", "mem_mb=5000", "--", "corpora", config=tmp_path / "asking.yaml")
    assert done.returncode == 0
    assert_names(done.stdout, "mini-llama", 9000, 5000, "models.*.resources.mem_mb")


def test_on_a_cluster_there_is_no_limit_and_jobs_ask_for_what_they_need(pristine):
    with pristine.planned(asking(pristine, 900_000), nodes=4) as dag:
        assert "mem_mb" not in dag.workflow.global_resources
        assert memory_of_jobs(dag, "tune_neurons") == memory_of_jobs(dag, "translate") == {900_000}


def test_a_job_of_a_cluster_has_room_for_the_snakemakes_inside(pristine):
    """Slurm counts them: without this room, jobs of the demo were killed at 770 MB. A configured number stays."""
    with pristine.planned() as dag:
        (here,) = memory_of_jobs(dag, "dump_importance")
    with pristine.planned(nodes=4) as dag:
        assert memory_of_jobs(dag, "dump_importance") == {here + 300}
    with pristine.planned(asking(pristine, 900), nodes=4) as dag:
        assert memory_of_jobs(dag, "dump_importance") == {900}


def test_a_small_model_asks_for_little(pristine):
    """Most of what jobs of the mini model need is libraries. They once asked for 4,000 MB each."""
    with pristine.planned() as dag:
        for rule in ("pretrain_model", "tune_neurons", "tune_full", "translate", "dump_importance"):
            assert all(500 < asked < 1500 for asked in memory_of_jobs(dag, rule)), rule


@pytest.mark.parametrize("known", [False, True])
def test_what_a_model_of_the_hub_needs_is_known_once_it_is_resolved(pristine, tmp_path, known):
    """Its manifest names the folder in the hub's cache. 7.6 billion weights in float32 are 30 GB; two copies count."""
    shape = {"vocab_size": 152064, "hidden_size": 3584, "num_hidden_layers": 28, "intermediate_size": 18944}
    heads = {"num_attention_heads": 28, "num_key_value_heads": 4, "tie_word_embeddings": False}
    cache, results = tmp_path / "cache", tmp_path / "results"
    if known:
        cache.mkdir()
        (cache / "config.json").write_text(json.dumps(shape | heads))
        (results / "models/qwen").mkdir(parents=True)
        (results / "models/qwen/manifest.json").write_text(json.dumps({"folder": str(cache)}))

    def edit(config):
        config["models"] = {"qwen": {"hub": "a/qwen"}}

    config = pristine.configuration(edit) | {"results_root": str(results)}
    with pristine.planned(config, nodes=4) as dag:
        (asked,) = memory_of_jobs(dag, "dump_importance")
    assert asked > 60_900 if known else asked == 4000


@pytest.mark.parametrize(("options", "looks"), [((), False), (("--max-jobs-per-timespan", "50/1s"), True)])
def test_snakemake_looks_for_jobs_when_one_has_ended_and_not_each_second(
    pristine, tmp_path, monkeypatch, options, looks
):
    """If the user limits the rate, it does have to look again."""
    asked = []
    monkeypatch.setattr(JobScheduler, "_schedule_reevalutation", lambda self, delay: asked.append(delay))
    target = "out/mini/corpora/de-en/koran/test.jsonl"
    done = pristine.copy(tmp_path / "copy").snakemake_here("--cores", "1", *options, "--", target)
    assert done.returncode == 0, done.stdout
    assert bool(asked) == looks
