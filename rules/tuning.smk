"""Tuning: every trained method goes through one step and one training loop; they differ in what they leave.

needs   <results>/models/{model}/manifest.json, <results>/mixtures/{direction}/{mixture}/{train,dev}.jsonl,
        for neuron methods their neuron set
leaves  <results>/runs/{model}/{direction}/{mixture}/{variant}/seed{seed}/
            patch.safetensors | adapter_model.safetensors, adapter_config.json | model.safetensors, config.json
            record.json   what was run: settings, checksums, versions, trainable parameters
            cost.json     what it took: time and memory
            log.jsonl     one line an optimizer step
"""

RUN_FOLDER = "<results>/runs/{model}/{direction}/{mixture}/{variant}/seed{seed}"


rule tune_neurons:
    input:
        script="workflow/scripts/tune.py",
        manifest="<results>/models/{model}/manifest.json",
        train="<results>/mixtures/{direction}/{mixture}/train.jsonl",
        dev="<results>/mixtures/{direction}/{mixture}/dev.jsonl",
        neurons=neurons_of_run,
    output:
        artefact=f"{RUN_FOLDER}/patch.safetensors",
        record=f"{RUN_FOLDER}/record.json",
        cost=f"{RUN_FOLDER}/cost.json",
        steps=f"{RUN_FOLDER}/log.jsonl",
    log:
        "<logs>/tune/{model}/{direction}/{mixture}/{variant}/seed{seed}.log",
    benchmark:
        "<benchmarks>/tune/{model}/{direction}/{mixture}/{variant}/seed{seed}.tsv"
    wildcard_constraints:
        variant=one_of(PLAN.variants(Neurons)),
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        gpu=resource_of("gpu"),
        mem_mb=resource_of("mem_mb"),
        runtime=resource_of("runtime"),
        device_map=resource_of("device_map"),
    params:
        module=as_py_module(),
        settings=of(settings.tune, "model", "direction", "variant"),
        neurons=lambda wildcards, input: f"--neurons {input.neurons}" if "neurons" in input.keys() else "",
        out=subpath(output.record, parent=True),
        stage_version=1,
    message:
        "tuning {wildcards.model} by {wildcards.variant} on {wildcards.mixture}, seed {wildcards.seed}"
    shell:
        "python -m {params.module} --settings {params.settings:q} {params.neurons}"
        " --run {wildcards.model}/{wildcards.direction}/{wildcards.mixture}/{wildcards.variant}/seed{wildcards.seed}"
        " --manifest {input.manifest:q} --train {input.train:q} --dev {input.dev:q} --threads {threads}"
        " --device-map {resources.device_map}"
        " --out {params.out:q} > {log} 2>&1"


use rule tune_neurons as tune_lora with:
    input:
        script="workflow/scripts/tune.py",
        manifest="<results>/models/{model}/manifest.json",
        train="<results>/mixtures/{direction}/{mixture}/train.jsonl",
        dev="<results>/mixtures/{direction}/{mixture}/dev.jsonl",
    output:
        artefact=f"{RUN_FOLDER}/adapter_model.safetensors",
        adapter=f"{RUN_FOLDER}/adapter_config.json",
        record=f"{RUN_FOLDER}/record.json",
        cost=f"{RUN_FOLDER}/cost.json",
        steps=f"{RUN_FOLDER}/log.jsonl",
    wildcard_constraints:
        variant=one_of(PLAN.variants(Lora)),


# Full weights are large: unless they are to be kept they go as soon as every translation that needs them exists.
kept = (lambda path: path) if CONFIG.tuning.keep_full_weights else temp


use rule tune_lora as tune_full with:
    output:
        artefact=kept(f"{RUN_FOLDER}/model.safetensors"),
        config=f"{RUN_FOLDER}/config.json",
        record=f"{RUN_FOLDER}/record.json",
        cost=f"{RUN_FOLDER}/cost.json",
        steps=f"{RUN_FOLDER}/log.jsonl",
    wildcard_constraints:
        variant=one_of(PLAN.variants(Full)),
