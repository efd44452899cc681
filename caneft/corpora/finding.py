"""Finds the corpora in a folder by the names and first bytes of its files, as sources for a configuration."""

import os
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from caneft.config import Domain, Instruct, Jsonl, Moses, Source, Tmx, Tsv, languages
from caneft.corpora import mixing, readers, recognising, sides, store
from caneft.corpora.readers.header import SIDES
from caneft.corpora.text import head
from caneft.errors import InputError

CONVENTION = """\
A file's name, with the folders that it is in, says domain and split: it.train.tsv, law/dev.jsonl, test/medical.tmx.
Aligned files end in the codes of their languages (it.train.de and it.train.en, or it.train.de.txt). The first bytes of
a file show its format: TSV, JSON lines, a JSON list or TMX, compressed as .gz, .xz or .zip or not. If a file names no
split, dev and test are drawn from it."""

SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("dev", "devel", "development", "valid", "validation", "val", "tune"), "dev"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""Words in a file's name that name a split."""
SPLIT = re.compile(rf"(?<![^\W_])({'|'.join(SPLITS)})(?![^\W_])", re.IGNORECASE)
SPLIT_PART = re.compile(rf"(?<![^.])({'|'.join(SPLITS)})(?![^.])", re.IGNORECASE)
"""A split's name between dots, as in it.train.tsv."""
NO_DOMAIN = {"bitext", "clean", "corpora", "corpus", "data", "instruct", "moses", "parallel", "raw", "shuf", "shuffled"}
"""Words in a file's name that do not belong to a domain's name."""
ENDINGS = {".json", ".jsonl", ".ndjson", ".tmx", ".tsv", ".txt", ".xml"}
MOST_FILES = 5000
LOOKED_AT = 50
"""Number of pairs that are read to recognise the columns of a file, and prefixes."""
COUNTED = 10_000
"""Number of pairs at which counting a file stops."""
SHARES = {"test": (5, 500), "dev": (10, 100)}
"""For each split that a corpus may lack, one in how many pairs is drawn for it, and how many at most."""

Splits = dict[str, Source]
Resolve = Callable[[str], Path]


@dataclass
class Found:
    """The corpora of a folder by domain and split. left: its other files, each with the reason."""

    domains: dict[str, Splits] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


class Sizes(NamedTuple):
    """Numbers of pairs that every domain of a mixture has, at most the requested ones."""

    train: int
    dev: int


class _Name(NamedTuple):
    domain: str
    split: str | None
    side: int | None
    """For aligned files, 0 for the source and 1 for the target; else None."""


def find(folder: Path, tags: tuple[str, str]) -> Found:
    """The corpora of a folder by `CONVENTION`. tags: language tags of source and target.

    A domain with training pairs gets all three splits: missing ones are drawn from its training file. Paths are
    relative to the folder. Raises InputError if two files would be the same split of a domain.
    """
    found, halves = Found(), {}
    files: dict[str, dict[str | None, Source]] = {}
    for path in _files(folder):
        name = _name(path, tags, folder.resolve().name)
        if name.side is None:
            try:
                source = _source(path, tags, folder.joinpath)
            except InputError as error:
                found.left[str(path)] = str(error)
                continue
            _put(files.setdefault(name.domain, {}), name, source)
        else:
            both = halves.setdefault((name.domain, name.split), {})
            if name.side in both:
                raise _same(name, str(both[name.side]), str(path))
            both[name.side] = path
    for (domain, split), both in halves.items():
        if len(both) == 2:
            source = Moses(format="moses", source_path=both[0].as_posix(), target_path=both[1].as_posix())
            _put(files.setdefault(domain, {}), _Name(domain, split, None), source)
        else:
            (side, path), *_ = both.items()
            found.left[str(path)] = f"there is no file of '{tags[1 - side]}' beside it"
    for domain, splits in sorted(files.items()):
        if complete := _complete(splits, folder.joinpath):
            found.domains[domain] = complete
        for source in splits.values():
            if not any(source.paths() == used.paths() for used in complete.values()):
                found.left |= dict.fromkeys(source.paths(), f"the domain {domain} has no use for it beside its others")
    return found


def sizes(domains: Mapping[str, Domain], resolve: Resolve, asked: Sizes) -> Sizes:
    """Pairs that the smallest domain has after cleaning and removal of leakage, at most the requested numbers.

    All corpora are prepared, but only if pairs may be too few.
    """
    seen = {name: domain for name, domain in domains.items() if domain.train is not None}
    counted = [min(_count(getattr(domain, split), resolve) for domain in seen.values()) for split in Sizes._fields]
    if all(number >= 2 * wanted for number, wanted in zip(counted, asked, strict=True)):
        return asked
    corpora = {name: store.prepare(domain, name, resolve)[0] for name, domain in seen.items()}
    report = mixing.mix(corpora, 1, 1, seed=0)[2]
    left = {split: [of["read"] - of["dropped"]["leakage"] for of in report[split].values()] for split in Sizes._fields}
    return Sizes(*(min(*left[split], wanted) for split, wanted in zip(Sizes._fields, asked, strict=True)))


def _files(folder: Path) -> Iterator[Path]:
    """Files of a folder and its subfolders, without hidden ones and pipes, as sorted paths relative to the folder.

    Raises InputError if it is not a folder, has too many files, or a file name that is not UTF-8 or has control
    characters.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder. Name the one that holds the corpora.")
    paths = []
    for place, inside, names in os.walk(folder):
        inside[:] = [name for name in inside if not name.startswith(".")]
        visible = [Path(place, name) for name in names if not name.startswith(".")]
        paths += [path.relative_to(folder) for path in visible if path.is_file() or not path.exists()]
        if len(paths) > MOST_FILES:
            raise InputError(f"{folder}: holds more than {MOST_FILES} files. Name the folder of the corpora alone.")
    for path in paths:
        if not str(path).isprintable():
            raise InputError(
                f"{folder}: holds a file with a name that cannot be written: {ascii(str(path))}. Rename it."
            )
    return iter(sorted(paths))


def _name(path: Path, tags: tuple[str, str], otherwise: str) -> _Name:
    """Domain, split and side according to a file's name. otherwise: the domain if the name has none."""
    path = path.with_suffix("") if path.suffix.lower() in recognising.NAMED.values() else path
    if path.suffix.lower() == ".txt" and _side(path.with_suffix(""), tags) is not None:
        path = path.with_suffix("")
    side = _side(path, tags)
    path = path.with_suffix("") if side is not None or path.suffix.lower() in ENDINGS else path
    split, parts = _split(path.parts)
    words = _without_pair([word for word in re.split(r"[\W_]+", "/".join(parts)) if word], tags)
    domain = _slug(word for word in words if word.lower() not in NO_DOMAIN)
    return _Name(domain or _slug([otherwise]) or "corpus", split, side)


def _split(parts: Sequence[str]) -> tuple[str | None, list[str]]:
    """The split that a path names, and the path's parts without the words that name it.

    It is named by the last part that names any: by a word between dots if there is one, else by any word, the last of
    several. Other words stay, so that dev-ops is a domain in dev-ops.train.tsv. Of the folders above, those that only
    name splits go, and so does the split's name at the end of others.
    """
    left = list(parts)
    for place in reversed(range(len(parts))):
        named = [*SPLIT_PART.finditer(parts[place])] or [*SPLIT.finditer(parts[place])]
        if named:
            split = SPLITS[named[-1][1].lower()]
            left[place] = parts[place][: named[-1].start()] + parts[place][named[-1].end() :]
            left[:place] = [_without_split(folder, split) for folder in parts[:place]]
            return split, left
    return None, left


def _without_split(folder: str, split: str) -> str:
    words = [word for word in re.split(r"[\W_]+", folder) if word]
    if all(word.lower() in SPLITS for word in words):
        return ""
    return " ".join(words[:-1] if SPLITS.get(words[-1].lower()) == split else words)


def _side(path: Path, tags: tuple[str, str]) -> int | None:
    """The side that the end of a file's name shows; None if it shows none."""
    end = path.suffix[1:].lower()
    alike = [end in names or _alike(end, tag) for names, tag in zip(SIDES, tags, strict=True)]
    return alike.index(True) if end and sum(alike) == 1 else None


def _alike(word: str, tag: str) -> bool:
    return languages.is_in(word, tag) or languages.is_in(tag, word)


def _without_pair(words: Sequence[str], tags: tuple[str, str]) -> list[str]:
    """Words of a name without adjacent words that name the two languages: `de-en`."""
    for place, (first, second) in enumerate(zip(words, words[1:], strict=False)):
        for source, target in (tags, tags[::-1]):
            if _alike(first.lower(), source) and _alike(second.lower(), target):
                return _without_pair([*words[:place], *words[place + 2 :]], tags)
    return list(words)


def _slug(words: Iterator[str] | Sequence[str]) -> str:
    plain = unicodedata.normalize("NFKD", "-".join(words)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")[:64]


def _put(splits: dict[str | None, Source], name: _Name, source: Source) -> None:
    if name.split in splits:
        raise _same(name, *(" and ".join(each.paths()) for each in (splits[name.split], source)))
    splits[name.split] = source


def _same(name: _Name, first: str, second: str) -> InputError:
    return InputError(
        f"{first}: would be {name.split or 'the corpus'} of the domain {name.domain}, and so would {second}.\n"
        "Join them, or move one away."
    )


def _source(path: Path, tags: tuple[str, str], resolve: Resolve) -> Source:
    """The source for a corpus file. Raises InputError if the file is not a corpus."""
    name = path.as_posix()
    match recognising.format_of(begin := head(resolve(name))):
        case "tsv":
            return _tsv(name, tags, resolve)
        case "tmx":
            return Tmx(format="tmx", path=name, source_language=tags[0], target_language=tags[1])
        case "jsonl":
            return _records(Jsonl(format="jsonl", path=name), tags, resolve)
        case "instruct":
            return _prefixed(_records(Instruct(format="instruct", path=name), tags, resolve), tags, resolve)
    if recognising.has_tabs(begin):
        deque(readers.read(Tsv(format="tsv", path=name), "train", resolve), maxlen=0)  # names the faulty line
    raise InputError("neither TSV, JSON nor TMX, and no language at the end of its name")


def _tsv(path: str, tags: tuple[str, str], resolve: Resolve) -> Tsv:
    """The source with the columns whose text is in the two languages, if recognised; else with the first two."""

    def column(number: int) -> str:
        one = Tsv(format="tsv", path=path, source_column=number, target_column=number)
        return " ".join(pair.source for pair in _first(one, resolve))

    source = Tsv(format="tsv", path=path)
    if not all(map(sides.label, tags)):
        return source
    columns = head(resolve(path)).partition(b"\n")[0].count(b"\t") + 1
    texts = list(map(column, range(columns)))
    found = [next((n for n, text in enumerate(texts) if sides.language(text, tag) == tag), None) for tag in tags]
    if None in found or found[0] == found[1]:
        return source
    return source.model_copy(update={"source_column": found[0], "target_column": found[1]})


def _records(source: Jsonl | Instruct, tags: tuple[str, str], resolve: Resolve) -> Jsonl | Instruct:
    """The source with the first field names that the first record has: defaults, languages, other common names."""
    codes = [languages.code(tag) for tag in tags]
    names = [(languages.name(tag) or tag).lower() for tag in tags]
    common = [codes, [f"translation.{code}" for code in codes], names, ("src", "tgt"), ("src", "trg")]
    common += [("source", "target"), ("input", "output")]
    wrong = []
    for candidate in [source, *(source.model_copy(update={"source": a, "target": b}) for a, b in common)]:
        try:
            _first(candidate, resolve, 1)
        except InputError as error:
            wrong.append(error)
        else:
            return candidate
    raise wrong[0]


def _prefixed(source: Instruct, tags: tuple[str, str], resolve: Resolve) -> Instruct:
    """The source with the languages' names as prefixes, `German: `, if all of the first records have them."""
    prefixes = [f"{languages.name(tag)}: " for tag in tags]
    pairs = _first(source, resolve)
    texts = [pair.source for pair in pairs], [pair.target for pair in pairs]
    update = {
        key: prefix
        for key, prefix, side in zip(("source_prefix", "target_prefix"), prefixes, texts, strict=True)
        if side and all(text.startswith(prefix) for text in side)
    }
    return source.model_copy(update=update)


def _first(source: Source, resolve: Resolve, most: int = LOOKED_AT) -> list[readers.Pair]:
    return list(islice(readers.read(source, "train", resolve), most))


def _complete(splits: Mapping[str | None, Source], resolve: Resolve) -> Splits:
    """All three splits of a domain, missing ones drawn from the training file; without one, only the test set."""
    train = splits.get("train", splits.get(None))
    if train is None:
        return {"test": splits["test"]} if "test" in splits else {}
    found = {"train": train}
    for seed, (split, (share, most)) in enumerate(SHARES.items(), start=1):
        number = min(max(_count(train, resolve) // share, 1), most)
        found[split] = splits.get(split, train.model_copy(update={"limit": number, "seed": seed}))
    return {split: found[split] for split in store.HELD_OUT}


def _count(source: Source, resolve: Resolve) -> int:
    """Number of pairs in a file, or of those drawn from it; at most `COUNTED`."""
    most = min(COUNTED, source.limit or COUNTED)
    return len(_first(source, resolve, most))
