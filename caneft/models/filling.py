"""Whether weights fill a model: no tensor too few, too many or of another shape, and every number finite."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

NAMED = 3
"""The most tensors of each kind that a message names."""
ENOUGH = 50
"""The most unexpected names that are searched for a common prefix."""


def misfits(info: Mapping[str, Any]) -> str | None:
    """Message about tensors that do not fit a model; None if all do. info: what transformers found when loading it.

    Without this check, transformers fills missing weights with random numbers, different ones in every process.
    """
    wrong = [
        f"{_some(info['missing_keys'])} of the model missing" if info["missing_keys"] else "",
        f"{_some(info['unexpected_keys'])} not in the model" if info["unexpected_keys"] else "",
        f"{_some(map(_mismatch, info['mismatched_keys']))}" if info["mismatched_keys"] else "",
    ]
    said = "; ".join(filter(None, wrong))
    if info["missing_keys"] and (prefix := _prefix(info["missing_keys"], info["unexpected_keys"])):
        said += f". Its names begin with {prefix!r}: save the weights without it"
    return said or None


def fill(config: Any, shapes: Mapping[str, tuple[int, ...]], trust_remote_code: bool) -> dict[str, Any]:
    """What transformers finds when it loads tensors of these shapes into the causal LM of a configuration.

    Names and shapes go through transformers' own loading rules, on the meta device: no weight is read or created.
    """
    from transformers import AutoModelForCausalLM

    trusted = trust_remote_code
    with torch.device("meta"):
        kind = type(AutoModelForCausalLM.from_config(config, trust_remote_code=trusted))
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    _, info = kind.from_pretrained(
        None,
        config=config,
        state_dict=tensors,
        device_map={"": "meta"},
        ignore_mismatched_sizes=True,  # `misfits` reports them with the rest
        output_loading_info=True,
    )
    return info


def not_finite(model: nn.Module) -> list[str]:
    """Names of the parameters that hold a non-finite number.

    The smallest and the largest number show it, in one pass without a copy, and in a fifth of the time of a checksum.
    """
    ends = {name: torch.aminmax(weight.detach()) for name, weight in model.named_parameters() if weight.numel()}
    return [name for name, (least, greatest) in ends.items() if not (least.isfinite() & greatest.isfinite())]


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _mismatch(found: tuple) -> str:
    name, stored, wanted = found
    return f"{name} is {tuple(stored)} instead of {tuple(wanted)}"


def _prefix(missing: Iterable[str], unexpected: Iterable[str]) -> str | None:
    """The prefix that turns missing names into unexpected ones (the first few); None if they have no common one."""
    missing = set(missing)
    first = sorted(unexpected)[:ENOUGH]
    prefixes = {next((name[: -len(end)] for end in missing if name.endswith(end)), None) for name in first}
    return prefixes.pop() if len(prefixes) == 1 else None
