"""A results tree as the workflow writes it, with seeded numbers, for the tests of tables and figures."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from caneft import config, neurons
from caneft.plan import Plan, comparison, parts
from caneft.reporting import inputs

SIGNATURES = {
    "bleu": "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0",
    "chrf": "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0",
    "exact": "exact|norm:strip|version:1",
}
HEALTHY = {"empty": 0, "truncated": 0, "overlong": 0, "wrong_language": 0}
LAYERS, WIDTH = 3, 384


def plan(
    methods: dict | None = None,
    seeds: tuple[int, ...] = (1,),
    seen: tuple[str, ...] = ("it", "law"),
    unseen: tuple[str, ...] = ("koran",),
    mixtures: dict | None = None,
    **sections,
) -> Plan:
    """Plan of a small configuration with one model and one direction. sections: further keys of the configuration."""
    test = {"format": "demo", "domain": "it", "pairs": 400}
    domains = {domain: {"train": test, "dev": test, "test": test} for domain in seen}
    domains |= {domain: {"test": test} for domain in unseen}
    corpus = {"format": "demo-pretraining", "domains": ["it"], "pairs": 10}
    raw = {
        "models": {"tiny": {"pretrain": {"corpora": [{"direction": "de-en", "corpus": corpus}]}}},
        "directions": {"de-en": {"source_language": "German", "target_language": "English", "domains": domains}},
        "mixtures": mixtures or {"all": {"de-en": list(seen)}},
        "methods": methods
        or {
            "base": {"method": "base"},
            "lora": {"method": "lora", "learning_rate": 1e-2},
            "caneft": {"method": "caneft", "learning_rate": 5e-4},
        },
        "seeds": list(seeds),
        "selection": {"fraction": 0.1},
        **sections,
    }
    return Plan(config.load(raw, check_files=False))


def write(plan: Plan, root: Path, score=None, seed: int = 0, trial=None, dev=None, flagged=None, health=None) -> None:
    """Writes all files that tables and figures open.

    score(method, variant, domain, seed, metric) replaces the random scores, trial(variant, rate, domain) those of the
    trials on test sets. dev(variant, rate) is a trial's score on dev (None: diverged). flagged(mixture, domain) says
    how many pairs and sources of 400 overlap (by default none), health(variant, domain) which counts of bad outputs are
    not 0 (by default, two outputs of base are cut).
    """
    rng = np.random.default_rng(seed)
    score = score or (lambda *_: float(rng.uniform(40, 90)))
    for file in inputs.score_files(plan):
        add_domains(root / file.path, _scores(plan, file, score, health or _cut_by_base))
        for metric, path in file.neural.items():
            add_domains(root / path, _neural_scores(file, metric, rng))
    for path in inputs.metric_files(plan).values():
        write_json(root / path, {"format": 1})
    trials, of_rates = list(inputs.trial_files(plan)), {}
    for file in trials:
        of_rates.setdefault(
            (file.choice, file.rate), dev(file.variant, file.rate) if dev else float(rng.uniform(40, 90))
        )
    reached = [of_rates[file.choice, file.rate] for file in trials]
    choices = _choices(zip(trials, reached, strict=True))
    for file, found in zip(trials, reached, strict=True):
        write_json(root / file.choice, choices[file.choice])
        write_json(root / file.path, _record(plan, file, None, file.rate, found is None))
        if file.scores:
            _add_trial_scores(plan, root / file.scores, file, trial or (lambda *_: float(rng.uniform(40, 90))))
    for file in inputs.record_files(plan):
        where = plan.rates_on(*file.block[1:])
        choice = f"runs/{file.block[0]}/{file.block[1]}/{where}/{file.variant}/choice.json"
        write_json(root / file.path, _record(plan, file, choices.get(choice)))
    for file in inputs.log_files(plan):
        write_log(root / file.path, rng)
    for file in inputs.cost_files(plan):
        write_json(root / file.path, _cost(file, rng))
    for file in inputs.information_files(plan):
        if file.unit == "neuron":
            _write_information(plan, root, file, rng)
    for file in inputs.stability_files(plan):
        write_json(root / file.path, stability(rng))
    for file in inputs.overlap_files(plan):
        counts = {domain: flagged(file.block[2], domain) if flagged else (0, 0) for domain in file.domains}
        found = {domain: _without_overlap(plan, file, of_domain, rng) for domain, of_domain in counts.items()}
        write_json(root / file.path, {"format": 1, "domains": found})
    for block in inputs.drawn_blocks(plan):
        write_json(root / comparison.path(block), significance(plan, block))
    for file in inputs.corpus_files(plan):
        write_json(root / file.path, corpus_report(plan.config.directions[file.direction].domains[file.domain]))
    for file in inputs.mixture_files(plan):
        write_json(root / file.path, _mixture_report(plan, file))
    sets = list(inputs.neuron_files(plan))
    shared = [inputs.shared_set(plan, blocks) for blocks in inputs.selections(plan).values()]
    sets += [file for file in shared if file and file.path not in {other.path for other in sets}]
    for file in sets:
        if file.unit == "neuron":
            chosen = rng.choice(LAYERS * WIDTH, neuron_count(plan, file.variant), replace=False)
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            found = neurons.NeuronSet.from_flat(LAYERS, WIDTH, chosen)
            neurons.save(root / file.path, found, {"variant": file.variant})


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _cut_by_base(variant: str, domain: str) -> dict:
    return {"truncated": 2} if variant == "base" else {}


def _scores(plan: Plan, file: inputs.ScoreFile, score, health) -> dict:
    domains = {
        domain: {
            "segments": 400,
            "health": HEALTHY | health(file.variant, domain),
            **{
                metric: {
                    "score": score(file.method, file.variant, domain, file.seed, metric),
                    "signature": SIGNATURES[metric],
                }
                for metric in plan.config.scoring.metrics
            },
        }
        for domain in file.domains
    }
    seen = plan.seen(*file.block[1:])
    for domain in _routed(plan, file.variant, file.domains, seen):
        domains[domain] |= _adapters(plan, domains[domain], seen)
    about = {"model": file.block[0], "direction": file.block[1], "run": file.variant}
    own = [] if file.method in ("base", inputs.COPY) else seen
    return {"format": 1, **about, "seen": own, "domains": domains}


def add_domains(path: Path, content: dict) -> None:
    """Writes scores by domain into a file that may have scores of other domains, and keeps those."""
    earlier = json.loads(path.read_text(encoding="utf-8"))["domains"] if path.exists() else {}
    write_json(path, content | {"domains": earlier | content["domains"]})


def _neural_scores(file: inputs.ScoreFile, metric: str, rng: np.random.Generator) -> dict:
    """Scores of a neural metric: a score is the mean of its segments' scores."""
    domains = {}
    for domain in file.domains:
        segments = rng.uniform(0.4, 0.9, 400).round(6).tolist()
        domains[domain] = {"score": sum(segments) / 400, "signature": f"{metric}|tiny", "segments": segments}
    return {"format": 1, "run": file.variant, "metric": metric, "domains": domains}


def _routed(plan: Plan, variant: str, domains: list[str], seen: list[str]) -> set[str]:
    """Domains that every adapter translates."""
    method = plan.config.methods.get(variant)
    if not isinstance(method, config.Adapters):
        return set()
    return set(domains) - (set() if method.route == "source_loss" else set(seen))


def _adapters(plan: Plan, entry: dict, seen: list[str]) -> dict:
    """The adapters' scores beside an unseen domain's: the first domain's is chosen, the last domain's is 2 better."""
    metrics = plan.config.scoring.metrics
    found = {d: {metric: dict(entry[metric]) for metric in metrics} for d in seen}
    for metric in metrics:
        found[seen[-1]][metric]["score"] += 2 if len(seen) > 1 else 0
    return {"adapters": found, "chosen": seen[0], "oracle": seen[-1]}


def _choices(reached) -> dict[str, dict]:
    """Content of each choice.json. reached: trials with their dev scores, None if they diverged."""
    grids = {}
    for file, dev in reached:
        grids.setdefault(file.choice, {})[file.rate] = dev
    choices = {}
    for path, grid in grids.items():
        best = max((rate for rate in grid if grid[rate] is not None), key=lambda rate: (grid[rate], -rate))
        edge = {min(grid): "low", max(grid): "high"}.get(best)
        by_name = {f"{rate:g}": dev for rate, dev in sorted(grid.items())}
        errors = {f"{rate:g}": None if rate == best or dev is None else 0.4 for rate, dev in sorted(grid.items())}
        about = {"format": 1, "learning_rate": best, "metric": "chrf", "best": best}
        choices[path] = about | {"grid": by_name, "errors": errors, "edge": edge}
    return choices


def _add_trial_scores(plan: Plan, path: Path, file: inputs.TrialFile, trial) -> None:
    """Adds a trial's scores to the file of its grid."""
    found = {
        domain: {"segments": 400, "health": HEALTHY}
        | {
            metric: {"score": trial(file.variant, file.rate, domain), "signature": SIGNATURES[metric]}
            for metric in plan.config.scoring.metrics
        }
        for domain in plan.tested(*file.block[1:])
    }
    earlier = json.loads(path.read_text(encoding="utf-8"))["trials"] if path.exists() else {}
    write_json(path, {"format": 1, "trials": earlier | {file.attempt: found}})


def _record(plan: Plan, file, choice: dict | None, rate: float | None = None, diverged: bool = False) -> dict:
    """Content of a run's record. rate: of a trial. choice: content of choice.json, None for a fixed rate."""
    method = plan.config.methods[file.variant]
    asked = parts.tune(plan.config, *file.block[:2], file.variant, rate)
    used = rate or (choice["learning_rate"] if choice else method.learning_rate)
    count = neuron_count(plan, file.variant)
    selection = {"neurons": count, "fraction": count / (LAYERS * WIDTH), "gamma": round(0.24 / count, 4)}
    selection |= {"parameters": 288 * count, "candidates": 433}
    if file.method == "caneft-attention":
        selection |= {"unit": "head", "neurons": 3, "fraction": 0.25, "parameters": 30720}
    selected = file.method not in ("full", "lora", "adapters") or getattr(method, "equal_to", None)
    trainable = {"full": 560000, "adapters": 51200, "caneft-attention": 30720}.get(file.method, 288 * count)
    trainable = 4320 * (method.rank or 16) if file.method == "lora" else trainable
    pairs = plan.config.tuning.pairs_per_domain * len(plan.seen(*file.block[1:]))
    return {
        "format": 1,
        "base": {"id": "pretrained here", "revision": None},
        "packages": {"numpy": "2.0.0"},
        "data": {},
        "seed": getattr(file, "seed", None),
        "settings": asked.model_dump(mode="json") | {"learning_rate": used},
        "choice": choice,
        "parameters": {"trainable": trainable, "total": 560000},
        "selection": selection if selected else None,
        "code": {"commit": "c0ffee", "dirty": False},
        "tuning": {"examples": pairs, "steps": 200, "dev_loss": 1.5, "diverged_at": 17 if diverged else None},
    }


def neuron_count(plan: Plan, variant: str) -> int:
    """115 neurons, or the configured share of all."""
    fraction = getattr(plan.config.methods[variant], "fraction", None)
    return 115 if fraction is None else round(fraction * LAYERS * WIDTH)


def write_log(path: Path, rng: np.random.Generator, steps: int = 60, level: float = 1.0) -> None:
    """Writes a loss that falls to about `level` nats, with dev every 20 steps and at the end."""
    lines = []
    for step in range(steps):
        expected = level * (1 + 1.5 * np.exp(-step / 12))
        line = {"step": step, "loss": expected + float(rng.normal(0, 0.08)), "rate": 1e-3, "norm": 1.0}
        dev = {"dev_loss": expected + 0.1} if (step + 1) % 20 == 0 else {}
        lines.append(json.dumps(line | {"response_tokens": 400} | dev) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))


def _cost(file: inputs.CostFile, rng: np.random.Generator) -> dict:
    return {
        "stage": file.stage,
        "wall_seconds": round(float(rng.uniform(5, 50)), 3),
        "cpu_seconds": round(float(rng.uniform(5, 50)), 3),
        "peak_memory_mb": round(float(rng.uniform(500, 900)), 1),
        "cuda_peak_memory_mb": None,
        "device": "cpu",
        "threads": 1,
        "started": "2026-01-01T00:00:00+00:00",
    }


def stability(rng: np.random.Generator, sizes: tuple[int, ...] = (25, 50, 100, 200, 400), splits: int = 3) -> dict:
    """Curves that rise to about 0.8 over noise at about 0.1; a correlation is undefined at the smallest size.

    The later criteria rise sooner, and `layer` later than `model`.
    """
    points = []
    for i, criterion in enumerate(("caneft", "caneft-geometric", "caneft-harmonic", "joint")):
        for scope, late in (("model", 100), ("layer", 150)):
            for n in sizes:
                level = {"jaccard": n / (n + late / (1 + i)), "phi": n / (n + 90), "correlation": n / (n + 80)}
                level |= {"noise_jaccard": 0.1, "noise_phi": 0.0, "noise_correlation": 0.0}
                values = {name: rng.normal(mean, 0.02, splits).round(4).tolist() for name, mean in level.items()}
                held_out = {"held_out": 0.004 + i * 1e-4, "noise_held_out": 0.002}
                values |= {name: rng.normal(mean, 1e-4, splits).round(6).tolist() for name, mean in held_out.items()}
                about = {"criterion": criterion, "scope": scope, "samples": n, "neurons": 115, "candidates": 433.5}
                points.append(about | values)
    points[0]["noise_correlation"][0] = None
    return {"neurons": 115, "neurons_of_the_model": LAYERS * WIDTH, "points": points}


def _write_information(plan: Plan, root: Path, file: inputs.File, rng: np.random.Generator) -> None:
    domains = plan.seen(file.block[1], plan.selected_on(*file.block[1:]))
    layer, neuron = np.divmod(np.arange(LAYERS * WIDTH), WIDTH)
    table = pd.DataFrame({"layer": layer, "neuron": neuron, "consensus": rng.gamma(1.2, 0.004, LAYERS * WIDTH)})
    for domain in domains:
        table[f"importance_{domain}"] = rng.lognormal(-7 + 40 * table["consensus"], 0.8)
        table[f"mi_{domain}"] = table["consensus"] + rng.gamma(1.2, 0.002, LAYERS * WIDTH)
    (root / file.path).parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(root / file.path)
    sidecar = {
        "domains": domains,
        "bins": 10,
        "null": {"error_rate": 0.01, "quantile": 0.0021},
        "length": {"joint": 0.05, "one_vs_rest": {domain: 0.012 for domain in domains}},
        "loss": {"joint": 0.03, "one_vs_rest": {domain: 0.008 for domain in domains}},
    }
    write_json(root / inputs.sidecar(file), sidecar)


def significance(plan: Plan, block: inputs.Block, difference: float = 1.0, p: float = 0.2) -> dict:
    """Tests of one block, all with the same difference and p."""
    method, baseline = comparison.method(plan, block), comparison.baseline(plan, block)
    variants = list(dict.fromkeys(run.variant for run in plan.final_runs(*block)))
    pairs = [(v, baseline) for v in variants if baseline not in (None, v)]
    pairs += [(method, v) for v in variants if method is not None and v not in (method, baseline)]
    columns = [*plan.tested(*block[1:]), *(["average_seen"] if len(plan.seen(*block[1:])) > 1 else [])]
    columns += ["average_unseen"] if len(plan.unseen(*block[1:])) > 1 else []
    entry = {"difference": difference, "low": difference - 1, "high": difference + 1, "p": p, "se_segments": 0.5}
    enough = len(plan.config.seeds) >= 3
    entry |= {"se_runs": 0.25, "df": 8, "p_runs": p / 2} if enough else dict.fromkeys(("se_runs", "df", "p_runs"))
    tests = [{"a": a, "b": b, "column": column} | entry for a, b in pairs for column in columns]
    scores = {v: {column: {"score": 50.0, "low": 49.0, "high": 51.0} for column in columns} for v in variants}
    runs = {run.variant: len(plan.config.seeds) if run.seed is not None else 0 for run in plan.final_runs(*block)}
    apart = {
        "variants": variants,
        "covariance": np.diag(np.full(len(variants), 0.125)).tolist(),
        "deviation": 0.3,
        "df": 8,
    }
    errors = dict.fromkeys(columns, apart)
    content = {"scores": scores, "runs": runs, "errors": errors, "comparisons": tests}
    found = dict.fromkeys(plan.config.scoring.all, content)
    return {"format": 1, "baseline": baseline, "method": method, "rival": None, "metrics": found}


def _without_overlap(plan: Plan, file: inputs.OverlapFile, counts: tuple[int, int], rng: np.random.Generator) -> dict:
    pairs, sources = counts
    runs = {
        name: {metric: {"score": float(rng.uniform(40, 90))} for metric in plan.config.scoring.metrics}
        for name in (file.runs if 0 < pairs + sources < 400 else ())
    }
    return {"segments": 400, "flagged": {"pair": pairs, "source": sources}, "runs": runs}


def corpus_report(domain: config.Domain) -> dict:
    """Report of a domain: of 1,234 training pairs 1,000 are kept."""
    none = {"leaked_pairs": 0, "leaked_sources": 0}
    reports = {
        "train": {
            "read": 1234,
            "kept": 1000,
            "dropped": {"duplicate_pair": 30, "empty_source": 0, "leakage": 4, "limit": 200},
            "leakage": {"dev": none, "test": {"leaked_pairs": 1, "leaked_sources": 3}},
            "copies": 7,
        },
        "dev": {"read": 100, "kept": 100, "dropped": {"leakage": 0}, "leakage": {"test": none}, "copies": 0},
        "test": {"read": 400, "kept": 400, "dropped": {}, "leakage": {}, "copies": 2, "present": {"duplicate_pair": 5}},
    }
    return {split: found for split, found in reports.items() if getattr(domain, split) is not None}


def _mixture_report(plan: Plan, file: inputs.CorpusFile) -> dict:
    """The first domain loses one pair to the test set of the last."""
    seen = plan.seen(file.direction, file.mixture)
    found = {}
    for split, kept in {"train": 800, "dev": 100}.items():
        leaked = {domain: int(split == "train" and domain == seen[0]) for domain in seen}
        found[split] = {
            domain: {
                "read": 1000,
                "kept": kept,
                "dropped": {"leakage": leaked[domain], "limit": 1000 - kept - leaked[domain]},
                "leakage": {f"{seen[-1]}.test": {"leaked_pairs": leaked[domain], "leaked_sources": 0}},
            }
            for domain in seen
        }
    return found
