"""What a finished `make demo` promises. `make check-demo` runs this afterwards; it reads results/ and uses nothing of
the package but the code that puts a patch into a model."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
RUNS = RESULTS / "runs" / "tiny-llama" / "de-en"
NEURONS = RESULTS / "neurons" / "tiny-llama" / "de-en" / "all" / "caneft" / "draw0.npz"
SEEN = ["it", "law", "medical", "subtitles"]

pytestmark = pytest.mark.demo


@pytest.fixture(scope="module")
def table() -> dict[tuple[str, str], dict[str, str]]:
    path = RESULTS / "tables" / "main.csv"
    assert path.exists(), "no table: run `make demo` first"
    with open(path, encoding="utf-8", newline="") as file:
        return {(row["variant"], row["metric"]): row for row in csv.DictReader(file)}


def average(table, variant: str) -> float:
    return sum(float(table[variant, "bleu"][f"{domain}_mean"]) for domain in SEEN) / len(SEEN)


def test_every_tuned_method_beats_the_base_by_ten_bleu(table):
    tuned = [variant for variant, metric in table if metric == "bleu" and variant not in ("base", "copy")]
    methods = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))["methods"]
    assert set(tuned) == set(methods) - {"base"}
    assert average(table, "base") > 20
    assert {variant for variant in tuned if average(table, variant) < average(table, "base") + 10} == set()


@pytest.mark.parametrize(("variant", "domain"), [("base", "law"), ("caneft", "medical")])
def test_the_tables_bleu_is_that_of_the_sacrebleu_command(table, tmp_path, variant, domain):
    folder = RUNS / ("base" if variant == "base" else f"all/{variant}/seed1")
    lines = (folder / "translations" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    hypotheses = [line["hypothesis"] for line in map(json.loads, lines) if line["domain"] == domain]
    corpus = (RESULTS / "corpora" / "de-en" / domain / "test.jsonl").read_text(encoding="utf-8").splitlines()
    references = [json.loads(line)["target"] for line in corpus]
    (tmp_path / "hyp").write_text("\n".join(hypotheses) + "\n", encoding="utf-8")
    (tmp_path / "ref").write_text("\n".join(references) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", str(tmp_path / "ref"), "-i", str(tmp_path / "hyp"), "-b", "-w", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(float(table[variant, "bleu"][f"{domain}_mean"]), abs=1e-4)


def test_the_witness_finds_the_same_neurons():
    dumps = [str(RESULTS / "importance" / "tiny-llama" / "de-en" / f"{domain}.npy") for domain in SEEN]
    settings = yaml.safe_load((RESULTS / "config.yaml").read_text(encoding="utf-8"))["selection"]
    script = [sys.executable, str(ROOT / "tests" / "witness" / "select_neurons.py")]
    options = ["--fraction", str(settings["fraction"]), "--task-relevant", "0.5", "--bins", "10"]
    done = subprocess.run(
        [*script, "--dumps", *dumps, *options, "--compare", str(NEURONS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_tuning_changed_exactly_the_selected_slices():
    from caneft import neurons, patch
    from caneft.models import loading, manifests

    manifest = manifests.read_manifest(RESULTS / "models" / "tiny-llama" / "manifest.json")
    base = loading.load_model(manifest, "float32", torch.device("cpu")).state_dict()
    model = loading.load_model(manifest, "float32", torch.device("cpu"))
    patch.apply(RUNS / "all" / "caneft" / "seed1" / "patch.safetensors", model)
    selected = neurons.load(NEURONS).indices
    for name, tuned in model.state_dict().items():
        changed = tuned != base[name]
        if ".mlp." not in name:
            assert not changed.any(), name
            continue
        layer = int(name.split(".layers.")[1].split(".")[0])
        touched = changed.any(0) if "down_proj" in name else changed.any(1)
        assert touched.nonzero()[:, 0].tolist() == selected[layer].tolist(), name


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> dict[str, Path]:
    """The tuned model as other programs load it: a merged folder, and a LoRA adapter on the base."""
    patch, root = RUNS / "all" / "caneft" / "seed1" / "patch.safetensors", tmp_path_factory.mktemp("served")
    found = {"merge": root / "merged", "to-lora": root / "adapter"}
    for command, out in found.items():
        base = str(RESULTS / "models" / "tiny-llama")
        subprocess.run([sys.executable, "-m", "caneft", "patch", command, base, str(patch), str(out)], check=True)
    return found


def greedy(model, tokenizer, sources: list[str]) -> list[str]:
    """Translations one by one, by transformers alone."""
    prompt = yaml.safe_load((RESULTS / "config.yaml").read_text(encoding="utf-8"))["prompt"]["instruction"]
    prompt = prompt.format(source_language="German", target_language="English")
    found = []
    for source in sources:
        turn = [{"role": "user", "content": f"{prompt}\n{source}"}]
        asked = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_tensors="pt")["input_ids"]
        ids = model.generate(asked, max_new_tokens=120, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        found.append(tokenizer.decode(ids[0, asked.shape[1] :], skip_special_tokens=True).strip())
    return found


@pytest.mark.parametrize("form", ["merge", "to-lora"])
def test_a_merged_folder_and_a_lora_adapter_translate_as_the_run_did(served, form):
    """Compares 200 test sentences with the hypotheses that the workflow wrote by way of the patch."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = served["merge"] if form == "merge" else RESULTS / "models" / "tiny-llama"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    if form == "to-lora":
        model = PeftModel.from_pretrained(model, served["to-lora"])
    lines = (RUNS / "all/caneft/seed1/translations/test.jsonl").read_text(encoding="utf-8").splitlines()
    seen = [line for line in map(json.loads, lines) if line["domain"] in SEEN]
    said = [line for line in seen if "truncated" not in line["flags"]][::7][:200]
    corpora = [RESULTS / "corpora" / "de-en" / domain / "test.jsonl" for domain in SEEN]
    rows = [json.loads(line) for corpus in corpora for line in corpus.read_text(encoding="utf-8").splitlines()]
    sources = {row["id"]: row["source"] for row in rows}
    assert len(said) == 200
    assert greedy(model.eval(), tokenizer, [sources[line["id"]] for line in said]) == [
        line["hypothesis"] for line in said
    ]


def test_two_jobs_at_once_stay_under_three_gigabytes():
    folders = ("models", "importance", "neurons", "runs")
    paths = [path for folder in folders for path in (RESULTS / folder).rglob("*cost.json")]
    costs = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    two = sorted(cost["peak_memory_mb"] for cost in costs)[-2:]
    assert sum(two) + 300 < 3000  # 300 MB for Snakemake itself
