"""Translation: one job per run for its test sets, and one for the dev pairs of a trial. A job keeps the domains that an
earlier one translated, so a new domain costs only its own translation. With `decoding.engine: vllm` it runs in vLLM's
environment (environments.smk).

needs   <results>/models/{model}/manifest.json, the files of the run's tuning, <results>/corpora/.../test.jsonl
leaves  <results>/runs/{model}/{direction}/{run}/translations/{split}.jsonl    id, domain, hypothesis, flags
        <results>/runs/{model}/{direction}/{run}/translations/.{split}.jsonl   the same, which the next job keeps
"""


include: "functions/translation.smk"


rule translate:
    input:
        script=here("workflow/scripts/translate.py"),
        environment=translating_environment,
        manifest="<results>/models/{model}/manifest.json",
        adapted=adapted,
        corpora=split_corpora,
        examples=examples_of_run,
    output:
        translations="<results>/runs/{model}/{direction}/{run}/translations/{split}.jsonl",
        cost="<results>/runs/{model}/{direction}/{run}/translations/{split}.cost.json",
    log:
        "<logs>/translate/{model}/{direction}/{run}/{split}.log",
    benchmark:
        "<benchmarks>/translate/{model}/{direction}/{run}/{split}.tsv"
    group:
        grouped(group_of_run)
    conda:
        translating_conda
    threads: 1
    resources:
        turn=1,
        gpu=gpus_of_one,
        mem_mb=lambda wildcards, attempt: attempt * MEMORY.translation(wildcards.model, run_of(wildcards).variant),
        runtime=translation_runtime,
        device_map=lambda wildcards: device_map(CONFIG.models[wildcards.model].resources),
    params:
        python=translating_python,
        module=module_of_script,
        settings=translation_settings,
        domains=lambda wildcards: PLAN.domains(run_of(wildcards), wildcards.split),
        adapted=optional("--adapted", "adapted"),
        examples=optional("--examples", "examples"),
        stage_version=4,
    message:
        "translating {wildcards.split} by {wildcards.run} ({wildcards.model}, {wildcards.direction})"
    shell:
        "python -m caneft.runtime.lease --gpus {resources.gpu} --"
        " {params.python:q} -m {params.module} --settings {params.settings:q} --manifest {input.manifest:q} {params.adapted}"
        " {params.examples}"
        " --domains {params.domains} --corpora {input.corpora:q} --threads {threads}"
        " --device-map {resources.device_map} --stage-version {params.stage_version}"
        " --translations {output.translations:q} > {log:q} 2>&1"
