"""The translation step with both engines gives the same lines for the base and for every kind of run."""

import json
import os
import subprocess
from functools import cache

import numpy as np
import pytest

from caneft import config
from caneft.config.prompts import PromptSettings
from caneft.corpora import store
from caneft.corpora.store import Row
from caneft.models import manifests
from caneft.neurons import NeuronSet
from caneft.plan import ARTEFACTS
from caneft.plan.settings import TranslationSettings
from caneft.storage.files import write_json
from caneft.translation.vllm_engine import STOPS
from caneft.tuning.methods import trainable
from tests import warm
from tests.serving.conftest import REPOSITORY
from tests.unit.test_methods import ADAPTERS, FULL, LORA, NEURONS, tune

DOMAINS = ("it", "law")
TUNED = {"full": FULL, "lora": LORA, "caneft": NEURONS}
METHODS = TUNED | {"heads": NEURONS, "adapters": ADAPTERS}
HEADS = NeuronSet(3, 2, (np.array([1]), np.array([], dtype=int), np.array([0, 1])), "head")
PROMPT = {"instruction": "Translate.", "completion": "{source} ="}
DECODING = {"length_factor": 0.5, "length_offset": 6, "batch_size": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model, tokenizer, examples, pairs):
    """A base that vLLM accepts, one that it does not, each method's output for the first, and two test sets."""
    root = tmp_path_factory.mktemp("translated")

    def base(head, breaks=1.0):
        """Some of its sentences end early, others never. breaks: weight of a line break."""
        model = tiny_model(head_dim=head, initializer_range=0.4)
        model.lm_head.weight[tokenizer.eos_token_id] *= 1.2
        model.lm_head.weight[tokenizer.encode("\n", add_special_tokens=False)] *= breaks
        return model

    for name, head, breaks in (("base", 64, 1), ("narrow", 24, 1), ("breaking", 64, 4)):
        model = base(head, breaks)
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
        origin = {"id": "tiny", "folder": ".", "trust_remote_code": False, "allow_pickle": False}
        described = manifests.describe(root / name, origin | {"folder": root / name}, model.config)
        write_json(root / name / "manifest.json", described | {"folder": "."})
    for name in METHODS:
        (root / name).mkdir()
    for name, method in TUNED.items():
        tune(base(64), method, examples, steps=6).save(root / name)
    tune(base(64), NEURONS, examples, steps=6, neurons=HEADS).save(root / "heads")
    known = manifests.base(
        manifests.read_manifest(root / "base/manifest.json")
    )  # adapters compare the manifest, patches the weights
    trainable(base(64), ADAPTERS, "float32", base=known, domains=DOMAINS).save(root / "adapters")
    for domain, some in zip(DOMAINS, (pairs[:5], pairs[5:]), strict=True):
        store.write(root / f"{domain}.jsonl", [Row(f"{domain}.test.{n}", *pair, domain) for n, pair in enumerate(some)])
    return root


@pytest.fixture(scope="module")
def translated(folder, vllm, tmp_path_factory):
    """Runs the step, once for each call; returns the lines of its file, what it says about the engine, and its log."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}

    @cache
    def translate(engine, run="base", form="chat", base="base", **others):
        decoding, prompt = config.Decoding(engine=engine, **DECODING), PromptSettings(form=form, **PROMPT)
        settings = TranslationSettings(decoding=decoding, prompt=prompt, dtype="float32", **others).model_dump_json()
        out = tmp_path_factory.mktemp(engine) / "test.jsonl"
        words = ["--settings", settings, "--manifest", folder / base / "manifest.json", "--domains", *DOMAINS]
        words += ["--corpora", *(folder / f"{domain}.jsonl" for domain in DOMAINS), "--translations", out]
        if run in METHODS:
            words += ["--adapted", folder / run / ARTEFACTS[type(METHODS[run])]]
        command = [str(pythons[engine]), "-m", "workflow.scripts.translate", *map(str, words)]
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-5000:]
        cost = json.loads(out.with_suffix(".cost.json").read_text(encoding="utf-8"))
        (engine,) = {json.dumps(about["engine"]): about["engine"] for about in cost["domains"].values()}.values()
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()], engine, done.stderr

    with warm.started() as transformers:
        pythons = {"transformers": transformers, "vllm": vllm}
        yield translate


@pytest.mark.parametrize(
    ("run", "form", "others"),
    [
        ("base", "chat", {}),
        ("base", "completion", {}),
        ("full", "chat", {}),
        ("caneft", "chat", {}),
        ("heads", "chat", {}),
        ("lora", "chat", {"lora": "unmerged"}),
        ("lora", "chat", {"lora": "merged"}),
    ],
)
def test_both_engines_write_the_same_lines(translated, folder, run, form, others):
    expected, said, _ = translated("transformers", run, form, **others)
    found, engine, log = translated("vllm", run, form, **others)
    assert (said["name"], engine["name"], engine["dtype"]) == ("transformers", "vllm", "float32"), log
    assert found == expected
    ids = [f"{domain}.test.{n}" for domain, count in zip(DOMAINS, (5, 3), strict=True) for n in range(count)]
    assert [line["id"] for line in found] == ids
    assert len({line["hypothesis"] for line in found}) > 4
    assert {tuple(line["flags"]) for line in found} >= {(), ("truncated",)}


def test_runs_differ_and_so_do_forms(translated):
    """If all runs agreed, equal lines above would show nothing."""
    runs = [("base", "chat"), ("base", "completion"), *((run, "chat") for run in (*TUNED, "heads"))]
    found = {tuple(line["hypothesis"] for line in translated("transformers", *run)[0]) for run in runs}
    assert len(found) == len(runs)


@pytest.mark.parametrize(
    ("run", "base", "reason"), [("base", "narrow", "head_dim=24"), ("adapters", "base", "no bottleneck adapters")]
)
def test_what_vllm_does_not_serve_transformers_translates_and_the_record_says_so(translated, run, base, reason):
    expected, _, _ = translated("transformers", run, base=base)
    found, engine, log = translated("vllm", run, base=base)
    assert found == expected
    assert engine["name"] == "transformers" and reason in engine["instead"]
    (said,) = [line for line in log.splitlines() if "vLLM does not serve this run" in line]
    assert reason in said and "transformers translates in its place" in said
    assert "Traceback" not in log


def test_a_completion_does_not_begin_with_what_ends_it(translated):
    """For five of these sources a line break is the likeliest first token, and would leave the translation empty."""
    expected, _, _ = translated("transformers", form="completion", base="breaking")
    found, engine, log = translated("vllm", form="completion", base="breaking")
    assert engine["name"] == "vllm", log
    assert found == expected
    assert not any("empty" in line["flags"] for line in found)


def test_vllm_takes_as_many_tokens_as_a_completion_ends_with_by_our_count(vllm_environment):
    """That runner needs a GPU, so the test reads the number in its code."""
    (code,) = vllm_environment.parents[1].glob("lib/python3*/site-packages/vllm/v1/worker/gpu/sample/logit_bias.py")
    assert f"\nMAX_NUM_STOP_TOKEN_IDS = {STOPS}\n" in code.read_text(encoding="utf-8")
