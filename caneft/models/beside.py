"""Finds faults of a model folder by the names and first bytes of its files, at once and without torch."""

from collections.abc import Iterator
from pathlib import Path

from caneft.errors import InputError
from caneft.models.foreign import foreign
from caneft.models.manifests import BESIDE, PICKLED
from caneft.models.stored import AGAIN, INDEX, PICKLED_INDEX, adapters
from caneft.storage.bounded import read_json

CONFIG, GENERATION = "config.json", "generation_config.json"
OBJECTS = (CONFIG, GENERATION, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""Small JSON files that hold an object. `tokenizer.json`, which may be large, is read with the tokenizer."""
OTHERS = (*BESIDE, "added_tokens.json", "vocab.json", "merges.txt", INDEX, PICKLED_INDEX)
MAY_BE_EMPTY = ("merges.txt", "chat_template.jinja")
TOKENIZERS = ("tokenizer.json", "*.model", "vocab*", "merges.txt", "tekken.json", "*.tiktoken")
"""One of these holds a tokenizer's vocabulary. Without any, transformers invents an empty one for some models."""
OF_TOKENIZER = ("tokenizer", "special_tokens", "added_tokens", "chat_template", "vocab", "merges", "tekken")
"""Prefixes of the names of a tokenizer's files."""


def wrong(folder: Path) -> list[str]:
    """Faults of the files next to the weights, and files of an adapter; each message begins with the file's name."""
    return [*_files(folder), *_adapter(folder)]


def in_weights(folder: Path) -> list[str]:
    """Further faults of a folder that should hold a whole model: missing or foreign weight files, no tokenizer."""
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob(PICKLED)])
    said = [f"{file.name} {instead}" for file in weights if (instead := foreign(file))]
    if not weights:
        said.append(f"it has no weights (*.safetensors). {AGAIN}")
    return [*said, *filter(None, [without_tokenizer(folder)])]


def vocabularies(folder: Path) -> list[str]:
    """Names of the files in the folder that may hold the tokenizer's vocabulary."""
    return [file.name for pattern in TOKENIZERS for file in sorted(folder.glob(pattern))]


def without_tokenizer(folder: Path) -> str | None:
    """Message for a folder without a tokenizer; None if it has one."""
    if vocabularies(folder):
        return None
    return "it has no tokenizer (tokenizer.json): save the model's own there, tokenizer.save_pretrained(FOLDER)"


def _files(folder: Path) -> Iterator[str]:
    """Faults of the files next to the weights."""
    for name in dict.fromkeys([*OTHERS, *vocabularies(folder)]):
        file = folder / name
        if not file.is_file() or (name in MAY_BE_EMPTY and not file.stat().st_size):
            continue
        if said := foreign(file):
            yield f"{name} {said}"
        elif name in OBJECTS:
            try:
                found = read_json(file, AGAIN)
                if name == CONFIG and not isinstance(found.get("model_type"), str):
                    yield f"{CONFIG} names no model_type, so it describes no model. {AGAIN}"
            except InputError as error:
                yield str(error).removeprefix(f"{folder}/")


def _adapter(folder: Path) -> Iterator[str]:
    if found := adapters(folder):
        yield (
            f"{', '.join(found)} belong to an adapter, which transformers would load into the model. If you want the"
            " adapter, merge it into the model first. Otherwise delete these files; for a model of the hub, in a copy"
            " that models.*.path names"
        )
