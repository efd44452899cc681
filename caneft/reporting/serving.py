"""How variants are scored: what is rounded, and whether they know the domain. Needs neither pandas nor numpy."""

from caneft.config import Adapters, Full, Icl, Lora, Neurons
from caneft.plan import Plan
from caneft.reporting.inputs import Block

WHOLE = "float32"
"""The dtype in which all methods train: in a model of this dtype, nothing is rounded."""

TOLD = "§"
"""Mark of a variant that is told the domain of a test sentence."""


def told(plan: Plan, block: Block, variant: str) -> bool:
    """Whether a variant is told the seen domain of a test sentence although the prompt does not name it to all."""
    _, direction, mixture = block
    prompt = plan.config.directions[direction].prompt or plan.config.prompt
    method = plan.config.methods[variant]
    knows = isinstance(method, Icl) or (isinstance(method, Adapters) and method.route == "domain")
    return knows and not prompt.name_domain and len(plan.seen(direction, mixture)) > 1


def rounded(plan: Plan, model: str, variant: str) -> str:
    """What a variant rounds to its model's dtype; empty if that is float32, or if the variant trains nothing."""
    if plan.config.models[model].dtype == WHOLE:
        return ""
    match method := plan.config.methods[variant]:
        case Full():
            return f"all weights, {'at every step' if method.optimizer == 'adamw-offload' else 'when they are saved'}"
        case Lora() if method.merged:
            return "LoRA and weights, when they are merged"
        case Lora() if plan.config.decoding.engine == "vllm":
            return "LoRA, where vLLM loads it"
        case Lora() | Adapters():
            which = "LoRA is" if isinstance(method, Lora) else "adapters are"
            return f"no weight, as {which} float32, beside the model"
        case Neurons():
            return "the tuned slices, at every step"
    return ""


def served(plan: Plan, model: str, variant: str) -> str:
    """How a trained variant is scored: its model's dtype, what is rounded to it, and whether it is merged."""
    said = [f"model in {plan.config.models[model].dtype}"]
    if text := rounded(plan, model, variant):
        said.append(f"rounded: {text}")
    elif getattr(plan.config.methods[variant], "merged", False):
        said.append("merged into the weights")
    return "; ".join(said)
