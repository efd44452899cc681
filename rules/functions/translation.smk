"""Functions that the rules of translation call."""


def gpus_of_one(wildcards):
    """Resource function: GPUs of a job that is one process."""
    return memory.gpus_of_one(CONFIG.models[wildcards.model].resources)


def translation_runtime(wildcards, attempt):
    """Resource function: minutes of a translation job; more for each retry, because vLLM starts over."""
    asked = CONFIG.models[wildcards.model].resources
    return attempt * (asked.translation_runtime or asked.runtime)


def by_vllm(wildcards):
    """Whether vLLM translates; it does not support these adapters."""
    method = CONFIG.methods[run_of(wildcards).variant]
    return CONFIG.decoding.engine == "vllm" and not isinstance(method, configuration.Adapters)


def translating_environment(wildcards):
    """Input function: the file that marks vLLM's environment as built, if a job builds it."""
    return VLLM_ENVIRONMENT if by_vllm(wildcards) else []


def translating_conda(wildcards):
    """Conda's environment of a translation."""
    return f"../envs/{'vllm' if by_vllm(wildcards) else 'train'}.yaml"


def translating_python(wildcards, input):
    """Params function: Python of a translation. It takes `input`, so the place of that Python is not a param."""
    return VLLM_PYTHON if by_vllm(wildcards) else "python"


def split_corpora(wildcards):
    """Input function: the pairs that a run translates."""
    return [f"<results>/{path}" for path in PLAN.split_corpora(run_of(wildcards), wildcards.split)]


def translation_settings(wildcards):
    run = run_of(wildcards)
    return parts.translation(CONFIG, run.model, run.direction, run.variant).model_dump_json()


def examples_of_run(wildcards):
    """Input function of a translation: the pairs that examples in the prompt are taken from."""
    run = run_of(wildcards)
    shows = isinstance(CONFIG.methods[run.variant], Icl)
    return f"<results>/mixtures/{run.direction}/{run.mixture}/train.jsonl" if shows else []


def adapted(wildcards):
    """What a run's tuning wrote; nothing for the base."""
    artefact = PLAN.artefact(run_of(wildcards))
    return f"<results>/{artefact}" if artefact else []
