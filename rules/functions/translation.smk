"""What the rules of translation ask the plan."""


def gpus_of_one(wildcards):
    """Resource function: GPUs of a job that is one process."""
    return memory.gpus_of_one(CONFIG.models[wildcards.model].resources)


def translation_runtime(wildcards, attempt):
    """Resource function: minutes of a translation job; more at a further try, for it starts over."""
    asked = CONFIG.models[wildcards.model].resources
    return attempt * (asked.translation_runtime or asked.runtime)


def translation_settings(wildcards):
    run = run_of(wildcards)
    return parts.translation(CONFIG, run.model, run.direction, run.variant).model_dump_json()


def examples_of_run(wildcards):
    """Input function of a translation: the pairs that examples in the prompt are taken from."""
    run = run_of(wildcards)
    shows = isinstance(CONFIG.methods[run.variant], Icl)
    return f"<results>/mixtures/{run.direction}/{run.mixture}/train.jsonl" if shows else []


def adapted(wildcards):
    """What a run's tuning left; nothing for the base."""
    artefact = PLAN.artefact(run_of(wildcards))
    return f"<results>/{artefact}" if artefact else []
