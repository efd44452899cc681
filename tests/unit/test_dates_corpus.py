"""The corpus of dates: an independent parser reads every line, by its own domain's rules and by other domains'."""

import os
import re
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path

import pytest

from caneft import config, demo
from caneft.corpora import cleaning, readers
from caneft.demo import dates
from tests.messages import refused, suggestion

DOMAINS = ("forms", "invoices", "letters", "logs", "tickets")
FORMATS = {
    "forms": "%d-%m-%Y",
    "invoices": "%m-%d-%Y",
    "letters": "%d-%m-%Y",
    "logs": "%Y-%m-%d",
    "tickets": "%m-%d-%Y",
}
CENTURY = {domain: "19" if domain == "forms" else "20" for domain in DOMAINS}

MONTHS = ("jan", "feb", "mar mär", "apr", "may mai", "jun", "jul", "aug", "sep", "oct okt", "nov", "dec dez")
ORDINALS = (
    *("first erste", "second zweite", "third dritte", "fourth vierte", "fifth fünfte", "sixth sechste"),
    *("seventh siebte", "eighth achte", "ninth neunte", "tenth zehnte", "eleventh elfte", "twelfth zwölfte"),
)
APART = {"week": 7, "Woche": 7, "two days": 2, "zwei Tage": 2, "the day": 1, "der Tag": 1}
NUMBERS = re.compile(r"(?<!\d)(\d\d|\d{4})[-./]\d\d[-./](\d\d|\d{4})(?!\d)")
MONTH = rf"({'|'.join(' '.join(MONTHS).split())})[a-zä]*"
WRITTEN = re.compile(rf"([^\W\d]+|\d+)\.? (?:of )?{MONTH} (\d{{4}}|\d\d)(?!\d)", re.IGNORECASE)
MONTH_FIRST = re.compile(rf"{MONTH} (\d+), (\d{{4}})", re.IGNORECASE)


def position(word: str, rows: tuple[str, ...]) -> int:
    """Number, from 1, of the row with this word."""
    return next(number for number, row in enumerate(rows, start=1) if word in row.split())


def day_in(line: str, domain: str) -> datetime:
    """The day that a line names. Raises ValueError if it is no day in the domain's reading."""
    if found := NUMBERS.search(line):
        text = re.sub("[./]", "-", found[0])
        if not re.search(r"\d{4}", text):
            text = CENTURY[domain] + text if domain == "logs" else text[:6] + CENTURY[domain] + text[6:]
        return datetime.strptime(text, FORMATS[domain])
    if found := MONTH_FIRST.search(line):
        month, day, year = found.groups()
    else:
        day, month, year = WRITTEN.search(line).groups()
    day = int(day) if day.isdigit() else position(re.sub("(?<=e)[rn]$", "", day), ORDINALS)
    year = year if len(year) == 4 else CENTURY[domain] + year
    return datetime(int(year), position(month.lower(), MONTHS), day)


def meant(line: str, domain: str) -> str:
    """The day that a line means: the one it names, or one at a given distance from it."""
    relation = re.search(rf"({'|'.join(APART)}) (after|before|nach|vor)\b", line)
    days = APART[relation[1]] * (1 if relation[2] in ("after", "nach") else -1) if relation else 0
    return (day_in(line, domain) + timedelta(days=days)).date().isoformat()


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_target_is_the_day_that_the_line_means(domain):
    """These lines contain all forms; targets are ISO dates."""
    text = dates.pairs(domain, "train", 1500) + dates.pairs(domain, "test", 200)
    assert [(line, target) for line, target in text if meant(line, domain) != target] == []


def test_the_parser_knows_the_examples_of_the_page():
    lines = {domain: f"x: 03/04/05 ({domain})" for domain in DOMAINS}
    found = [meant(line, domain) for domain, line in lines.items()]
    assert found == ["1905-04-03", "2005-03-04", "2005-04-03", "2003-04-05", "2005-03-04"]


def ambiguous(line: str) -> bool:
    """Whether the numbers in a line mean different days in different domains."""
    readings = set()
    for domain in DOMAINS:
        try:
            readings.add(meant(line, domain))
        except ValueError:  # no valid day in this reading
            continue
    return len(readings) > 1


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_quarter_of_the_lines_and_more_mean_another_day_in_another_domain(domain):
    shares = Counter(ambiguous(line) for line, _ in dates.pairs(domain, "test", 400))
    assert 0.25 < shares[True] / 400 < 0.8


def test_weekdays_are_those_of_the_calendar():
    english = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    german = ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"]
    found = Counter()
    for line, _ in dates.pairs("letters", "train", 2000):
        if weekday := re.search("|".join(english + german), line):
            names = english if weekday[0] in english else german
            assert names[day_in(line, "letters").weekday()] == weekday[0], line
            found[weekday[0]] += 1
    assert len(found) == 14


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("domain", DOMAINS)
def test_domains_deliver_enough_distinct_lines(domain, times):
    for split, count in (("train", 300 * times), ("dev", 30 * times), ("test", 100 * times)):
        lines = [line for line, _ in dates.pairs(domain, split, count)]
        assert len(set(lines)) == count
        assert {demo.split_of(line) for line in lines} == {split}


def test_no_line_is_in_two_splits():
    parts = {
        split: {line for domain in DOMAINS for seed in range(2) for line, _ in dates.pairs(domain, split, 100, seed)}
        for split in demo.SPLITS
    }
    parts["pretrain"] = {line for line, _ in dates.pretraining(DOMAINS, 1000)}
    for one, other in combinations(parts.values(), 2):
        assert one & other == set()
    assert all(demo.split_of(line) == split for split, part in parts.items() for line in part)


def test_pairs_depend_on_domain_split_and_seed_but_not_on_count():
    assert dates.pairs("logs", "dev", 20) == dates.pairs("logs", "dev", 50)[:20]
    assert dates.pairs("logs", "dev", 20) != dates.pairs("logs", "dev", 20, seed=1)
    text = dates.pretraining(["logs", "forms"], 60)
    assert text == dates.pretraining(["forms", "logs", "forms"], 90)[:60] != dates.pretraining(["logs", "forms"], 60, 1)


def test_text_is_the_same_in_another_process():
    shown = "print(dates.pairs('logs', 'test', 40), dates.pretraining(['logs'], 40))"
    program = f"from caneft.demo import dates\n{shown}"
    environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONIOENCODING": "utf-8"}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, encoding="utf-8")
    assert done.stdout.strip() == f"{dates.pairs('logs', 'test', 40)} {dates.pretraining(['logs'], 40)}", done.stderr


def test_half_of_pretraining_is_dates_alone_and_domains_have_equal_shares():
    own = {"logs": "node|Knoten", "forms": "born|geboren|birth|Geburt"}
    text = dates.pretraining(["forms", "logs"], 400)
    for number, (line, _) in enumerate(text):
        found = [domain for domain, words in own.items() if re.search(words, line)]
        assert found == ([] if number % 2 == 0 else [("forms", "logs")[number // 2 % 2]]), line


def test_pretraining_reads_dates_as_every_domain_does():
    """It also uses orders and centuries that the line's own domain never has, so it teaches no domain's reading."""
    counts, lines = Counter(), 0
    for line, target in dates.pretraining(["letters"], 2000)[1::2]:
        if ambiguous(line):
            lines += 1
            counts.update(domain for domain in DOMAINS if possible(line, domain) == target)
    for domain in DOMAINS:
        assert 0.2 < counts[domain] / lines < 0.7, counts


def possible(line: str, domain: str) -> str | None:
    try:
        return meant(line, domain)
    except ValueError:
        return None


def test_the_formats_of_the_configuration_read_it():
    lines = config.DemoDates(format="demo-dates", domain="logs", pairs=5, seed=2)
    text = config.DemoDatesPretraining(format="demo-dates-pretraining", domains=["logs"], pairs=5, seed=2)
    for source, expected in (
        (lines, dates.pairs("logs", "dev", 5, seed=2)),
        (text, dates.pretraining(["logs"], 5, seed=2)),
    ):
        found = list(readers.read(source, "dev", Path))
        assert [tuple(pair) for pair in found] == [(number, *pair) for number, pair in enumerate(expected, start=1)]
        assert all(side == cleaning.normalise(side) for pair in expected for side in pair)
    with refused("nosuch", *DOMAINS):
        list(readers.read(lines.model_copy(update={"domain": "nosuch"}), "dev", Path))


@pytest.mark.parametrize(
    ("call", "facts"),
    [
        (lambda: dates.pairs("log", "train", 1), ["'log'", *DOMAINS, suggestion("log", "logs")]),
        (lambda: dates.pairs("logs", "pretrain", 1), ["pretrain", "dev", "test", "train"]),
        (lambda: dates.pairs("logs", "dev", -1), [-1]),
        (lambda: dates.pretraining(["letter"], 1), ["'letter'", suggestion("letter", "letters")]),
        (lambda: dates.pretraining([], 1), DOMAINS),
    ],
)
def test_wrong_requests_are_refused(call, facts):
    with refused(*facts, by=ValueError):
        call()


def test_a_count_that_cannot_be_drawn_is_refused(monkeypatch):
    monkeypatch.setattr(dates, "PATIENCE", 300)
    monkeypatch.setattr(dates, "YEARS", range(5, 6))
    monkeypatch.setattr(dates, "_day", lambda *_: ("3 April 2005", "2005-04-03"))
    monkeypatch.setattr(dates, "NAMES", ("Ida",))
    with refused("letters", "train", 0):
        dates.pairs("letters", "train", 5)
