"""Reporting: tables and figures, from run records, scores and neuron sets only; a page of examples; the overview.

needs   scores, records, logs and costs of all runs and trials; choices of learning rates; scores without overlap;
        reports of corpora and mixtures; information tables, neuron sets and stability curves; for the examples,
        some translations and the test corpora
leaves  <results>/tables/*.{csv,md,tex,html}          named in listing.TABLES
        <results>/runs.parquet                        every score of every run, one per row
        <results>/figures/*.{pdf,svg,png}             named in listing.figures(PLAN)
        <results>/examples.html
        <results>/overview.html, <results>/summary.md
        <results>/report.html is made after the run, by the handler in the Snakefile
"""


include: "functions/reporting.smk"


rule tabulate:
    input:
        script=here("workflow/scripts/tabulate.py"),
        results=under_results(inputs.table_inputs(PLAN)),
    output:
        [path for name in listing.TABLES for path in table(name)],
        runs="<results>/runs.parquet",
    log:
        "<logs>/tabulate.log",
    benchmark:
        "<benchmarks>/tabulate.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        module=module_of_script,
        config=lambda wildcards: parts.reporting(CONFIG),
        root=subpath(output[0], ancestor=2),
        stage_version=6,
    message:
        "tables"
    shell:
        "python -m {params.module} --config {params.config:q} --results {params.root:q}"
        " --out {params.root:q}/tables --runs {output.runs:q} > {log:q} 2>&1"


rule plot:
    input:
        script=here("workflow/scripts/plot.py"),
        results=under_results(inputs.figure_inputs(PLAN)),
    output:
        [path for name in listing.figures(PLAN) for path in figure(name)],
    log:
        "<logs>/plot.log",
    benchmark:
        "<benchmarks>/plot.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        module=module_of_script,
        config=lambda wildcards: parts.reporting(CONFIG),
        root=subpath(output[0], ancestor=2),
        stage_version=7,
    message:
        "figures"
    shell:
        "python -m {params.module} --config {params.config:q} --results {params.root:q}"
        " --out {params.root:q}/figures > {log:q} 2>&1"


rule show_examples:
    input:
        script=here("workflow/scripts/show_examples.py"),
        results=under_results(shown.example_inputs(PLAN)),
    output:
        page=report(
            "<results>/examples.html",
            caption="../workflow/report/examples.rst",
            category=CATEGORIES["examples"],
            labels={"page": "outputs side by side"},
        ),
    log:
        "<logs>/show_examples.log",
    benchmark:
        "<benchmarks>/show_examples.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        module=module_of_script,
        config=lambda wildcards: parts.reporting(CONFIG),
        root=subpath(output.page, parent=True),
        stage_version=2,
    message:
        "examples"
    shell:
        "python -m {params.module} --config {params.config:q} --results {params.root:q}"
        " --out {output.page:q} > {log:q} 2>&1"


rule overview:
    input:
        script=here("workflow/scripts/overview.py"),
        # An edited caption runs this job again, and then the handler makes the report.
        captions=captions(),
        results=under_results(listing.overview_inputs(PLAN)),
    output:
        report(
            "<results>/overview.html",
            caption="../workflow/report/overview.rst",
            category=CATEGORIES["overview"],
            labels={"page": "overview"},
        ),
        "<results>/summary.md",
    log:
        "<logs>/overview.log",
    benchmark:
        "<benchmarks>/overview.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        module=module_of_script,
        config=lambda wildcards: parts.reporting(CONFIG),
        root=subpath(output[0], parent=True),
        stage_version=5,
    message:
        "overview"
    shell:
        "python -m {params.module} --config {params.config:q} --results {params.root:q}"
        " --out {params.root:q} > {log:q} 2>&1"


rule tables:
    """Target: every table."""
    input:
        rules.tabulate.output,
        lost_results(),


rule figures:
    """Target: every figure."""
    input:
        lost_results(),
        rules.plot.output,
