"""Captions of the tables: sentences made from the plan, scores and records. All their numbers are computed."""

from collections.abc import Callable, Hashable, Iterable

import pandas as pd

from caneft.config import Adapters, Full, Icl, Lora, Neurons
from caneft.plan import Plan
from caneft.reporting.columns import printed
from caneft.reporting.inputs import COPY, Block
from caneft.reporting.labels import METRICS, UNTRAINED, label, scientific
from caneft.reporting.results import FLAGS
from caneft.reporting.serving import TOLD, WHOLE, rounded, told

BEST_SCORE, BEST_VALUE = (f"The best {what} of a column is bold, the second underlined." for what in ("score", "value"))
STAGES = {"translation": "decoding"}
"""Stages that are printed under another name than their own: not every task is translation."""
ENGINES = {"vllm": "vLLM", "transformers": "transformers"}
UNITS = {"neuron": ("neuron", "FFN neurons"), "head": ("head", "attention heads")}
BY = {"random": "drawn at random", "bm25": "found by BM25"}


def said(plan: Plan, *sentences: str) -> str:
    """A caption: the non-empty sentences, then the configuration's note."""
    return " ".join(filter(None, [*sentences, plan.config.report.note.strip()]))


def demonstration(training: dict) -> str:
    """How good a metric that was trained here is. training: that entry of its manifest."""
    comet, chrf = (training[judge]["pearson"] for judge in ("comet", "chrf"))
    return (
        "This COMET is not a published one, but a small model that was trained here on"
        f" {training['pairs']:,} references with randomly corrupted words, to show the column. On"
        f" {training['held_out']:,} others its scores correlate with the share of intact words at {comet:.2f} (Pearson;"
        f" chrF2 of the sentence: {chrf:.2f})."
    )


def main_caption(plan: Plan, block: Block, scores: pd.DataFrame, records: pd.DataFrame, decoded: pd.DataFrame) -> str:
    """Caption of the main table of one block and metric. All frames hold only this block's rows."""
    trained = records[~records["method"].isin(UNTRAINED)]
    return said(
        plan,
        training(plan, block, trained) if len(trained) else "",
        test_sizes(plan, block, scores),
        seeds(plan) if len(trained) else "",
        f"Averages are over domains. {BEST_VALUE} Copy is the source itself in place of an output.",
        tellings(plan, block),
        engines(plan, decoded),
    )


def main_notes(plan: Plan, block: Block, scores: pd.DataFrame, records: pd.DataFrame) -> list[str]:
    """Notes below the main table of one block and metric. scores, records: only this block's rows."""
    trained = records[~records["method"].isin(UNTRAINED)]
    details = [examples(plan, block)]
    if len(trained):
        details += [budget(plan, block, trained), sizes(plan, block)]
        details += [rates(plan, block, trained), rounding(plan, block)]
    details = " ".join(filter(None, details))
    return [note for note in (signatures(scores), health(plan, scores), adapters(plan, scores), details) if note]


def tellings(plan: Plan, block: Block) -> str:
    """Explains the mark of variants that are told the domain of a test sentence."""
    if not any(told(plan, block, variant) for variant in plan.variants_on(*block[1:], Icl, Adapters)):
        return ""
    return f"{TOLD} is told which seen domain a test sentence is of; the other methods have to guess it."


def engines(plan: Plan, decoded: pd.DataFrame) -> str:
    """Names the engines that decoded, and says if they are mixed; empty if the plan has only transformers."""
    if decoded.empty:
        return ""
    names = decoded["engine"].map(ENGINES) + " " + decoded["version"] + " in " + decoded["dtype"]
    texts = {v: " and ".join(dict.fromkeys(of_v)) for v, of_v in names.groupby(decoded["variant"], sort=False)}
    if len(set(texts.values())) == 1 and names.nunique() == 1:
        return f"Decoded by {names.iloc[0]}."
    by = {variant: f"by {text}" for variant, text in texts.items()}
    return f"Engines are mixed, so some of a difference may be theirs; decoded: {_grouped(plan, by)}."


def training(plan: Plan, block: Block, trained: pd.DataFrame) -> str:
    """The training data: pairs, domains, epochs; and the unseen domains."""
    seen, unseen = plan.seen(*block[1:]), plan.unseen(*block[1:])
    tuning = plan.config.tuning
    each = "each" if set(trained["pairs"]) == {tuning.pairs_per_domain * len(seen)} else "each at most"
    domains = f"{len(seen)} domains ({_names(plan, seen)}; {each} {tuning.pairs_per_domain:,})"
    domains = domains if len(seen) > 1 else _names(plan, seen)
    epochs = f"{tuning.epochs} epoch{'s' * (tuning.epochs > 1)}"
    unseen_text = f" Unseen in training: {_names(plan, unseen)}." if unseen else ""
    return f"Trained on {_range(trained['pairs'], ',')} pairs of {domains} for {epochs}.{unseen_text}"


def examples(plan: Plan, block: Block) -> str:
    """The examples in the prompts of the methods that train nothing but show examples."""
    shown = {variant: plan.config.methods[variant] for variant in plan.variants_on(*block[1:], Icl)}
    if not shown:
        return ""
    texts = {v: f"{m.examples} example{'s' * (m.examples > 1)} {BY[m.retrieval]}" for v, m in shown.items()}
    unseen = ", of any for an unseen one" if plan.unseen(*block[1:]) else ""
    return f"In the prompt: {_grouped(plan, texts)}; from the training pairs of the test domain{unseen}."


def budget(plan: Plan, block: Block, trained: pd.DataFrame) -> str:
    """How many neurons or heads are trained, and the gamma to which this corresponds for caneft."""
    _, direction, mixture = block
    chosen = trained[trained["neurons"].notna()]
    if chosen.empty:
        return ""
    found = {variant: _budget(rows) for variant, rows in chosen.groupby("variant", sort=False)}
    if len(set(found.values())) == 1:
        text = f"Budget of the neuron methods: {next(iter(found.values()))}"
    else:
        text = f"Budgets: {_grouped(plan, found, rest='the other neuron methods')}"
    by_mi = chosen[chosen["method"].isin(["caneft", "caneft-attention"])].groupby("variant", sort=False)
    gammas = {variant: f"{_range(rows['gamma'], '.2g')} nats" for variant, rows in by_mi}
    text += f"; gamma of {_grouped(plan, gammas)}" if gammas else ""
    selected_on = plan.selected_on(direction, mixture)
    return text + (f"; selected on mixture {selected_on}." if selected_on != mixture else ".")


def _budget(rows: pd.DataFrame) -> str:
    """One variant's budget: number, share and weights."""
    one, all_of_them = UNITS[rows["unit"].iloc[0]]
    count, share = _range(rows["neurons"], ","), _range(100 * rows["fraction"], ".3g")
    weights = _range(rows["neuron_parameters"], ",")
    return f"{count} {one}{'s' * (count != '1')} ({share} % of the {all_of_them}, {weights} weights)"


def sizes(plan: Plan, block: Block) -> str:
    """Variants that take their size from another one."""
    methods = {v: plan.config.methods[v] for v in plan.variants_on(*block[1:], Lora, Neurons)}
    texts = {
        v: f"has as many weights as {label(plan, m.equal_to)}, as nearly as a rank allows"
        for v, m in methods.items()
        if isinstance(m, Lora) and m.equal_to
    }
    texts |= {
        v: f"has as many neurons in each layer as {label(plan, m.layers_of)}"
        for v, m in methods.items()
        if isinstance(m, Neurons) and m.layers_of
    }
    return "; ".join(f"{label(plan, variant)} {text}" for variant, text in texts.items()) + "." * bool(texts)


def rates(plan: Plan, block: Block, trained: pd.DataFrame) -> str:
    """Learning rate of each variant, grouped by rate; for chosen rates, also how they were chosen."""
    by_variant = {v: _range(rows["learning_rate"], scientific) for v, rows in trained.groupby("variant", sort=False)}
    choices, sentences = chosen_rates(trained), []
    fixed = {variant: rate for variant, rate in by_variant.items() if variant not in choices}
    if choices:
        tried = _range(pd.Series([len(choice["grid"]) for choice in choices.values()]), "d")
        where = plan.rates_on(*block[1:])
        on = f" on mixture {where}" if where != block[2] else ""
        chosen = _grouped(plan, {variant: by_variant[variant] for variant in choices})
        judge = METRICS[plan.config.scoring.judge]
        by = f"from {tried} each, the lowest within one standard error of the highest mean dev {judge}"
        by += f" ({trial_seeds(plan).lower()} each)"
        sentences += [f"Learning rates, chosen{on} {by}: {chosen}."]
        sentences += edges(plan, choices) + divergences(plan, choices)
    if fixed:
        sentences += [f"Learning rates, fixed and not tuned: {_grouped(plan, fixed)}."]
    return " ".join(sentences)


def chosen_rates(trained: pd.DataFrame) -> dict[str, dict]:
    """Content of choice.json by variant, without variants whose rate is fixed."""
    rows = trained[trained["choice"].notna()]
    return rows.groupby("variant", sort=False)["choice"].first().to_dict()


def rounding(plan: Plan, block: Block) -> str:
    """What each method rounds to the model's dtype before it is scored; for a float32 model, which LoRA is merged."""
    model, direction, mixture = block
    dtype = plan.config.models[model].dtype
    if dtype == WHOLE:
        variants = [v for v in plan.variants_on(direction, mixture, Lora) if plan.config.methods[v].merged]
        return f"Merged into the weights: {_names(plan, variants)}." if variants else ""
    others, neurons = (
        {variant: f"({rounded(plan, model, variant)})" for variant in plan.variants_on(direction, mixture, *kinds)}
        for kinds in ((Full, Lora, Adapters), (Neurons,))
    )
    said = [_grouped(plan, others), _grouped(plan, neurons, rest="the neuron methods")]
    return f"Rounded to {dtype}: {'; '.join(filter(None, said))}."


def edges(plan: Plan, choices: dict[str, dict]) -> list[str]:
    """A sentence if a chosen rate is at the edge of its grid. choices: content of choice.json by variant."""
    texts = {variant: f"({choice['edge']})" for variant, choice in choices.items() if choice["edge"]}
    return [f"At the edge of its grid, so that a better rate may lie outside: {_grouped(plan, texts)}."] * bool(texts)


def divergences(plan: Plan, choices: dict[str, dict]) -> list[str]:
    """A sentence if trials diverged."""
    diverged = {v: [float(rate) for rate, dev in c["grid"].items() if dev is None] for v, c in choices.items()}
    texts = {v: f"at {', '.join(map(scientific, sorted(rates)))}" for v, rates in diverged.items() if rates}
    return [f"Trials that diverged: {_grouped(plan, texts)}."] * bool(texts)


def trial_seeds(plan: Plan) -> str:
    """The number of trials of a rate, and their seeds."""
    values = plan.config.trials.seeds
    if len(values) == 1:
        return f"One trial (seed {values[0]})"
    return f"{len(values)} trials (seeds {', '.join(map(str, values))})"


def seeds(plan: Plan) -> str:
    """The seeds over which numbers are means."""
    values = plan.config.seeds
    if len(values) == 1:
        return f"Every run has one seed ({values[0]})."
    own = ", each with importance samples of its own" if plan.own_draws() and plan.variants(Neurons) else ""
    return f"Mean ± standard deviation over {len(values)} seeds ({', '.join(map(str, values))}){own}."


def test_sizes(plan: Plan, block: Block, scores: pd.DataFrame) -> str:
    """The number of segments of each test set."""
    segments = scores.groupby("domain")["segments"]
    sizes = {domain: _range(segments.get_group(domain), ",") for domain in plan.tested(*block[1:])}
    if len(set(sizes.values())) == 1:
        return f"Test sets: {next(iter(sizes.values()))} segments each."
    return f"Test segments: {_grouped(plan, sizes)}."


def signatures(scores: pd.DataFrame) -> str:
    """Signature of one metric's scores, as code."""
    found = sorted(set(scores["signature"]))
    return f"Signature{'s' * (len(found) > 1)}: " + ", ".join(f"`{signature}`" for signature in found) + "."


def health(plan: Plan, scores: pd.DataFrame) -> str:
    """Which methods have outputs that are empty, cut, over-long or in a wrong language. scores: rows of one metric."""
    counts = scores[scores["method"] != COPY].groupby("variant", sort=False)[FLAGS].sum()
    bad = counts.index[counts.sum(axis=1) > 0]
    kinds = "empty, cut at the length limit, over-long or in a wrong language"
    if bad.empty:
        return f"No hypothesis is {kinds}."
    whose = _names(plan, bad) if len(bad) <= 3 else f"{len(bad)} of {len(counts)} methods"
    return f"Some hypotheses of {whose} are {kinds}: see the table of decoding health."


def adapters(plan: Plan, scores: pd.DataFrame) -> str:
    """Which domain's adapter the source loss chose, and what the best one would reach. scores: rows of one metric."""
    chosen = scores[scores["adapter"].notna()]
    parts = []
    for (variant, domain), rows in chosen.groupby(["variant", "domain"], sort=False):
        text = f"{label(plan, variant)} on {label(plan, domain)}: {_whose(plan, rows['adapter'])}, "
        text += f"{rows['score'].mean():.1f}; "
        best = f"the best, {_whose(plan, rows['oracle'])}, would reach {rows['oracle_score'].mean():.1f}"
        parts.append(text + ("the best one" if (rows["adapter"] == rows["oracle"]).all() else best))
    return f"Adapters chosen by the loss on the sources of a test set: {'. '.join(parts)}." if parts else ""


def _whose(plan: Plan, names: pd.Series) -> str:
    """`law's`, or `law's (2 seeds) or it's (1 seed)` if seeds differ."""
    counts = names.value_counts(sort=False).sort_index()
    if len(counts) == 1:
        return f"{label(plan, counts.index[0])}'s"
    return " or ".join(f"{label(plan, name)}'s ({n} seed{'s' * (n > 1)})" for name, n in counts.items())


def cost_caption(plan: Plan, costs: pd.DataFrame) -> str:
    """Caption of one block's cost table. costs: only this block's rows."""
    count = len(plan.config.seeds)
    trials = "Trials are all rates of a grid: tuning and decoding of dev. " if "trials" in set(costs["stage"]) else ""
    drawn = bool(plan.own_draws()) and costs["stage"].str.startswith("importance").any()
    draws = f"Importance and information are means over {len(plan.own_draws()) + 1} draws of samples. " if drawn else ""
    return (
        f"Pretraining, importance (sum over domains) and information are shared by all methods; tuning is one run, "
        f"decoding all test sets of one run{f', mean over {count} seeds' if count > 1 else ''}. {draws}{trials}"
        f"Peak memory is the highest of the processes. Measured on {devices(costs)}."
    )


def devices(costs: pd.DataFrame) -> str:
    """Each device once, with the number of threads of its processes."""
    return "; ".join(
        f"{device}, {_range(rows['threads'], ',')} thread{'s' * int(rows['threads'].max() > 1)}"
        for device, rows in costs.groupby("device")
    )


def _names(plan: Plan, names: Iterable[str]) -> str:
    return ", ".join(label(plan, name) for name in names)


def _range(values: pd.Series, form: str | Callable[[float], str]) -> str:
    """The only value, or `lowest to highest`. form: a format specification or a function."""
    if not (found := sorted(set(values.dropna()))):
        return "none"
    low, high = printed(found[0], form), printed(found[-1], form)
    return low if low == high else f"{low} to {high}"


def _grouped(plan: Plan, texts: dict[str, Hashable], rest: str = "") -> str:
    """Names grouped by their text, in order of first appearance: `full 5e-4; lora, caneft 1e-2`; empty without names.

    rest: a name for the largest group, which comes last under it if it has more than three names.
    """
    groups: dict[Hashable, list[str]] = {}
    for name, text in texts.items():
        groups.setdefault(text, []).append(name)
    last = max(groups, key=lambda text: len(groups[text]), default=None)
    others = groups.pop(last) if rest and len(groups[last]) > 3 else []
    named = [f"{_names(plan, names)} {text}" for text, names in groups.items()]
    return "; ".join([*named, *([f"{rest} {last}"] if others else [])])
