"""The overview: what it gathers, its page, and its text for the terminal."""

import base64
import json
import re
from html.parser import HTMLParser

import fake_results
import pytest

from caneft.plan import Plan
from caneft.reporting import inputs, listing, overview_page, page
from caneft.reporting.overview import gather
from tests.messages import assert_names, refused

METHODS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": 1e-3},
    "lora": {"method": "lora", "learning_rate": [1e-3, 1e-2]},
    "caneft": {"method": "caneft", "learning_rate": [1e-3, 1e-2]},
}


class Tags(HTMLParser):
    """Start tags and attributes; asserts that every tag except void ones is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def overview_of(tmp_path, plan=None, **made) -> tuple[Plan, object]:
    plan = plan or fake_results.plan(METHODS, seeds=(1, 2))
    fake_results.write(plan, tmp_path, **made)
    for name in listing.overview_inputs(plan):
        if not (tmp_path / name).exists():  # other steps make these
            (tmp_path / name).parent.mkdir(exist_ok=True)
            picture = f"picture {name}".encode()
            (tmp_path / name).write_bytes(page.html([], name).encode() if "html" in name else picture)
    return plan, gather(plan, tmp_path)


@pytest.fixture(scope="module")
def overview(tmp_path_factory):
    """(plan, overview, tree) that no test changes."""
    root = tmp_path_factory.mktemp("overview")
    return *overview_of(root), root


def test_the_page_is_whole_and_stands_alone(overview):
    text = overview_page.html(overview[1])
    tags = Tags(text)
    assert not {tag for tag, _ in tags.found} & {"script", "link", "iframe"}
    assert "http" not in text
    named = {attributes["id"] for _, attributes in tags.found if "id" in attributes}
    links = {attributes["href"] for tag, attributes in tags.found if tag == "a"}
    assert links and links <= {f"#{name}" for name in named}, "nothing is elsewhere"


def test_verdicts_come_first_then_the_main_table_then_two_figures(overview):
    text = overview_page.html(overview[1])
    order = [
        "Claims about caneft</h2>",
        '"verdict"',
        "Main result</h2>",
        "<table>",
        'id="figure-scores"',
        'id="figure-seen_unseen"',
    ]
    order += [
        "To know before believing</h2>",
        "Tables</h2>",
        'id="figure-training"',
        "What was run</h2>",
        "Made by</h2>",
    ]
    places = [text.rindex(word) if word == "Tables</h2>" else text.index(word) for word in order]
    assert places == sorted(places)


def test_the_page_has_every_figure_and_table_in_it(overview):
    """They are the report's: none that would be empty."""
    plan, found, root = overview
    text = overview_page.html(found)
    pictures = [base64.b64decode(data).decode() for data in re.findall(r"data:image/png;base64,([^\"]+)", text)]
    assert sorted(pictures) == sorted(f"picture figures/{name}.png" for name in listing.figures(plan))
    assert re.findall(r"<p>tables/(\w+).html</p>", text) == listing.tables(plan)
    assert "interference" not in listing.tables(plan) and "trials" in listing.tables(plan)


def test_a_page_that_is_missing_is_named(tmp_path):
    plan, _ = overview_of(tmp_path)
    (tmp_path / "tables/main.html").unlink()
    with refused(tmp_path / "tables/main.html"):
        gather(plan, tmp_path)


def test_text_of_the_configuration_is_escaped(tmp_path):
    plan = fake_results.plan(METHODS, seeds=(1, 2), report={"title": "<b>&", "labels": {"caneft": "<i>x"}})
    text = overview_page.html(overview_of(tmp_path, plan)[1])
    Tags(text)
    assert "<h1>&lt;b&gt;&amp;</h1>" in text and "<i>" not in text


def test_the_main_numbers_are_means_of_the_score_files(tmp_path):
    """Full: seed 1 has 40 on it and 50 on law, seed 2 has 60 and 70: mean 55, deviation that of 45 and 65."""
    values = {("it", 1): 40.0, ("law", 1): 50.0, ("it", 2): 60.0, ("law", 2): 70.0}

    def score(method, variant, domain, seed, metric):
        return values.get((domain, seed), 30.0)

    _, found = overview_of(tmp_path, score=score)
    ((block, table),) = found.main.items()
    row = next(row for row in table.rows if row[0].text == "full")
    assert block == ("tiny", "de-en", "all")
    assert (row[1].text, row[2].text, row[2].deviation) == ("560,000", "55.0", "14.1")


def test_what_was_run_is_counted(overview):
    """The base, 3 trained variants at 2 seeds, 2 grids of 2 rates."""
    plan, found, root = overview
    assert found.what["Runs"] == "6 trained, 8 trials, 1 that train nothing"
    assert found.what["Mixture all, de-en"] == "it, law; unseen: koran"
    assert found.made_by["Code"] == "c0ffee"
    assert found.made_by["Packages"] == "numpy 2.0.0"
    costs = dict.fromkeys(file.path for file in inputs.cost_files(plan))
    hours = sum(json.loads((root / path).read_text())["wall_seconds"] for path in costs) / 3600
    assert found.made_by["Computing"].startswith(f"{hours:,.1f} hours in {len(costs)} processes")


@pytest.mark.parametrize(
    ("named", "shown"), [(("German", "English"), "de-en (German to English)"), ((None, None), "de-en")]
)
def test_a_direction_without_languages_has_none_in_the_overview(tmp_path, named, shown):
    plan = fake_results.plan(METHODS)
    languages = dict(zip(("source_language", "target_language"), named, strict=True))
    plan.config.directions["de-en"] = plan.config.directions["de-en"].model_copy(update=languages)
    assert overview_of(tmp_path, plan)[1].what["Directions"] == shown


def test_warnings_say_what_weakens_the_numbers(tmp_path):
    plan = fake_results.plan(METHODS, seeds=(1,))
    dev = {("lora", 1e-3): None, ("caneft", 1e-3): 70.0}
    _, found = overview_of(
        tmp_path, plan, dev=lambda variant, rate: dev.get((variant, rate), 60.0), flagged=lambda *_: (3, 2)
    )
    (lines,) = found.warnings.values()
    facts = [("full",), ("lora (high)", "caneft (low)"), ("lora", "1e-3"), ("1",), ("base",), ("5 of 400", "koran")]
    for line, named in zip(lines, facts, strict=True):
        assert_names(line, *named)
        assert not {"lora", "caneft"} & set(re.findall(r"\w+", line)) - set(re.findall(r"\w+", str(named)))


def test_a_missing_file_of_significance_is_named(tmp_path):
    plan, _ = overview_of(tmp_path)
    (tmp_path / "significance/tiny/de-en/all.json").unlink()
    with refused(tmp_path / "significance/tiny/de-en/all.json"):
        gather(plan, tmp_path)


def test_every_file_that_is_opened_is_an_input_of_the_rule(tmp_path):
    plan, _ = overview_of(tmp_path)
    wanted = set(listing.overview_inputs(plan))
    for file in tmp_path.rglob("*"):
        if file.is_file() and str(file.relative_to(tmp_path)) not in wanted:
            file.unlink()
    assert gather(plan, tmp_path).main


def test_equal_results_give_equal_bytes(overview):
    plan, one, root = overview
    other = gather(plan, root)
    assert overview_page.html(one) == overview_page.html(other)
    assert overview_page.summary(one) == overview_page.summary(other)


def test_several_blocks_are_summed_up(tmp_path):
    mixtures = {"all": {"de-en": ["it", "law"]}, "other": {"de-en": ["it", "law"]}}
    _, found = overview_of(tmp_path, fake_results.plan(METHODS, seeds=(1, 2), mixtures=mixtures))
    text = overview_page.html(found)
    assert "<h2>Claims over 2 blocks</h2>" in text and "no verdict 2" in text
    assert "<h2>Claims about caneft on tiny, de-en, mixture other</h2>" in text


def test_the_summary_fits_a_terminal(tmp_path):
    """It shows 12 of 16 variants: the named ones whatever their scores, and the best of the others."""
    methods = METHODS | {f"joint-{n}": {"method": "joint", "fraction": n / 100} for n in range(1, 13)}
    methods |= {name: {"learning_rate": 1e-3} | method for name, method in methods.items() if "joint" in name}
    plan = fake_results.plan(methods, seeds=(1, 2))
    number = {variant: 50.0 + place for place, variant in enumerate(methods)}
    _, found = overview_of(tmp_path, plan, score=lambda method, variant, *_: number.get(variant, 1.0))
    text = overview_page.summary(found)
    assert max(map(len, text.splitlines())) <= 100
    names = re.findall(r"^    ([\w-]+) .* \d+\.\d", text, re.MULTILINE)
    assert names == ["base", "full", "lora", "caneft", *(f"joint-{n}" for n in range(5, 13))]
    assert "… and 4 more in tables/main.md" in text
    assert re.findall(r"^    \((\w)\) ", text, re.MULTILINE) == list("abcdefg")
