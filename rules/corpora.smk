"""Corpora: text of every domain, cleaned, with its own dev and test kept out of its train; and training mixtures.

needs   the files named under directions.*.domains.* (none for the built-in demo corpus); for the hub's, fetched.json
leaves  <results>/corpora/{direction}/{domain}/{train,dev,test}.jsonl, report.json    a domain depends only on itself
        <results>/mixtures/{direction}/{mixture}/{train,dev}.jsonl, report.json       without test sources of its domains
        <results>/mixtures/{direction}/{mixture}/overlap/{domain}.json    what any other test set shares with its train
"""


include: "functions/corpora.smk"


rule prepare_corpus:
    input:
        script=here("workflow/scripts/prepare_corpus.py"),
        raw=raw_corpus,
        fetched=lambda wildcards: fetched(wildcards.corpus),
    output:
        train="<results>/corpora/{corpus}/train.jsonl",
        dev="<results>/corpora/{corpus}/dev.jsonl",
        test="<results>/corpora/{corpus}/test.jsonl",
        report="<results>/corpora/{corpus}/report.json",
    log:
        "<logs>/prepare_corpus/{corpus}.log",
    benchmark:
        "<benchmarks>/prepare_corpus/{corpus}.tsv"
    wildcard_constraints:
        corpus=one_of(corpora(with_training=True)),
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(30),
    params:
        module=module_of_script,
        settings=corpus_settings,
        domain=lambda wildcards: wildcards.corpus.split("/")[1],
        out=subpath(output.report, parent=True),
        stage_version=3,
    message:
        "corpus {wildcards.corpus}"
    shell:
        "python -m {params.module} --settings {params.settings:q} --domain {params.domain} --fetched {input.fetched:q}"
        " --out {params.out:q} > {log:q} 2>&1"


use rule prepare_corpus as prepare_test_corpus with:
    output:
        test="<results>/corpora/{corpus}/test.jsonl",
        report="<results>/corpora/{corpus}/report.json",
    wildcard_constraints:
        corpus=one_of(corpora(with_training=False)),
    message:
        "test corpus {wildcards.corpus}"


rule draw_mixture:
    input:
        script=here("workflow/scripts/draw_mixture.py"),
        corpora=mixture_corpora,
    output:
        train="<results>/mixtures/{direction}/{mixture}/train.jsonl",
        dev="<results>/mixtures/{direction}/{mixture}/dev.jsonl",
        report="<results>/mixtures/{direction}/{mixture}/report.json",
    log:
        "<logs>/draw_mixture/{direction}/{mixture}.log",
    benchmark:
        "<benchmarks>/draw_mixture/{direction}/{mixture}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        module=module_of_script,
        settings=of(parts.mixture, "direction", "mixture"),
        corpora=lambda wildcards, input: str(Path(input.corpora[0]).parents[1]),
        out=subpath(output.report, parent=True),
        stage_version=3,
    message:
        "training data of the mixture {wildcards.mixture} ({wildcards.direction})"
    shell:
        "python -m {params.module} --settings {params.settings:q}"
        " --corpora {params.corpora:q} --out {params.out:q} > {log:q} 2>&1"


rule flag_overlap:
    input:
        script=here("workflow/scripts/flag_overlap.py"),
        train="<results>/mixtures/{direction}/{mixture}/train.jsonl",
        test="<results>/corpora/{direction}/{domain}/test.jsonl",
    output:
        overlap="<results>/mixtures/{direction}/{mixture}/overlap/{domain}.json",
    log:
        "<logs>/flag_overlap/{direction}/{mixture}/{domain}.log",
    benchmark:
        "<benchmarks>/flag_overlap/{direction}/{mixture}/{domain}.tsv"
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
        stage_version=2,
    message:
        "what {wildcards.domain} tests on and {wildcards.mixture} is trained on ({wildcards.direction})"
    shell:
        "python -m {params.module} --train {input.train:q} --test {input.test:q}"
        " --overlap {output.overlap:q} > {log:q} 2>&1"


rule corpora:
    """Target: every corpus and mixture, and what they share."""
    input:
        [f"<results>/corpora/{corpus}/report.json" for corpus in corpora(True) + corpora(False)],
        [f"<results>/mixtures/{d}/{m}/report.json" for d in CONFIG.directions for m in PLAN.mixtures(d)],
        every_overlap(),
