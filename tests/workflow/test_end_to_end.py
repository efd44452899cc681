"""The real mini run, from nothing to the report, checked from outside: files, records, neurons, changed weights."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sacrebleu
import yaml
from safetensors import safe_open
from safetensors.numpy import load_file

from caneft import config
from caneft.plan import Plan
from caneft.reporting import listing
from caneft.reporting.page import body_of
from tests.workflow.job_sets import AGGREGATES

WITNESS = Path(__file__).parents[1] / "witness/select_neurons.py"
HERE = "mini-llama/de-en"
SEEN = ["it", "law", "medical"]
TRAINED = ("full", "lora", "adapters", "random", "caneft", "attention")
RUNS = ("base", "all/icl", *(f"all/{variant}/seed1" for variant in TRAINED))  # all final runs
RATES = ("0.005", "0.01")  # lora's grid
ARTEFACTS = {"full": "model", "lora": "adapter_model", "adapters": "adapters"}
DOMAINS = ["it", "koran", "law", "medical"]
LAYERS, WIDTH, HIDDEN = 2, 64, 32
SELECTED = 13  # a tenth of 2 x 64 neurons


@pytest.fixture(scope="module")
def results(finished):
    return finished.results


@pytest.fixture(scope="module")
def plan(finished):
    return Plan(config.load(finished.configuration(), check_files=False))


def run_folder(results, variant, attempt="seed1"):
    return results / "runs" / HERE / "all" / variant / attempt


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_one_command_makes_the_report(first_run):
    print(f"\nthe mini run took {first_run.seconds:.0f} s")
    assert first_run.code == 0, first_run.output[-5000:]
    assert re.search(r"\b(\d+) of \1 jobs done", first_run.output)
    assert f"report   {first_run.workspace.results.relative_to(first_run.workspace.root)}" in first_run.output
    assert not (first_run.workspace.root / "results").exists()  # --config results_root was used


def test_no_job_left_a_traceback_or_half_a_file(results):
    logs = list((results / "logs").rglob("*.log"))
    assert len(logs) == 57  # each job has one, except `all`
    assert [log for log in logs if "Traceback" in log.read_text()] == []
    assert {path.parent.name + path.name for path in results.rglob(".*")} == {
        f"translations.{split}.{suffix}" for split in ("dev", "test") for suffix in ("jsonl", "cost.json")
    }  # kept for the next job: links to the files beside them
    hidden = [path for path in results.rglob(".*") if path.is_file()]
    assert all(path.samefile(path.with_name(path.name[1:])) for path in hidden)


def test_a_second_run_has_nothing_to_do(finished):
    again = finished.snakemake("--cores", "2")
    assert again.returncode == 0, again.stdout
    assert "Nothing to be done" in again.stdout


def test_tables_and_figures_exist_in_every_format(results, plan):
    tables = {f"{table}.{suffix}" for table in listing.TABLES for suffix in ("csv", "html", "md", "tex")}
    figures = {f"{figure}.{suffix}" for figure in listing.figures(plan) for suffix in ("pdf", "svg", "png")}
    assert {file.name for file in (results / "tables").iterdir()} == tables
    assert {file.name for file in (results / "figures").iterdir()} == figures
    heads = {".pdf": b"%PDF", ".svg": b"<?xml", ".png": b"\x89PNG"}
    for file in (results / "figures").iterdir():
        assert file.read_bytes().startswith(heads[file.suffix])


def test_all_scores_stand_in_one_file(results):
    """base, icl and copy once, and every trained variant at its seed; on four domains, in two metrics."""
    table = pd.read_parquet(results / "runs.parquet")
    assert len(table) == (3 + len(TRAINED)) * 4 * 2
    tuned = json.loads((run_folder(results, "caneft") / "record.json").read_text())
    rows = table.query("variant == 'caneft'")
    assert rows["commit"].isin([tuned["code"]["commit"]]).all() or tuned["code"]["commit"] is None
    assert rows["neurons"].eq(tuned["selection"]["neurons"]).all() and rows["wrong_language"].notna().all()


def test_the_main_table_prints_the_scores_of_the_score_files(results):
    table = pd.read_csv(results / "tables/main.csv").query("metric == 'bleu'").set_index("variant")
    assert list(table.index) == ["base", "icl", *TRAINED, "copy"]
    for variant in TRAINED:
        scores = read(run_folder(results, variant) / "scores/test.json")["domains"]
        for domain in DOMAINS:
            assert table.loc[variant, f"{domain}_mean"] == pytest.approx(scores[domain]["bleu"]["score"], abs=1e-3)


def test_the_report_shows_every_table_and_figure_with_its_caption(finished, plan):
    """That is, every one that is not empty."""
    page = (finished.results / "report.html").read_text(encoding="utf-8")
    categories = json.loads(re.search(r"var categories = (\{.*?\});", page)[1])
    found = {name: len(shown["Other"]) for name, shown in categories.items()}
    tables, figures = listing.tables(plan), listing.figures(plan)
    assert found == {"1. Overview": 1, "2. Tables": len(tables), "3. Figures": len(figures), "4. Examples": 1}
    note = finished.configuration()["report"]["note"]
    captions = list((finished.root / "workflow/report").glob("*.rst"))
    assert len(captions) == len({*listing.TABLES, *listing.FIGURES, "overview", "examples", "workflow"})
    for file in captions:
        text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "\n", file.read_text(encoding="utf-8"))
        plain = [line for line in text.splitlines() if len(line) > 40 and not re.search(r"[`*|\\]", line)]
        shown = file.stem in {*tables, *figures, "overview", "examples", "workflow"}
        assert plain and all((line in page) == shown for line in plain), file.name
    assert page.count(note) >= 4


def test_the_report_opens_with_the_overview(finished):
    """The workflow's description holds its page; without metadata, a drawing of all jobs would be beside it."""
    page = (finished.results / "report.html").read_text(encoding="utf-8")
    opening = json.loads(re.search(r"var workflow_desc = (\".*?\");\n", page)[1])
    overview = (finished.results / "overview.html").read_text(encoding="utf-8")
    assert body_of(overview) in opening and "data:image/png" in opening
    assert json.loads(re.search(r"var metadata = (\{.*?\});?\n", page)[1])


@pytest.mark.slow
def test_an_edited_caption_remakes_the_report_alone(finished, tmp_path):
    workspace = finished.copy(tmp_path)
    made = [*(workspace.results / "tables").iterdir(), *(workspace.results / "figures").iterdir()]
    before = {path: path.stat().st_mtime_ns for path in made}
    caption = workspace.root / "workflow/report/main.rst"
    caption.write_text(caption.read_text(encoding="utf-8") + "\nThis sentence came later.\n", encoding="utf-8")
    assert workspace.plan() == {"overview", "all"}
    done = workspace.snakemake("--cores", "2")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "This sentence came later." in (workspace.results / "report.html").read_text(encoding="utf-8")
    assert {path: path.stat().st_mtime_ns for path in made} == before


def lines_of(results, run, domain, split="test"):
    """A run's lines for a domain, as in its file."""
    text = (results / "runs" / HERE / run / f"translations/{split}.jsonl").read_text(encoding="utf-8")
    return [line for line in map(json.loads, text.splitlines()) if line["domain"] == domain]


def test_every_score_file_holds_the_domains_of_its_run(results):
    """A trial has no file of its own, because the trials of a grid share one."""
    for run in RUNS:
        folder = results / "runs" / HERE / run
        assert [file.name for file in (folder / "scores").iterdir()] == ["test.json"]
        scores = read(folder / "scores/test.json")
        assert sorted(scores["domains"]) == DOMAINS and scores["seen"] == ([] if run == "base" else SEEN)
        assert scores["run"] == run
        assert all(of_domain["segments"] == 20 for of_domain in scores["domains"].values())
    trials = read(results / "runs" / HERE / "all/lora/trials.json")["trials"]
    assert list(trials) == [f"lr{rate}-seed0" for rate in RATES]
    for trial, scores in trials.items():
        assert sorted(scores) == DOMAINS and not run_folder(results, "lora", f"{trial}/scores").exists()
        for domain, entry in scores.items():
            said = [line["hypothesis"] for line in lines_of(results, f"all/lora/{trial}", domain)]
            rows = (results / f"corpora/de-en/{domain}/test.jsonl").read_text("utf-8").splitlines()
            references = [json.loads(row)["target"] for row in rows]
            assert entry["bleu"]["score"] == pytest.approx(sacrebleu.corpus_bleu(said, [references]).score)


def test_every_translations_file_holds_the_lines_of_every_domain_and_says_what_made_them(results):
    for run in (*RUNS, *(f"all/lora/lr{rate}-seed0" for rate in RATES)):
        folder = results / "runs" / HERE / run / "translations"
        lines = [json.loads(line) for line in (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()]
        cost = read(folder / "test.cost.json")
        assert sorted(cost["domains"]) == DOMAINS and "engine" not in cost
        order = DOMAINS if run == "base" else [*SEEN, "koran"]
        tests = [results / f"corpora/de-en/{domain}/test.jsonl" for domain in order]
        rows = [json.loads(row) for test in tests for row in test.read_text("utf-8").splitlines()]
        assert [line["id"] for line in lines] == [row["id"] for row in rows]
        assert all(entry["engine"]["name"] == "transformers" for entry in cost["domains"].values())
        assert sum(entry["wall_seconds"] for entry in cost["domains"].values()) <= cost["wall_seconds"]
        assert cost["files"] == {"test.jsonl": sha256(folder / "test.jsonl")}
        split = {"dev", "test"} if "lr" in run else {"test"}
        assert {file.name for file in folder.glob("[!.]*")} == {
            f"{n}{end}" for n in split for end in (".jsonl", ".cost.json")
        }


def test_every_method_translates_as_itself(results):
    said = [[line["hypothesis"] for line in lines_of(results, run, "koran")] for run in RUNS]
    assert len(set(map(tuple, said))) == len(RUNS)


def test_the_lowest_rate_that_dev_cannot_tell_from_the_best_is_run(results):
    """Compares the trials' translations by mean chrF2 over the domains' dev pairs, by sacrebleu."""
    reached, drawn = {}, (results / "mixtures/de-en/all/dev.jsonl").read_text(encoding="utf-8")
    dev = [json.loads(line) for line in drawn.splitlines()]
    for rate in RATES:
        trial = run_folder(results, "lora", f"lr{rate}-seed0")
        record, made = read(trial / "record.json"), trial / "translations/dev.jsonl"
        assert (record["rate"], record["seed"], record["settings"]["learning_rate"]) == (float(rate), 0, float(rate))
        lines = [json.loads(line) for line in made.read_text(encoding="utf-8").splitlines()]
        assert [line["id"] for line in lines] == [row["id"] for row in dev]
        scores = []
        for domain in SEEN:
            pairs = [(a["hypothesis"], b["target"]) for a, b in zip(lines, dev, strict=True) if b["domain"] == domain]
            hypotheses, references = zip(*pairs, strict=True)
            assert len(hypotheses) == 20
            scores.append(sacrebleu.corpus_chrf(list(hypotheses), [list(references)]).score)
        reached[float(rate)] = sum(scores) / len(SEEN)
    choice, record = read(run_folder(results, "lora", "choice.json")), read(run_folder(results, "lora") / "record.json")
    assert {float(rate): score for rate, score in choice["grid"].items()} == pytest.approx(reached)
    best = min(reached, key=lambda rate: (-reached[rate], rate))
    level = [rate for rate in reached if rate == best or reached[best] - reached[rate] <= choice["errors"][f"{rate:g}"]]
    assert choice["best"] == best and choice["errors"][f"{best:g}"] is None
    assert choice["learning_rate"] == record["settings"]["learning_rate"] == min(level)
    assert record["choice"] == choice and record["seed"] == 1


def test_every_adapter_translates_an_unseen_domain_and_the_source_loss_chooses(results):
    lines = lines_of(results, "all/adapters/seed1", "koran")
    assert len(lines) == 20
    losses = {domain: sum(line["source_loss"][domain] for line in lines) for domain in SEEN}
    chosen = min(losses, key=losses.get)
    assert {line["adapter"] for line in lines} == {chosen}
    assert all(line["hypothesis"] == line["alternatives"][chosen] for line in lines)
    entry = read(run_folder(results, "adapters") / "scores/test.json")["domains"]["koran"]
    assert entry["chosen"] == chosen and sorted(entry["adapters"]) == SEEN
    assert entry["bleu"]["score"] == entry["adapters"][chosen]["bleu"]["score"]
    oracle = entry["adapters"][entry["oracle"]]["bleu"]["score"]
    assert oracle == max(scores["bleu"]["score"] for scores in entry["adapters"].values())


def test_tuning_lowers_the_loss_on_dev(results):
    for variant in TRAINED:
        tuning = read(run_folder(results, variant) / "record.json")["tuning"]
        assert tuning["dev_loss"] < tuning["dev_loss_before"], variant


def test_run_records_say_what_was_run(results):
    mixture, base = results / "mixtures/de-en/all", results / "models/mini-llama/model.safetensors"
    for variant in TRAINED:
        record, cost = (read(run_folder(results, variant) / name) for name in ("record.json", "cost.json"))
        method = "caneft-attention" if variant == "attention" else variant
        identity = ("model", "direction", "mixture", "variant", "method", "seed")
        assert [record[key] for key in identity] == ["mini-llama", "de-en", "all", variant, method, 1]
        assert record["base"] == {
            "id": "pretrained here",
            "revision": None,
            "weights": {"model.safetensors": sha256(base)},
        }
        data = {f"{split}_sha256": sha256(mixture / f"{split}.jsonl") for split in ("train", "dev")}
        owner = "caneft" if variant == "lora" else variant  # which lora is to equal in size
        chosen = [*results.glob(f"*/{HERE}/all/{owner}/draw{owner == 'random':d}.npz")]
        wanted = None if variant in ("full", "adapters") else sha256(*chosen)
        assert record["data"] == data | {"neurons_sha256": wanted}
        assert set(record["code"]) == {"commit", "dirty"}
        assert {"torch", "transformers", "peft", "numpy", "python"} <= set(record["packages"])
        if variant != "lora":  # its rate is chosen
            assert record["settings"]["learning_rate"] == (5e-4 if variant == "full" else 1e-2)
        assert record["settings"]["tuning"]["batch_size"] == 16
        assert record["tuning"]["examples"] == 180
        assert {"wall_seconds", "peak_memory_mb", "device"} <= set(cost)
        if variant in ("random", "caneft"):
            assert record["selection"]["neurons"] == SELECTED
            assert record["selection"]["gamma"] >= 0
        elif variant == "attention":
            assert (record["selection"]["neurons"], record["selection"]["unit"]) == (1, "head")
        else:
            assert record["selection"] is None


def test_records_count_the_parameters_that_the_files_hold(results):
    def count(path):
        return sum(tensor.size for tensor in load_file(path).values())

    base = count(results / "models/mini-llama/model.safetensors")
    expected = {"full": base, "random": 3 * HIDDEN * SELECTED, "caneft": 3 * HIDDEN * SELECTED}
    expected["lora"] = count(run_folder(results, "lora") / "adapter_model.safetensors")
    # nearest to the neurons' 1248: a rank costs 3 modules x 2 layers x (32 + 64), so it is 2 and not 3
    assert expected["lora"] == 2 * 3 * LAYERS * (HIDDEN + WIDTH)
    expected["adapters"] = len(SEEN) * LAYERS * 2 * HIDDEN * 4
    expected["attention"] = 4 * HIDDEN * HIDDEN // 2  # one of two heads, so half of a layer's q, k, v and o
    for variant in TRAINED:
        record = read(run_folder(results, variant) / "record.json")
        assert record["parameters"] == {"trainable": expected[variant], "total": base}


def neurons_of(path):
    """A neuron set as {(layer, neuron)}."""
    with np.load(path) as chosen:
        return set(zip(chosen["layer"].tolist(), chosen["neuron"].tolist(), strict=True))


def test_the_witness_selects_the_same_neurons(results):
    dumps = [str(results / f"importance/{HERE}/{domain}.npy") for domain in SEEN]
    chosen = results / f"neurons/{HERE}/all/caneft/draw0.npz"
    command = [sys.executable, str(WITNESS), "--dumps", *dumps, "--fraction", "0.1", "--task-relevant", "0.5"]
    witness = subprocess.run([*command, "--compare", str(chosen)], capture_output=True, text=True)
    assert witness.returncode == 0, witness.stdout + witness.stderr
    assert len(neurons_of(chosen)) == SELECTED


def test_halves_of_the_samples_are_compared_at_the_budget(results):
    stability = read(results / f"neurons/{HERE}/all/stability.json")
    assert stability["samples"] == dict.fromkeys(SEEN, 60)
    assert (stability["neurons"], stability["neurons_of_the_model"]) == (SELECTED, LAYERS * WIDTH)
    curves = [(point["criterion"], point["scope"], point["samples"]) for point in stability["points"]]
    criteria = "caneft", "caneft-geometric", "caneft-harmonic", "joint"
    assert curves == [(criterion, scope, 30) for criterion in criteria for scope in ("model", "layer")]
    for point in stability["points"]:
        for name in ("jaccard", "noise_jaccard"):  # sets of 13 with s in common: s / (26 - s)
            assert len(point[name]) == 10
            assert all(any(value == s / (2 * SELECTED - s) for s in range(SELECTED + 1)) for value in point[name])


def weights_of(neurons):
    """The elements that belong to neurons, as {tensor name: bool mask}; tensors without any are left out."""
    masks = {}
    for layer, neuron in neurons:
        for name in ("gate_proj", "up_proj", "down_proj"):
            shape = (HIDDEN, WIDTH) if name == "down_proj" else (WIDTH, HIDDEN)
            mask = masks.setdefault(f"model.layers.{layer}.mlp.{name}.weight", np.zeros(shape, bool))
            mask[(slice(None), neuron) if name == "down_proj" else neuron] = True
    return masks


@pytest.mark.parametrize(("variant", "draw"), [("caneft", 0), ("random", 1)])
def test_a_patch_changes_the_weights_of_the_selected_neurons_and_no_other(results, variant, draw):
    base = load_file(results / "models/mini-llama/model.safetensors")
    patch = load_file(run_folder(results, variant) / "patch.safetensors")
    selected = neurons_of(results / f"neurons/{HERE}/all/{variant}/draw{draw}.npz")
    tuned = {name: tensor.copy() for name, tensor in base.items()}
    for layer in range(LAYERS):
        index = patch.get(f"layers.{layer}.index", np.empty(0, np.int32))
        assert set(index.tolist()) == {neuron for of_layer, neuron in selected if of_layer == layer}
        if len(index):
            tuned[f"model.layers.{layer}.mlp.gate_proj.weight"][index] = patch[f"layers.{layer}.gate"]
            tuned[f"model.layers.{layer}.mlp.up_proj.weight"][index] = patch[f"layers.{layer}.up"]
            tuned[f"model.layers.{layer}.mlp.down_proj.weight"][:, index] = patch[f"layers.{layer}.down"]
    masks = weights_of(selected)
    for name, tensor in base.items():
        mask = masks.pop(name, np.zeros(tensor.shape, bool))
        changed = tuned[name] != tensor
        assert not changed[~mask].any()
        assert changed[mask].sum() >= 0.95 * mask.sum()  # an update may round to nothing
    assert not masks
    assert (
        sum(tensor.size for name, tensor in patch.items() if name.split(".")[-1] in ("gate", "up", "down"))
        == 3 * HIDDEN * SELECTED
    )


@pytest.mark.parametrize("variant", TRAINED)
def test_what_translates_is_the_base_with_the_runs_weights(results, variant):
    """Compares the model that `translate` loads, tensor by tensor, with the files alone."""
    import torch

    from caneft.models import manifests
    from caneft.tuning.methods import load

    artefact = run_folder(results, variant) / f"{ARTEFACTS.get(variant, 'patch')}.safetensors"
    manifest = manifests.read_manifest(results / "models/mini-llama/manifest.json")
    model = load(manifest, "float32", torch.device("cpu"), artefact=artefact).model
    state = {name.removeprefix("base_model.model."): tensor.numpy() for name, tensor in model.state_dict().items()}
    state = {name.replace(".base_layer", ""): tensor for name, tensor in state.items()}
    base = load_file(results / "models/mini-llama/model.safetensors")
    changed = {name for name, tensor in base.items() if not np.array_equal(state[name], tensor)}
    mlp = {f"model.layers.{n}.mlp.{m}_proj.weight" for n in range(LAYERS) for m in ("gate", "up", "down")}
    if variant == "full":
        assert changed == set(base)
        assert all(np.array_equal(state[name], tensor) for name, tensor in load_file(artefact).items())
    elif variant == "lora":
        adapter = {key.removeprefix("base_model.model."): tensor for key, tensor in load_file(artefact).items()}
        assert changed == set()
        assert {key.partition(".lora_")[0] for key in adapter} == {name.removesuffix(".weight") for name in mlp}
        assert all(tensor.any() for tensor in adapter.values())
        served = {key: state[key.replace(".weight", ".default.weight")] for key in adapter}
        assert all(np.array_equal(served[key], tensor) for key, tensor in adapter.items())
    elif variant == "adapters":
        assert changed == set() and all(tensor.any() for tensor in load_file(artefact).values())
    elif variant == "attention":
        (layer,) = {layer for layer, _ in neurons_of(results / f"heads/{HERE}/all/attention/draw0.npz")}
        assert changed == {f"model.layers.{layer}.self_attn.{name}_proj.weight" for name in "qkvo"}
    else:
        assert changed == set(
            weights_of(neurons_of(results / f"neurons/{HERE}/all/{variant}/draw{variant == 'random':d}.npz"))
        )


def test_the_patch_names_its_base(results):
    with safe_open(run_folder(results, "caneft") / "patch.safetensors", framework="numpy") as patch:
        manifest = json.loads(patch.metadata()["caneft"])
    weights = sha256(results / "models/mini-llama/model.safetensors")
    assert (manifest["layers"], manifest["width"]) == (LAYERS, WIDTH)
    assert manifest["base"]["weights"] == {"model.safetensors": weights}


def test_full_weights_are_temporary_unless_they_are_kept_and_nothing_is_made_anew_without_them(finished, tmp_path):
    workspace = finished.copy(tmp_path)
    weights = run_folder(workspace.results, "full") / "model.safetensors"
    weights.unlink()
    for kept in (True, False):
        config = workspace.configuration(lambda config, kept=kept: config["tuning"].update(keep_full_weights=kept))
        with workspace.planned(config) as dag:
            temporary = [str(file) for job in dag.jobs for file in job.temp_output]
            assert temporary == ([] if kept else [str(weights.relative_to(workspace.root))])
            rules = {job.rule.name for job in dag.needrun_jobs(exclude_finished=False)}
            assert rules <= AGGREGATES, rules  # they get the configuration


@pytest.mark.slow
def test_full_weights_go_when_nothing_needs_them_and_their_scores_come_out_the_same(finished, tmp_path):
    workspace = finished.copy(tmp_path)
    run = run_folder(workspace.results, "full")
    before = {path.name: path.read_bytes() for path in (run / "scores").iterdir()}
    shutil.rmtree(run)
    config = tmp_path / "without_weights.yaml"
    config.write_text(yaml.safe_dump(workspace.configuration(lambda c: c["tuning"].update(keep_full_weights=False))))
    done = workspace.snakemake("--cores", "2", config=config, forked=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert {path.name: path.read_bytes() for path in (run / "scores").iterdir()} == before
    assert not (run / "model.safetensors").exists()
    assert "Nothing to be done" in workspace.snakemake("--cores", "2", config=config).stdout


def test_what_ran_stands_beside_the_results(finished):
    stored = yaml.safe_load((finished.results / "config.yaml").read_text(encoding="utf-8"))
    expected = finished.configuration() | {"results_root": str(finished.results.relative_to(finished.root))}
    assert finished.plan(stored) == set()
    assert {key: stored[key] for key in ("models", "methods")} == {key: expected[key] for key in ("models", "methods")}
    assert stored["results_root"] == expected["results_root"]
