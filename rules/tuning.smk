"""Tuning: all trained methods share one step and one training loop; they differ in what they save.

An attempt is a final run, `seed{n}`, or a trial of one rate of the variant's grid, `lr{rate}-seed{n}`. Trials
translate the mixture's dev pairs. `choose_rate` chooses one rate, and the final runs wait for it.

needs   <results>/models/{model}/manifest.json, <results>/mixtures/{direction}/{mixture}/{train,dev}.jsonl,
        for neuron methods, their neuron set; for a grid, the choice of a rate
leaves  <results>/runs/{model}/{direction}/{mixture}/{variant}/{attempt}/
            patch.safetensors | adapter_model.safetensors, adapter_config.json | adapters.safetensors
                | model.safetensors, config.json
            record.json   what ran: settings, checksums, versions, trainable parameters
            cost.json     what it took: time and memory
            log.jsonl     one line per optimizer step
        <results>/runs/{model}/{direction}/{mixture}/{variant}/choice.json    the chosen rate, and each rate's score
A killed job resumes from its last checkpoint, in `.checkpoint` of the run's folder.
"""


include: "functions/tuning.smk"


RUN_FOLDER = "<results>/runs/{model}/{direction}/{mixture}/{variant}/{attempt}"


rule tune_neurons:
    input:
        script=here("workflow/scripts/tune.py"),
        manifest="<results>/models/{model}/manifest.json",
        train="<results>/mixtures/{direction}/{mixture}/train.jsonl",
        dev="<results>/mixtures/{direction}/{mixture}/dev.jsonl",
        neurons=neurons_of_run,
        choice=choice_of_run,
    output:
        artefact=f"{RUN_FOLDER}/patch.safetensors",
        record=f"{RUN_FOLDER}/record.json",
        cost=f"{RUN_FOLDER}/cost.json",
        steps=f"{RUN_FOLDER}/log.jsonl",
    log:
        "<logs>/tune/{model}/{direction}/{mixture}/{variant}/{attempt}.log",
    benchmark:
        "<benchmarks>/tune/{model}/{direction}/{mixture}/{variant}/{attempt}.tsv"
    wildcard_constraints:
        variant=one_of(PLAN.variants(Neurons)),
    group:
        grouped(group_of_tuning)
    conda:
        "../envs/train.yaml"
    threads: lambda wildcards: PLAN.tuning_threads(wildcards.variant)
    resources:
        **over_nodes(lambda wildcards: PLAN.tuning_resources(wildcards.model, wildcards.variant)),
        turn=1,
        mem_mb=memory_of("tuning", "model", "variant"),
        runtime=tuning_resource("runtime"),
        device_map=lambda wildcards: device_map(PLAN.tuning_resources(wildcards.model, wildcards.variant)),
        checkpoint_seconds=tuning_resource("checkpoint_seconds"),
    params:
        module=module_of_script,
        settings=tune_settings,
        seed=lambda wildcards: run_of(wildcards).seed,
        neurons=optional("--neurons", "neurons"),
        choice=optional("--choice", "choice"),
        out=subpath(output.record, parent=True),
        stage_version=2,
    message:
        "tuning {wildcards.model} by {wildcards.variant} on {wildcards.mixture}, {wildcards.attempt}"
    shell:
        "python -m caneft.runtime.lease --gpus {resources.gpu} --"
        " python -m {params.module} --settings {params.settings:q} {params.neurons} {params.choice}"
        " --run {wildcards.model}/{wildcards.direction}/{wildcards.mixture}/{wildcards.variant}/{wildcards.attempt}"
        " --seed {params.seed} --checkpoint-seconds {resources.checkpoint_seconds} --gpus {resources.gpu}"
        " --manifest {input.manifest:q} --train {input.train:q} --dev {input.dev:q} --threads {threads}"
        " --nodes {resources.nodes} --device-map {resources.device_map}"
        " --out {params.out:q} > {log:q} 2>&1"


use rule tune_neurons as tune_lora with:
    output:
        artefact=f"{RUN_FOLDER}/adapter_model.safetensors",
        adapter=f"{RUN_FOLDER}/adapter_config.json",
        record=f"{RUN_FOLDER}/record.json",
        cost=f"{RUN_FOLDER}/cost.json",
        steps=f"{RUN_FOLDER}/log.jsonl",
    wildcard_constraints:
        variant=one_of(PLAN.variants(Lora)),


use rule tune_neurons as tune_adapters with:
    output:
        artefact=f"{RUN_FOLDER}/adapters.safetensors",
        record=f"{RUN_FOLDER}/record.json",
        cost=f"{RUN_FOLDER}/cost.json",
        steps=f"{RUN_FOLDER}/log.jsonl",
    wildcard_constraints:
        variant=one_of(PLAN.variants(Adapters)),


# Full weights are large: unless kept, they are deleted as soon as every translation that needs them exists.
kept = (lambda path: path) if CONFIG.tuning.keep_full_weights else temp


use rule tune_neurons as tune_full with:
    output:
        artefact=kept(f"{RUN_FOLDER}/model.safetensors"),
        config=f"{RUN_FOLDER}/config.json",
        record=f"{RUN_FOLDER}/record.json",
        cost=f"{RUN_FOLDER}/cost.json",
        steps=f"{RUN_FOLDER}/log.jsonl",
    wildcard_constraints:
        variant=one_of(PLAN.variants(Full)),
        attempt=r"seed\d+",


use rule tune_full as try_full with:
    output:
        artefact=temp(f"{RUN_FOLDER}/model.safetensors"),
        config=f"{RUN_FOLDER}/config.json",
        record=f"{RUN_FOLDER}/record.json",
        cost=f"{RUN_FOLDER}/cost.json",
        steps=f"{RUN_FOLDER}/log.jsonl",
    wildcard_constraints:
        variant=one_of(PLAN.variants(Full)),
        attempt=r"lr[\d.e+-]+-seed\d+",


rule choose_rate:
    input:
        script=here("workflow/scripts/choose_rate.py"),
        dev="<results>/mixtures/{direction}/{mixture}/dev.jsonl",
        translations=of_trials(f"translations/{DEV}.jsonl"),
        records=of_trials("record.json"),
    output:
        choice="<results>/runs/{model}/{direction}/{mixture}/{variant}/choice.json",
    log:
        "<logs>/choose_rate/{model}/{direction}/{mixture}/{variant}.log",
    benchmark:
        "<benchmarks>/choose_rate/{model}/{direction}/{mixture}/{variant}.tsv"
    wildcard_constraints:
        variant=one_of(PLAN.variants(*ARTEFACTS)),
    group:
        grouped("choice")
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        turn=1,
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        module=module_of_script,
        settings=lambda wildcards: parts.choice(CONFIG, *block_of(wildcards)[1:]).model_dump_json(),
        trials=lambda wildcards: [trial.name for trial in trials_of(wildcards)],
        stage_version=2,
    message:
        "learning rate of {wildcards.variant} on {wildcards.mixture} ({wildcards.model}, {wildcards.direction})"
    shell:
        "python -m {params.module} --settings {params.settings:q} --dev {input.dev:q} --trials {params.trials:q}"
        " --translations {input.translations:q} --records {input.records:q} --choice {output.choice:q} > {log:q} 2>&1"
