"""What the rules of neural metrics ask the plan."""

TRAINED_METRICS = [name for name, metric in CONFIG.scoring.neural.items() if getattr(metric, "train", None)]


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
