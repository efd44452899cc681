"""Captions of the tables: sentences made from the plan, the scores and the records. Nobody types a number."""

from collections.abc import Callable, Hashable, Iterable

import pandas as pd

from caneft.plan import Plan
from caneft.reporting.inputs import COPY, Block

METRICS = {"bleu": "BLEU", "chrf": "chrF2"}


def label(plan: Plan, name: str) -> str:
    """Label of a variant or domain: the configuration's, else its name."""
    return plan.config.report.labels.get(name, name)


def main_caption(plan: Plan, block: Block, scores: pd.DataFrame, records: pd.DataFrame) -> str:
    """Caption of one block of the main table, one metric. scores, records: rows of this block alone."""
    trained = records[records["method"] != "base"]
    sentences = [test_sizes(plan, block, scores)]
    if len(trained):
        sentences[:0] = [training(plan, block, trained)]
        sentences += [budget(plan, block, trained), rates(plan, trained), seeds(plan)]
    sentences += ["Averages are over domains. The best value of a column is bold, the second underlined."]
    sentences += ["Copy is the source as its own translation."]
    return " ".join(sentence for sentence in [*sentences, plan.config.report.note.strip()] if sentence)


def training(plan: Plan, block: Block, trained: pd.DataFrame) -> str:
    """What was trained on: pairs, domains, epochs; and which domains were not."""
    seen, unseen = plan.seen(*block[1:]), plan.unseen(*block[1:])
    tuning = plan.config.tuning
    each = "each" if set(trained["pairs"]) == {tuning.pairs_per_domain * len(seen)} else "each at most"
    domains = f"{len(seen)} domains ({_names(plan, seen)}; {each} {tuning.pairs_per_domain:,})"
    domains = domains if len(seen) > 1 else _names(plan, seen)
    epochs = f"{tuning.epochs} epoch{'s' * (tuning.epochs > 1)}"
    unseen_text = f" Unseen in training: {_names(plan, unseen)}." if unseen else ""
    return f"Trained on {_range(trained['pairs'], ',')} pairs of {domains} for {epochs}.{unseen_text}"


def budget(plan: Plan, block: Block, trained: pd.DataFrame) -> str:
    """How many neurons the neuron methods train, and the gamma that this is for caneft."""
    _, direction, mixture = block
    chosen = trained[trained["neurons"].notna()]
    if chosen.empty:
        return ""
    sizes = {
        variant: (
            f"{_range(rows['neurons'], ',')} neurons ({_range(100 * rows['fraction'], '.3g')} % of the FFN neurons, "
            f"{_range(rows['neuron_parameters'], ',')} weights)"
        )
        for variant, rows in chosen.groupby("variant", sort=False)
    }
    if len(set(sizes.values())) == 1:
        text = f"Budget of the neuron methods: {next(iter(sizes.values()))}"
    else:
        text = f"Budgets: {_grouped(plan, sizes)}"
    gammas = {v: _range(rows["gamma"], ".2g") for v, rows in chosen[chosen["method"] == "caneft"].groupby("variant")}
    text += "".join(f"; gamma of {label(plan, v)} {gamma} nats" for v, gamma in gammas.items())
    selected_on = plan.selected_on(direction, mixture)
    return text + (f"; selected on mixture {selected_on}." if selected_on != mixture else ".")


def rates(plan: Plan, trained: pd.DataFrame) -> str:
    """Learning rate of each variant, grouped by rate."""
    by_variant = {v: _range(rows["learning_rate"], scientific) for v, rows in trained.groupby("variant", sort=False)}
    return f"Learning rates, fixed and not tuned: {_grouped(plan, by_variant)}."


def seeds(plan: Plan) -> str:
    """How many seeds stand behind a number."""
    values = plan.config.seeds
    if len(values) == 1:
        return f"Every run has one seed ({values[0]})."
    return f"Mean ± standard deviation over {len(values)} seeds ({', '.join(map(str, values))})."


def test_sizes(plan: Plan, block: Block, scores: pd.DataFrame) -> str:
    """Segments of each test set."""
    segments = scores.groupby("domain")["segments"]
    sizes = {domain: _range(segments.get_group(domain), ",") for domain in plan.tested(*block[1:])}
    if len(set(sizes.values())) == 1:
        return f"Test sets: {next(iter(sizes.values()))} segments each."
    return f"Test segments: {_grouped(plan, sizes)}."


def signatures(scores: pd.DataFrame) -> str:
    """sacrebleu's signature of one metric's scores, as code."""
    found = sorted(set(scores["signature"]))
    return f"Signature{'s' * (len(found) > 1)}: " + ", ".join(f"`{signature}`" for signature in found) + "."


def health(plan: Plan, scores: pd.DataFrame) -> str:
    """Empty, cut and over-long hypotheses of each variant, over domains and seeds. scores: rows of one metric."""
    flags = ["empty", "truncated", "overlong"]
    counts = scores[scores["method"] != COPY].groupby("variant", sort=False)[[*flags, "segments"]].sum()
    bad = counts[counts[flags].sum(axis=1) > 0]
    if bad.empty:
        return "No hypothesis is empty, cut at the length limit or over-long."
    texts = {v: f"{row.empty}/{row.truncated}/{row.overlong} of {row.segments:,}" for v, row in _named(bad)}
    rest = "; the others none" if len(bad) < len(counts) else ""
    return f"Hypotheses empty/cut at the length limit/over-long: {_grouped(plan, texts)}{rest}."


def cost_caption(plan: Plan, costs: pd.DataFrame) -> str:
    """Caption of one block of the cost table. costs: rows of this block alone."""
    machines = sorted({f"{row.device}, {row.threads} thread{'s' * (row.threads > 1)}" for row in costs.itertuples()})
    count = len(plan.config.seeds)
    return (
        f"Pretraining, importance (sum over domains) and information are shared by all methods; tuning is one run, "
        f"translation all test sets of one run{f', mean over {count} seeds' if count > 1 else ''}. "
        f"Peak memory is the highest of the processes. Measured on {'; '.join(machines)}."
    )


def scientific(value: float) -> str:
    """A number as people write learning rates: 0.0005 is 5e-4."""
    mantissa, exponent = f"{value:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return mantissa if int(exponent) == 0 else f"{mantissa}e{int(exponent)}"


def _named(frame: pd.DataFrame) -> Iterable[tuple[str, pd.Series]]:
    """Rows as plain attributes: `empty` is otherwise a property of pandas objects."""
    return zip(frame.index, frame.itertuples(index=False), strict=True)


def _names(plan: Plan, names: Iterable[str]) -> str:
    return ", ".join(label(plan, name) for name in names)


def _range(values: pd.Series, form: str | Callable[[float], str]) -> str:
    """The one value that all rows have, or `lowest to highest`. form: a format specification or a function."""
    printed = [form(v) if callable(form) else format(v, form) for v in sorted(set(values.dropna()))]
    return "none" if not printed else printed[0] if printed[0] == printed[-1] else f"{printed[0]} to {printed[-1]}"


def _grouped(plan: Plan, texts: dict[str, Hashable]) -> str:
    """`full 5e-4; lora, caneft 1e-2`: names with the same text stand together, in order of first appearance."""
    groups: dict[Hashable, list[str]] = {}
    for name, text in texts.items():
        groups.setdefault(text, []).append(name)
    return "; ".join(f"{_names(plan, names)} {text}" for text, names in groups.items())
