"""Which jobs share an allocation on a cluster, and what the allocation asks for."""

from collections import Counter

from snakemake.resources import GroupResources

from tests.workflow.conftest import Workspace

NODES = 4  # with any number, the plan is that of a cluster


def allocations(pristine: Workspace, config: dict | None = None):
    """What a cluster would get: groups of jobs, and single jobs."""
    with pristine.planned(config, nodes=NODES) as dag:
        jobs = [job for job in dag.needrun_jobs(exclude_finished=False) if job.shellcmd]
        return list({id(found): found for found in (dag.get_job_group(job) or job for job in jobs)}.values())


def kinds(jobs) -> Counter:
    """Number of groups by name, and of single jobs by rule."""
    return Counter(found.groupid if found.is_group() else found.rule.name for found in jobs)


def members(group) -> Counter:
    return Counter(job.rule.name for job in group)


def asked(group) -> dict:
    """The resources that a cluster would be asked for; a dry run would add up what one machine must have."""
    return GroupResources.basic_layered(group.toposorted, group.global_resources, run_local=False)


def test_one_machine_has_no_groups(pristine):
    with pristine.planned() as dag:
        assert all(job.group is None for job in dag.needrun_jobs(exclude_finished=False))


def test_a_run_is_tuned_translated_and_scored_in_one_allocation(pristine):
    """In mini.yaml, the two trials also translate dev; their scores are in one file, made together with the choice."""
    found = allocations(pristine)
    groups = {each.groupid: each for each in found if each.is_group()}
    folder = "runs_mini-llama_de-en_all"
    tuned = {"lora": "tune_lora", "adapters": "tune_adapters"} | dict.fromkeys(
        ("random", "caneft", "attention"), "tune_neurons"
    )
    for variant, rule in tuned.items():
        assert members(groups[f"{folder}_{variant}_seed1"]) == {rule: 1, "translate": 1, "score": 1}
    assert members(groups["trial"]) == {"tune_lora": 2, "translate": 4}
    assert members(groups["translation"]) == {"translate": 3, "score": 3}  # of base, icl and full
    assert members(groups["choice"]) == {"choose_rate": 1, "score_trials": 1}
    assert kinds(found)["tune_full"] == 1  # alone, because it asks for more than the jobs after it
    assert kinds(found)["choice"] == 1


def test_an_allocation_asks_for_what_its_largest_job_needs_and_for_the_time_of_all(pristine):
    """Jobs take turns. Tuning takes 50 minutes, a translation 20, a score 30."""
    config = pristine.configuration()
    needs = {"gpu": 1, "mem_mb": 9000, "runtime": 50, "translation_runtime": 20}
    config["models"]["mini-llama"]["resources"] = needs
    config["methods"]["caneft"]["resources"] = {"threads": 3}
    run = next(each for each in allocations(pristine, config) if "caneft_seed1" in str(getattr(each, "groupid", "")))
    resources = asked(run)
    assert (resources["gpu"], resources["mem_mb"], resources["_cores"]) == (1, 9000, 3)
    assert resources["runtime"] == 50 + 20 + 30


def test_jobs_that_are_left_of_an_allocation_may_be_of_any_kinds(finished, tmp_path):
    """After a kill, a score and a translation may be left, one with a GPU and one without."""
    workspace = finished.copy(tmp_path)
    runs = workspace.results / "runs/mini-llama/de-en"
    for lost in ("base/scores/test.json", "all/icl/scores/test.json", "all/icl/translations/test.jsonl"):
        (runs / lost).unlink()
    left = next(each for each in allocations(workspace) if each.is_group() and each.groupid == "translation")
    assert members(left) == {"score": 2, "translate": 1}
    assert asked(left)["turn"] == 1
