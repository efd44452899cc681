"""Scoring: the metrics of every test set of every run, with signatures and counts of decoding failures.

needs   translations and test corpora
leaves  <results>/runs/{model}/{direction}/{run}/scores/{testset}.json
        <results>/scores/copy/{direction}/{domain}.json                  the source itself as the output
        <results>/significance/{model}/{direction}/{mixture}.json        differences between a block's runs, and p
        <results>/scores/without-overlap/{model}/{direction}/{mixture}/{domain}.json      a block's runs on a domain
                                                    outside of its mixture, without what stands in its training data
"""


include: "functions/scoring.smk"


rule score:
    input:
        script=here("workflow/scripts/score.py"),
        translations="<results>/runs/{model}/{direction}/{run}/translations/{testset}.jsonl",
        corpora=testset_corpora,
    output:
        scores="<results>/runs/{model}/{direction}/{run}/scores/{testset}.json",
    log:
        "<logs>/score/{model}/{direction}/{run}/{testset}.log",
    benchmark:
        "<benchmarks>/score/{model}/{direction}/{run}/{testset}.tsv"
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
        domains=testset_domains,
        about=lambda wildcards: [wildcards.model, wildcards.direction, wildcards.run, wildcards.testset],
        stage_version=2,
    message:
        "scoring {wildcards.testset} of {wildcards.run} ({wildcards.model}, {wildcards.direction})"
    shell:
        "python -m {params.module} --settings {params.settings:q} --about {params.about} --domains {params.domains}"
        " --corpora {input.corpora:q} --translations {input.translations:q} --scores {output.scores:q} > {log:q} 2>&1"


rule score_copy:
    input:
        script=here("workflow/scripts/score.py"),
        corpus="<results>/corpora/{direction}/{domain}/test.jsonl",
    output:
        scores="<results>/scores/copy/{direction}/{domain}.json",
    log:
        "<logs>/score_copy/{direction}/{domain}.log",
    benchmark:
        "<benchmarks>/score_copy/{direction}/{domain}.tsv"
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
        stage_version=2,
    message:
        "scoring copied sources of {wildcards.domain} ({wildcards.direction})"
    shell:
        "python -m {params.module} --settings {params.settings:q}"
        " --about - {wildcards.direction} copy {wildcards.domain} --domains {wildcards.domain}"
        " --corpora {input.corpus:q} --copy --scores {output.scores:q} > {log:q} 2>&1"


rule score_without_overlap:
    input:
        script=here("workflow/scripts/score_without_overlap.py"),
        overlap="<results>/mixtures/{direction}/{mixture}/overlap/{domain}.json",
        corpus="<results>/corpora/{direction}/{domain}/test.jsonl",
        translations=block_translations,
    output:
        scores="<results>/scores/without-overlap/{model}/{direction}/{mixture}/{domain}.json",
    log:
        "<logs>/score_without_overlap/{model}/{direction}/{mixture}/{domain}.log",
    benchmark:
        "<benchmarks>/score_without_overlap/{model}/{direction}/{mixture}/{domain}.tsv"
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
        runs=lambda wildcards: [run.name for run in runs_of_block(wildcards)],
        stage_version=2,
    message:
        "scoring {wildcards.domain} without what {wildcards.mixture} is trained on ({wildcards.model}, {wildcards.direction})"
    shell:
        "python -m {params.module} --settings {params.settings:q}"
        " --about {wildcards.model} {wildcards.direction} {wildcards.mixture} {wildcards.domain}"
        " --overlap {input.overlap:q} --corpus {input.corpus:q}"
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
