"""The page of examples: the choice of segments, the marks in outputs, and that their text stays text."""

import json
import re
import sys
from html.parser import HTMLParser

import fake_results
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import CHRF

from caneft.reporting import examples
from caneft.reporting.example_page import Example, Output, Section, compared, page
from caneft.reporting.shown import example_files, example_inputs
from tests.messages import refused

METHODS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": 1e-3},
    "adapters": {"method": "adapters", "learning_rate": 1e-2},
    "caneft": {"method": "caneft", "learning_rate": 1e-2},
}
WORDS = ["the", "a", "cat", "dog", "red", "blue", "house", "runs", "sleeps", "never"]
SIZE = 30


class Parsed(HTMLParser):
    """Elements in order, and the text of each table cell."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.cells, self.inside = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag in ("td", "th"):
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write(plan, root):
    """Writes test corpora and translations of random words."""
    rng = np.random.default_rng(0)

    def sentence():
        return " ".join(rng.choice(WORDS, 6))

    domains = plan.config.directions["de-en"].domains
    for domain in domains:
        rows = [{"id": f"{domain}.test.{n}", "source": f"Satz {n}", "target": sentence()} for n in range(SIZE)]
        write_lines(root / f"corpora/de-en/{domain}/test.jsonl", rows)
    for file in example_files(plan):
        rows = []
        for domain in file.domains:
            for n in range(SIZE):
                row = {"id": f"{domain}.test.{n}", "domain": domain, "hypothesis": sentence(), "flags": []}
                if file.method == "adapters" and domain == "koran":
                    row |= {"adapter": "law", "alternatives": {"it": "x", "law": row["hypothesis"]}}
                    row |= {"source_loss": {"it": 2.0, "law": 1.0}}
                rows.append(row)
        write_lines(root / file.path, rows)


@pytest.fixture
def plan():
    return fake_results.plan(METHODS, seeds=(1, 2))


@pytest.fixture
def root(tmp_path, plan):
    write(plan, tmp_path)
    return tmp_path


def read(root, path):
    return [json.loads(line) for line in (root / path).read_text(encoding="utf-8").splitlines()]


# --- choice ----------------------------------------------------------------------------------------------------------


def test_segments_are_those_where_trained_methods_differ_most_and_a_draw(plan, root):
    found = {section.domain: section.examples for section in examples.sections(plan, root)}
    assert list(found) == ["it", "law", "koran (unseen)"]
    metric = CHRF()
    targets = [row["target"] for row in read(root, "corpora/de-en/it/test.jsonl")]
    outputs = [
        [row["hypothesis"] for row in read(root, f"runs/tiny/de-en/all/{name}/seed1/translations/test.jsonl")]
        for name in ("full", "adapters", "caneft")
    ]
    spread = []
    for n, target in enumerate(targets):
        scores = [metric.sentence_score(own[n], [target]).score for own in outputs]
        spread.append(max(scores) - min(scores))
    wanted = sorted(range(SIZE), key=lambda n: (-spread[n], n))[:3]
    assert [example.id for example in found["it"][:3]] == [f"it.test.{n}" for n in wanted]
    drawn = [example.id for example in found["it"][3:]]
    assert len(drawn) == 2 and not set(drawn) & {f"it.test.{n}" for n in wanted}
    assert [example.why for example in found["it"]] == [examples.WHY[True]] * 3 + [examples.WHY[False]] * 2


def test_outputs_are_those_of_the_first_seed_with_their_score(plan, root):
    example = next(examples.sections(plan, root)).examples[0]
    number = int(example.id.rpartition(".")[2])
    assert [output.name for output in example.outputs] == list(METHODS)
    for output in example.outputs:
        run = "base" if output.name == "base" else f"all/{output.name}/seed1"
        rows = read(root, f"runs/tiny/de-en/{run}/translations/test.jsonl")
        (hypothesis,) = [row["hypothesis"] for row in rows if row["id"] == f"it.test.{number}"]
        assert output.text == hypothesis
        assert output.score == pytest.approx(CHRF().sentence_score(hypothesis, [example.reference]).score)


def test_a_task_is_shown_with_its_own_measure(tmp_path):
    plan = fake_results.plan(METHODS, scoring={"metrics": ["exact"]})
    write(plan, tmp_path)
    path = tmp_path / "runs/tiny/de-en/base/translations/test.jsonl"
    targets = {row["id"]: row["target"] for row in read(tmp_path, "corpora/de-en/it/test.jsonl")}
    rows = read(tmp_path, path)
    write_lines(path, [row | {"hypothesis": targets.get(row["id"], row["hypothesis"])} for row in rows])
    for example in next(examples.sections(plan, tmp_path)).examples:
        assert {output.name: output.score for output in example.outputs}["base"] == 100
        assert {output.score for output in example.outputs[1:]} == {0}
    assert "exact match (%)" in examples.example_page(plan, tmp_path)


def test_the_draw_is_the_same_each_time_and_ties_go_to_the_first():
    scores = np.zeros((3, 40))
    found = examples.choose(scores, "de-en law")
    assert found == examples.choose(scores, "de-en law") != examples.choose(scores, "de-en it")
    assert [number for number, different in found if different] == [0, 1, 2]
    drawn = [number for number, different in found if not different]
    assert len(drawn) == 2 and drawn == sorted(set(drawn) - {0, 1, 2})


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_small_test_sets_show_what_there_is(size):
    found = [number for number, _ in examples.choose(np.random.default_rng(0).random((2, size)), "x")]
    assert sorted(found) == list(range(size))


def test_flags_and_the_chosen_adapter_are_shown(plan, root):
    path = root / "runs/tiny/de-en/all/full/seed1/translations/test.jsonl"
    bad = {"hypothesis": "", "flags": ["empty", "truncated"]}
    write_lines(path, [row | (bad if row["domain"] != "koran" else {}) for row in read(root, path)])
    cells = Parsed(examples.example_page(plan, root)).cells
    assert cells.count("empty, truncated") == 2 * 5
    assert cells.count("adapter of law") == 5


# --- marks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reference", "html"),
    [
        ("the red cat", "the red cat", "the red cat"),
        ("the blue cat", "the red cat", "the <mark>blue</mark> cat"),
        ("the cat", "the red cat", "the<del>red</del> cat"),
        ("the big red cat.", "the red cat", "the <mark>big</mark> red cat<mark>.</mark>"),
        ("a  b", "a b", "a  b"),
        ("", "the cat", "<del>the cat</del>"),
        ("cat", "", "<mark>cat</mark>"),
        ("猫在睡觉", "狗在睡觉", "<mark>猫</mark>在睡觉"),
        ("in 北京 now", "in 北平 now", "in 北<mark>京</mark> now"),
        ("<script>alert('x')</script>", "b", "<mark>&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;</mark>"),
    ],
)
def test_what_differs_from_the_reference_is_marked(text, reference, html):
    assert compared(text, reference) == html


@given(text=st.text(), reference=st.text())
def test_marks_lose_no_character_and_escape_all(text, reference):
    html = compared(text, reference)
    shown = re.sub(r"<del>.*?</del>", "", html, flags=re.DOTALL).replace("<mark>", "").replace("</mark>", "")
    assert "<" not in shown and ">" not in shown
    named = {"&lt;": "<", "&gt;": ">", "&amp;": "&", "&quot;": '"', "&#x27;": "'"}
    assert re.sub("|".join(named), lambda found: named[found[0]], shown) == text


@given(words=st.lists(st.sampled_from(WORDS), max_size=8), others=st.lists(st.sampled_from(WORDS), max_size=8))
def test_what_is_not_marked_stands_in_the_reference_in_order(words, others):
    html = compared(" ".join(words), " ".join(others))
    left = iter(others)
    for word in re.sub(r"<(del|mark)>.*?</\1>", " ", html).split():
        assert word in left  # `in` advances `left`, so this checks for a subsequence


# --- the page --------------------------------------------------------------------------------------------------------

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e"


def test_text_of_corpora_models_and_labels_is_no_markup():
    outputs = (Output(EVIL, EVIL, 12.34, (EVIL,)), Output("other", "שלום עולם", 50.0))
    section = Section(EVIL, EVIL, (Example(EVIL, EVIL, EVIL, EVIL, outputs),))
    parsed = Parsed(page(EVIL, EVIL, EVIL, [section]))
    allowed = "html head meta title style body main h1 h2 h3 p nav div a table caption tr th td mark del"
    assert set(parsed.tags) <= set(allowed.split())
    assert {name for name, _ in parsed.attributes} <= {
        "charset",
        "name",
        "content",
        "lang",
        "href",
        "id",
        "class",
        "scope",
        "dir",
    }
    assert [value for name, value in parsed.attributes if name == "href"] == ["#part0"]
    assert EVIL in parsed.cells


def test_every_text_has_a_direction_of_its_own():
    outputs = (Output("a", "שלום", 1.0), Output("b", "x", 1.0))
    section = Section("b", "d", (Example("i", "w", "مرحبا", "y", outputs),))
    parsed = Parsed(page("t", "i", "chrF2", [section]))
    assert parsed.attributes.count(("dir", "auto")) == parsed.attributes.count(("class", "text")) == 4


def test_the_page_is_light_and_opens_nothing(plan, root):
    text = examples.example_page(plan, root)
    assert len(text) < 60_000
    assert not re.search(r"https?:|<script|<link|<img|@import|url\(", text)
    assert examples.example_page(plan, root) == text


def test_every_input_is_needed_and_named_when_missing(plan, root):
    for name in example_inputs(plan):
        kept = (root / name).read_bytes()
        (root / name).unlink()
        with refused(root / name):
            examples.example_page(plan, root)
        (root / name).write_bytes(kept)


def test_translations_of_another_test_set_are_an_error(plan, root):
    path = root / "corpora/de-en/it/test.jsonl"
    write_lines(path, read(root, path)[1:])
    with refused(root / "runs/tiny/de-en/base/translations/test.jsonl", "ids"):
        examples.example_page(plan, root)


def test_the_step_writes_the_page(plan, root, tmp_path, monkeypatch):
    from workflow.scripts import show_examples

    config, out = plan.config.model_dump_json(exclude_unset=True), tmp_path / "examples.html"
    monkeypatch.setattr(sys, "argv", ["x", "--config", config, "--results", str(root), "--out", str(out)])
    show_examples.main()
    assert out.read_text(encoding="utf-8") == examples.example_page(plan, root)
