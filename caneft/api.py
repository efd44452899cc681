"""The method in a program of your own: importance, information, a set of neurons, tuning, and the patch.

    domains = {"law": [(source, target), ...], "medical": [...]}
    examples = {domain: api.encode(tokenizer, pairs, "German", "English") for domain, pairs in domains.items()}
    table = api.information({domain: api.importance(model, ours) for domain, ours in examples.items()})
    neurons = api.select(table, fraction=0.01)
    with api.NeuronRows(model, neurons) as tuned:
        ...  # a training loop: tuned.parameters(), and tuned.after_step() after each step of the optimizer
    api.save("patch.safetensors", tuned.as_patch())

The workflow computes with the same functions: equal pairs, prompts and settings give equal neurons. `encode` writes
pairs as the workflow's prompts do; for any other task, make each `Example` from token ids.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from torch import nn

from caneft.config.prompts import Prompt, PromptSettings
from caneft.errors import InputError, did_you_mean
from caneft.importance import hooks
from caneft.importance.dumps import SUMS, Progress
from caneft.neurons import NeuronSet
from caneft.patch import Patch, read, save, swap
from caneft.prompts import Example, Prompts, batches, collate
from caneft.selection import criteria
from caneft.selection import information as measures
from caneft.tuning.neuron_rows import NeuronRows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "Example", "Importance", "InputError", "NeuronRows", "NeuronSet", "Patch", "encode", "importance", "information",
    "read", "save", "select", "swap",
]  # fmt: skip


@dataclass(frozen=True)
class Importance:
    """How much every neuron matters for each example of one domain.

    scores: float16 (layers, examples, neurons): `scale` times the mean over response positions of |a * dL/da|, L the
    summed loss. loss: float32 (examples,), in nats. statistics: mean |a|, mean |dL/da| and the share of positions with
    an open gate, float32 (layers, neurons) each.
    """

    scores: np.ndarray
    scale: float
    loss: np.ndarray
    statistics: Mapping[str, np.ndarray]


def encode(
    tokenizer: "PreTrainedTokenizerBase",
    pairs: Sequence[tuple[str, str]],
    source_language: str,
    target_language: str,
    max_tokens: int = 512,
) -> list[Example]:
    """Encodes pairs of source and target as the workflow's default prompts do: in the chat template, or as text to
    complete if the tokenizer has none. Leaves out pairs of more than `max_tokens` tokens, and those whose text cannot
    be used in a prompt. source_language, target_language: in words, such as "German".
    """
    wording = PromptSettings(
        instruction=Prompt().instruction, source_language=source_language, target_language=target_language
    )
    rows = ((source, target, "") for source, target in pairs)
    return Prompts.of(tokenizer, wording).encode_training(rows, max_tokens).examples


def importance(
    model: nn.Module, examples: Sequence[Example], tokens_per_batch: int = 4096, scale_exponent: int = 12
) -> Importance:
    """Importance of a model's neurons for each example, in the order of the examples.

    model: a causal LM of transformers, of a known architecture; it is unchanged afterwards. tokens_per_batch: with
    padding; more take more memory. scale_exponent: scores are multiplied by 2 to this power, so that float16 holds
    them. Raises InputError if there are no examples, if one has no response, and if float16 cannot hold the scores.
    """
    if not examples:
        raise InputError("no examples to score")
    if empty := sum(not example.response for example in examples):
        raise InputError(f"{empty} of {len(examples)} examples have no response, on which importance is measured")
    plan = batches([len(example) for example in examples], tokens_per_batch)
    with _frozen(model), hooks.Taps(model) as taps:
        shape = len(taps.layers), len(examples), taps.width
        scores = np.empty(shape, np.float16)
        zeros = {name: np.zeros((shape[0], shape[2])) for name in SUMS}
        progress = Progress(zeros, np.zeros(len(examples), np.float32))
        collated = (collate([examples[i] for i in chosen], 0) for chosen in plan)
        found = hooks.stored(hooks.importance(model, collated, taps), scale_exponent)
        for chosen, batch in zip(plan, found, strict=True):
            scores[:, chosen] = batch.scores
            progress.add(batch, chosen)
    if not np.isfinite(scores).all():
        raise InputError(f"scores of up to {progress.largest:g} do not fit float16. Lower scale_exponent")
    if progress.lost:
        raise InputError(f"{progress.lost:.1%} of the positive scores vanish in float16. Raise scale_exponent")
    return Importance(scores, 2.0**scale_exponent, progress.loss, progress.statistics())


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Puts the model into evaluation mode without gradients of weights, and restores both afterwards."""
    training, trained = model.training, [weight for weight in model.parameters() if weight.requires_grad]
    model.requires_grad_(False).eval()
    try:
        yield
    finally:
        model.train(training)
        for weight in trained:
            weight.requires_grad_()


def information(
    by_domain: Mapping[str, Importance], bins: int = 10, permutations: int = 20, seed: int = 0, threads: int = 1
) -> pd.DataFrame:
    """Measures the information of each neuron's importance about the domain, in nats: one row per neuron.

    by_domain: at least two domains, of one model and with equally many examples. The columns are layer, neuron; per
    domain importance, activation, gradient, positive and mi (its label against the rest); consensus, the least mi;
    joint, the MI with all labels; null_consensus and null_joint, the means over shuffled labels. The plug-in estimate
    is biased upwards by about (bins - 1)(domains - 1) / (2 x examples): compare it with the null.
    """
    dumps = {domain: found.scores for domain, found in by_domain.items()}
    statistics = {domain: found.statistics for domain, found in by_domain.items()}
    scales = {domain: found.scale for domain, found in by_domain.items()}
    table, _ = measures.table(dumps, statistics, bins, permutations, seed, scales, threads=threads)
    return table


def select(
    table: pd.DataFrame,
    fraction: float = 0.01,
    criterion: str = "caneft",
    task_relevant: float | None = 0.5,
    scope: Literal["model", "layer"] = "model",
    seed: int = 0,
) -> NeuronSet:
    """The neurons that a criterion chooses from the table of `information`.

    fraction: share of all neurons. criterion: `caneft` (the highest consensus), or another one of
    caneft.selection.criteria.CRITERIA. task_relevant: candidates must be in this top share of neurons by mean
    importance in every domain; None for no such mask. scope: whether that share is of the model or of each layer.
    seed: for the criterion `random`.
    """
    if criterion not in criteria.CRITERIA:
        raise InputError(f"criterion {criterion}: {did_you_mean(criterion, criteria.CRITERIA)}")
    mask = None if task_relevant is None else criteria.task_relevant(table, task_relevant, scope)
    return criteria.select(table, criterion, criteria.budget(table, fraction), mask, seed).neurons
