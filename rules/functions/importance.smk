"""Functions that the rules of importance call."""


def deciding_domains(wildcards):
    """Domains on which `importance.samples: auto` is decided."""
    return PLAN.seen(wildcards.direction, PLAN.decided_on(wildcards.direction))


def deciding_corpora(wildcards):
    domains = deciding_domains(wildcards)
    return [f"<results>/corpora/{wildcards.direction}/{domain}/train.jsonl" for domain in domains]


def decided_samples(wildcards):
    """Input function of a dump: the file with the number of samples, if a pilot decides it."""
    auto = CONFIG.importance.samples == "auto"
    return f"<results>/importance/{wildcards.model}/{wildcards.direction}/samples.json" if auto else []


def dump_settings(wildcards):
    drawn = FOLDERS["dumps"][wildcards.dumps]
    return parts.dump(CONFIG, wildcards.model, wildcards.direction, *drawn).model_dump_json()


def every_dump():
    """Importance dumps of all domains that neurons are selected on; none if no variant selects neurons."""
    dumps = {
        f"{importance_folder(unit, seed)}/{model}/{direction}/{domain}.npy"
        for model, direction, mixture in PLAN.blocks()
        for unit in inputs.units(PLAN, (model, direction, mixture))
        for seed in DRAWS
        for domain in PLAN.seen(direction, PLAN.selected_on(direction, mixture))
    }
    return under_results(dumps)
