"""Functions that the rules of models call."""

PRETRAINED = [name for name, model in CONFIG.models.items() if model.pretrain]
QUANTISED = [name for name, model in CONFIG.models.items() if model.quantised]


def model_settings(wildcards):
    """Params function: a model's source and what it may do when loaded, as JSON."""
    parts = {"hub", "revision", "path", "trust_remote_code", "allow_pickle"}
    return CONFIG.models[wildcards.model].model_dump_json(include=parts)


def quantised_settings(wildcards):
    """Params function: the place of a GGUF file and the dtype for its weights, as JSON."""
    return CONFIG.models[wildcards.model].model_dump_json(include={"path", "package", "dtype"})


def raw_model(wildcards):
    """Input function: the GGUF file of a model; none if it is in a package."""
    path = CONFIG.models[wildcards.model].path
    return [] if path is None else str(configuration.resolver(configuration.data_root(CONFIG))(path))


def raw_pretraining(wildcards):
    return [file for corpus in CONFIG.models[wildcards.model].pretrain.corpora for file in raw_files(corpus.corpus)]
