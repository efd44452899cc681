"""What the rules of translation ask the plan."""


def gpus_of_one(wildcards):
    """Resource function: GPUs of a job that is one process."""
    return memory.gpus_of_one(CONFIG.models[wildcards.model].resources)


def translation_runtime(wildcards, attempt):
    """Resource function: minutes of a translation job; more at a further try, for vLLM starts over."""
    asked = CONFIG.models[wildcards.model].resources
    return attempt * (asked.translation_runtime or asked.runtime)


def by_vllm(wildcards):
    """Whether a translation is vLLM's: of adapters it takes none."""
    method = CONFIG.methods[run_of(wildcards).variant]
    return CONFIG.decoding.engine == "vllm" and not isinstance(method, configuration.Adapters)


def translating_environment(wildcards):
    """Input function: what says that the environment of vLLM is there, if a job does."""
    return VLLM_ENVIRONMENT if by_vllm(wildcards) else []


def translating_conda(wildcards):
    """Conda's environment of a translation."""
    return f"../envs/{'vllm' if by_vllm(wildcards) else 'train'}.yaml"


def translating_python(wildcards, input):
    """Params function: Python of a translation. It asks for `input`, so where that Python is belongs to no result."""
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
    """What a run's tuning left; nothing for the base."""
    artefact = PLAN.artefact(run_of(wildcards))
    return f"<results>/{artefact}" if artefact else []
