"""Functions that the rules of scoring call."""


def score_settings(wildcards):
    return parts.score(CONFIG, wildcards.direction).model_dump_json()


def runs_of_block(wildcards):
    """Runs of the block that a job scores without overlap, sorted by name."""
    runs = PLAN.final_runs(*block_of(wildcards))
    return sorted(runs, key=lambda run: run.name)


def compared_files(wildcards):
    """Input function: the inputs of a block's tests of significance."""
    return [f"<results>/{path}" for path in comparison.inputs(PLAN, block_of(wildcards))]


def block_translations(wildcards):
    """Input function: the translations of these runs."""
    return [f"<results>/{run.translations()}" for run in runs_of_block(wildcards)]


def test_corpora(wildcards):
    """Input function: the test corpora of a run, domain by domain."""
    return [f"<results>/{path}" for path in PLAN.split_corpora(run_of(wildcards))]


def mixture_corpora(wildcards):
    """Input function: the test corpora of all domains that a mixture's runs are tested on."""
    return corpora_of(wildcards, PLAN.tested(wildcards.direction, wildcards.mixture))


def tested_corpora(wildcards):
    """Input function: the test corpora of all domains that a direction is tested on."""
    return corpora_of(wildcards, PLAN.all_tested(wildcards.direction))


def unseen_corpora(wildcards):
    """Input function: the test corpora of the domains outside a mixture."""
    return corpora_of(wildcards, PLAN.unseen(wildcards.direction, wildcards.mixture))


def unseen_overlaps(wildcards):
    """Input function: the overlaps of those corpora with the mixture's training data."""
    folder = f"<results>/mixtures/{wildcards.direction}/{wildcards.mixture}/overlap"
    return [f"{folder}/{domain}.json" for domain in PLAN.unseen(wildcards.direction, wildcards.mixture)]


def corpora_of(wildcards, domains):
    return [f"<results>/corpora/{wildcards.direction}/{domain}/test.jsonl" for domain in domains]


def seen_by_run(wildcards):
    """Params function: domains that a run is tuned on or takes examples from; none for the base."""
    run = run_of(wildcards)
    return PLAN.seen(run.direction, run.mixture) if run.mixture else []
