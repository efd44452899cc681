"""`caneft held-out` on the finished run: its losses equal those of merged models, pair by pair."""

import csv
import json
import shutil

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from caneft.commands.finished import open_plan
from caneft.corpora import store
from caneft.plan import parts
from caneft.prompts import Prompts
from caneft.storage import integrity
from tests import naive

PAIRS = 5


def test_losses_are_those_of_the_models_that_users_run(finished, tmp_path, command_line):
    results, out = finished.copy(tmp_path / "here").results, tmp_path / "out"
    used = results / "mixtures/de-en/all/dev.jsonl"
    store.write(used, store.read(used)[::4])  # otherwise no pair would be left
    report = json.loads(used.with_name("report.json").read_text())
    report[integrity.KEY] |= integrity.sums(used)
    used.with_name("report.json").write_text(json.dumps(report))
    code, said, errors = command_line("held-out", results, out, "--pairs", PAIRS)
    assert code == 0, errors
    with open(out / "held_out_loss.csv") as file:
        found = {(row["variant"], row["seed"], row["domain"]): float(row["loss"]) for row in csv.DictReader(file)}
    plan = open_plan(results)
    (block,) = [block for block in plan.blocks() if block[2] == "all"]
    runs = {("base", "0")} | {(run.variant, str(run.seed)) for run in plan.trained_runs(*block)}
    assert found.keys() == {(*run, domain) for run in runs for domain in ("it", "law", "medical")}

    base, run = results / "models/mini-llama", results / "runs/mini-llama/de-en/all/caneft/seed1"
    assert command_line("patch", "merge", base, run / "patch.safetensors", tmp_path / "merged")[0] == 0
    prompts = Prompts.of(AutoTokenizer.from_pretrained(base), parts.prompt(plan.config, "mini-llama", "de-en"))
    taken = {row.id for row in store.read(used)}
    rows = [row for row in store.read(results / "corpora/de-en/law/dev.jsonl") if row.id not in taken][:PAIRS]
    pairs = [prompts.encode(row.source, row.target, "law") for row in rows]
    for folder, name in ((base, ("base", "0")), (tmp_path / "merged", ("caneft", "1"))):
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
        summed = sum(float(naive.summed_loss(model, pair.prompt, pair.response).detach()) for pair in pairs)
        assert found[*name, "law"] == pytest.approx(summed / sum(len(pair.response) for pair in pairs), rel=1e-4)

    again = command_line("held-out", results, tmp_path / "again", "--pairs", PAIRS)
    assert again[0] == 0
    assert (tmp_path / "again/held_out_loss.csv").read_bytes() == (out / "held_out_loss.csv").read_bytes()
    kept = sorted((results / "held-out").rglob("*.npz"))
    assert len(kept) == len(runs)

    shutil.copy(results / "runs/mini-llama/de-en/all/random/seed1/patch.safetensors", run)
    shutil.copy(results / "runs/mini-llama/de-en/all/random/seed1/record.json", run)  # as if it had been tuned again
    assert command_line("held-out", results, out, "--pairs", PAIRS, "--variants", "caneft", "random")[0] == 0
    with open(out / "held_out_loss.csv") as file:
        other = {(row["variant"], row["domain"]): row["loss"] for row in csv.DictReader(file)}
    assert other["caneft", "law"] == other["random", "law"]
