"""Names and folders in a configuration cannot leave their folder, act as options, or hold Snakemake's placeholders."""

import copy
import shlex
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from caneft import config
from caneft.errors import InputError
from tests.messages import refused

MINI = yaml.safe_load(Path(__file__).parents[1].joinpath("workflow/mini.yaml").read_text(encoding="utf-8"))
HOSTILE = [
    "../up",
    "a/b",
    "..",
    "-rf",
    "a b",
    "a;b",
    "$(touch pwned)",
    "`touch pwned`",
    "a'b",
    'a"b',
    "a\nb",
    "a\n",
    "a\0b",
    "{domain}",
    "<results>",
    "a*",
    "müll",
    "",
    "x" * 65,
]
NAMED = {
    "domain": ("directions", "de-en", "domains"),
    "direction": ("directions",),
    "model": ("models",),
    "mixture": ("mixtures",),
    "variant": ("methods",),
}


def named(kind, name):
    """The configuration with one more entry of a kind: a copy of another one under this name."""
    raw = copy.deepcopy(MINI)
    section = raw
    for key in NAMED[kind]:
        section = section[key]
    section[name] = section[list(section)[-1]]
    return raw


@pytest.mark.parametrize("kind", NAMED)
def test_an_ordinary_name_is_taken(kind):
    """Otherwise the refusals below might have another reason than the name."""
    config.load(named(kind, "a-1_b") | {"scoring": {"metrics": ["chrf"]}})  # BLEU needs a language's name


@pytest.mark.parametrize(  # there is one validator, so every name and every kind occurs once
    ("kind", "name"), [("domain", name) for name in HOSTILE] + [(kind, "../up") for kind in NAMED if kind != "domain"]
)
def test_a_name_that_could_break_out_is_refused(kind, name):
    raw = named(kind, name)
    with refused(".".join([*NAMED[kind], name]).rstrip(".\n")) as caught:
        config.load(raw)
    assert len(str(caught.value).splitlines()) <= 10


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=70) | st.text("ab-_.09 /'$*{~", min_size=1))
@example("..")
def test_a_name_that_is_taken_is_one_folder_and_one_plain_word(name):
    direction = MINI["directions"]["de-en"]
    domains = direction["domains"] | {name: direction["domains"]["it"]}
    raw = MINI | {"directions": MINI["directions"] | {"de-en": direction | {"domains": domains}}}
    try:
        config.load(raw)
    except InputError:
        return
    root = Path("/results")
    assert Path(f"/results/{name}").parent == root and name not in (".", "..")
    assert shlex.quote(name) == name and not name.startswith("-")
    assert not set(name) & set("{}<>*?[]~") and name.format() == name


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9) | st.sampled_from(list(MINI)), inner)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.sampled_from(list(MINI)), TREES)
def test_whatever_a_section_holds_is_a_configuration_or_one_message(section, tree):
    try:
        config.load(MINI | {section: tree})
    except InputError as error:
        assert len(str(error).splitlines()) <= 10


@pytest.mark.parametrize("name", ["-out", "a{b}", "{", "<results>", "a\nb", "a\0b", "", "  ", "\ud800"])
def test_a_results_folder_that_is_more_than_a_folder_is_refused(name):
    with refused("results_root"):
        config.load(MINI | {"results_root": name})


@pytest.mark.parametrize(
    "name", ["out/mini", "../elsewhere", "with space", "übung", "it's", 'a"b', "$(touch pwned)", "a;b"]
)
def test_any_other_results_folder_is_taken_as_it_is(name):
    assert config.load(MINI | {"results_root": name}).results_root == name


@pytest.mark.parametrize(
    "hub", ["https://user:hf_secret@hub/owner/name", "../owner", "owner/name?token=hf_secret", "a b"]
)
def test_a_model_of_the_hub_is_a_name_and_no_address_whose_password_would_be_recorded(hub):
    raw = copy.deepcopy(MINI)
    raw["models"]["other"] = {"hub": hub}
    with refused("models.other.hub", "owner/name") as caught:
        config.load(raw)
    assert "hf_secret" not in str(caught.value)


def test_aliases_that_stand_for_gigabytes_are_an_ordinary_message():
    bomb = "lol"
    for _ in range(40):  # 9**40 words if written out
        bomb = [bomb] * 9
    with refused("results_root") as caught:
        config.load(MINI | {"results_root": bomb})
    assert len(str(caught.value)) < 2000
