"""Translations kept domain by domain: which are still valid, what a killed job left, and how long they took."""

import json
import logging
from types import SimpleNamespace

import pytest

from caneft.corpora.store import Row
from caneft.storage import integrity, records
from caneft.storage.files import write_json, write_jsonl
from caneft.translation.progress import DOMAINS, MEMORY, Progress, made_from
from tests.messages import refused

ENGINE = {"name": "transformers", "version": "5", "dtype": "float32"}
WANTED = {"it": "1", "law": "2", "koran": "3"}


def lines(domain, text="x"):
    return [{"id": f"{domain}.test.{n}", "domain": domain, "hypothesis": text, "flags": []} for n in (1, 2)]


def written(file, **texts):
    """Writes a finished file with these domains' texts: 10 seconds each, 500 MB."""
    write_jsonl(file, [line for domain, text in texts.items() for line in lines(domain, text)])
    entry = {"engine": ENGINE, "wall_seconds": 10, "cpu_seconds": 20.501}
    domains = {domain: entry | {"made_from": WANTED[domain]} for domain in texts}
    memory = {"peak_memory_mb": 1e6, "cuda_peak_memory_mb": None}
    content = {"format": 1, "stage": "translation", "started": "2026", **memory, DOMAINS: domains}
    content[integrity.KEY] = integrity.sums(file)
    write_json(cost_of(file), content)


def cost_of(file):
    return file.with_suffix(".cost.json")


@pytest.fixture
def file(tmp_path):
    """The path where an earlier job left it and law; Snakemake has removed the file itself."""
    file = tmp_path / "test.jsonl"
    written(file, it="a", law="b")
    Progress(file, {}).finish()
    file.unlink()
    cost_of(file).unlink()
    return file


def hidden(file):
    return file.with_name(f".{file.name}")


# --- what a translation is made from ---------------------------------------------------------------------------------


def test_any_change_of_what_a_translation_is_made_from_makes_another(tmp_path):
    model, examples = tmp_path / "manifest.json", tmp_path / "examples.jsonl"
    model.write_text("{}")
    examples.write_text("[]")
    rows = [Row("it.test.1", "Quelle", "target"), Row("it.test.2", "andere", "target")]
    given = {"files": [model, None, examples], "settings": "{}", "version": 4, "rows": rows}
    found = made_from(**given)
    assert len(found) == 64 and found == made_from(**given)
    reworded = [Row(row.id, row.source, "another reference") for row in rows]
    assert made_from(**given | {"rows": reworded}) == found, "the references have no part in it"
    others = [
        {"files": [model, examples, None]},
        {"files": [model, None, None]},
        {"settings": '{"dtype": "float16"}'},
        {"version": 5},
        {"rows": rows[:1]},
        {"rows": rows[::-1]},
        {"rows": [Row("it.test.7", "Quelle", "target"), rows[1]]},
        {"rows": [Row("it.test.1", "Quellen", "target"), rows[1]]},
    ]
    changed = [made_from(**given | other) for other in others]
    examples.write_text("[1]")
    changed.append(made_from(**given))
    assert len({found, *changed}) == len(others) + 2


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_without_a_file_all_is_missing(tmp_path):
    progress = Progress(tmp_path / "test.jsonl", WANTED)
    assert progress.missing == list(WANTED)
    assert progress.before() == {} and progress.about() == {DOMAINS: {}}
    assert list(tmp_path.iterdir()) == []


def test_a_new_domain_is_missing_and_the_others_are_kept_in_the_order_that_is_asked_for(file, caplog):
    wanted = {"koran": "3", "law": "2", "it": "1"}
    with caplog.at_level(logging.INFO):
        progress = Progress(file, wanted)
    assert progress.missing == ["koran"] and "law, it" in caplog.text
    progress.add("koran", lines("koran"), ENGINE)
    assert progress.lines == lines("koran") + lines("law", "b") + lines("it", "a")
    assert list(progress.about()[DOMAINS]) == list(wanted)


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [
        ({"it": "1", "law": "2"}, []),
        ({"it": "1", "law": "other"}, ["law"]),
        ({"it": "2", "law": "1"}, ["it", "law"]),
        ({"law": "2"}, []),
    ],
)
def test_a_domain_is_kept_only_if_it_is_made_from_the_same(file, wanted, missing):
    progress = Progress(file, wanted)
    assert progress.missing == missing
    for domain in missing:
        progress.add(domain, lines(domain, "new"), ENGINE)
    old = {"it": "a", "law": "b"}
    assert progress.lines == [line for d in wanted for line in lines(d, "new" if d in missing else old[d])]
    assert {d: about["made_from"] for d, about in progress.about()[DOMAINS].items()} == wanted


def of_cost(**changes):
    """Changes the cost file; None removes a key."""

    def change(file):
        found = json.loads(cost_of(file).read_text()) | changes
        write_json(cost_of(file), {key: value for key, value in found.items() if value is not None})

    return change


def of_entry(name, value):
    """Changes one entry about law; None removes it."""

    def change(file):
        found = json.loads(cost_of(file).read_text())
        found[DOMAINS]["law"][name] = value
        if value is None:
            del found[DOMAINS]["law"][name]
        write_json(cost_of(file), found)

    return change


def rewritten(change):
    """Changes the text of the translations, and the checksum with it."""

    def both(file):
        file.write_text(change(file.read_text()))
        of_cost(**{integrity.KEY: integrity.sums(file)})(file)

    return both


BROKEN = {
    "no cost file": lambda file: cost_of(file).unlink(),
    "no translations": lambda file: file.unlink(),
    "cut cost file": lambda file: cost_of(file).write_text(cost_of(file).read_text()[:-20]),
    "empty cost file": lambda file: cost_of(file).write_text(""),
    "cost file is a list": lambda file: cost_of(file).write_text("[]"),
    "cut translations": lambda file: file.write_text(file.read_text()[:-20]),
    "a line less": lambda file: file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1])),
    "another byte": lambda file: file.write_bytes(file.read_bytes().replace(b'"b"', b'"\xff"')),
    "other text": lambda file: file.write_text(file.read_text().replace('"b"', '"c"')),
    "cost of another format": of_cost(format=7),
    "cost of an older version": of_cost(domains=None, engine=ENGINE),
    "domains are a list": of_cost(domains=["it", "law"]),
    "domains are a text": of_cost(domains="it"),
    "no checksums": of_cost(**{integrity.KEY: ["test.jsonl"]}),
    "memory is a text": of_cost(peak_memory_mb="much"),
    "an entry is a text": of_cost(domains={"it": "1", "law": "2"}),
    "no fingerprint": of_entry("made_from", None),
    "fingerprint is a list": of_entry("made_from", ["2"]),
    "no engine": of_entry("engine", None),
    "engine is a text": of_entry("engine", "vllm"),
    "engine without a name": of_entry("engine", {}),
    "no seconds": of_entry("wall_seconds", None),
    "seconds are a text": of_entry("cpu_seconds", "5"),
    "lines of a domain that the cost file lacks": rewritten(lambda text: text.replace('"law"', '"garden"')),
    "domain is a list": rewritten(lambda text: text.replace('"law"', '["law"]')),
    "a line is a list": rewritten(lambda text: text + "[]\n"),
    "a line is no JSON": rewritten(lambda text: text + "{\n"),
    "a line without a domain": rewritten(lambda text: text + "{}\n"),
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("killed", [False, True], ids=["of a finished job", "of a killed job"])
def test_of_a_broken_file_all_is_translated_again(file, spoil, killed):
    if killed:
        written(hidden(file), it="a", law="b")
    spoil(hidden(file))
    progress = Progress(file, {"it": "1", "law": "2"})
    assert progress.missing == ["it", "law"] and progress.before() == {}
    for domain in progress.missing:
        progress.add(domain, lines(domain), ENGINE)


@pytest.mark.parametrize("name", [".test.jsonl", ".test.cost.json"])
def test_a_folder_in_the_way_is_named_before_anything_is_translated(file, name):
    (file.parent / name).unlink()
    (file.parent / name).mkdir()
    with refused(file.parent / name, "is a folder", "Move it away"):
        Progress(file, WANTED)


def test_a_domain_that_is_no_longer_asked_for_costs_nothing_when_it_comes_back(file):
    gone = Progress(file, {"it": "1"})
    assert gone.restore() and file.read_text() == "".join(json.dumps(line) + "\n" for line in lines("it", "a"))
    assert json.loads(cost_of(file).read_text())[DOMAINS].keys() == {"it"}
    assert Progress(file, {"it": "1", "law": "other"}).missing == ["law"]
    back = Progress(file, WANTED)
    assert back.missing == ["koran"]
    back.add("koran", lines("koran"), ENGINE)
    assert back.lines == lines("it", "a") + lines("law", "b") + lines("koran")


def test_a_job_that_misses_nothing_costs_what_its_domains_took(file):
    """The job adds no seconds of its own, and none of a domain that is gone."""
    assert not Progress(file, WANTED).restore() and not file.exists()
    assert Progress(file, {"law": "2"}).restore()
    cost = json.loads(cost_of(file).read_text())
    assert (cost["wall_seconds"], cost["cpu_seconds"], cost["peak_memory_mb"]) == (10, 20.501, 1e6)
    assert cost["stage"] == "translation" and cost[integrity.KEY] == integrity.sums(file)
    assert Progress(file, {"it": "1", "law": "2"}).before()["wall_seconds"] == 20


def test_what_a_killed_job_left_is_no_cost_file_of_a_finished_one(tmp_path):
    file = tmp_path / "test.jsonl"
    progress = Progress(file, {"it": "1"})
    progress.add("it", lines("it"), ENGINE)
    again = Progress(file, {"it": "1"})
    assert again.missing == [] and not again.restore() and not file.exists()


def test_another_version_of_a_library_translates_again(monkeypatch):
    rows = [Row("it.test.1", "Quelle", "target")]
    before = made_from([], "{}", 1, rows)
    real = records.importlib.metadata.version
    monkeypatch.setattr(records.importlib.metadata, "version", lambda n: "9" if n == "transformers" else real(n))
    assert made_from([], "{}", 1, rows) != before


# --- a killed job ----------------------------------------------------------------------------------------------------


def test_a_killed_job_leaves_the_domains_that_it_had(file):
    progress = Progress(file, WANTED | {"law": "changed"})
    progress.add("law", lines("law", "new"), ENGINE)
    assert not file.exists(), "what is not whole must not pass for a result"
    again = Progress(file, WANTED | {"law": "changed"})
    assert again.missing == ["koran"]
    again.add("koran", lines("koran"), ENGINE)
    assert again.lines == lines("it", "a") + lines("law", "new") + lines("koran")
    assert Progress(file, WANTED).missing == ["law"]


def test_a_job_killed_without_any_file_before_it_goes_on(tmp_path):
    file = tmp_path / "test.jsonl"
    first = Progress(file, WANTED)
    first.add("it", lines("it"), ENGINE)
    first.add("law", lines("law"), ENGINE)
    assert {path.name for path in tmp_path.iterdir()} == {".test.jsonl", ".test.cost.json"}
    again = Progress(file, WANTED)
    assert again.missing == ["koran"]
    assert again.about()[DOMAINS] == first.about()[DOMAINS]


def test_what_is_kept_is_the_file_that_was_written(file):
    written(file, it="a", law="b", koran="c")
    Progress(file, WANTED).finish()
    assert hidden(file).samefile(file), "hard links take no room"
    assert cost_of(hidden(file)).read_bytes() == cost_of(file).read_bytes()
    assert Progress(file, WANTED).missing == []
    with file.open("a") as changed:  # by hand, in place
        changed.write("\n")
    assert Progress(file, WANTED).missing == list(WANTED)


# --- what it took ----------------------------------------------------------------------------------------------------


def test_seconds_and_memory_of_kept_domains_count(file):
    assert Progress(file, WANTED).before() == {
        **{"wall_seconds": 20, "cpu_seconds": 41.002},
        **{"peak_memory_mb": 1e6, "cuda_peak_memory_mb": 0},
    }
    assert Progress(file, {"law": "2"}).before()["wall_seconds"] == 10, "of a domain that is gone nothing counts"
    assert Progress(file, {"koran": "3"}).before() == {}


def test_the_seconds_of_a_domain_are_those_since_the_last_one(tmp_path, monkeypatch):
    from caneft.translation import progress as tested

    clock = iter([1.5, 103.50049, 110.0012])
    usage = iter([(0.25, 0.5), (6.5, 3.25), (6.5, 3.5)])  # of the process itself, and of the system for it
    used = (SimpleNamespace(ru_utime=own, ru_stime=system) for own, system in usage)
    monkeypatch.setattr(tested, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(tested, "resource", SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: next(used)))
    progress = Progress(tmp_path / "test.jsonl", WANTED)
    for domain in ("it", "law"):
        progress.add(domain, lines(domain), ENGINE)
    about = progress.about()[DOMAINS]
    assert [(about[d]["wall_seconds"], about[d]["cpu_seconds"]) for d in ("it", "law")] == [(102.0, 9.0), (6.501, 0.25)]


@pytest.mark.parametrize(("own", "expected"), [((2e6, 30.0), (2e6, 30.0)), ((100.0, None), (1e6, 0.0))])
def test_the_memory_of_a_killed_job_counts_too(file, monkeypatch, own, expected):
    """The killed job translated law; its peak counts, and so does that of an earlier job."""
    monkeypatch.setattr(records, "memory", lambda: own)
    progress = Progress(file, WANTED | {"law": "changed"})
    progress.add("law", lines("law"), ENGINE)
    spent = progress.about()[DOMAINS]["law"]["wall_seconds"]
    before = Progress(file, WANTED | {"law": "changed"}).before()
    assert tuple(before[name] for name in MEMORY) == expected
    assert before["wall_seconds"] == pytest.approx(10 + spent)


def test_what_is_not_kept_lends_no_memory(file, monkeypatch):
    monkeypatch.setattr(records, "memory", lambda: (100.0, None))
    progress = Progress(file, {"it": "changed", "koran": "3"})
    progress.add("koran", lines("koran"), ENGINE)
    before = Progress(file, {"it": "changed", "koran": "3"}).before()
    assert [before[name] for name in MEMORY] == [100, 0]
