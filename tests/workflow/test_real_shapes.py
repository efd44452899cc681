"""The whole DAG for bases with the tokenizers and chat templates of Llama 2, Qwen 2.5 and Gemma 2, and for a Gemma 3
without a template, as tiny random folders under `models.*.path`. Their output is noise, but it is made in the same way
as that of the real models."""

import json
import subprocess

import pandas as pd
import pytest
import yaml

from tests import warm
from tests.shapes import SHAPES

ARCHITECTURES = {"llama-2": "llama", "qwen-2-5": "qwen2", "gemma-2": "gemma2", "gemma-3-base": "gemma3_text"}
OF = {"qwen-2-5": "qwen-2.5", "gemma-3-base": "gemma-3, base"}  # names of models cannot have dots
BEFORE = {
    "llama-2": "<s>[INST] German > English:\n",
    "qwen-2-5": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nGerman > English:\n",
    "gemma-2": "<bos><start_of_turn>user\nGerman > English:\n",
    "gemma-3-base": "<bos>German: ",
}
AFTER = {
    "llama-2": (" [/INST]", " {} </s>"),
    "qwen-2-5": ("<|im_end|>\n<|im_start|>assistant\n", "{}<|im_end|>"),
    "gemma-2": ("<end_of_turn>\n<start_of_turn>model\n", "{}<end_of_turn>"),
    "gemma-3-base": ("\nEnglish:", " {}\n"),
}
"""What stands before the source, after it, and the response."""
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("shapes")]
VARIANTS = ["base", "lora", "caneft"]
SEEN, UNSEEN = ["it", "law"], "koran"

SPY = """\
#!/bin/bash
printf '%s\\t%s\\n' "$2" "$HF_HUB_OFFLINE" >> "$SPY"
exec "$(PATH="${PATH#*:}" command -v python)" "$@"
"""
"""As the first `python` of PATH: writes down which module is started, and whether it is offline, and starts it."""


def configuration(workspace, folders):
    def edit(config):
        config["models"] = {name: {"path": str(folder)} for name, folder in folders.items()}
        domains = config["directions"]["de-en"]["domains"]
        del domains["medical"]
        for splits in domains.values():
            for split, pairs in (("train", 24), ("dev", 4), ("test", 3)):
                if split in splits:
                    splits[split]["pairs"] = pairs
        config["mixtures"] = {"all": {"de-en": SEEN}}
        config["methods"] = {
            "base": {"method": "base"},
            "lora": {"method": "lora", "rank": 2, "learning_rate": 1e-2},
            "caneft": {"method": "caneft", "learning_rate": 1e-2},
        }
        config["importance"] = {"samples": 16}
        config["selection"] |= {"stability_splits": 1, "null_permutations": 2}
        config["tuning"] |= {"pairs_per_domain": 16, "dev_pairs_per_domain": 4, "batch_size": 16}

    return workspace.configuration(edit)


def random_model(folder, name):
    """A folder like a user's: weights, configuration, and tokenizer with its template."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = SHAPES[OF.get(name, name)].tokenizer()
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"num_key_value_heads": 1, "vocab_size": len(tokenizer), "initializer_range": 0.1}
    own = {"head_dim": 8, "query_pre_attn_scalar": 8} if name.startswith("gemma") else {}
    torch.manual_seed(0)
    special = {key: getattr(tokenizer, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = AutoConfig.for_model(ARCHITECTURES[name], **sizes, **own, **special)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def done(pristine, tmp_path_factory):
    """The workspace after `snakemake tables`, and what the spy wrote."""
    root = tmp_path_factory.mktemp("shapes")
    workspace = pristine.copy(root / "workspace")
    folders = {name: random_model(root / name, name) for name in ARCHITECTURES}
    (root / "config.yaml").write_text(yaml.safe_dump(configuration(workspace, folders), sort_keys=False))
    (root / "spy").mkdir()
    (root / "spy/python").write_text(SPY)
    (root / "spy/python").chmod(0o755)
    environment = {key: value for key, value in workspace.environment.items() if key != "HF_HUB_OFFLINE"}
    environment = warm.forking(warm.forking(environment), root / "spy/python")
    finished = subprocess.run(
        workspace.command("--cores", "2", "tables", config=root / "config.yaml"),
        cwd=workspace.root,
        env=environment | {"SPY": str(root / "spy.tsv")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3000,
    )
    assert finished.returncode == 0, finished.stdout[-8000:]
    return workspace, (root / "spy.tsv").read_text().splitlines()


def test_every_model_and_method_has_its_rows(done):
    table = pd.read_csv(done[0].results / "tables/main.csv").query("metric == 'bleu'")
    for name in ARCHITECTURES:
        rows = table[table["model"] == name].set_index("variant")
        assert list(rows.index) == [*VARIANTS, "copy"]
        assert rows[[f"{domain}_mean" for domain in (*SEEN, UNSEEN)]].notna().all(axis=None)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_hypotheses_are_text_without_the_marks_of_the_template(done, name):
    runs = done[0].results / f"runs/{name}/de-en"
    files = sorted(runs.rglob("translations/test.jsonl"))
    assert len(files) == len(VARIANTS)
    lines = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(VARIANTS) * 3 * 3
    for line in lines:
        assert not any(token in line["hypothesis"] for token in SHAPES[OF.get(name, name)].specials())
        assert name != "gemma-3-base" or "\n" not in line["hypothesis"]
    assert any(line["hypothesis"] for line in lines)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_prompts_of_the_stages_are_those_of_the_template(done, name):
    """The importance dump's samples have these prompts, spelt by hand from the corpus."""
    workspace, _ = done
    corpus = (workspace.results / "corpora/de-en/law/train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {row["id"]: row for row in map(json.loads, corpus)}
    sidecar = json.loads((workspace.results / f"importance/{name}/de-en/law.json").read_text())
    shape, (after, response) = SHAPES[OF.get(name, name)], AFTER[name]
    assert len(sidecar["samples"]) == 16
    for sample in sidecar["samples"]:
        row = rows[sample["id"]]
        prompt = BEFORE[name] + row["source"] + after
        whole = shape.spelt(prompt + response.format(row["target"]))
        assert sample["tokens"] == len(whole)
        assert sample["response_tokens"] == len(whole) - len(shape.spelt(prompt))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_dumps_runs_and_translations_say_how_pairs_were_written(done, name):
    results = done[0].results
    dumps = [results / f"importance/{name}/de-en/{domain}.json" for domain in SEEN]
    records = sorted(results.glob(f"runs/{name}/de-en/all/*/seed1/record.json"))
    costs = sorted(results.glob(f"runs/{name}/de-en/**/translations/test.cost.json"))
    asked = {"form": "chat", "text": "German > English:\n{source}"}
    if name == "gemma-3-base":
        asked = {"form": "completion", "text": "German: {source}\nEnglish:"}
    said = [json.loads(file.read_text())["prompt"] for file in (*dumps, *records, *costs)]
    assert said == [asked] * (len(SEEN) + 2 + len(VARIANTS))


def test_jobs_are_offline_and_those_that_fetch_are_as_the_user_set_it(done):
    started = [line.split("\t") for line in done[1]]
    steps = {module.rpartition(".")[2]: set() for module, _ in started if "workflow.scripts" in module}
    for module, offline in started:
        if "workflow.scripts" in module:
            steps[module.rpartition(".")[2]].add(offline)
    assert steps.pop("resolve_model") == {""}
    assert {"dump_importance", "tune", "translate", "tabulate", "score", "prepare_corpus"} <= set(steps)
    assert set(map(frozenset, steps.values())) == {frozenset({"1"})}
