"""`snakemake --use-conda` with a stand-in for conda: each job runs in its rule's environment, again if that changes."""

from collections import Counter

from tests.conda.conftest import call, job_stats

ENVIRONMENT_OF = {
    "comet": {"train_comet", "score_neural"},
    "report": {"tabulate", "plot", "show_examples", "overview"},
    "train": {
        *("prepare_corpus", "prepare_pretraining", "pretrain_model", "draw_mixture", "flag_overlap"),
        *("dump_importance", "measure_information", "select_neurons", "measure_stability"),
        *("tune", "choose_rate", "translate", "score", "score_trials", "score_without_overlap", "test_significance"),
    },
}
REPORTING = Counter(ENVIRONMENT_OF["report"]) + Counter(["all"])


def change_pin(conda, name, old, new):
    file = conda.root / "envs" / f"{name}.yaml"
    text = file.read_text(encoding="utf-8")
    assert text.count(f"- {old}\n") == 1
    file.write_text(text.replace(f"- {old}\n", f"- {new}\n"), encoding="utf-8")


def test_every_job_runs_in_the_environment_of_its_rule(done):
    steps = {(name, module) for name, module, _ in done.told if module != "caneft.runtime.lease"}
    expected = {(name, f"workflow.scripts.{step}") for name, found in ENVIRONMENT_OF.items() for step in found}
    assert steps == expected
    assert {name for name, module, _ in done.told if module == "caneft.runtime.lease"} == {"train", "comet"}


def test_no_job_runs_elsewhere(done):
    """As many steps ran in the environments as there are jobs, not counting the target."""
    jobs = job_stats(done.output)
    assert jobs.pop("all") == 1 and "build_environment" not in jobs and jobs["choose_rate"] == 1
    assert jobs.total() > 40
    assert sum(module != "caneft.runtime.lease" for _, module, _ in done.told) == jobs.total()


def test_jobs_find_the_package_without_the_pythonpath_that_snakemake_removes(done):
    assert {path for _, _, path in done.told} == {None}


def test_the_run_ends_with_its_report(done):
    results = done.conda.workspace.results
    assert "The report was not made" not in done.output
    assert all((results / file).is_file() for file in ("tables/main.csv", "overview.html", "report.html"))


def test_a_second_run_has_nothing_to_do(done):
    again = done.conda.snakemake("--cores", "2")
    assert again.returncode == 0 and "Nothing to be done" in again.stdout, again.stdout
    assert "Creating conda environment" not in again.stdout


def after(done, name, old, new, root):
    """Number of jobs by rule that run again after a changed pin."""
    conda = done.conda.copy(root)
    change_pin(conda, name, old, new)
    planned = conda.snakemake("--cores", "2", "-n")
    assert planned.returncode == 0, planned.stdout
    assert f"Conda environment envs/{name}.yaml will be created" in planned.stdout, planned.stdout
    return job_stats(planned.stdout)


def test_a_changed_pin_of_training_runs_everything_again(done, tmp_path):
    assert after(done, "train", "tqdm==4.70.1", "tqdm==4.70.0", tmp_path) == job_stats(done.output)


def test_a_changed_pin_of_comet_runs_its_rules_and_the_aggregates_again(done, tmp_path):
    jobs, first = after(done, "comet", "entmax==1.3", "entmax==1.2", tmp_path), job_stats(done.output)
    own = {rule: first[rule] for rule in ("train_comet", "score_neural", "score_neural_copy")}
    assert jobs == Counter(own) + Counter(["test_significance", "tabulate", "plot", "overview", "all"])


def test_a_changed_pin_of_reporting_runs_its_rules_again_and_no_other(done, tmp_path):
    assert after(done, "report", "kiwisolver==1.5.1", "kiwisolver==1.5.0", tmp_path) == REPORTING


def test_without_conda_the_same_folder_runs_everything_again(done):
    planned = call(done.conda.workspace, "--cores", "2", "-n")
    first = job_stats(done.output)
    jobs = job_stats(planned.stdout)
    jobs.pop("build_environment", None)  # whether it exists already depends on the machine
    assert jobs == first


def test_the_demo_is_planned_with_three_environments(with_conda, tmp_path):
    """The README says so."""
    conda = with_conda.copy(tmp_path)
    planned = call(
        conda.workspace, "--cores", "all", "--use-conda", "-n", config="config/config.yaml", **conda.variables
    )
    assert planned.returncode == 0, planned.stdout
    for name in ENVIRONMENT_OF:
        assert f"Conda environment envs/{name}.yaml will be created" in planned.stdout
    jobs = job_stats(planned.stdout)
    assert jobs["train_comet"] == 1 and "build_environment" not in jobs
