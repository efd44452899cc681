"""Names and folders of a configuration cannot leave their folder, be an option, or hold what Snakemake fills in."""

import copy
from pathlib import Path

import pytest
import yaml

from caneft import config
from caneft.errors import InputError

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


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", NAMED)
def test_a_name_that_could_break_out_is_refused(kind, name):
    raw = copy.deepcopy(MINI)
    section = raw
    for key in NAMED[kind]:
        section = section[key]
    section[name] = section[next(iter(section))]
    with pytest.raises(InputError, match="is not a usable name|at most 64") as caught:
        config.load(raw)
    assert len(str(caught.value).splitlines()) <= 10


@pytest.mark.parametrize("name", ["-out", "a{b}", "{", "<results>", "a\nb", "a\0b", "", "  ", "\ud800"])
def test_a_results_folder_that_is_more_than_a_folder_is_refused(name):
    with pytest.raises(InputError, match="results_root is not usable: a folder without braces"):
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
    with pytest.raises(InputError, match=r"models\.other\.hub is no name on a hub") as caught:
        config.load(raw)
    assert "hf_secret" not in str(caught.value)


def test_aliases_that_stand_for_gigabytes_are_an_ordinary_message():
    bomb = "lol"
    for _ in range(40):  # 9**40 words, if written out
        bomb = [bomb] * 9
    with pytest.raises(InputError, match="results_root is ") as caught:
        config.load(MINI | {"results_root": bomb})
    assert len(str(caught.value)) < 2000
