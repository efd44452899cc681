"""A base model without a chat template: what it is given, where it stops, and how much memory decoding takes."""

import json
import subprocess
import time

import psutil
import py3langid
import pytest

from caneft import config
from caneft.corpora import store
from caneft.corpora.store import Row
from caneft.models import loading, manifests
from caneft.plan import settings
from caneft.prompts import Prompts
from tests.real.conftest import PROMPT, REPOSITORY, SOURCES, command

SENTENCES, MOST = 64, 2500
"""MOST: megabytes that decoding so many sentences together may take."""
WITH_PEAK = """
import runpy, sys
from benchmarks.common import peak_of_process
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
print(peak_of_process())
"""
"""A step, and at the end its largest resident set in megabytes."""


@pytest.fixture(scope="module")
def prompts(gemma):
    return Prompts.of(loading.load_tokenizer(manifests.read_manifest(gemma)), PROMPT)


@pytest.fixture(scope="module")
def translated(gemma, disk):
    """Lines of the translations, with each source eight times in one batch, and the process's peak in MB.

    A process over the limit is killed at once: without `head.take_whole_inputs` it takes 21 GB, and other programs on
    the machine would die. A limit of the system would not do: if PyTorch cannot get memory for its copies of the head,
    it continues without them, only slower.
    """
    rows = [Row(f"it.test.{n}", SOURCES[n % len(SOURCES)], "", "it") for n in range(SENTENCES)]
    store.write(disk / "test.jsonl", rows)
    decoding = config.Decoding(batch_size=SENTENCES)
    given = settings.TranslationSettings(decoding=decoding, prompt=PROMPT, dtype="bfloat16").model_dump_json()
    out, said = disk / "gemma.jsonl", disk / "said"
    python, _, *step = command("translate", "--settings", given, "--manifest", gemma, "--domains", "it")
    step += ["--corpora", str(disk / "test.jsonl"), "--translations", str(out)]
    with (
        open(said, "w") as file,
        subprocess.Popen([python, "-c", WITH_PEAK, *step], cwd=REPOSITORY, stdout=file, stderr=file) as process,
    ):
        try:
            while process.poll() is None:
                assert psutil.Process(process.pid).memory_info().rss < MOST * 2**20
                time.sleep(0.02)
        finally:
            process.kill()
    text = said.read_text(encoding="utf-8")
    assert process.returncode == 0, text
    return [json.loads(line) for line in out.open(encoding="utf-8")], float(text.splitlines()[-1])


def test_it_gets_a_text_to_complete_that_begins_once(prompts):
    tokenizer = prompts.tokenizer
    begin = tokenizer.convert_tokens_to_ids("<bos>")
    example = prompts.encode(SOURCES[0], "The weather.")
    assert prompts.form.name == "completion" and tokenizer.chat_template is None
    assert example.prompt[0] == begin and example.prompt.count(begin) == 1
    assert tokenizer.decode(example.prompt) == f"<bos>German: {SOURCES[0]}\nEnglish:"
    assert tokenizer.decode(example.response) == " The weather.\n"
    assert tokenizer.tokenize("\n") == [tokenizer.convert_ids_to_tokens(prompts.end_of_turn)]


def test_it_translates_in_one_line_and_stops(translated):
    lines = translated[0][: len(SOURCES)]
    texts = [line["hypothesis"] for line in lines]
    assert [line["flags"] for line in lines] == [[]] * len(SOURCES)  # neither empty nor truncated
    assert not any("\n" in text or "German:" in text for text in texts)
    translations = [text for text in texts if py3langid.classify(text)[0] == "en" and text not in SOURCES]
    assert len(translations) >= 6, texts


def test_decoding_many_sentences_together_takes_little_memory(translated):
    lines, peak = translated
    assert len(lines) == SENTENCES and peak < MOST
