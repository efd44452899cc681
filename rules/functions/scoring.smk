"""What the rules of scoring ask the plan."""


def score_settings(wildcards):
    return parts.score(CONFIG, wildcards.direction).model_dump_json()


def runs_of_block(wildcards):
    """Runs of the block that a job scores without overlap, sorted by name."""
    runs = inputs.block_runs(PLAN, (wildcards.model, wildcards.direction, wildcards.mixture))
    return sorted(runs, key=lambda run: run.name)


def compared_files(wildcards):
    """Input function: what the tests of significance of a block read."""
    return [f"<results>/{path}" for path in comparison.inputs(PLAN, block_of(wildcards))]


def block_translations(wildcards):
    """Input function: what these runs made of a domain outside of their mixture."""
    return [f"<results>/{run.folder}/translations/{wildcards.domain}.jsonl" for run in runs_of_block(wildcards)]
