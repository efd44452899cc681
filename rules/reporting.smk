"""Reporting: tables and figures, from run records, scores and neuron sets only.

needs   scores, records, logs and costs of all runs, trials too; choices of learning rates; scores without overlap;
        reports of corpora and mixtures; information tables, neuron sets and stability curves
leaves  <results>/tables/{main,cost,interference,trials,overlap,corpora}.{csv,md,tex,html}
        <results>/figures/*.{pdf,svg,png}
        <results>/report.html is made after the run, by the handler in the Snakefile
"""


rule tabulate:
    input:
        script="workflow/scripts/tabulate.py",
        results=under_results(inputs.table_inputs(PLAN)),
    output:
        main=report(
            "<results>/tables/main.html",
            caption="../workflow/report/main.rst",
            category="Tables",
            labels={"table": "scores"},
        ),
        cost=report(
            "<results>/tables/cost.html",
            caption="../workflow/report/cost.rst",
            category="Tables",
            labels={"table": "cost"},
        ),
        interference=report(
            "<results>/tables/interference.html",
            caption="../workflow/report/interference.rst",
            category="Tables",
            labels={"table": "interference"},
        ),
        trials=report(
            "<results>/tables/trials.html",
            caption="../workflow/report/trials.rst",
            category="Tables",
            labels={"table": "trials of learning rates"},
        ),
        overlap=report(
            "<results>/tables/overlap.html",
            caption="../workflow/report/overlap.rst",
            category="Tables",
            labels={"table": "overlap of test and training data"},
        ),
        corpora=report(
            "<results>/tables/corpora.html",
            caption="../workflow/report/corpora.rst",
            category="Tables",
            labels={"table": "corpora"},
        ),
        text=multiext("<results>/tables/main", ".csv", ".md", ".tex"),
        cost_text=multiext("<results>/tables/cost", ".csv", ".md", ".tex"),
        interference_text=multiext("<results>/tables/interference", ".csv", ".md", ".tex"),
        trials_text=multiext("<results>/tables/trials", ".csv", ".md", ".tex"),
        overlap_text=multiext("<results>/tables/overlap", ".csv", ".md", ".tex"),
        corpora_text=multiext("<results>/tables/corpora", ".csv", ".md", ".tex"),
    log:
        "<logs>/tabulate.log",
    benchmark:
        "<benchmarks>/tabulate.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        module=as_py_module(),
        config=lambda wildcards: settings.reporting(CONFIG),
        root=subpath(output[0], ancestor=2),
        stage_version=2,
    message:
        "tables"
    shell:
        "python -m {params.module} --config {params.config:q} --results {params.root:q}"
        " --out {params.root:q}/tables > {log} 2>&1"


rule plot:
    input:
        script="workflow/scripts/plot.py",
        results=under_results(inputs.figure_inputs(PLAN)),
    output:
        figure("scores"),
        figure("seen_unseen"),
        figure("neurons_per_layer"),
        figure("importance_information"),
        figure("stability"),
        figure("training"),
    log:
        "<logs>/plot.log",
    benchmark:
        "<benchmarks>/plot.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        module=as_py_module(),
        config=lambda wildcards: settings.reporting(CONFIG),
        root=subpath(output[0], ancestor=2),
        stage_version=2,
    message:
        "figures"
    shell:
        "python -m {params.module} --config {params.config:q} --results {params.root:q}"
        " --out {params.root:q}/figures > {log} 2>&1"


rule tables:
    """Target: every table."""
    input:
        rules.tabulate.output,


rule figures:
    """Target: every figure."""
    input:
        rules.plot.output,
