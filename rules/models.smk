"""Models: a manifest for every base model; models of the kind `pretrain` are made here.

needs   for `hub`, the network or the hub's cache (HF_HOME); for `path`, the folder or file; for `package`, that package
        in the environment; for `pretrain`, its corpora
leaves  <results>/models/{model}/manifest.json           where the weights are, their checksums, sizes
        <results>/models/{model}/*.safetensors, ...      a Hugging Face folder, for bases pretrained or dequantised here
        <results>/corpora/pretraining/{model}.jsonl      their text
"""


include: "functions/models.smk"


rule prepare_pretraining:
    input:
        script=here("workflow/scripts/prepare_pretraining.py"),
        raw=raw_pretraining,
        fetched=lambda wildcards: fetched(f"pretraining/{wildcards.model}"),
    output:
        corpus="<results>/corpora/pretraining/{model}.jsonl",
        report="<results>/corpora/pretraining/{model}.report.json",
    log:
        "<logs>/prepare_pretraining/{model}.log",
    benchmark:
        "<benchmarks>/prepare_pretraining/{model}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        module=module_of_script,
        settings=of(parts.pretraining_text, "model"),
        stage_version=2,
    message:
        "pretraining corpus of {wildcards.model}"
    shell:
        "python -m {params.module} --settings {params.settings:q} --fetched {input.fetched:q}"
        " --corpus {output.corpus:q} --report {output.report:q} > {log:q} 2>&1"


rule pretrain_model:
    input:
        script=here("workflow/scripts/pretrain_model.py"),
        corpus="<results>/corpora/pretraining/{model}.jsonl",
    output:
        manifest="<results>/models/{model}/manifest.json",
        weights="<results>/models/{model}/model.safetensors",
        config="<results>/models/{model}/config.json",
        tokenizer="<results>/models/{model}/tokenizer.json",
        cost="<results>/models/{model}/cost.json",
    log:
        "<logs>/pretrain_model/{model}.log",
    benchmark:
        "<benchmarks>/pretrain_model/{model}.tsv"
    wildcard_constraints:
        model=one_of(PRETRAINED),
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        gpu=lambda wildcards: min(1, CONFIG.models[wildcards.model].resources.gpu),
        mem_mb=memory_of("pretraining", "model"),
        runtime=resource_of("runtime", grows=True),
    params:
        module=module_of_script,
        settings=of(parts.pretraining, "model"),
        stage_version=1,
    message:
        "pretraining the small base {wildcards.model} (progress: tail -f {log})"
    shell:
        "python -m caneft.runtime.lease --gpus {resources.gpu} --"
        " python -m {params.module} --settings {params.settings:q} --corpus {input.corpus:q}"
        " --threads {threads} --manifest {output.manifest:q} > {log:q} 2>&1"


rule resolve_model:
    input:
        script=here("workflow/scripts/resolve_model.py"),
    output:
        manifest="<results>/models/{model}/manifest.json",
    log:
        "<logs>/resolve_model/{model}.log",
    benchmark:
        "<benchmarks>/resolve_model/{model}.tsv"
    wildcard_constraints:
        model=one_of(set(CONFIG.models) - set(PRETRAINED) - set(QUANTISED)),
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        module=module_of_script,
        settings=model_settings,
        stage_version=1,
    message:
        "finding the model {wildcards.model}"
    shell:
        "HF_HUB_OFFLINE=$CANEFT_HF_HUB_OFFLINE python -m {params.module} --settings {params.settings:q}"
        " --manifest {output.manifest:q} > {log:q} 2>&1"


rule dequantise_model:
    input:
        script=here("workflow/scripts/dequantise_model.py"),
        raw=raw_model,
    output:
        manifest="<results>/models/{model}/manifest.json",
        weights="<results>/models/{model}/model.safetensors",
        config="<results>/models/{model}/config.json",
        tokenizer="<results>/models/{model}/tokenizer.json",
    log:
        "<logs>/dequantise_model/{model}.log",
    benchmark:
        "<benchmarks>/dequantise_model/{model}.tsv"
    wildcard_constraints:
        model=one_of(QUANTISED),
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=memory_of("dequantising", "model"),
        runtime=growing(60),
    params:
        module=module_of_script,
        settings=quantised_settings,
        stage_version=1,
    message:
        "dequantising the model {wildcards.model}"
    shell:
        "python -m {params.module} --settings {params.settings:q} --manifest {output.manifest:q} > {log:q} 2>&1"


localrules:
    resolve_model,
