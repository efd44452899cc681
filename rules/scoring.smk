"""Scoring: the metrics of every run on its test sets, with signatures and counts of decoding failures.

needs   translations and test corpora
leaves  <results>/runs/{model}/{direction}/{run}/scores/test.json
        <results>/runs/{model}/{direction}/{mixture}/{variant}/trials.json      of every trial of a grid of rates
        <results>/scores/copy/{direction}/test.json                      the source itself as the output
        <results>/significance/{model}/{direction}/{mixture}.json        differences between a block's runs, with p
        <results>/scores/without-overlap/{model}/{direction}/{mixture}.json      a block's runs on the domains outside
                                                    its mixture, without what is in its training data
"""


include: "functions/scoring.smk"


rule score:
    input:
        script=here("workflow/scripts/score.py"),
        translations="<results>/runs/{model}/{direction}/{run}/translations/test.jsonl",
        corpora=test_corpora,
    output:
        scores="<results>/runs/{model}/{direction}/{run}/scores/test.json",
    log:
        "<logs>/score/{model}/{direction}/{run}.log",
    benchmark:
        "<benchmarks>/score/{model}/{direction}/{run}.tsv"
    group:
        grouped(group_of_run)
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        turn=1,
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        module=module_of_script,
        settings=score_settings,
        domains=lambda wildcards: PLAN.domains(run_of(wildcards)),
        seen=seen_by_run,
        about=lambda wildcards: [wildcards.model, wildcards.direction, wildcards.run],
        stage_version=3,
    message:
        "scoring {wildcards.run} ({wildcards.model}, {wildcards.direction})"
    shell:
        "python -m {params.module} --settings {params.settings:q} --about {params.about} --domains {params.domains}"
        " --seen {params.seen} --corpora {input.corpora:q} --translations {input.translations:q} --scores {output.scores:q} > {log:q} 2>&1"


rule score_trials:
    input:
        script=here("workflow/scripts/score_trials.py"),
        translations=of_trials(f"translations/{TEST}.jsonl"),
        corpora=mixture_corpora,
    output:
        scores="<results>/runs/{model}/{direction}/{mixture}/{variant}/trials.json",
    log:
        "<logs>/score_trials/{model}/{direction}/{mixture}/{variant}.log",
    benchmark:
        "<benchmarks>/score_trials/{model}/{direction}/{mixture}/{variant}.tsv"
    group:
        grouped("choice")
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        turn=1,
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        module=module_of_script,
        settings=of(parts.score, "direction"),
        domains=lambda wildcards: PLAN.tested(wildcards.direction, wildcards.mixture),
        trials=lambda wildcards: [trial.attempt for trial in trials_of(wildcards)],
        stage_version=1,
    message:
        "scoring trials of {wildcards.variant} on {wildcards.mixture} ({wildcards.model}, {wildcards.direction})"
    shell:
        "python -m {params.module} --settings {params.settings:q}"
        " --about {wildcards.model} {wildcards.direction} {wildcards.mixture} {wildcards.variant}"
        " --domains {params.domains} --corpora {input.corpora:q}"
        " --trials {params.trials} --translations {input.translations:q} --scores {output.scores:q} > {log:q} 2>&1"


rule score_copy:
    input:
        script=here("workflow/scripts/score.py"),
        corpora=tested_corpora,
    output:
        scores="<results>/scores/copy/{direction}/test.json",
    log:
        "<logs>/score_copy/{direction}.log",
    benchmark:
        "<benchmarks>/score_copy/{direction}.tsv"
    group:
        grouped("shared")
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        turn=1,
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        module=module_of_script,
        settings=of(parts.score, "direction"),
        domains=lambda wildcards: PLAN.all_tested(wildcards.direction),
        stage_version=3,
    message:
        "scoring copied sources ({wildcards.direction})"
    shell:
        "python -m {params.module} --settings {params.settings:q}"
        " --about - {wildcards.direction} copy --domains {params.domains}"
        " --corpora {input.corpora:q} --copy --scores {output.scores:q} > {log:q} 2>&1"


rule score_without_overlap:
    input:
        script=here("workflow/scripts/score_without_overlap.py"),
        overlaps=unseen_overlaps,
        corpora=unseen_corpora,
        translations=block_translations,
    output:
        scores="<results>/scores/without-overlap/{model}/{direction}/{mixture}.json",
    log:
        "<logs>/score_without_overlap/{model}/{direction}/{mixture}.log",
    benchmark:
        "<benchmarks>/score_without_overlap/{model}/{direction}/{mixture}.tsv"
    group:
        grouped("overlap")
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        turn=1,
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        module=module_of_script,
        settings=of(parts.score, "direction"),
        domains=lambda wildcards: PLAN.unseen(wildcards.direction, wildcards.mixture),
        runs=lambda wildcards: [run.name for run in runs_of_block(wildcards)],
        stage_version=3,
    message:
        "scoring unseen domains without what {wildcards.mixture} is trained on ({wildcards.model}, {wildcards.direction})"
    shell:
        "python -m {params.module} --settings {params.settings:q}"
        " --about {wildcards.model} {wildcards.direction} {wildcards.mixture} --domains {params.domains}"
        " --overlaps {input.overlaps:q} --corpora {input.corpora:q}"
        " --runs {params.runs} --translations {input.translations:q} --scores {output.scores:q} > {log:q} 2>&1"


rule test_significance:
    input:
        script=here("workflow/scripts/test_significance.py"),
        results=compared_files,
    output:
        significance="<results>/significance/{model}/{direction}/{mixture}.json",
    log:
        "<logs>/test_significance/{model}/{direction}/{mixture}.log",
    benchmark:
        "<benchmarks>/test_significance/{model}/{direction}/{mixture}.tsv"
    group:
        grouped("significance")
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        turn=1,
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        module=module_of_script,
        settings=lambda wildcards: comparison.settings(PLAN, block_of(wildcards)).model_dump_json(),
        root=subpath(output[0], ancestor=4),
        stage_version=3,
    message:
        "tests of significance on {wildcards.mixture} ({wildcards.model}, {wildcards.direction})"
    shell:
        "python -m {params.module} --settings {params.settings:q}"
        " --about {wildcards.model} {wildcards.direction} {wildcards.mixture} --results {params.root:q}"
        " --significance {output.significance:q} > {log:q} 2>&1"
