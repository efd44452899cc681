"""How metrics, variants, domains and learning rates are printed."""

from caneft.config.metrics import LABELS as METRICS
from caneft.config.metrics import MEASURES
from caneft.plan import Plan

UNTRAINED = ("base", "icl")


def label(plan: Plan, name: str) -> str:
    """Label of a variant or domain: that of the configuration, else its name."""
    return plan.config.report.labels.get(name, name)


def metric_label(plan: Plan, metric: str) -> str:
    """Label of a metric, with "lower is better" if it counts errors, and "demonstration" if it was trained here."""
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
    """A p value to four decimals, or `p < 0.0001`."""
    return f"p = {p:.4f}" if p >= 0.0001 else "p < 0.0001"


def scientific(value: float) -> str:
    """A number as learning rates are written: 5e-4 for 0.0005."""
    mantissa, exponent = f"{value:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return mantissa if int(exponent) == 0 else f"{mantissa}e{int(exponent)}"
