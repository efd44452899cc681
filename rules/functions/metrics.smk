"""What the rules of neural metrics ask the plan."""

TRAINED_METRICS = [name for name, metric in CONFIG.scoring.neural.items() if getattr(metric, "train", None)]
VENVS = os.environ.get("CANEFT_VENVS", ".venvs")
WITH_CONDA = DeploymentMethod.CONDA in getattr(workflow.deployment_settings, "deployment_method", ())


def comet_interpreter():
    """Python of neural metrics, which live in an environment of their own, and what says that it is there, if a job does.

    It is conda's, or one that the user names, or that of a virtual environment which rule comet_environment builds.
    """
    named = os.environ.get("CANEFT_COMET_PYTHON")
    if WITH_CONDA:
        return "python", []
    if not named:
        return f"{VENVS}/comet/bin/python", f"{VENVS}/comet/ready.json"
    has_comet = "import importlib.util, sys; sys.exit(importlib.util.find_spec('comet') is None)"
    if CONFIG.scoring.neural and subprocess.run([shutil.which(named) or "false", "-c", has_comet]).returncode != 0:
        raise WorkflowError(
            f"CANEFT_COMET_PYTHON is {named}, which is no Python that has unbabel-comet. Name that of an environment with"
            " the packages of envs/comet.txt, or unset it: the workflow then builds that environment."
        )
    return named, []


COMET_PYTHON, COMET_ENVIRONMENT = comet_interpreter()


def metric_resource(name, grows=False):
    """As `resource_of`, of a scoring job, by its neural metric."""
    return lambda wildcards, attempt: getattr(CONFIG.scoring.neural[wildcards.metric].resources, name) * (
        attempt if grows else 1
    )


def raw_metric_pairs(wildcards):
    corpora = CONFIG.scoring.neural[wildcards.metric].train.corpora
    return [file for corpus in corpora for file in raw_files(corpus.corpus)]


def run_translations(wildcards):
    """Input function: the translations of every test set of a final run."""
    run = run_of(wildcards)
    return [f"<results>/{run.folder}/translations/{testset}.jsonl" for testset in PLAN.final_testsets(run)]


def run_corpora(wildcards):
    """Input function: the test corpora of the same, domain by domain."""
    run = run_of(wildcards)
    return [f"<results>/{path}" for testset in PLAN.final_testsets(run) for path in PLAN.test_corpora(run, testset)]


def tested_corpora(wildcards):
    """Input function: the test corpora of all domains that a direction is tested on."""
    return [
        f"<results>/corpora/{wildcards.direction}/{domain}/test.jsonl"
        for domain in PLAN.all_tested(wildcards.direction)
    ]
