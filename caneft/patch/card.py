"""Model cards: the README.md that a hub shows with a merged model or an adapter. Unknown facts are left out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from caneft.config.names import TEST
from caneft.patch.form import Patch
from caneft.storage.bounded import read_json
from caneft.storage.files import sha256

NAME = "README.md"
LICENCE = ("license", "license_name", "license_link")
"""Keys of a card that state a model's licence."""
METHOD = "https://arxiv.org/abs/2602.05694"
LOADING = {
    "transformers": """\
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{name}")
tokenizer = AutoTokenizer.from_pretrained("{name}")""",
    "peft": """\
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("{base}", dtype="{dtype}")
model = PeftModel.from_pretrained(base, "{name}")""",
}

PROMPTS = {
    "chat": "It was tuned on answers to this user's turn, in the tokenizer's chat template:",
    "instruction": "It was tuned to answer this text and a line break, and to end with the end of the sequence:",
    "completion": "It was tuned to continue this text, by a space and the translation, and to end with a line break:",
}
"""Sentence about the prompt, by its form."""


def card(patch: Patch, path: str | Path, base: Path, name: str, library: str) -> str:
    """Markdown for the model that a patch makes.

    path: of the patch; the run's record and scores are read from beside it. base: the base's folder. name: of the
    folder that the card is for. library: `transformers` or `peft`.
    """
    record, scores = _record(Path(path)), list(_scores(Path(path).with_name("scores") / f"{TEST}.json"))
    sections = [f"# {name}", _what(patch, record, library), _training(record, scores), _table(scores)]
    sections += ["## Loading", f"```python\n{_loading(patch, name, library)}\n```", _prompt(record)]
    sections += ["## Licence", _licence(base), "## Made by", _made(patch, Path(path), record)]
    front = yaml.safe_dump(_front(patch, record, base, library), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def _record(path: Path) -> dict[str, Any]:
    """The record of the run that wrote the patch; {} if there is none."""
    found = path.parent / "record.json"
    return read_json(found) if found.exists() else {}


def _scores(file: Path) -> Iterator[tuple[bool, str, dict[str, Any]]]:
    """For each domain that was scored beside the patch: whether it is in the mixture, its name and its scores."""
    if file.exists():
        found = read_json(file)
        yield from ((domain in found["seen"], domain, entry) for domain, entry in found["domains"].items())


def _front(patch: Patch, record: dict[str, Any], base: Path, library: str) -> dict[str, Any]:
    """The metadata that hubs read."""
    languages = re.fullmatch(r"([a-z]{2,3})-([a-z]{2,3})", record.get("direction", ""))
    front: dict[str, Any] = {"library_name": library}
    front |= {"base_model": patch.base["id"]} if _on_a_hub(patch) else {}
    front |= {"language": list(languages.groups())} if languages else {}
    front |= {
        "tags": [
            "neuron-patch",
            *([record["method"]] if "method" in record else []),
            *["translation"] * bool(languages),
        ]
    }
    return _base_licence(base) | front


def _on_a_hub(patch: Patch) -> bool:
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", str(patch.base.get("id"))))


def _base_licence(base: Path) -> dict[str, Any]:
    """The licence keys of the base's own card; {} if it has none."""
    parts = (base / NAME).read_text(encoding="utf-8").split("---\n", 2) if (base / NAME).exists() else []
    if len(parts) < 3 or parts[0].strip():
        return {}
    try:
        front = yaml.safe_load(parts[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return {key: front[key] for key in LICENCE if key in front} if isinstance(front, dict) else {}


def _what(patch: Patch, record: dict[str, Any], library: str) -> str:
    units, total = len(patch.neurons), patch.neurons.layers * patch.neurons.width
    kind = "FFN neurons" if patch.neurons.unit == "neuron" else "attention heads"
    by = f" by the method `{record['method']}`" if "method" in record else ""
    base = f"`{patch.base['id']}`" if _on_a_hub(patch) else "its base"
    form = "as an ordinary model folder" if library == "transformers" else "as a LoRA adapter, exact in float32"
    by_mi = str(record.get("method")).startswith("caneft")
    return (
        f"{base[0].upper()}{base[1:]} with {units:,} of its {total:,} {kind} ({100 * units / total:.3g} %,"
        f" {patch.parameters:,} weights) tuned{by}, {form}. Every other weight is the base's, bit by bit."
        + by_mi
        * f" They were selected by the mutual information of their importance with the domain ({METHOD})."
    )


def _training(record: dict[str, Any], scores: list[tuple[bool, str, dict]]) -> str:
    if not record:
        return ""
    prompt, tuning = record["settings"].get("prompt", {}), record.get("tuning", {})
    languages = [prompt.get("source_language") or "", prompt.get("target_language") or ""]
    said = {
        "Direction": f"{record['direction']}{' (' + ' to '.join(languages) + ')' if all(languages) else ''}",
        "Mixture": record.get("mixture"),
        "Domains": ", ".join(domain for seen, domain, _ in scores if seen),
        "Pairs": f"{tuning['examples']:,}" if "examples" in tuning else None,
        "Learning rate": f"{record['settings']['learning_rate']:g}{', chosen on dev' if record.get('choice') else ''}",
        "Steps": tuning.get("steps"),
        "Seed": record.get("seed"),
        **{f"SHA-256 of {name.split('_')[0]}": f"`{value}`" for name, value in record.get("data", {}).items() if value},
    }
    if gamma := (record.get("selection") or {}).get("gamma"):
        said["Gamma"] = f"{gamma:.4g} nats"
    return "## Training\n\n" + "\n".join(f"* {name}: {text}" for name, text in said.items() if text not in (None, ""))


def _table(scores: list[tuple[bool, str, dict]]) -> str:
    """Table of every domain's scores, with signatures below."""
    if not scores:
        return ""
    metrics = [name for name, value in scores[0][2].items() if isinstance(value, dict) and "score" in value]
    lines = [f"| domain | {' | '.join(metrics)} | segments |", f"|---|{'--:|' * (len(metrics) + 1)}"]
    for seen, domain, entry in scores:
        numbers = " | ".join(f"{entry[metric]['score']:.2f}" for metric in metrics)
        where = "" if seen else " (unseen in training)"
        lines.append(f"| {domain}{where} | {numbers} | {entry['segments']} |")
    signatures = [f"* {metric}: `{scores[0][2][metric]['signature']}`" for metric in metrics]
    return "\n".join(["## Scores", "", *lines, "", "Of this run alone, by sacrebleu:", "", *signatures])


def _loading(patch: Patch, name: str, library: str) -> str:
    base = patch.base["id"] if _on_a_hub(patch) else "FOLDER OF THE BASE"
    return LOADING[library].format(name=name, base=base, dtype=str(patch.dtype).removeprefix("torch."))


def _prompt(record: dict[str, Any]) -> str:
    if given := record.get("prompt"):
        return f"{PROMPTS.get(given['form'], 'It was tuned on this prompt:')}\n\n```\n{given['text']}\n```"
    if not (instruction := record.get("settings", {}).get("prompt", {}).get("instruction")):
        return ""
    return f"It was tuned on this instruction, in the tokenizer's chat template, before the source: `{instruction}`"


def _licence(base: Path) -> str:
    found = _base_licence(base)
    named = f" The base's card names: {', '.join(map(str, found.values()))}." if found else ""
    return f"The licence of the base holds for this model too.{named} Terms of the training data may add to it."


def _made(patch: Patch, path: Path, record: dict[str, Any]) -> str:
    lines = [f"* patch: `{path.name}`, SHA-256 `{sha256(path)}`", f"* base: {patch.base.get('id')}"]
    lines[1] += f", revision {patch.base['revision']}" if patch.base.get("revision") else ""
    weights = patch.base.get("weights") or {}
    lines += [f"* base's {file}: SHA-256 `{checksum}`" for file, checksum in sorted(weights.items())]
    if quantised := patch.base.get("quantised"):
        types = ", ".join(f"{count} {name}" for name, count in quantised["tensors"].items())
        scheme = f"{quantised['scheme']}, " if quantised.get("scheme") else ""
        lines.append(
            f"* The base's weights were dequantised from `{quantised['file']}` ({scheme}tensors: {types}; SHA-256"
            f" `{quantised['sha256']}`): rounded numbers, not the published ones. The patch fits only these."
        )
    if commit := (record.get("code") or {}).get("commit"):
        lines.append(f"* commit of CANEFT: {commit}{', with changes' if record['code'].get('dirty') else ''}")
    if versions := record.get("packages"):
        lines.append(f"* packages: {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}")
    return "\n".join(lines)
