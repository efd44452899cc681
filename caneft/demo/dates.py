"""Lines with a date in any form, each with the day that it means: a task other than translation, made like the demo.

A source is a line of a letter, a log, a form, an invoice or a ticket, in English or German; its target is the day as
YYYY-MM-DD. Months have names or numbers, days may be ordinal words, years may have two digits, and some lines name a
day by another one (`two days after ...`). What 03/04/05 means depends on the domain: 3 April 2005 in a letter, 3 April
1905 in a form, 4 March 2005 in an invoice, 5 April 2003 in a log. Within a domain every line has one answer.

Everything follows from the seed, and a source's text alone decides its split, as in the demo.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from itertools import cycle, islice
from random import Random
from typing import NamedTuple

from caneft.demo import SPLITS, split_of
from caneft.errors import InputError, did_you_mean

Pair = tuple[str, str]


class Reading(NamedTuple):
    """How a date in numbers is read: the order of day, month and year, and the century of a two-digit year."""

    order: str
    century: int


class Domain(NamedTuple):
    """A kind of text. numeric: share of dates in numbers alone; related: share of days that are named by another day.

    Lines have the fields {date}, {name} and {number}.
    """

    reading: Reading
    numeric: float
    related: float
    english: tuple[str, ...]
    german: tuple[str, ...]


DOMAINS = {
    "forms": Domain(
        Reading("dmy", 1900),
        0.7,
        0.1,
        ("Name: {name}. Date of birth: {date}.", "No. {number}, {name}, born: {date}."),
        ("Name: {name}. Geburtsdatum: {date}.", "Nr. {number}, {name}, geboren: {date}."),
    ),
    "invoices": Domain(
        Reading("mdy", 2000),
        0.8,
        0.4,
        ("Invoice {number}, due: {date}.", "Amount of {number} EUR, payable: {date}."),
        ("Rechnung {number}, fällig: {date}.", "Betrag von {number} EUR, zahlbar: {date}."),
    ),
    "letters": Domain(
        Reading("dmy", 2000),
        0.6,
        0.3,
        ("Dear {name}, the day of the wedding: {date}.", "My dear {name}, back from Rome: {date}."),
        ("Liebe {name}, der Tag der Hochzeit: {date}.", "Liebste {name}, zurück aus Rom: {date}."),
    ),
    "logs": Domain(
        Reading("ymd", 2000),
        0.8,
        0.1,
        ("[{date}] node {number}: disk full", "node {number} restarted, uptime since {date}"),
        ("[{date}] Knoten {number}: Platte voll", "Knoten {number} neu gestartet, läuft seit {date}"),
    ),
    "tickets": Domain(
        Reading("mdy", 2000),
        0.7,
        0.2,
        ("Train {number}, valid: {date}.", "Seat {number}, {name}, {date}."),
        ("Zug {number}, gültig: {date}.", "Platz {number}, {name}, {date}."),
    ),
}

ENGLISH = (
    "{day} {month} {year}",
    "{month} {day}, {year}",
    "{day} {mon} {year}",
    "the {ordinal} of {month} {year}",
    "{weekday}, {day} {month} {year}",
    "{day} {month} {yy}",
)
GERMAN = (
    "{day}. {monat} {year}",
    "{ordnung} {monat} {year}",
    "{wochentag}, {day}. {monat} {year}",
    "{day}. {monat} {yy}",
)
GERMAN_AFTER_DEM = ("{day}. {monat} {year}", "{ordnungen} {monat} {year}", "{day}. {monat} {yy}")

RELATIONS = {
    1: ("the day after {}", "der Tag nach dem {}"),
    2: ("two days after {}", "zwei Tage nach dem {}"),
    7: ("a week after {}", "eine Woche nach dem {}"),
    -1: ("the day before {}", "der Tag vor dem {}"),
    -2: ("two days before {}", "zwei Tage vor dem {}"),
}
"""English and German phrases, by the number of days from the written day to the day that is meant."""

YEARS = range(1, 13)  # of a century: with two digits, each could also be a day or a month
MONTHS, WEEKDAYS, ORDINALS = (
    [text.split() for text in texts]
    for texts in (
        (
            "January February March April May June July August September October November December",
            "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        ),
        (
            "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
            "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
        ),
        (
            "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth",
            "erster zweiter dritter vierter fünfter sechster siebter achter neunter zehnter elfter zwölfter",
        ),
    )
)
"""English and German, each in order."""
NAMES = ("Anna", "Clara", "Edith", "Frieda", "Greta", "Ida", "Johanna", "Karla", "Lotte", "Mathilde", "Paula", "Sophie")

PATIENCE = 20_000  # draws in a row without a new source before giving up


def pairs(domain: str, split: str, count: int, seed: int = 0) -> list[Pair]:
    """The first `count` (line, day) pairs of a domain's split, dates read as the domain does; sources are distinct.

    domain: one of DOMAINS; split: one of the demo's SPLITS. Raises InputError, a ValueError, for an unknown domain or
    split and for a count that cannot be drawn.
    """
    _require_known("domain", domain, tuple(DOMAINS))
    _require_known("split", split, SPLITS)
    known = DOMAINS[domain]
    drawn = _stream(f"{seed}/{domain}/{split}", split, lambda random: _line(known, known.reading, random))
    return _first(count, drawn)


def pretraining(domains: Sequence[str], count: int, seed: int = 0) -> list[Pair]:
    """Text for the base model: every other pair is a date alone, the rest are lines of `domains` in turn.

    Each pair has the reading of any domain, drawn at random, so that the model does not learn a domain's own here. The
    order of `domains` changes nothing. Raises InputError, a ValueError, for no domain, an unknown domain, or a count
    that cannot be drawn.
    """
    if not domains:
        raise InputError(f"pretraining needs at least one domain. {did_you_mean('', tuple(DOMAINS))}")
    for domain in domains:
        _require_known("domain", domain, tuple(DOMAINS))

    def line_of(domain: str) -> Callable[[Random], Pair]:
        return lambda random: _line(DOMAINS[domain], _any(random).reading, random)

    def alone(random: Random) -> Pair:
        return _day(_any(random), _any(random).reading, random.random() < 0.5, random)

    lines = [_stream(f"{seed}/{domain}/pretrain", "pretrain", line_of(domain)) for domain in sorted(set(domains))]
    dates = _stream(f"{seed}/pretrain", "pretrain", alone)
    return _first(count, map(next, cycle(stream for own in lines for stream in (dates, own))))


def _line(domain: Domain, reading: Reading, random: Random) -> Pair:
    german = random.random() < 0.5
    text, day = _day(domain, reading, german, random)
    words = random.choice(domain.german if german else domain.english)
    return words.format(date=text, name=random.choice(NAMES), number=random.randint(10, 99)), day


def _day(domain: Domain, reading: Reading, german: bool, random: Random) -> Pair:
    """A date as text, and the day that it means."""
    first, last = (date(reading.century + year, 1, 1).toordinal() for year in (YEARS.start, YEARS.stop))
    day = date.fromordinal(random.randrange(first, last))
    apart = random.choice(list(RELATIONS)) if random.random() < domain.related else 0
    if random.random() < domain.numeric:
        text = _numbers(day, reading.order, random)
    else:
        forms = (GERMAN_AFTER_DEM if apart else GERMAN) if german else ENGLISH
        fields = _words(day)
        text = random.choice([form for form in forms if "{ord" not in form or "ordinal" in fields]).format(**fields)
    text = RELATIONS[apart][german].format(text) if apart else text
    return text, (day + timedelta(days=apart)).isoformat()


def _numbers(day: date, order: str, random: Random) -> str:
    parts = {"d": f"{day:%d}", "m": f"{day:%m}", "y": f"{day:%y}" if random.random() < 0.75 else f"{day:%Y}"}
    return random.choice("/.-").join(parts[part] for part in order)


def _words(day: date) -> dict[str, str | int]:
    """Fields of the written forms; ordinals up to twelve. Without strftime, whose names follow the machine's locale."""
    (month, monat), (weekday, wochentag) = (
        [names[index] for names in table] for table, index in ((MONTHS, day.month - 1), (WEEKDAYS, day.weekday()))
    )
    fields = {"day": day.day, "year": day.year, "yy": f"{day:%y}", "month": month, "mon": month[:3], "monat": monat}
    fields |= {"weekday": weekday, "wochentag": wochentag}
    if day.day <= len(ORDINALS[0]):
        ordinal, ordnung = (names[day.day - 1] for names in ORDINALS)
        fields |= {"ordinal": ordinal, "ordnung": ordnung, "ordnungen": ordnung.removesuffix("r") + "n"}
    return fields


def _any(random: Random) -> Domain:
    return random.choice(list(DOMAINS.values()))


def _stream(name: str, split: str, draw: Callable[[Random], Pair]) -> Iterator[Pair]:
    """Pairs of a split without repetition. name: the seed of the draws."""
    random, seen, misses = Random(name), set(), 0
    while misses < PATIENCE:
        source, target = draw(random)
        misses += 1
        if source not in seen and split_of(source) == split:
            seen.add(source)
            misses = 0
            yield source, target
    raise InputError(f"dates, {name}: only {len(seen)} distinct sources could be drawn. Ask for fewer pairs.")


def _first(count: int, stream: Iterator[Pair]) -> list[Pair]:
    if count < 0:
        raise InputError(f"cannot draw {count} pairs: the count must not be negative.")
    return list(islice(stream, count))


def _require_known(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise InputError(f"unknown {what} '{name}'. {did_you_mean(name, known)}")
