"""What the step that translates hands on of its settings."""

import sys
from pathlib import Path

import pytest

from caneft.plan import parts
from tests.unit.test_plan_and_settings import load
from workflow.scripts import translate


class LoadedError(BaseException):
    """Ends the step where it would load a model."""


@pytest.mark.parametrize(
    ("variant", "merged", "expected"), [("lora", False, False), ("lora", True, True), ("full", False, False)]
)
def test_a_lora_is_merged_only_where_it_was_asked_for(monkeypatch, tmp_path, variant, merged, expected):
    given = []

    def loaded(manifest, dtype, device, device_map, adapted, merged):
        given.append((adapted, merged))
        raise LoadedError

    monkeypatch.setattr(translate, "prepare", lambda threads: "cpu")
    monkeypatch.setattr(translate.manifests, "read_manifest", lambda path: None)
    monkeypatch.setattr(translate.loading, "load_tokenizer", lambda manifest: None)
    monkeypatch.setattr(translate.Prompts, "of", lambda tokenizer, wording: None)
    monkeypatch.setattr(translate.store, "read_testset", lambda domains, corpora: {})
    monkeypatch.setattr(translate.engines.methods, "load", loaded)
    settings = parts.translation(load(("methods", "lora", "merged", merged)), "tiny", "de-en", variant)
    words = ["--settings", settings.model_dump_json(), "--manifest", "m", "--adapted", "a", "--domains", "it"]
    words += ["--corpora", "c", "--translations", str(tmp_path / "seen.jsonl")]
    monkeypatch.setattr(sys, "argv", ["translate.py", *words])
    with pytest.raises(LoadedError):
        translate.main()
    assert given == [(Path("a"), expected)]
