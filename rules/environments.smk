"""Separate environments for packages that do not fit into the common one: unbabel-comet and vLLM.

With --use-conda every rule has an environment from envs/. Without it all rules share one, except for these two, which
get virtual environments. These are built here, once for all results folders.

needs   the package registry
leaves  .venvs/{comet,vllm}/        other place: CANEFT_VENVS; not with CANEFT_COMET_PYTHON or CANEFT_VLLM_PYTHON
"""


include: "functions/environments.smk"


rule build_environment:
    input:
        script=here("workflow/scripts/build_environment.py"),
        lock=here("envs/{environment}.txt"),
    output:
        ready=f"{VENVS}/{{environment}}/ready.json",
    log:
        "<logs>/build_environment/{environment}.log",
    benchmark:
        "<benchmarks>/build_environment/{environment}.tsv"
    wildcard_constraints:
        environment="comet|vllm",
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        module=module_of_script,
        stage_version=1,
    message:
        "installing the environment {wildcards.environment}, {output.ready} (a minute or two, once)"
    shell:
        "python -m {params.module} --lock {input.lock:q} --ready {output.ready:q} > {log:q} 2>&1"


localrules:
    build_environment,
