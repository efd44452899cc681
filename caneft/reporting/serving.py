"""How variants are scored: what was rounded, and what they are told. Needs neither pandas nor numpy."""

from caneft.config import Adapters, Full, Icl, Lora, Method, Neurons
from caneft.plan import Plan
from caneft.reporting.inputs import Block

WHOLE = "float32"
"""The dtype in which all methods train: a model in it has nothing rounded."""

TOLD = "§"
"""Mark of a variant that is told the domain of a test sentence."""


def told(plan: Plan, block: Block, variant: str) -> bool:
    """Whether a variant knows of which seen domain a test sentence is, where the prompt does not name it to all."""
    _, direction, mixture = block
    prompt = plan.config.directions[direction].prompt or plan.config.prompt
    method = plan.config.methods[variant]
    knows = isinstance(method, Icl) or (isinstance(method, Adapters) and method.route == "domain")
    return knows and not prompt.name_domain and len(plan.seen(direction, mixture)) > 1


def rounded(plan: Plan, model: str, variant: str) -> str:
    """What a trained variant has rounded into its model's dtype; nothing where that is float32, or not known."""
    if plan.config.models[model].dtype == WHOLE:
        return ""
    return _rounded(plan.config.methods[variant], plan.config.decoding.engine)


def _rounded(method: Method, engine: str) -> str:
    match method:
        case Full():
            return f"all weights, {'at every step' if method.optimizer == 'adamw-offload' else 'when they are saved'}"
        case Lora() if method.merged:
            return "LoRA and weights, when they are merged"
        case Lora() if engine == "vllm":
            return "LoRA, where vLLM loads it"
        case Lora() | Adapters():
            which = "LoRA is" if isinstance(method, Lora) else "adapters are"
            return f"no weight, as {which} float32, beside the model"
        case Neurons():
            return "the tuned slices, at every step"
    return ""


def merged(plan: Plan, variant: str) -> bool:
    """Whether a variant is scored with its LoRA merged into the weights."""
    method = plan.config.methods[variant]
    return isinstance(method, Lora) and method.merged


def served(plan: Plan, model: str, variant: str) -> str:
    """How a trained variant is scored: dtype of its model, what was rounded into it, whether it is merged."""
    dtype, text = plan.config.models[model].dtype, rounded(plan, model, variant)
    said = [f"rounded: {text}"] if text else ["merged into the weights"] * merged(plan, variant)
    return "; ".join([f"model in {dtype}", *said])
