"""The translation step: which settings it passes on, and which domains it translates again."""

import hashlib
import json
import sys

import pytest

from caneft import config
from caneft.config.prompts import PromptSettings
from caneft.corpora import store
from caneft.corpora.store import Row
from caneft.models import manifests
from caneft.plan import parts
from caneft.plan.settings import TranslationSettings
from caneft.storage.files import write_json
from tests.unit.test_plan_and_settings import load
from workflow.scripts import translate


class LoadedError(BaseException):
    """Ends the step where it would load a model."""


@pytest.mark.parametrize(
    ("variant", "merged", "expected"), [("lora", False, False), ("lora", True, True), ("full", False, False)]
)
def test_a_lora_is_merged_only_where_it_was_asked_for(monkeypatch, tmp_path, variant, merged, expected):
    given, adapted = [], tmp_path / "run/adapted"
    adapted.parent.mkdir()
    for name in ("m", "run/record.json"):
        (tmp_path / name).write_text("{}")

    def loaded(manifest, dtype, device, device_map, adapted, merged):
        given.append((adapted, merged))
        raise LoadedError

    monkeypatch.setattr(translate, "prepare", lambda threads: "cpu")
    monkeypatch.setattr(translate.manifests, "read_manifest", lambda path: None)
    monkeypatch.setattr(translate.loading, "load_tokenizer", lambda manifest: None)
    monkeypatch.setattr(translate.Prompts, "of", lambda tokenizer, wording: None)
    monkeypatch.setattr(translate.store, "read_testset", lambda domains, corpora: {"it": [Row("a", "b", "c")]})
    monkeypatch.setattr(translate.engines.methods, "load", loaded)
    settings = parts.translation(load(("methods", "lora", "merged", merged)), "tiny", "de-en", variant)
    words = ["--settings", settings.model_dump_json(), "--manifest", str(tmp_path / "m")]
    words += ["--adapted", str(adapted), "--domains", "it", "--corpora", "c"]
    words += ["--translations", str(tmp_path / "test.jsonl")]
    monkeypatch.setattr(sys, "argv", ["translate.py", *words])
    with pytest.raises(LoadedError):
        translate.main()
    assert given == [(adapted, expected)]


# --- domains that it has translated before ---------------------------------------------------------------------------

DOMAINS = "it", "law", "koran"


@pytest.fixture(scope="module")
def base(tmp_path_factory, tiny_model, tokenizer, pairs):
    """A model with its manifest, and a test set for each domain."""
    root, model = tmp_path_factory.mktemp("base"), tiny_model()
    model.save_pretrained(root)
    tokenizer.save_pretrained(root)
    origin = {"id": "tiny", "folder": root, "trust_remote_code": False}
    write_json(root / "manifest.json", manifests.describe(root, origin, model.config) | {"folder": "."})
    for number, domain in enumerate(DOMAINS):
        store.write(root / f"{domain}.jsonl", [Row(f"{domain}.test.{n}", *pairs[number + n]) for n in range(3)])
    return root


@pytest.fixture
def translated(base, monkeypatch):
    """Runs the step in a folder; returns the decoded domains and the content of the file."""
    decoding = config.Decoding(length_factor=0.5, length_offset=6)
    settings = TranslationSettings(decoding=decoding, prompt=PromptSettings(instruction="Translate."), dtype="float32")
    of_domain = translate.engines.decoding.translations

    def run(folder, *domains, killed_in=None, version=4, settings=settings):
        decoded = []

        def counted(*given):
            decoded.append(given[4])
            if given[4] == killed_in:
                raise LoadedError
            return of_domain(*given)

        monkeypatch.setattr(translate.engines.decoding, "translations", counted)
        words = ["--settings", settings.model_dump_json(), "--manifest", base / "manifest.json", "--domains", *domains]
        words += ["--corpora", *(base / f"{domain}.jsonl" for domain in domains), "--stage-version", version]
        monkeypatch.setattr(sys, "argv", ["translate.py", *map(str, [*words, "--translations", folder / "test.jsonl"])])
        if killed_in:
            with pytest.raises(LoadedError):
                translate.main()
            return decoded, None
        translate.main()
        assert {path.name.lstrip(".") for path in folder.iterdir()} == {"test.jsonl", "test.cost.json"}
        return decoded, (folder / "test.jsonl").read_bytes()

    run.settings = settings
    return run


@pytest.fixture
def anew(translated, tmp_path_factory):
    """Content of the file for these domains if there was none before."""
    return lambda *domains: translated(tmp_path_factory.mktemp("anew"), *domains)[1]


def cost(folder):
    return json.loads((folder / "test.cost.json").read_text())


def test_a_domain_that_is_added_is_translated_and_no_other(tmp_path, translated, anew):
    decoded, first = translated(tmp_path, "it", "law")
    assert decoded == ["it", "law"]
    before = cost(tmp_path)
    decoded, whole = translated(tmp_path, *DOMAINS)
    assert decoded == ["koran"] and whole.startswith(first)
    assert whole == anew(*DOMAINS) and whole.count(b"\n") == 9
    after = cost(tmp_path)
    assert list(after["domains"]) == sorted(DOMAINS) and "engine" not in after
    assert {domain: after["domains"][domain] for domain in ("it", "law")} == before["domains"]
    assert after["files"] == {"test.jsonl": hashlib.sha256(whole).hexdigest()}
    for name in ("wall_seconds", "cpu_seconds"):
        parts_of = [about[name] for about in after["domains"].values()]
        assert after[name] >= sum(parts_of) - 0.01 and min(parts_of) >= 0
    assert after["peak_memory_mb"] >= before["peak_memory_mb"]


def test_a_killed_job_goes_on_in_the_domain_that_it_was_in(tmp_path, translated, anew):
    assert translated(tmp_path, *DOMAINS, killed_in="koran")[0] == list(DOMAINS)
    assert not (tmp_path / "test.jsonl").exists()
    decoded, whole = translated(tmp_path, *DOMAINS)
    assert decoded == ["koran"] and whole == anew(*DOMAINS)


def test_a_domain_that_is_gone_or_elsewhere_in_the_order_needs_no_model(tmp_path, translated, anew, monkeypatch):
    translated(tmp_path, *DOMAINS)
    monkeypatch.setattr(translate.engines.methods, "load", lambda *_: pytest.fail("a model is loaded"))
    decoded, left = translated(tmp_path, "koran", "it")
    monkeypatch.undo()
    assert decoded == [] and list(cost(tmp_path)["domains"]) == ["it", "koran"]
    assert [json.loads(line)["domain"] for line in left.splitlines()] == ["koran"] * 3 + ["it"] * 3


def test_other_settings_or_another_version_translate_all_again(tmp_path, translated):
    translated(tmp_path, "it", "law")
    assert translated(tmp_path, "it", "law", version=5)[0] == ["it", "law"]
    shorter = translated.settings.model_copy(update={"decoding": config.Decoding(length_factor=0.5, length_offset=2)})
    assert translated(tmp_path, "it", "law", version=5, settings=shorter)[0] == ["it", "law"]
    assert translated(tmp_path, "it", "law", version=5, settings=shorter)[0] == []
