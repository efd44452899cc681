"""Warnings about corpora that only their pairs show, for `python -m caneft check`: a start reads less."""

from collections.abc import Iterator, Sequence
from itertools import combinations, islice
from pathlib import Path
from typing import NamedTuple

from caneft import config as configuration
from caneft.config import Config, Source, languages
from caneft.corpora import readers, sides
from caneft.corpora.readers import Pair
from caneft.errors import InputError
from caneft.storage.files import sha256, split_archive

OF_TEST, OF_OTHERS = 50_000, 1000
"""Most pairs that are read of a test set, and of others."""
SAMPLE = 50
"""Number of pairs whose languages are recognised."""


class _Set(NamedTuple):
    direction: str
    key: str
    source: Source
    files: tuple[tuple[Path, str | None], ...]
    """Each file on disk, with links followed, and the name of the file in it if it is an archive."""

    @property
    def is_test(self) -> bool:
        return self.key.endswith(".test")

    @property
    def listed(self) -> str:
        return " and ".join(self.source.paths())


def of_corpora(config: Config) -> Iterator[str]:
    """Problems that the files and pairs of local corpora show. Each corpus is read once."""
    sets = list(_sets(config))
    yield from _same_files(sets)
    resolve = configuration.resolver(configuration.data_root(config))
    by_place: dict[str, list[_Set]] = {}
    for one in sets:
        pairs_of = one.source.model_copy(update={"limit": None, "seed": 0})
        by_place.setdefault(repr((one.direction, configuration.read_from(config, pairs_of))), []).append(one)
    for first, *others in by_place.values():
        test = next((one for one in (first, *others) if one.is_test), None)
        reader = readers.read(first.source, "test" if test else "train", resolve)
        try:
            pairs = list(islice(reader, OF_TEST if test else OF_OTHERS))
        except InputError as error:
            yield f"{(test or first).key} cannot be read: {error}"
            continue
        yield from _without_target(test, pairs) if test else ()
        yield from _copies(first, pairs)
        yield from _swapped(first, pairs[:SAMPLE])


def _sets(config: Config) -> Iterator[_Set]:
    """The sets of all domains that are read from files."""
    resolve = configuration.resolver(configuration.data_root(config))
    for name, direction in config.directions.items():
        for domain, splits in direction.domains.items():
            for split in ("train", "dev", "test"):
                source = getattr(splits, split)
                if source is not None and source.paths():
                    at = [split_archive(resolve(path)) for path in source.paths()]
                    files = tuple((file.resolve(), member) for file, member in at)
                    yield _Set(name, f"directions.{name}.domains.{domain}.{split}", source, files)


def _same_files(sets: Sequence[_Set]) -> Iterator[str]:
    """Sets of a direction with equal files of different names. Only files of equal size are read."""
    sizes = {file: file.stat().st_size for one in sets for file, _ in one.files}
    sums: dict[Path, str] = {}

    def equal(one: Path, other: Path) -> bool:
        if sizes[one] != sizes[other]:
            return False
        for file in (one, other):
            if file not in sums:
                sums[file] = sha256(file)
        return sums[one] == sums[other]

    told: set[tuple] = set()
    for one, other in combinations(sets, 2):
        if one.direction != other.direction or len(one.files) != len(other.files) or one.files == other.files:
            continue
        both = zip(one.files, other.files, strict=True)
        if (one.files, other.files) not in told and all(a[1] == b[1] and equal(a[0], b[0]) for a, b in both):
            told.add((one.files, other.files))
            yield (
                f"{other.key} reads {other.listed}, the same bytes as {one.listed} of {one.key}"
                f" ({sum(sizes[file] for file, _ in one.files):,} bytes). Correct one of the paths."
            )


def _without_target(test: _Set, pairs: Sequence[Pair]) -> Iterator[str]:
    """A test set with pairs that have no reference."""
    empty = [pair.line for pair in pairs if not sides.visible(sides.normalise(pair.target))]
    if empty:
        yield (
            f"{test.key}: {len(empty)} of {len(pairs)} pairs of {test.listed} have an empty target, the first of them"
            f" pair {empty[0]}. Each is scored as a segment in which every translation is wrong: remove these pairs."
        )


def _copies(one: _Set, pairs: Sequence[Pair]) -> Iterator[str]:
    """A set in which at least half of the pairs have their source as target."""
    texts = [(sides.normalise(pair.source), sides.normalise(pair.target)) for pair in pairs]
    texts = [(source, target) for source, target in texts if source and target]
    same = sum(source == target for source, target in texts)
    if 2 * same >= len(texts) > 0:
        yield (
            f"{one.key}: in {same} of the first {len(texts)} pairs of {one.listed}, the target is the source. Correct"
            " the columns or files, unless this is meant."
        )


def _swapped(one: _Set, pairs: Sequence[Pair]) -> Iterator[str]:
    """A set in which most pairs have each side in the language of the other."""
    tags = languages.of_direction(one.direction)
    if tags is None or None in map(sides.label, tags) or languages.near(tags[0]) & languages.near(tags[1]):
        return
    source, target = tags
    wrong = sum(
        sides.language(pair.source, target) == target and sides.language(pair.target, source) == source
        for pair in pairs
    )
    if 2 * wrong > len(pairs):
        yield (
            f"{one.key}: in {wrong} of the first {len(pairs)} pairs of {one.listed}, the source is in '{target}' and"
            f" the target in '{source}'. Exchange the two, or set reverse: {str(not one.source.reverse).lower()}."
        )
