"""Neural metrics: their environment, their checkpoints, and their scores of every test set of every final run.

One process scores all test sets of a run. It keeps the valid scores of an earlier job, so a new domain costs only its own
scores. Neural metrics have a separate environment (environments.smk), because their packages do not fit into the common
one.

needs   translations and test corpora; for a checkpoint on the hub, the network or the hub's cache (HF_HOME)
leaves  <results>/metrics/{metric}/manifest.json                 which checkpoint, checksum, encoder
        <results>/metrics/comet/{checkpoints,encoder}/           only if it is trained here; its manifest says how
                                                                 well it recognises corrupted translations
        <results>/runs/{model}/{direction}/{run}/scores/neural/{metric}.json    of all test sets, one per segment;
                                                                 .{metric}.json is the same, which the next job keeps
        <results>/scores/copy/{direction}/neural/{metric}.json
"""


include: "functions/metrics.smk"


rule resolve_metric:
    input:
        script=here("workflow/scripts/resolve_metric.py"),
    output:
        manifest="<results>/metrics/{metric}/manifest.json",
    log:
        "<logs>/resolve_metric/{metric}.log",
    benchmark:
        "<benchmarks>/resolve_metric/{metric}.tsv"
    wildcard_constraints:
        metric=one_of(set(CONFIG.scoring.neural) - set(TRAINED_METRICS)),
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
    params:
        module=module_of_script,
        settings=lambda wildcards: parts.metric(CONFIG, wildcards.metric),
        stage_version=1,
    message:
        "finding the checkpoint of {wildcards.metric}"
    shell:
        "HF_HUB_OFFLINE=$CANEFT_HF_HUB_OFFLINE python -m {params.module} --settings {params.settings:q}"
        " --manifest {output.manifest:q} > {log:q} 2>&1"


rule prepare_metric_pairs:
    input:
        script=here("workflow/scripts/prepare_pretraining.py"),
        raw=raw_metric_pairs,
        fetched=lambda wildcards: fetched(f"metrics/{wildcards.metric}"),
    output:
        corpus="<results>/corpora/metrics/{metric}.jsonl",
        report="<results>/corpora/metrics/{metric}.report.json",
    log:
        "<logs>/prepare_metric_pairs/{metric}.log",
    benchmark:
        "<benchmarks>/prepare_metric_pairs/{metric}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        module=module_of_script,
        settings=of(parts.metric_pairs, "metric"),
        stage_version=1,
    message:
        "pairs to train {wildcards.metric} on"
    shell:
        "python -m {params.module} --settings {params.settings:q} --fetched {input.fetched:q}"
        " --corpus {output.corpus:q} --report {output.report:q} > {log:q} 2>&1"


rule train_comet:
    input:
        script=here("workflow/scripts/train_comet.py"),
        environment=COMET_ENVIRONMENT,
        corpus="<results>/corpora/metrics/{metric}.jsonl",
    output:
        manifest="<results>/metrics/{metric}/manifest.json",
        checkpoint="<results>/metrics/{metric}/checkpoints/model.ckpt",
        encoder=directory("<results>/metrics/{metric}/encoder"),
        hparams="<results>/metrics/{metric}/hparams.yaml",
    log:
        "<logs>/train_comet/{metric}.log",
    benchmark:
        "<benchmarks>/train_comet/{metric}.tsv"
    wildcard_constraints:
        metric=one_of(TRAINED_METRICS),
    conda:
        "../envs/comet.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        python=COMET_PYTHON,
        module=module_of_script,
        settings=lambda wildcards: CONFIG.scoring.neural[wildcards.metric].train.model_dump_json(),
        stage_version=1,
    message:
        "training a small COMET for demonstration"
    shell:
        "{params.python:q} -m {params.module} --settings {params.settings:q} --corpus {input.corpus:q} --threads {threads}"
        " --manifest {output.manifest:q} > {log:q} 2>&1"


rule score_neural:
    input:
        script=here("workflow/scripts/score_neural.py"),
        environment=COMET_ENVIRONMENT,
        manifest="<results>/metrics/{metric}/manifest.json",
        translations="<results>/runs/{model}/{direction}/{run}/translations/test.jsonl",
        corpora=test_corpora,
    output:
        scores="<results>/runs/{model}/{direction}/{run}/scores/neural/{metric}.json",
    log:
        "<logs>/score_neural/{metric}/{model}/{direction}/{run}.log",
    benchmark:
        "<benchmarks>/score_neural/{metric}/{model}/{direction}/{run}.tsv"
    group:
        grouped("neural")
    conda:
        "../envs/comet.yaml"
    threads: 1
    resources:
        turn=1,
        gpu=metric_resource("gpu"),
        mem_mb=metric_resource("mem_mb", grows=True),
        runtime=metric_resource("runtime", grows=True),
        batch_size=metric_resource("batch_size"),
    params:
        python=COMET_PYTHON,
        module=module_of_script,
        domains=lambda wildcards: PLAN.domains(run_of(wildcards)),
        about=lambda wildcards: [wildcards.model, wildcards.direction, wildcards.run],
        stage_version=3,
    message:
        "scoring {wildcards.run} by {wildcards.metric} ({wildcards.model}, {wildcards.direction})"
    shell:
        "python -m caneft.runtime.lease --gpus {resources.gpu} --"
        " {params.python:q} -m {params.module} --manifest {input.manifest:q} --metric {wildcards.metric}"
        " --about {params.about} --domains {params.domains} --corpora {input.corpora:q}"
        " --translations {input.translations:q} --batch-size {resources.batch_size} --threads {threads}"
        " --stage-version {params.stage_version} --scores {output.scores:q} > {log:q} 2>&1"


rule score_neural_copy:
    input:
        script=here("workflow/scripts/score_neural.py"),
        environment=COMET_ENVIRONMENT,
        manifest="<results>/metrics/{metric}/manifest.json",
        corpora=tested_corpora,
    output:
        scores="<results>/scores/copy/{direction}/neural/{metric}.json",
    log:
        "<logs>/score_neural_copy/{metric}/{direction}.log",
    benchmark:
        "<benchmarks>/score_neural_copy/{metric}/{direction}.tsv"
    conda:
        "../envs/comet.yaml"
    threads: 1
    resources:
        gpu=metric_resource("gpu"),
        mem_mb=metric_resource("mem_mb", grows=True),
        runtime=metric_resource("runtime", grows=True),
        batch_size=metric_resource("batch_size"),
    params:
        python=COMET_PYTHON,
        module=module_of_script,
        domains=lambda wildcards: PLAN.all_tested(wildcards.direction),
        stage_version=3,
    message:
        "scoring copied sources by {wildcards.metric} ({wildcards.direction})"
    shell:
        "python -m caneft.runtime.lease --gpus {resources.gpu} --"
        " {params.python:q} -m {params.module} --manifest {input.manifest:q} --metric {wildcards.metric}"
        " --about - {wildcards.direction} copy --domains {params.domains}"
        " --corpora {input.corpora:q} --copy --batch-size {resources.batch_size} --threads {threads}"
        " --stage-version {params.stage_version} --scores {output.scores:q} > {log:q} 2>&1"


localrules:
    resolve_metric,
