"""How metrics, variants, domains and learning rates are printed."""

from caneft.config.metrics import LABELS as METRICS
from caneft.config.metrics import MEASURES
from caneft.plan import Plan

UNTRAINED = ("base", "icl")


def label(plan: Plan, name: str) -> str:
    """Label of a variant or domain: the configuration's, else its name."""
    return plan.config.report.labels.get(name, name)


def metric_label(plan: Plan, metric: str) -> str:
    """Label of a metric; a neural one that is trained here is named as the demonstration that it is."""
    if MEASURES[metric].lower_is_better:
        return f"{METRICS[metric]} (lower is better)"
    trained = getattr(plan.config.scoring.neural.get(metric), "train", None)
    return f"{METRICS[metric]} (demonstration)" if trained else METRICS[metric]


def signed(value: float) -> str:
    """A difference with its sign and one decimal; never minus zero."""
    return f"{round(value, 1) + 0:+.1f}".replace("-", "−")


def whole(value: float) -> str:
    """A number without decimals; never minus zero."""
    return f"{round(value) + 0:d}".replace("-", "−")


def hundredths(value: float) -> str:
    """A number with two decimals; never minus zero."""
    return f"{round(value, 2) + 0:.2f}"


def p_text(p: float) -> str:
    """A p value; the smallest are only said to be small."""
    return f"p = {p:.4f}" if p >= 0.0001 else "p < 0.0001"


def scientific(value: float) -> str:
    """A number as people write learning rates: 0.0005 is 5e-4."""
    mantissa, exponent = f"{value:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return mantissa if int(exponent) == 0 else f"{mantissa}e{int(exponent)}"
