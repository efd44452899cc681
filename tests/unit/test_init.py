"""`caneft init`: what it finds in a folder, and what it writes, which must pass `caneft check`."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest
import yaml

from caneft import config, demo
from caneft.config import languages
from caneft.corpora import finding
from caneft.corpora.finding import Sizes, find
from caneft.runtime import devices
from tests import own
from tests.messages import assert_names, refused

TAGS = "de", "en"
LINES = {"de": ["Der Hund schläft.", "Die Katze sitzt auf dem Dach."], "en": ["The dog sleeps.", "The cat sits there."]}
TSV = [f"{a}\t{b}" for a, b in zip(LINES["de"], LINES["en"], strict=True)]
JSONL = [json.dumps({"source": a, "target": b}) for a, b in zip(LINES["de"], LINES["en"], strict=True)]
OF_FORMAT = {"tsv": TSV, "jsonl": JSONL, "tmx": own.memory([("Ja.", "Yes.")]), "de": LINES["de"], "en": LINES["en"]}


@pytest.fixture
def bring(tmp_path):
    """Writes files from names, with text that fits a name's ending, or from names and lines; returns their folder."""

    def write(*names: str, **lines: list[str]) -> Path:
        folder = tmp_path / "texts"
        for name, text in {**{name: OF_FORMAT[name.rpartition(".")[2]] for name in names}, **lines}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            own.write(folder / name, text)
        return folder

    return write


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return own.model(tmp_path_factory.mktemp("own") / "model")


# --- what is found -------------------------------------------------------------------------------------------------

NAMES = {  # name -> domain, split
    "it.train.tsv": ("it", "train"),
    "it-train.jsonl": ("it", "train"),
    "it/train.tsv": ("it", "train"),
    "train/it.tsv": ("it", "train"),
    "it/valid.tsv": ("it", "dev"),
    "Medical_Texts/DEV.tsv": ("medical-texts", "dev"),
    "de-en/it.test.de-en.tsv": ("it", "test"),
    "shuf.it.train.de-en.jsonl": ("it", "train"),
    "it.test.instruct.jsonl": ("it", "test"),
    "médecine.test.tsv": ("medecine", "test"),
    "contest.test.tsv": ("contest", "test"),
    "dev-ops.train.tsv": ("dev-ops", "train"),
    "dev-ops.test.tsv": ("dev-ops", "test"),
    "dev-ops.dev.tsv": ("dev-ops", "dev"),
    "dev-ops/train.tsv": ("dev-ops", "train"),
    "train/dev-ops.train.tsv": ("dev-ops", "train"),
    "train.dev-ops.tsv": ("dev-ops", "train"),
    "dev_ops-train.tsv": ("dev-ops", "train"),
    "dev-ops.train.clean.de-en.tsv": ("dev-ops", "train"),
    "train/it.test.tsv": ("it", "test"),
    "opus-test/it.test.tsv": ("opus-it", "test"),
    "train_dev_test/it.train.tsv": ("it", "train"),
    "it.tmx": ("it", None),
    "train.tsv": ("texts", "train"),
    "закон.test.tsv": ("texts", "test"),
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_names_say_domain_and_split(bring, name, expected):
    """For a single split: a test set makes an unseen domain, and a training file gives all three splits."""
    domain, split = expected
    found = find(bring(name), TAGS)
    if split == "dev":  # a dev set alone is useless
        assert found.domains == {} and list(found.left) == [name]
        assert_names(found.left[name], domain)
        return
    assert list(found.domains) == [domain]
    kept = {split for split, source in found.domains[domain].items() if source.limit is None}
    assert kept == {split or "train"}
    assert set(found.domains[domain]) == ({"test"} if split == "test" else {"train", "dev", "test"})


def test_a_pipe_in_the_folder_is_not_waited_for(bring):
    folder = bring("it.train.tsv")
    os.mkfifo(folder / "law.train.tsv")
    assert list(find(folder, TAGS).domains) == ["it"]


@pytest.mark.parametrize(
    "names",
    [
        ("law/test.de", "law/test.en"),
        ("law.test.de-en.de", "law.test.de-en.en"),
        ("test/law.deu", "test/law.eng"),
        ("law.test.de.txt", "law.test.en.txt"),
        ("law.test.src", "law.test.tgt"),
    ],
)
def test_two_files_with_languages_at_their_ends_are_one_corpus(bring, names):
    folder = bring(**dict(zip(names, LINES.values(), strict=True)))
    assert find(folder, TAGS).domains == {
        "law": {"test": config.Moses(format="moses", source_path=names[0], target_path=names[1])}
    }
    swapped = find(folder, TAGS[::-1]).domains.get("law", {}).get("test")
    if "src" not in names[0]:  # these names tell sides, not languages
        assert swapped.paths() == names[::-1]


def test_a_language_s_code_may_be_a_domain_s_name(bring):
    """For `it` into Italian, a code is the language only at the end of a name or beside the other language's code."""
    found = find(bring(**{"it.test.de": LINES["de"], "it.test.it": LINES["en"]}), ("de", "it"))
    assert {name: splits["test"].paths() for name, splits in found.domains.items()} == {
        "it": ("it.test.de", "it.test.it")
    }


def test_formats_are_told_by_content(bring):
    nested = [json.dumps({"translation": {"de": a, "en": b}}) for a, b in zip(*LINES.values(), strict=True)]
    list_of = [{"input": f"German: {a}", "output": f"English: {b}"} for a, b in zip(*LINES.values(), strict=True)]
    folder = bring(
        **{
            "a.test.txt": TSV,
            "b.test.json": nested,
            "c.test.json": [json.dumps(list_of)],
            "d.test.xml": own.memory([("Ja.", "Yes.")]),
            "e.test.jsonl": [json.dumps({"english": "Yes.", "german": "Ja."})],
        }
    )
    found = {name: splits["test"] for name, splits in find(folder, TAGS).domains.items()}
    assert found["a"] == config.Tsv(format="tsv", path="a.test.txt")
    assert (found["b"].source, found["b"].target) == ("translation.de", "translation.en")
    assert (found["c"].source_prefix, found["c"].target_prefix) == ("German: ", "English: ")
    assert (found["d"].source_language, found["d"].target_language) == TAGS
    assert (found["e"].source, found["e"].target) == ("german", "english")


def test_columns_are_those_in_the_languages(bring):
    pairs = list(demo.pairs("law", "test", 20))
    rows = [f"{number}\t{target}\t{source}\tlaw" for number, (source, target) in enumerate(pairs)]
    found = find(bring(**{"law.test.tsv": rows}), TAGS).domains["law"]["test"]
    assert (found.source_column, found.target_column) == (2, 1)


def test_packed_files_are_read_as_they_are(bring):
    import gzip

    folder = bring("law.train.tsv")
    (folder / "it.test.tsv.gz").write_bytes(gzip.compress("\n".join(TSV).encode()))
    assert find(folder, TAGS).domains["it"]["test"] == config.Tsv(format="tsv", path="it.test.tsv.gz")


def test_files_that_are_no_corpus_are_left_with_the_reason(bring):
    folder = bring("law.test.de", "it.test.tsv", **{"notes.md": ["x"], ".hidden.test.tsv": TSV, "s.test.parquet": []})
    (folder / "s.test.parquet").write_bytes(b"PAR1\x15\x00" * 20)
    found = find(folder, TAGS)
    assert list(found.domains) == ["it"]
    assert set(found.left) == {"law.test.de", "notes.md", "s.test.parquet"}
    assert_names(found.left["law.test.de"], "'en'")
    assert_names(found.left["s.test.parquet"], "Parquet")


@pytest.mark.parametrize(
    "names", [("it.train.tsv", "it/train.jsonl"), ("it.test.de", "it/test.de"), ("it.tsv", "it.tmx")]
)
def test_two_files_for_one_split_are_an_error(bring, names):
    with refused(*names, "it"):
        find(bring(*names), TAGS)


@pytest.mark.parametrize("name", [b"it\xff.train.tsv", b"it\n.train.tsv"])
def test_names_that_cannot_be_written_are_refused(bring, name):
    folder = bring("law.train.tsv")
    os.close(os.open(os.fsencode(folder) + b"/" + name, os.O_CREAT))
    with refused(folder, ascii(os.fsdecode(name))):
        find(folder, TAGS)


def test_a_folder_that_is_none_or_holds_too_much_is_refused(bring, tmp_path, monkeypatch):
    with refused(tmp_path / "nothing"):
        find(tmp_path / "nothing", TAGS)
    folder = bring("a.tsv", "b.tsv", "c.tsv")
    monkeypatch.setattr(finding, "MOST_FILES", 2)
    with refused(folder, 2):
        find(folder, TAGS)


def test_what_is_missing_is_drawn_from_the_training_file(bring):
    """A fifth is drawn for test, a tenth for dev, without repetition; a file without a split is a training file."""
    rows = [f"Satz {n} ist da.\tSentence {n} is there." for n in range(60)]
    folder = bring("c.test.tsv", **{"a.tsv": rows, "b.train.tsv": rows, "b.dev.tsv": rows[:5], "c.tsv": rows})
    domains = find(folder, TAGS).domains
    drawn = {name: {split: source.limit for split, source in splits.items()} for name, splits in domains.items()}
    assert drawn["a"] == {"train": None, "dev": 6, "test": 12}
    assert drawn["b"] == {"train": None, "dev": None, "test": 12}
    assert drawn["c"] == {"train": None, "dev": 6, "test": None}
    assert domains["a"]["dev"].seed != domains["a"]["test"].seed


def test_of_a_large_corpus_no_more_is_drawn_than_is_needed(bring):
    rows = [f"Satz {n} ist da.\tSentence {n} is there." for n in range(4000)]
    splits = find(bring(**{"a.tsv": rows}), TAGS).domains["a"]
    assert {split: source.limit for split, source in splits.items()} == {"train": None, "dev": 100, "test": 500}


# --- sizes ---------------------------------------------------------------------------------------------------------


def test_sizes_are_those_of_the_smallest_domain_without_what_goes(bring):
    """Of 30 lines two repeat others, one is empty, and three are in the other domain's test set."""
    rows = [f"Satz {n} ist da.\tSentence {n} is there." for n in range(100)]
    held = [f"Gehalten {n} wird.\tIt is held {n}." for n in range(20)]
    small = rows[:24] + rows[:2] + ["\tempty"] + held[:3]
    files = {"small.train.tsv": small, "small.dev.tsv": held[10:14], "small.test.tsv": held[14:]}
    files |= {"large.train.tsv": rows[40:], "large.dev.tsv": held[4:10], "large.test.tsv": held[:4]}
    folder = bring(**files)
    domains = {name: config.Domain(**splits) for name, splits in find(folder, TAGS).domains.items()}
    assert finding.sizes(domains, folder.joinpath, Sizes(800, 100)) == Sizes(24, 4)
    assert finding.sizes(domains, folder.joinpath, Sizes(20, 3)) == Sizes(20, 3)
    assert finding.sizes(domains, folder.joinpath, Sizes(5, 2)) == Sizes(5, 2)  # so few that no corpus is prepared


# --- what is written -----------------------------------------------------------------------------------------------


def test_own_corpora_and_model_need_no_edit(command_line, tmp_path, monkeypatch, model):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    data, file = own.corpora(tmp_path / "data"), tmp_path / "my first.yaml"
    code, said, warned = command_line("init", file, "--data", data, "--model", model, "--direction", "de-en")
    assert code == 0, warned
    assert_names(said, file, "it", "law", "medical", "tsv", "moses", "tmx")
    assert_names(warned, data / "README.md")
    assert command_line("check", file)[0] == 0
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 60
    raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert raw["results_root"] == "results/my-first"
    assert (raw["directions"]["de-en"]["source_language"], raw["directions"]["de-en"]["target_language"]) == (
        "German",
        "English",
    )
    assert raw["mixtures"] == {"all": {"de-en": ["it", "law", "medical"]}}
    assert raw["models"]["mine"]["path"] == str(model) and raw["models"]["mine"]["dtype"] == "float32"
    # 60 of the memory minus 12 and 6; importance leaves room for pairs that are too long
    assert raw["tuning"] == {"pairs_per_domain": 42, "dev_pairs_per_domain": 6}
    assert raw["importance"] == {"samples": 38}


def test_a_domain_of_one_pair_gets_a_configuration_that_can_be_read(command_line, tmp_path, bring):
    counts = {"train": 1, "dev": 3, "test": 3}
    lines = {
        f"{domain}.{split}.tsv": [f"{s}\t{t}" for s, t in demo.pairs(domain, split, count)]
        for domain in ("it", "law")
        for split, count in counts.items()
    }
    file = tmp_path / "mine.yaml"
    command_line("init", file, "--data", bring(**lines), "--direction", "de-en")
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["importance"] == {"samples": 2}
    _, _, said = command_line("check", file)
    assert "importance.samples" not in said


def test_relative_paths_start_where_the_configuration_says(command_line, tmp_path, monkeypatch, model):
    own.corpora(tmp_path / "all/data")
    (tmp_path / "base").symlink_to(model)
    monkeypatch.chdir(tmp_path)
    assert command_line("init", "--data", "all/data", "--model", "base", "--direction", "de-en")[0] == 0
    raw = yaml.safe_load(Path("mine.yaml").read_text(encoding="utf-8"))
    assert raw["data_root"] == "all/data"
    assert raw["models"]["mine"]["path"] == os.path.join("..", "..", "base")
    first = Path("mine.yaml").read_text(encoding="utf-8").splitlines()[0]
    schema = tmp_path / first.partition("$schema=")[2]
    assert schema.resolve() == (Path(config.__file__).parents[2] / "config/schema.json").resolve()


def test_a_file_is_not_overwritten(command_line, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    code, _, said = command_line("init", file)
    assert code == 1 and file.read_text() == "mine"
    assert_names(said, file)


def test_without_arguments_check_names_what_is_to_be_put_in_place(command_line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CANEFT_DATA", raising=False)
    assert command_line("init")[0] == 0
    lines = Path("mine.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 50 and any("#" in line for line in lines)
    config.load(yaml.safe_load("\n".join(lines)), check_files=False)
    code, _, said = command_line("check", "mine.yaml")
    assert code == 1
    assert_names(said, "data_root (line 4)", "models.mine.path (line 7)")
    assert "domains" not in said  # it would report each of its files for the same reason


def test_the_hub_s_models_are_named_by_owner_and_name(command_line, tmp_path, model):
    data = own.corpora(tmp_path / "data")
    arguments = "--data", data, "--direction", "de-en", "--model"
    assert command_line("init", tmp_path / "a.yaml", *arguments, "Qwen/Qwen2.5-0.5B-Instruct")[0] == 0
    raw = yaml.safe_load((tmp_path / "a.yaml").read_text(encoding="utf-8"))
    assert raw["models"]["mine"]["hub"] == "Qwen/Qwen2.5-0.5B-Instruct"
    for wrong in ("nowhere", model.parent / "modl", "a/b/c"):
        code, _, said = command_line("init", tmp_path / "b.yaml", *arguments, wrong)
        assert code == 1 and not (tmp_path / "b.yaml").exists()
        assert_names(said, wrong)


@pytest.mark.parametrize(
    "units, dtype, copies_mb", [(True, "bfloat16", 5000), (None, "bfloat16", 5000), (False, "float32", 10000)]
)
def test_a_model_may_be_an_installed_package(units, dtype, copies_mb, command_line, tmp_path, monkeypatch):
    """The package is not imported. Its 300 MB become four times as many bytes of weights, and four copies count.
    Without bfloat16 units the dtype is float32, which doubles that."""
    monkeypatch.setattr(devices, "bfloat16_units", lambda: units)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    data, package = own.corpora(tmp_path / "data"), tmp_path / "site" / "tiny_gguf"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    with open(package / "tiny.gguf", "wb") as file:
        file.truncate(300_000_000)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    arguments = "--data", data, "--direction", "de-en", "--model"
    assert command_line("init", tmp_path / "a.yaml", *arguments, "tiny_gguf")[0] == 0
    found = yaml.safe_load((tmp_path / "a.yaml").read_text(encoding="utf-8"))["models"]["mine"]
    assert (found["package"], found["dtype"]) == ("tiny_gguf", dtype)
    assert found["resources"]["mem_mb"] == 4000 + copies_mb
    (package / "tiny.gguf").unlink()
    code, _, said = command_line("init", tmp_path / "b.yaml", *arguments, "tiny_gguf")
    assert code == 1
    assert_names(said, "tiny_gguf", ".gguf")


@pytest.mark.parametrize("direction", ["de-em", "german-english", "dates"])
def test_a_direction_must_name_languages(command_line, tmp_path, direction):
    code, _, said = command_line("init", tmp_path / "a.yaml", "--direction", direction)
    assert code == 1
    assert_names(said, direction)


@pytest.mark.parametrize("direction", ["DE-EN", "De-En"])
def test_a_direction_s_codes_may_be_written_large(command_line, tmp_path, model, direction):
    data, file = own.corpora(tmp_path / "data"), tmp_path / "a.yaml"
    assert command_line("init", file, "--data", data, "--model", model, "--direction", direction)[0] == 0
    assert list(yaml.safe_load(file.read_text(encoding="utf-8"))["directions"]) == ["de-en"]


def test_commands_for_a_file_with_a_blank_in_its_name_can_be_pasted(command_line, tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    data = own.corpora(tmp_path / "data")
    for arguments in ([], ["--data", data, "--model", model, "--direction", "de-en"]):
        code, said, _ = command_line("init", "sp ace.yaml", *arguments)
        commands = [found for line in said.splitlines() if (found := re.search(r": +((?:python|snakemake) .*)", line))]
        pasted = [shlex.split(found[1]) for found in commands]
        assert code == 0 and pasted and all("sp ace.yaml" in words for words in pasted)
        Path("sp ace.yaml").unlink()


def test_a_language_without_a_known_name_is_named_by_check(command_line, tmp_path, model):
    data = own.corpora(tmp_path / "data")
    (data / "medical.tmx").unlink()
    for file in data.glob("law/*.de"):
        file.rename(file.with_suffix(".xho"))
    code, _, said = command_line("init", tmp_path / "a.yaml", "--data", data, "--model", model, "--direction", "xho-en")
    assert code == 1
    assert_names(said, "directions.xho-en.source_language")


def test_one_domain_is_not_enough(command_line, tmp_path, bring):
    folder = bring("law.train.tsv", "it.test.tsv")
    code, _, said = command_line("init", tmp_path / "a.yaml", "--data", folder, "--direction", "de-en")
    assert code == 1 and not (tmp_path / "a.yaml").exists()
    assert_names(said, folder, "law", "it.train.tsv")


@pytest.mark.parametrize(("direction", "metrics"), [("en-zh", ["bleu", "chrf"]), ("en-th", ["chrf"])])
def test_bleu_stands_there_where_it_can_be_computed(command_line, tmp_path, direction, metrics):
    assert command_line("init", tmp_path / "a.yaml", "--direction", direction)[0] == 0
    raw = yaml.safe_load((tmp_path / "a.yaml").read_text(encoding="utf-8"))
    assert raw["scoring"]["metrics"] == metrics


def test_languages_have_their_names():
    assert [languages.name(tag) for tag in ("deu", "zh-hant", "cmn", "pt-BR", "nb", "xho")] == [
        "German",
        "Chinese",
        "Chinese",
        "Portuguese",
        "Norwegian Bokmål",
        None,
    ]
