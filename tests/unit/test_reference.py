"""The generated reference: it is up to date, its examples are valid, and the schema agrees with the model."""

import copy
import json
import re
import tomllib

import jsonschema
import pytest
import yaml
from snakemake.utils import update_config

from caneft import config
from caneft.commands import reference
from tests.messages import assert_names

ROOT = reference.ROOT
SCHEMA = reference.schema()
EXAMPLE = yaml.safe_load(reference.EXAMPLE)
FILES = sorted((ROOT / "config").rglob("*.yaml"))


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def is_valid_schema(raw):
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(raw)


def is_valid_model(raw):
    try:
        config.Config.model_validate(raw)
    except ValueError:
        return False
    return True


def changed(*path, to):
    """The example with another value at a path."""
    raw = copy.deepcopy(EXAMPLE)
    here = raw
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = to
    return raw


def test_schema_and_page_are_current():
    for path, text in reference.generated().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run `make docs`"


def test_dag_is_current():
    block = reference.block_in((ROOT / reference.DAG_PAGE).read_text(encoding="utf-8"))
    assert block is not None, f"{reference.DAG_PAGE} has lost its DAG"
    assert reference.edges(block) == reference.rule_graph(), "the DAG is stale: run `make docs`"


def base_of(path):
    """The file below: gemma.yaml for gemma-study.yaml, the demo for one without directions; None if it has them."""
    family = path.with_name(f"{path.stem.partition('-')[0]}.yaml")
    if family != path and family.exists():
        return family
    stands_alone = "directions" in read(path) and path.parent.name != "examples"
    return None if stands_alone else ROOT / "config/config.yaml"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_configurations_fit_model_and_schema(path):
    raw, base = read(path), base_of(path)
    if base is not None:
        below = read(base)
        update_config(below, raw)  # Snakemake's way to merge them
        raw = below
    jsonschema.validate(raw, SCHEMA)
    config.load(raw, [path], check_files=False)


def test_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_example_is_valid_and_its_nested_sections_stand_in_the_page():
    config.load(EXAMPLE, check_files=False)
    jsonschema.validate(EXAMPLE, SCHEMA)
    page = reference.page().partition("## All keys")[2]
    shown = {}
    for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        found = yaml.safe_load(block)
        shown |= {key: value for key, value in found.items() if key in config.Config.model_fields}
    assert shown == {key: EXAMPLE[key] for key in reference.SHOWN}
    assert EXAMPLE.keys() == config.Config.model_fields.keys()


def test_every_key_of_every_section_is_described():
    page = reference.page()
    for name, section in config.Config.model_json_schema()["$defs"].items():
        for key in section["properties"]:
            if key not in {"format", "method"}:
                assert re.search(f"^- .*`{key}[:`]", page, re.MULTILINE), f"{name}.{key}"
    files = ("jsonl", "instruct", "moses", "tsv", "alternating", "tmx")
    built_in = ("demo", "demo-pretraining", "demo-dates", "demo-dates-pretraining")
    for tag in (*files, "datasets", "sacrebleu", *built_in):
        assert f"#### format: `{tag}`" in page


SAME_VERDICT = {
    "unknown key": changed("tuning", "epocs", to=1),
    "wrong type": changed("tuning", "epochs", to="two"),
    "out of range": changed("tuning", "epochs", to=0),
    "unknown format": changed("directions", "de-en", "domains", "it", "test", to={"format": "xml", "path": "a"}),
    "key of another format": changed(
        "directions", "de-en", "domains", "it", "test", to={"format": "tsv", "path": "a", "source": "b"}
    ),
    "unknown method": changed("methods", "caneft", to={"method": "canef", "learning_rate": 1}),
    "method without a rate": changed("methods", "caneft", to={"method": "caneft"}),
    "unusable name": changed("methods", "CANEFT", to={"method": "base"}),
    "no models": changed("models", to={}),
    "empty mixture": changed("mixtures", "all", "de-en", to=[]),
    "mixture in full": changed("mixtures", "all", "de-en", to={"domains": ["it", "law"]}),
    "gamma of the null": changed("selection", to={"gamma": "null"}),
    "gamma as a number": changed("selection", to={"gamma": 0.002}),
    "unknown gamma": changed("selection", to={"gamma": "auto"}),
}


@pytest.mark.parametrize("raw", SAME_VERDICT.values(), ids=SAME_VERDICT)
def test_schema_and_model_agree(raw):
    assert is_valid_schema(raw) == is_valid_model(raw)


def test_schema_lets_a_file_be_laid_over_the_demo():
    assert is_valid_schema({"seeds": [1, 2]})
    assert not is_valid_schema({"seeds": [1, 2], "directions": EXAMPLE["directions"]})


def test_generated_files_say_so_in_their_first_line():
    for text in reference.generated().values():
        assert "Generated" in (first := text.splitlines()[0]) and reference.COMMAND in first
    json.loads((ROOT / "config/schema.json").read_text(encoding="utf-8"))


def test_arrows_that_a_longer_way_implies_are_left_out():
    arrows = reference.edges("id0[all]\nid1[a]\nid2[b]\n id1 --> id2\n id2 --> id0\n id1 --> id0\n style id0 fill:#D")
    assert arrows == {("a", "b"), ("b", "all"), ("a", "all")}
    assert reference.direct(arrows) == {("a", "b"), ("b", "all")}
    assert reference.edges(reference.dag_block(arrows)) == arrows


def test_check_says_what_is_stale_and_changes_nothing(tmp_path, monkeypatch, capsys):
    for folder in ("config", "docs"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["reference", "--check"])
    with pytest.raises(SystemExit) as end:
        reference.main()
    assert end.value.code == 1
    assert_names(capsys.readouterr().out, "config/schema.json")
    assert not list(tmp_path.rglob("*.*"))
    monkeypatch.setattr("sys.argv", ["reference"])
    for files in (2, 0):  # the second time there is nothing to do
        with pytest.raises(SystemExit) as end:
            reference.main()
        assert end.value.code == 0
        assert len(capsys.readouterr().out.splitlines()) == files


def test_the_architecture_page_shows_the_layers_that_are_tested():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", text, re.MULTILINE)
    shown = [set(re.findall(r"`(\w+)`", rooms)) for _, rooms in rows]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert [int(rank) for rank, _ in rows] == list(range(len(layers)))
    assert shown == [set(layer.split(" | ")) for layer in reversed(layers)]
