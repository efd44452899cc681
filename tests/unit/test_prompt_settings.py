"""The instruction by direction and domain, and what else a configuration says about prompts and models."""

import json

import pytest

from caneft import config
from caneft.plan import parts, settings
from tests.messages import refused

DEMO = {"format": "demo", "domain": "it", "pairs": 4}
DOMAINS = {"it": {"train": DEMO, "dev": DEMO, "test": DEMO}, "law": {"train": DEMO, "dev": DEMO, "test": DEMO}}
GERMAN = {"instruction": "Übersetze ins Englische ({domain}):", "name_domain": True}


def configured(own=None, model=None, **more):
    """Two directions, the first with its own prompt."""
    directions = {
        "de-en": {"source_language": "German", "target_language": "English", "domains": DOMAINS},
        "zh-en": {"source_language": "Chinese", "target_language": "English", "domains": DOMAINS},
    }
    if own is not None:
        directions["de-en"] = directions["de-en"] | {"prompt": own}
    return config.load(
        {
            "directions": directions,
            "models": {"mini": model or {"hub": "owner/mini"}},
            "mixtures": {"all": {"de-en": ["it", "law"], "zh-en": ["it", "law"]}},
            "methods": {"base": {"method": "base"}, "full": {"method": "full", "learning_rate": 1e-4}},
            "selection": {"fraction": 0.1},
        }
        | more
    )


def instructions(configuration, direction):
    """The prompt of every kind of step that has one."""
    kinds = (
        parts.dump(configuration, "mini", direction),
        parts.pilot(configuration, "mini", direction).dump,
        parts.tune(configuration, "mini", direction, "full"),
        parts.translation(configuration, "mini", direction, "base"),
    )
    return [kind.prompt for kind in kinds]


def test_a_direction_may_have_an_instruction_of_its_own_in_every_stage():
    found = configured(own=GERMAN)
    assert [prompt.instruct("law") for prompt in instructions(found, "de-en")] == ["Übersetze ins Englische (law):"] * 4
    general = "Translate the following text from Chinese into English. Reply only with the translation."
    assert [prompt.instruct("law") for prompt in instructions(found, "zh-en")] == [general] * 4


def test_without_one_no_settings_change():
    """Otherwise all existing dumps and runs would be made again."""
    assert json.loads(parts.prompt(configured(), "mini", "de-en").model_dump_json()) == {
        "instruction": "Translate the following text from {source_language} into {target_language}. Reply only with the"
        " translation.",
        "source_language": "German",
        "target_language": "English",
    }
    other = parts.tune(configured(own=GERMAN), "mini", "zh-en", "full")
    assert other.model_dump_json() == parts.tune(configured(), "mini", "zh-en", "full").model_dump_json()


@pytest.mark.parametrize(
    "own, said", [({"form": "completion"}, "German: Hund\nEnglish:"), ({"completion": "{source} ="}, "Hund =")]
)
def test_the_text_to_complete_reaches_every_stage_of_a_model_that_could_get_it(own, said):
    for prompt in instructions(configured(own=own), "de-en"):
        assert prompt.complete("Hund") == said
        assert own.items() <= json.loads(prompt.model_dump_json()).items()
        assert settings.PromptSettings.model_validate_json(prompt.model_dump_json()) == prompt


TEXT = {"format": "demo-pretraining", "domains": ["it"], "pairs": 4}
HERE = {"pretrain": {"corpora": [{"direction": "de-en", "corpus": TEXT}]}}


@pytest.mark.parametrize("own, model", [({"form": "chat"}, None), ({"form": "instruction"}, None), ({}, HERE)])
def test_a_text_that_no_model_could_get_is_in_no_settings(own, model):
    """A model that is pretrained here has a chat template."""
    other = {"completion": "{source} ="}
    assert instructions(configured(own=own | other, model=model), "de-en") == instructions(
        configured(own=own, model=model), "de-en"
    )
    kept = configured(own={"form": "completion"} | other, model=HERE)
    assert parts.pretraining(kept, "mini").prompts["de-en"].complete("Hund") == "Hund ="


def test_a_direction_does_not_inherit_the_switch():
    """The instruction and the switch to name the domain belong together."""
    named = {"instruction": "Translate this {domain} text.", "name_domain": True}
    found = configured(own={"instruction": "Translate:"}, prompt=named)
    assert parts.prompt(found, "mini", "de-en").instruct("law") == "Translate:"
    assert parts.prompt(found, "mini", "zh-en").instruct("law") == "Translate this law text."
    with refused("directions.de-en.prompt", "{domain}", "name_domain: true"):
        configured(own={"instruction": "Translate this {domain} text."}, prompt=named)


OLD = {"hub", "revision", "path"}
NEW = OLD | {"trust_remote_code", "allow_pickle"}


def test_what_a_model_may_do_is_in_its_settings_only_where_it_is_allowed():
    plain = configured().models["mini"]
    assert plain.model_dump_json(include=NEW) == plain.model_dump_json(include=OLD)
    assert plain.model_dump_json(include=NEW) == '{"hub":"owner/mini","revision":null,"path":null}'
    for key in ("trust_remote_code", "allow_pickle"):
        allowed = configured(model={"hub": "owner/mini", key: True}).models["mini"]
        assert json.loads(allowed.model_dump_json(include=NEW))[key] is True
        assert config.Model.model_validate_json(allowed.model_dump_json(include=NEW)) == allowed


@pytest.mark.parametrize("key", ["trust_remote_code", "allow_pickle"])
def test_a_base_that_is_pretrained_here_needs_no_permission(key):
    with refused("models.mini", key, "hub", "path"):
        configured(model=HERE | {key: True})
