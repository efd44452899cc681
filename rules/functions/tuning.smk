"""Functions that the rules of tuning call."""


def tuning_resource(name):
    """Like `resource_of`, for a tuning job, whose variant may override its model."""
    return lambda wildcards: getattr(PLAN.tuning_resources(wildcards.model, wildcards.variant), name)


def neurons_of_run(wildcards):
    """Input function of a tuning job: the neurons that it tunes, or whose number it copies."""
    path = PLAN.neuron_set(run_of(wildcards))
    return f"<results>/{path}" if path else []


def choice_of_run(wildcards):
    """Input function of a tuning job: the choice of its learning rate, where there is a grid."""
    path = PLAN.choice(run_of(wildcards))
    return f"<results>/{path}" if path else []


def tune_settings(wildcards):
    run = run_of(wildcards)
    return parts.tune(CONFIG, run.model, run.direction, run.variant, run.rate).model_dump_json()


def trials_of(wildcards):
    """The trials behind the choice of a rate."""
    return list(PLAN.trials_of(wildcards.model, wildcards.direction, wildcards.variant, wildcards.mixture))


def of_trials(file):
    """Input function of the choice of a rate: a file of each of its trials, in their order."""
    return lambda wildcards: [f"<results>/{trial.folder}/{file}" for trial in trials_of(wildcards)]
