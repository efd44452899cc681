"""A real COMET in the workflow: it is trained at a small size, scores segments, and is found again in another place."""

import json
import shutil
import subprocess

import pandas as pd
import pytest
import yaml
from tokenizers import pre_tokenizers

from tests.hub import running

KEPT = ("base", "caneft")
DOMAINS = ("it", "law", "medical", "koran")
HUB = ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "CANEFT_HF_HUB_OFFLINE")
RULES = ("prepare_metric_pairs", "resolve_metric", "train_comet", "score_neural", "score_neural_copy")
TRAIN = {
    "corpora": [{"direction": "de-en", "corpus": {"format": "demo", "domain": d, "pairs": 300}} for d in ("it", "law")],
    "hidden_size": 32,
    "vocabulary": 400,
    "epochs": 3,
}
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
SCORING = {
    "score_neural_copy de-en/comet",
    "score_neural mini-llama/de-en/base/comet",
    "score_neural mini-llama/de-en/all/caneft/seed1/comet",
}
RUNS = ("runs/mini-llama/de-en/base", "runs/mini-llama/de-en/all/caneft/seed1")


def with_comet(config, **comet):
    """mini.yaml with two methods and a COMET."""
    config["methods"] = {name: method for name, method in config["methods"].items() if name in KEPT}
    config["scoring"] = {"comet": comet or {"train": TRAIN}}


def scores(results, run, metric="comet"):
    """Scores of all test sets of a run."""
    return json.loads((results / run / "scores/neural" / f"{metric}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def scored(finished, tmp_path_factory):
    """The finished mini run with COMET added."""
    workspace = finished.copy(tmp_path_factory.mktemp("comet"))
    (workspace.root / "comet.yaml").write_text(
        yaml.safe_dump(workspace.configuration(with_comet), sort_keys=False), encoding="utf-8"
    )
    done = workspace.snakemake("--cores", "2", config="comet.yaml", forked=True)
    assert done.returncode == 0, done.stdout[-5000:]
    return workspace


def test_adding_comet_runs_its_own_jobs_and_the_aggregates(finished):
    """Compares with the jobs that run again for the two methods alone."""
    without = finished.plan(finished.configuration(lambda config: with_comet(config) or config.pop("scoring")))
    ours = (
        finished.plan(finished.configuration(with_comet)) - without - {"build_environment comet"}
    )  # it may exist already
    assert ours == SCORING | {"prepare_metric_pairs comet", "train_comet comet"}
    aggregates = {"test_significance", "show_examples", "tabulate", "plot", "overview", "all"}
    assert {job.partition(" ")[0] for job in without} == {"score_without_overlap", *aggregates}


def of_metrics(jobs):
    """Jobs of the metric's rules."""
    return {job for job in jobs if job.partition(" ")[0] in RULES}


def test_without_a_neural_metric_there_is_no_environment_and_no_job(pristine):
    jobs = {job.partition(" ")[0] for job in pristine.plan()}
    assert "tabulate" in jobs and not jobs & {"build_environment", *RULES}


@pytest.mark.slow
def test_another_unseen_domain_is_scored_and_the_metric_left_alone(scored):
    def widen(config):
        with_comet(config)
        config["directions"]["de-en"]["domains"]["subtitles"] = {
            "test": {"format": "demo", "domain": "subtitles", "pairs": 20}
        }

    assert of_metrics(scored.plan(scored.configuration(widen))) == SCORING


@pytest.mark.slow
def test_a_job_that_runs_again_scores_only_what_has_changed(scored, tmp_path_factory):
    """Planted scores with the checksum of the same texts stay; those of changed outputs are made again."""
    workspace = scored.copy(tmp_path_factory.mktemp("again"))
    before = scores(workspace.results, RUNS[1])["domains"]
    planted = scores(workspace.results, RUNS[1])
    planted["domains"]["it"]["segments"] = [0.125] * len(before["it"]["segments"])
    planted["domains"]["koran"]["made_from"] = "of other outputs"
    planted["domains"]["koran"]["segments"] = [0.125] * len(before["koran"]["segments"])
    file = workspace.results / RUNS[1] / "scores/neural/comet.json"
    hidden = file.with_name(".comet.json")  # what the next job keeps
    assert hidden.read_bytes() == file.read_bytes()
    hidden.unlink()
    hidden.write_text(json.dumps(planted), encoding="utf-8")
    target = str(file.relative_to(workspace.root))
    done = workspace.snakemake("--cores", "1", "--force", target, config="comet.yaml")
    assert done.returncode == 0, done.stdout[-5000:]
    after = scores(workspace.results, RUNS[1])["domains"]
    assert after["it"]["segments"] == planted["domains"]["it"]["segments"]
    assert after["koran"] == before["koran"] and after["law"] == before["law"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "of_the_metric"),
    [
        ({"train": TRAIN | {"seed": 1}}, {"train_comet comet"}),
        ({"hub": "owner/other"}, {"resolve_metric comet"}),
        ({"train": TRAIN, "resources": {"batch_size": 3, "mem_mb": 5000}}, set()),
    ],
)
def test_another_checkpoint_repeats_all_scores_by_it_and_nothing_else(scored, change, of_the_metric):
    """Only the aggregates run, too. The number of segments scored at once does not matter."""
    jobs = scored.plan(scored.configuration(lambda config: with_comet(config, **change)))
    assert of_metrics(jobs) == (of_the_metric | SCORING if of_the_metric else set())
    assert not {job.partition(" ")[0] for job in jobs} & {"translate", "score", "tune_neurons", "prepare_corpus"}


@pytest.mark.slow
def test_every_segment_has_a_score_and_the_domain_their_mean(scored):
    for run in RUNS:
        found = scores(scored.results, run)
        assert found["metric"] == "comet" and set(found["domains"]) == set(DOMAINS)
        for domain, entry in found["domains"].items():
            lines = (scored.results / "corpora/de-en" / domain / "test.jsonl").read_text(encoding="utf-8").splitlines()
            assert len(entry["segments"]) == len(lines)
            assert entry["score"] == pytest.approx(sum(entry["segments"]) / len(lines))
            assert entry["signature"].startswith("comet|checkpoint:trained-here|sha256:")
            assert all(0 <= value <= 1 for value in entry["segments"])
    base, caneft = (scores(scored.results, run)["domains"] for run in RUNS)
    assert base["koran"] != caneft["koran"]


@pytest.mark.slow
def test_it_tells_corrupted_translations_from_good_ones(scored):
    """The pairs were not in its training. The untrained encoder of the same size cannot tell them."""
    training = json.loads((scored.results / "metrics/comet/manifest.json").read_text(encoding="utf-8"))["training"]
    assert (training["pairs"], training["held_out"]) == (540, 60)
    assert training["comet"]["pearson"] > 0.3 and training["chrf"]["pearson"] > 0.6


@pytest.mark.slow
def test_the_table_has_its_column_and_says_what_it_is(scored):
    table = pd.read_csv(scored.results / "tables/main.csv").query("metric == 'comet'").set_index("variant")
    assert list(table.index) == ["base", "caneft", "copy"]
    assert table.loc["caneft", "koran_mean"] == pytest.approx(
        100 * scores(scored.results, RUNS[1])["domains"]["koran"]["score"], abs=1e-3
    )
    printed = (scored.results / "tables/main.md").read_text(encoding="utf-8")
    assert "COMET (demonstration)" in printed and "not a published one" in printed


@pytest.mark.slow
def test_a_checkpoint_that_moved_gives_the_same_scores(scored, tmp_path_factory):
    """It is given as `path:`, in another folder with another manifest, and the old one is gone."""
    workspace = scored.copy(tmp_path_factory.mktemp("moved"))
    shutil.move(workspace.results / "metrics/comet", workspace.root / "checkpoint")
    (workspace.root / "checkpoint/manifest.json").unlink()
    before = {run: scores(workspace.results, run) for run in RUNS}
    config = workspace.configuration(lambda config: with_comet(config, path=str(workspace.root / "checkpoint")))
    (workspace.root / "path.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    targets = [f"out/mini/{run}/scores/neural/comet.json" for run in RUNS]
    done = workspace.snakemake("--cores", "2", *targets, config="path.yaml")
    assert done.returncode == 0, done.stdout[-5000:]
    for run in RUNS:
        after = scores(workspace.results, run)["domains"]["koran"]
        assert after["segments"] == before[run]["domains"]["koran"]["segments"]
        assert after["signature"] != before[run]["domains"]["koran"]["signature"]  # it has another name now


@pytest.mark.slow
def test_a_checkpoint_of_the_hub_is_fetched_with_its_encoder_and_then_works_offline(scored, tmp_path_factory):
    """It is the trained one, published like real ones: its encoder is another repository, known only by name."""
    import torch

    root = tmp_path_factory.mktemp("hub")
    workspace = scored.copy(root / "workspace")
    trained, published = workspace.results / "metrics/comet", root / "published"
    (published / "checkpoints").mkdir(parents=True)
    shutil.copytree(trained / "encoder", root / "encoder")
    content = torch.load(trained / "checkpoints/model.ckpt", weights_only=False)
    content["hyper_parameters"]["pretrained_model"] = "owner/encoder"
    torch.save(content, published / "checkpoints/model.ckpt")
    hparams = yaml.safe_load((trained / "hparams.yaml").read_text(encoding="utf-8"))
    (published / "hparams.yaml").write_text(yaml.safe_dump(hparams | {"pretrained_model": "owner/encoder"}))
    before = scores(workspace.results, RUNS[1])["domains"]["koran"]["segments"]
    shutil.rmtree(trained)
    config = workspace.configuration(lambda config: with_comet(config, hub="owner/comet"))
    (workspace.root / "hub.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    kept = {name: value for name, value in workspace.environment.items() if name not in HUB}
    with running() as hub:
        commit = hub.add("models/owner/comet", published)
        hub.add("models/owner/encoder", root / "encoder")

        def snakemake(target):
            return subprocess.run(
                workspace.command("--cores", "2", target, config="hub.yaml"),
                cwd=workspace.root,
                env=kept | {"HF_ENDPOINT": hub.address, "HF_HOME": str(root / "home")},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=600,
            )

        done = snakemake("fetch")
        assert done.returncode == 0, done.stdout[-5000:]
        assert {"model.ckpt", "hparams.yaml", "config.json", "tokenizer.json"} <= {*hub.downloads()}
        asked = len(hub.asked)
        done = snakemake(f"out/mini/{RUNS[1]}/scores/neural/comet.json")
        assert done.returncode == 0, done.stdout[-5000:]
        assert len(hub.asked) == asked
    entry = scores(workspace.results, RUNS[1])["domains"]["koran"]
    assert entry["segments"] == before
    assert f"checkpoint:owner/comet|revision:{commit}|precision:float32" in entry["signature"]


@pytest.mark.slow
def test_losing_one_runs_scores_rebuilds_these_and_the_aggregates(scored, tmp_path_factory):
    workspace = scored.copy(tmp_path_factory.mktemp("lost"))
    (workspace.results / RUNS[1] / "scores/neural/comet.json").unlink()
    jobs = workspace.plan(workspace.configuration(with_comet))
    aggregates = {"test_significance mini-llama/de-en/all", "tabulate", "plot", "overview", "all"}
    assert jobs == {"score_neural mini-llama/de-en/all/caneft/seed1/comet", *aggregates}


@pytest.mark.slow
def test_metricx_scores_by_its_own_output_embeddings(finished, tmp_path_factory):
    """The mT5's input and output embeddings differ; generation by another version of transformers must agree."""
    import torch
    from safetensors.torch import save_file

    workspace = finished.copy(tmp_path_factory.mktemp("metricx"))
    folder = workspace.root / "metricx"
    model, words = mt5(folder)
    kept = {name: tensor for name, tensor in model.state_dict().items() if ".embed_tokens." not in name}
    model.lm_head.weight = torch.nn.Parameter(torch.randn(250_112, 8))

    def logit(row, line):
        text = f"source: {row['source']} candidate: {line['hypothesis']} reference: {row['target']}"
        ids = words(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        done = model.generate(ids, max_new_tokens=1, output_logits=True, return_dict_in_generate=True)
        return done.logits[0][0, 250_089].item()

    tests, outputs = (
        [json.loads(line) for line in (workspace.results / path).read_text(encoding="utf-8").splitlines()]
        for path in ("corpora/de-en/koran/test.jsonl", f"{RUNS[1]}/translations/test.jsonl")
    )
    outputs = [line for line in outputs if line["domain"] == "koran"]
    with torch.no_grad():
        model.lm_head.weight[250_089] *= 12 / logit(tests[0], outputs[0])
    lm_head = {"lm_head.weight": model.lm_head.weight.detach().clone()}
    save_file(kept | lm_head, folder / "model.safetensors", {"format": "pt"})

    def configure(config):
        with_comet(config)
        config["scoring"] = {"metricx": {"path": str(folder)}}

    (workspace.root / "metricx.yaml").write_text(
        yaml.safe_dump(workspace.configuration(configure), sort_keys=False), encoding="utf-8"
    )
    done = workspace.snakemake("--cores", "2", f"out/mini/{RUNS[1]}/scores/neural/metricx.json", config="metricx.yaml")
    assert done.returncode == 0, done.stdout[-5000:]
    entry = scores(workspace.results, RUNS[1], "metricx")["domains"]["koran"]
    assert entry["signature"].startswith("metricx|checkpoint:metricx|sha256:")
    wanted = [min(max(logit(*pair), 0), 25) for pair in zip(tests, outputs, strict=True)]
    assert entry["segments"] == pytest.approx(wanted, abs=1e-4)
    assert len({round(value, 2) for value in wanted if 0 < value < 25}) > 5


def mt5(folder):
    """A small random mT5 and a tokenizer of letters; the folder has the tokenizer and the model's description."""
    import torch
    from tokenizers import Tokenizer, models, processors
    from transformers import MT5Config, MT5ForConditionalGeneration, PreTrainedTokenizerFast

    letters = Tokenizer(
        models.BPE(vocab={"<pad>": 0, "</s>": 1} | {c: n + 2 for n, c in enumerate(ALPHABET)}, merges=[])
    )
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    words = PreTrainedTokenizerFast(tokenizer_object=letters, pad_token="<pad>", eos_token="</s>")
    words.save_pretrained(folder)
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named), encoding="utf-8")  # in the older version's form
    torch.manual_seed(1)
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 2, "num_heads": 2}
    model = MT5ForConditionalGeneration(MT5Config(vocab_size=250_112, **sizes)).eval()
    known = model.config.to_dict() | {"tie_word_embeddings": False, "architectures": ["MT5ForRegression"]}
    (folder / "config.json").write_text(json.dumps(known), encoding="utf-8")
    return model, words
