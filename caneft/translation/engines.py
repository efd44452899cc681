"""Who generates: transformers, or vLLM with transformers for what vLLM does not serve."""

import logging
from collections.abc import Mapping, Sequence
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
"""Key of a translation's cost file: name, version and dtype of what generated; `instead`: why it is not vLLM."""


def lines(
    manifest_file: Path,
    manifest: dict[str, Any],
    artefact: Path | None,
    settings: TranslationSettings,
    prompts: Prompts,
    testsets: Mapping[str, Sequence[Row]],
    examples: Examples | None,
    place: Place,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Lines of a translations file for the test sets of some domains, and what generated them, for the record."""
    instead = {}
    if settings.decoding.engine == "vllm":
        try:
            found = _by_vllm(manifest_file, manifest, artefact, settings, prompts, testsets, examples, place)
            return found, _said("vllm", vllm_engine.installed()[1], settings)
        except vllm_engine.NotServedError as reason:
            log.warning("vLLM does not serve this run: %s. transformers translates in its place.", reason)
            instead = {"instead": str(reason)}
    tuned = methods.load(manifest, settings.dtype, place.device, place.device_map, artefact, settings.lora == "merged")
    found = []
    for domain, rows in testsets.items():
        found += decoding.translations(tuned, prompts, rows, settings.decoding, domain, examples, settings.route)
    return found, _said("transformers", version("transformers"), settings) | instead


def _said(name: str, number: str, settings: TranslationSettings) -> dict[str, str]:
    return {"name": name, "version": number, "dtype": settings.dtype}


def _by_vllm(
    manifest_file: Path,
    manifest: dict[str, Any],
    artefact: Path | None,
    settings: TranslationSettings,
    prompts: Prompts,
    testsets: Mapping[str, Sequence[Row]],
    examples: Examples | None,
    place: Place,
) -> list[dict[str, Any]]:
    """All test sets at once: so many sentences are decoded together as there is room for."""
    own = {"trust_remote_code": False} | manifest
    context = architecture(own).get_text_config().max_position_embeddings
    merged = settings.lora == "merged"
    with vllm_engine.served(manifest_file, manifest, artefact, settings.dtype, merged) as serves:
        rows = [(domain, row) for domain, of_domain in testsets.items() for row in of_domain]
        tasks = [
            decoding.task(prompts, [row.source for row in of_domain], settings.decoding, context, domain, examples)
            for domain, of_domain in testsets.items()
        ]
        whole = decoding.Task([p for task in tasks for p in task.prompts], [n for task in tasks for n in task.limits])
        model = vllm_engine.start(serves, own, settings, place, vllm_engine.longest(whole))
        ids = vllm_engine.generate(model, serves, prompts, whole)
    found = decoding.hypotheses(prompts, ids, whole.limits)
    return [decoding.as_line(row.id, domain, h) for (domain, row), h in zip(rows, found, strict=True)]
