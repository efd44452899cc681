"""The Chinese twin in both directions, up to the tables: the target language decides how scores are tokenized."""

import json

import pandas as pd
import pytest
from sacrebleu.metrics import BLEU

CONFIG = "tests/workflow/mini-zh.yaml"
DOMAINS = ["education", "science", "thesis"]
TOKENIZER = {"zh-en": "13a", "en-zh": "zh"}
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chinese")]


@pytest.fixture(scope="module")
def results(pristine, tmp_path_factory):
    workspace = pristine.copy(tmp_path_factory.mktemp("chinese"))
    done = workspace.snakemake("--cores", "2", "tables", config=CONFIG, forked=True)
    assert done.returncode == 0, done.stdout[-5000:]
    return workspace.results


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("direction", TOKENIZER)
def test_scores_are_those_of_the_tokenizer_of_the_target_language(results, direction):
    folder = results / "runs/mini-llama" / direction / "all/caneft/seed1"
    differences = []  # from 13a, for which a Chinese sentence is one word
    scores = json.loads((folder / "scores/test.json").read_text(encoding="utf-8"))["domains"]
    assert sorted(scores) == DOMAINS
    translations = lines(folder / "translations/test.jsonl")
    for domain in DOMAINS:
        hypotheses = [line["hypothesis"] for line in translations if line["domain"] == domain]
        references = [row["target"] for row in lines(results / f"corpora/{direction}/{domain}/test.jsonl")]
        expected = BLEU(trg_lang=direction[-2:]).corpus_score(hypotheses, [references]).score
        assert scores[domain]["bleu"]["score"] == expected
        assert f"|tok:{TOKENIZER[direction]}|" in scores[domain]["bleu"]["signature"]
        differences.append(BLEU(tokenize="13a").corpus_score(hypotheses, [references]).score - expected)
    assert any(differences) == (direction == "en-zh")


def test_one_corpus_serves_both_directions(results):
    paths = list((results / "corpora/zh-en").rglob("test.jsonl"))
    assert len(paths) == 3
    for path in paths:
        there = [(row["id"], row["source"], row["target"]) for row in lines(path)]
        back = lines(results / "corpora/en-zh" / path.relative_to(results / "corpora/zh-en"))
        assert there == [(row["id"], row["target"], row["source"]) for row in back]
        assert all("\u4e00" <= source[0] <= "\u9fff" and target[0].isascii() for _, source, target in there)


def test_the_main_table_has_a_block_for_each_direction(results):
    table = pd.read_csv(results / "tables/main.csv")
    blocks = table.query("metric == 'bleu'").groupby("direction")["variant"].agg(list).to_dict()
    assert blocks == dict.fromkeys(TOKENIZER, ["base", "caneft", "copy"])
    printed = (results / "tables/main.md").read_text(encoding="utf-8")
    assert "tok:zh" in printed and "tok:13a" in printed
