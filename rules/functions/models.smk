"""What the rules of models ask the plan."""

PRETRAINED = [name for name, model in CONFIG.models.items() if model.pretrain]
QUANTISED = [name for name, model in CONFIG.models.items() if model.quantised]


def model_settings(wildcards):
    """Params function: JSON of where a model comes from and what it may do when it is loaded."""
    parts = {"hub", "revision", "path", "trust_remote_code", "allow_pickle"}
    return CONFIG.models[wildcards.model].model_dump_json(include=parts)


def quantised_settings(wildcards):
    """Params function: JSON of where a GGUF file is, and of the dtype that its weights get."""
    return CONFIG.models[wildcards.model].model_dump_json(include={"path", "package", "dtype"})


def raw_model(wildcards):
    """Input function: the GGUF file of a model; one in a package is none of the workflow's files."""
    path = CONFIG.models[wildcards.model].path
    return [] if path is None else str(configuration.resolver(configuration.data_root(CONFIG))(path))


def raw_pretraining(wildcards):
    return [file for corpus in CONFIG.models[wildcards.model].pretrain.corpora for file in raw_files(corpus.corpus)]
