"""Reports everything that is wrong with a model folder, at once and before any job needs the model.

No weights are loaded: files are recognised by their first bytes, weights by their headers.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from caneft.errors import InputError
from caneft.models import beside
from caneft.models.beside import CONFIG, GENERATION, OF_TOKENIZER, without_tokenizer
from caneft.models.filling import fill, misfits
from caneft.models.foreign import foreign
from caneft.models.loading import load_tokenizer
from caneft.models.manifests import hashed
from caneft.models.resolving import architecture
from caneft.models.stored import AGAIN, INDEX, PICKLED_INDEX, shapes, weight_files
from caneft.storage.bounded import read_json

QUANTISED = ("quantization_config", "compression_config")
IDS = ("pad_token_id", "bos_token_id", "eos_token_id")
SIZES = ("vocab_size", "hidden_size", "intermediate_size", "head_dim", "num_attention_heads", "num_key_value_heads")
FAR = 10
"""A size of a model that exceeds this many times the longest side of its tensors is an error."""
FLOATS = {"F64", "F32", "BF16", "F16", "torch.float64", "torch.float32", "torch.bfloat16", "torch.float16"}
"""Dtypes of weights, as safetensors and torch call them."""
ANOTHER = "is it the tokenizer of another model?"

Stored = tuple[tuple[int, ...], str]
"""Shape and dtype of a tensor."""


def checked(origin: dict[str, Any]) -> Any:
    """Configuration of an origin's model, whose folder must be complete.

    Raises one InputError that lists every problem: files that are cut off, missing or of another kind; an adapter's
    files; quantised weights; weights that do not fill the model, or exist twice; no tokenizer; tokens beyond the
    vocabulary. An unknown architecture is reported alone.
    """
    folder = Path(origin["folder"])
    wrong = beside.wrong(folder)
    config = None
    if (folder / CONFIG).is_file() and not any(said.startswith(CONFIG) for said in wrong):
        config = architecture(origin)
        wrong += _weights(folder, origin, config)
        if not any(said.startswith(OF_TOKENIZER) for said in wrong):
            wrong += _tokenizer(folder, origin, config)
    elif wrong and not (folder / CONFIG).is_file():
        wrong.append(f"it has no {CONFIG}")
    if wrong:
        raise InputError("\n  ".join([f"{folder} cannot be used as a model:", *wrong]))
    return config or architecture(origin)


def _weights(folder: Path, origin: dict[str, Any], config: Any) -> Iterator[str]:
    """Faults of the weights."""
    own = read_json(folder / CONFIG, AGAIN)
    parts = {"": own} | {f"{key}.": part for key, part in own.items() if isinstance(part, dict)}
    if said := [f"{key}{name}" for key, part in parts.items() for name in QUANTISED if part.get(name)]:
        yield (
            f"{CONFIG} says {said[0]}: its weights are quantised, and quantised ones can neither be tuned nor patched."
            " Name the model before it was quantised, or a .gguf file of it, which is dequantised"
        )
        return
    found, broken = _stored(folder, origin)
    yield from broken
    beyond = list(_beyond(config, folder))
    yield from beyond
    if broken or not found:
        return
    try:
        said = _unfilled(config, found, origin["trust_remote_code"])
    except Exception as error:  # anything that transformers raises for a faulty configuration
        if not beyond:
            yield f"{CONFIG} describes no model that can be built: {_first_line(error)}"
        return
    if said:
        yield f"its weights do not fill the model of {CONFIG}: {said}"


def _unfilled(config: Any, found: Mapping[str, Stored], trusted: bool) -> str | None:
    """Message if tensors do not fill the model, or only do so with quantised numbers, which transformers would cast.

    Tensors that are not weights, such as the positions that some models hold, may have any dtype.
    """
    tensors = {name: shape for name, (shape, _) in found.items()}
    if said := _oversized(config.get_text_config(), tensors):
        return said
    info = fill(config, tensors, trusted)
    if coded := {name: dtype for name, (_, dtype) in found.items() if dtype not in FLOATS}:
        floats = {name: shape for name, shape in tensors.items() if name not in coded}
        if not floats or {*fill(config, floats, trusted)["missing_keys"]} > {*info["missing_keys"]}:
            return f"they are quantised, stored as {', '.join(sorted({*coded.values()}))}. Name the model before that"
    return misfits(info)


def _oversized(config: Any, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Message for a size far beyond the weights: such a model would fill the memory, even without its weights."""
    longest = max((length for shape in shapes.values() for length in shape), default=0)
    bounds = {"num_hidden_layers": len(shapes)} | dict.fromkeys(SIZES, FAR * longest)
    for name, bound in bounds.items():
        if (size := getattr(config, name, None)) is not None and size > bound:
            return f"{name} is {size}, but there are {len(shapes)} tensors, the longest side of which is {longest}"
    return None


def _stored(folder: Path, origin: dict[str, Any]) -> tuple[dict[str, Stored], list[str]]:
    """Shapes and dtypes of the stored tensors by name, and the faults of the files."""
    found, wrong = {}, []
    try:
        absent = [file for file in hashed(folder, origin) if not file.is_file()]  # no checksum can be taken
        files = weight_files(folder, origin.get("allow_pickle", False))
    except InputError as error:
        return {}, [] if _foreign_index(folder) else [str(error).replace(f"{folder} ", "it ", 1)]
    for file in dict.fromkeys([*files, *absent]):
        try:
            own = shapes(file)
            if twice := sorted(found.keys() & own.keys()):
                wrong.append(
                    f"{file.name} holds {twice[0]}, which another weight file holds too, and which of the two is loaded"
                    f" is left to chance. {AGAIN}"
                )
            found |= own
        except InputError as error:
            wrong.append(str(error).removeprefix(f"{folder}/"))
    return found, wrong


def _foreign_index(folder: Path) -> bool:
    """Whether an index file is something else, which `beside` has already reported."""
    return any((folder / name).is_file() and foreign(folder / name) for name in (INDEX, PICKLED_INDEX))


def _beyond(config: Any, folder: Path) -> Iterator[str]:
    """Messages for special tokens of the configuration whose ids are beyond the vocabulary."""
    text = config.get_text_config()
    try:
        generation = read_json(folder / GENERATION, AGAIN)
    except InputError:  # it is missing, or its fault is already reported
        generation = {}
    for name in IDS:
        for file, found in ((CONFIG, getattr(text, name, None)), (GENERATION, generation.get(name))):
            if high := [one for one in _several(found) if one >= text.vocab_size]:
                yield f"{file}: {name} is {high[0]}, but the vocabulary has {text.vocab_size} entries: correct it"


def _several(found: Any) -> list[int]:
    found = found if isinstance(found, list) else [found]
    return [one for one in found if isinstance(one, int) and not isinstance(one, bool)]


def _tokenizer(folder: Path, origin: dict[str, Any], config: Any) -> Iterator[str]:
    """Faults of the tokenizer."""
    if said := without_tokenizer(folder):
        yield said
        return
    try:
        tokenizer = load_tokenizer(origin)
    except Exception as error:  # the package tokenizers has no exceptions of its own
        yield f"its tokenizer cannot be loaded: {_first_line(error)}. {AGAIN}"
        return
    if tokenizer.pad_token_id is None:  # it falls back to the end token
        yield "its tokenizer has no eos_token: download tokenizer_config.json too, or name the token there"
    yield from _out_of_reach(tokenizer, config.get_text_config().vocab_size)


def _out_of_reach(tokenizer: Any, size: int) -> Iterator[str]:
    """Messages for tokens that can occur in a text or prompt, but have no embedding in the model.

    Unused special tokens do not matter: Gemma 3's vocabulary is slightly larger than its embeddings.
    """
    for name in ("bos_token", "eos_token"):
        if (found := getattr(tokenizer, f"{name}_id")) is not None and found >= size:
            yield (
                f"its tokenizer has the {name} {getattr(tokenizer, name)!r} with id {found}, but the model has {size}"
                f" embeddings: {ANOTHER}"
            )
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    high = {index: token for token, index in tokenizer.get_vocab().items() if index >= size and index not in special}
    high |= {index: tokenizer.convert_ids_to_tokens(index) for index in _of_template(tokenizer) if index >= size}
    if high and tokenizer.eos_token_id not in high and tokenizer.bos_token_id not in high:
        yield (
            f"its tokenizer has tokens with ids up to {max(high)} ({high[max(high)]!r}), but the model has {size}"
            f" embeddings: {ANOTHER}"
        )


def _of_template(tokenizer: Any) -> Iterable[int]:
    """Ids of a conversation in the chat template; none if there is no template or it fails when used, because the
    configuration may ask for prompts without it."""
    from caneft.prompts import Prompts  # late, as numpy comes with it

    if tokenizer.chat_template is None:
        return ()
    try:
        example = Prompts(tokenizer, lambda domain: "Translate.").encode("Haus", "house")
    except Exception:  # anything that jinja raises for a faulty template
        return ()
    return (*example.prompt, *example.response)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
