"""A first try that takes minutes: the same configuration on a few pairs of every corpus, in a separate folder."""

from caneft.config.corpora import Source
from caneft.config.root import Config
from caneft.config.section import Section


def small(config: Config) -> Config:
    """Cuts the configuration to its `limit`: corpora, samples of importance, training and dev pairs, and one epoch.

    Results go to `{results_root}/limit{limit}`, and every caption names the limit. Without a limit, nothing changes.
    A second cut changes nothing either, so the configuration saved with the results can be read again. The training
    text of bases and metrics is not cut.
    """
    most = config.limit
    if most is None:
        return config
    samples = most // 2  # some pairs are too long, and all domains need this number; stability takes at least two
    asked = config.importance.samples
    importance = {"samples": samples if asked == "auto" else min(asked, samples)}
    of_domains = {domain: min(pairs, most) for domain, pairs in config.tuning.pairs.items()}
    tuning = {name: min(getattr(config.tuning, name), most) for name in ("pairs_per_domain", "dev_pairs_per_domain")}
    tuning["epochs"] = 1
    root, note = config.results_root, config.report.note.strip()
    said = f"A first try: at most {most} pairs of every corpus, one epoch."
    return config.model_copy(
        update={
            "results_root": root if root.endswith(f"/limit{most}") else f"{root.rstrip('/')}/limit{most}",
            "directions": {name: _cut(direction, most) for name, direction in config.directions.items()},
            "importance": config.importance.model_copy(update=importance),
            "tuning": config.tuning.model_copy(update=tuning | {"pairs": of_domains}),
            "report": config.report.model_copy(update={"note": note if said in note else f"{said} {note}".strip()}),
        }
    )


def _cut(section: Section, most: int) -> Section:
    """A section with `limit` lowered in every source inside it."""
    if isinstance(section, Source):
        return section.model_copy(update={"limit": most if section.limit is None else min(section.limit, most)})
    update = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            update[name] = _cut(value, most)
        elif isinstance(value, dict):
            update[name] = {key: _cut(of, most) if isinstance(of, Section) else of for key, of in value.items()}
    return section.model_copy(update=update)
