"""Fetching: all downloads, made once, where there is a network. All other jobs work offline (HF_HUB_OFFLINE=1).

needs   the network, or the hub's cache (HF_HOME); both rules that download run beside Snakemake, never as cluster jobs
leaves  <results>/models/{model}/manifest.json                 by resolve_model (models.smk): the commit, checksums
        <results>/metrics/{metric}/manifest.json               by resolve_metric (metrics.smk): the same
        .venvs/{comet,vllm}/                                   by build_environment (environments.smk), without conda
        <results>/corpora/{direction}/{domain}/fetched.json    of each remote split: revision, pairs, checksum
        <results>/corpora/pretraining/{model}/fetched.json     the same for pretraining text
"""


rule fetch_corpus:
    input:
        script=here("workflow/scripts/fetch_corpus.py"),
    output:
        fetched="<results>/corpora/{corpus}/fetched.json",
    log:
        "<logs>/fetch_corpus/{corpus}.log",
    benchmark:
        "<benchmarks>/fetch_corpus/{corpus}.tsv"
    wildcard_constraints:
        corpus=one_of(FETCHED),
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        module=module_of_script,
        settings=lambda wildcards: parts.fetching(FETCHED[wildcards.corpus]).model_dump_json(),
        stage_version=1,
    message:
        "fetching the corpus {wildcards.corpus}"
    shell:
        "HF_HUB_OFFLINE=$CANEFT_HF_HUB_OFFLINE python -m {params.module} --settings {params.settings:q}"
        " --fetched {output.fetched:q} > {log:q} 2>&1"


localrules:
    fetch_corpus,


rule fetch:
    """Target: download all that jobs then find in the caches."""
    input:
        [f"<results>/models/{model}/manifest.json" for model in CONFIG.models if model not in PRETRAINED],
        [f"<results>/corpora/{corpus}/fetched.json" for corpus in FETCHED],
        [
            f"<results>/metrics/{metric}/manifest.json"
            for metric in CONFIG.scoring.neural
            if metric not in TRAINED_METRICS
        ],
        COMET_ENVIRONMENT if CONFIG.scoring.neural else [],
        VLLM_ENVIRONMENT if CONFIG.decoding.engine == "vllm" else [],
