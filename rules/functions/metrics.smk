"""Functions that the rules of neural metrics call."""

TRAINED_METRICS = [name for name, metric in CONFIG.scoring.neural.items() if getattr(metric, "train", None)]


def metric_resource(name, grows=False):
    """Like `resource_of`, for a scoring job: the resources of its neural metric."""
    return lambda wildcards, attempt: getattr(CONFIG.scoring.neural[wildcards.metric].resources, name) * (
        attempt if grows else 1
    )


def raw_metric_pairs(wildcards):
    corpora = CONFIG.scoring.neural[wildcards.metric].train.corpora
    return [file for corpus in corpora for file in raw_files(corpus.corpus)]
