"""The engine that generates: transformers, or vLLM (with transformers for what vLLM does not support)."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from caneft.corpora.store import Row
from caneft.models.resolving import architecture
from caneft.plan.settings import TranslationSettings
from caneft.prompts import Prompts
from caneft.translation import decoding, vllm_engine
from caneft.translation.retrieval import Examples
from caneft.translation.vllm_engine import Place
from caneft.tuning import methods

log = logging.getLogger(__name__)

ENGINE = "engine"
"""Key of a domain in a translation's cost file: its engine's name, version, dtype, and `instead`: why not vLLM."""


@dataclass(frozen=True)
class Work:
    """Test sets by domain, and what translates them: a base, given by its manifest, or what a run made of it."""

    manifest_file: Path
    manifest: dict[str, Any]
    artefact: Path | None
    settings: TranslationSettings
    prompts: Prompts
    testsets: Mapping[str, Sequence[Row]]
    examples: Examples | None
    place: Place

    @property
    def merged(self) -> bool:
        """Whether a LoRA is merged into the weights."""
        return self.settings.lora == "merged"


def translated(work: Work) -> Iterator[tuple[str, list[dict[str, Any]], dict[str, str]]]:
    """For each domain its name, its lines of a translations file, and the engine that generated them, for the record.

    transformers translates each domain when the caller asks for it; vLLM translates all of them before the first.
    """
    instead, settings, place = {}, work.settings, work.place
    if settings.decoding.engine == "vllm":
        try:
            found = _by_vllm(work)
        except vllm_engine.NotServedError as reason:
            log.warning("vLLM does not serve this run: %s. transformers translates in its place.", reason)
            instead = {"instead": str(reason)}
        else:
            said = _said("vllm", vllm_engine.installed()[1], settings)
            yield from ((domain, own, said) for domain, own in found.items())
            return
    said = _said("transformers", version("transformers"), settings) | instead
    tuned = methods.load(work.manifest, settings.dtype, place.device, place.device_map, work.artefact, work.merged)
    for domain, rows in work.testsets.items():
        given = tuned, work.prompts, rows, settings.decoding, domain, work.examples, settings.route
        yield domain, decoding.translations(*given), said


def _said(name: str, number: str, settings: TranslationSettings) -> dict[str, str]:
    return {"name": name, "version": number, "dtype": settings.dtype}


def _by_vllm(work: Work) -> dict[str, list[dict[str, Any]]]:
    """Translates all test sets at once, so that as many sentences are decoded together as there is room for."""
    own, settings, prompts = {"trust_remote_code": False} | work.manifest, work.settings, work.prompts
    context = architecture(own).get_text_config().max_position_embeddings
    rows = [(domain, row) for domain, of_domain in work.testsets.items() for row in of_domain]
    tasks = [
        decoding.task(prompts, [row.source for row in of_domain], settings.decoding, context, domain, work.examples)
        for domain, of_domain in work.testsets.items()
    ]
    whole = decoding.Task([p for task in tasks for p in task.prompts], [n for task in tasks for n in task.limits])
    if (longest := vllm_engine.longest(whole)) > context:
        raise vllm_engine.NotServedError(
            f"a sentence has up to {longest} tokens with its prompt and its translation, the model's positions are"
            f" {context}"
        )
    with vllm_engine.served(work.manifest_file, work.manifest, work.artefact, settings.dtype, work.merged) as serves:
        model = vllm_engine.start(serves, own, settings, work.place, prompts, longest)
        ids = vllm_engine.generate(model, serves, prompts, whole)
    found: dict[str, list[dict[str, Any]]] = {domain: [] for domain in work.testsets}
    for (domain, row), hypothesis in zip(rows, decoding.hypotheses(prompts, ids, whole.limits), strict=True):
        found[domain].append(decoding.as_line(row.id, domain, hypothesis))
    return found
