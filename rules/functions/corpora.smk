"""Functions that the rules of corpora and mixtures call."""

FETCHED = dict(configuration.remote_sources(CONFIG))


def corpora(with_training):
    """`{direction}/{domain}` of the domains with training data, or of those without."""
    return [
        f"{direction}/{domain}"
        for direction, entry in CONFIG.directions.items()
        for domain, corpus in entry.domains.items()
        if (corpus.train is not None) == with_training
    ]


def domain_entry(wildcards):
    """Configuration of the domain that a job prepares."""
    direction, domain = wildcards.corpus.split("/")
    return CONFIG.directions[direction].domains[domain]


def corpus_settings(wildcards):
    return parts.corpus(CONFIG, *wildcards.corpus.split("/")).model_dump_json()


def raw_files(source):
    """Files that a corpus source reads; an archive counts as one, a built-in corpus reads none."""
    resolve = configuration.resolver(configuration.data_root(CONFIG))
    return [str(file) for file in dict.fromkeys(split_archive(resolve(path))[0] for path in source.paths())]


def raw_corpus(wildcards):
    entry = domain_entry(wildcards)
    return [file for split in (entry.train, entry.dev, entry.test) if split for file in raw_files(split)]


def fetched(corpus):
    """The record of a corpus's download, if it has one."""
    return [f"<results>/corpora/{corpus}/fetched.json"] if corpus in FETCHED else []


def mixture_corpora(wildcards):
    return [
        f"<results>/corpora/{wildcards.direction}/{domain}/{split}.jsonl"
        for domain in PLAN.seen(wildcards.direction, wildcards.mixture)
        for split in ("train", "dev", "test")
    ]


def every_overlap():
    """Overlap flags of each test set outside the mixture that its runs are tested on."""
    pairs = [(direction, mixture) for direction in CONFIG.directions for mixture in PLAN.mixtures(direction)]
    return under_results(f"mixtures/{d}/{m}/overlap/{domain}.json" for d, m in pairs for domain in PLAN.unseen(d, m))
