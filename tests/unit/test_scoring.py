"""Scores compared with sacrebleu's own command line, health counts by hand, and refused translations."""

import json
import random
import subprocess
import sys
from typing import get_args

import pytest
from pytest import approx

from caneft.config import Scoring
from caneft.config.metrics import MEASURES, NEURAL
from caneft.corpora.store import Row, read_testset, write
from caneft.scoring import translated
from caneft.scoring.metrics import METRICS
from caneft.scoring.surface import corpus_scores, health, score
from tests.messages import refused

ENGLISH = ["the", "dog", "doesn't", "sleep", "(often)", "and", "7.5%", "of", "it's", "cats", "“purr”", "."]
CHINESE = ["狗", "睡觉", "在", "屋顶", "上", "，", "和", "猫", "2024年", "DNA", "。"]


def sentences(words, joint, count=40, seed=0):
    """References of random words, and hypotheses that keep about two thirds of each."""
    rng = random.Random(seed)
    references = [[rng.choice(words) for _ in range(rng.randint(4, 15))] for _ in range(count)]
    hypotheses = [[word if rng.random() < 0.67 else rng.choice(words) for word in r] for r in references]
    return [joint.join(h) for h in hypotheses], [joint.join(r) for r in references]


def command_line(tmp_path, hypotheses, references, metric, *options):
    """Score and signature of `python -m sacrebleu`."""
    for name, lines in (("hyp", hypotheses), ("ref", references)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", "ref", "-i", "hyp", "-m", metric, "-w", "4", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return found["score"], found["signature"]


CASES = {
    "bleu en": ("bleu", "en", sentences(ENGLISH, " "), []),
    "bleu zh": ("bleu", "zh", sentences(CHINESE, ""), ["-tok", "zh"]),
    "chrf en": ("chrf", "en", sentences(ENGLISH, " "), []),
    "chrf zh": ("chrf", "zh", sentences(CHINESE, ""), []),
    "ter en": ("ter", "en", sentences(ENGLISH, " "), []),
    "ter zh": ("ter", "zh", sentences(CHINESE, ""), ["--ter-normalized", "--ter-asian-support"]),
}


@pytest.mark.parametrize("metric, target, texts, options", CASES.values(), ids=CASES)
def test_scores_are_those_of_the_command_line(tmp_path, metric, target, texts, options):
    expected, signature = command_line(tmp_path, *texts, metric, *options)
    found = corpus_scores(*texts, target, [metric])[metric]
    assert 20 < expected < 90
    assert found["score"] == approx(expected, abs=6e-5)
    assert found["signature"] == signature


def test_every_metric_has_all_its_parts():
    """A metric needs its computation, its reading, and its name in the configuration."""
    configured = get_args(get_args(Scoring.model_fields["metrics"].annotation)[0])
    assert set(configured) == set(METRICS)
    assert {*METRICS, *NEURAL} == set(MEASURES)
    assert {name for name, measure in MEASURES.items() if measure.lower_is_better} == {"ter", "metricx"}


def test_the_tokenizer_follows_the_target_language():
    texts = sentences(CHINESE, "")
    by_language = {code: corpus_scores(*texts, code, ["bleu"])["bleu"] for code in ("zh", "en", "de")}
    assert "tok:zh" in by_language["zh"]["signature"].split("|")
    assert "tok:13a" in by_language["en"]["signature"].split("|")
    assert by_language["de"] == by_language["en"]
    assert by_language["zh"]["score"] > by_language["en"]["score"] + 5  # 13a takes a Chinese clause for one word


def test_only_the_metrics_asked_for():
    assert list(corpus_scores(["a b c d"], ["a b c d"], "en", ["chrf"])) == ["chrf"]


def test_exact_match_by_hand():
    """White space at the ends does not count, everything else does, so two of five are equal."""
    references = ["2021-04-03", "2021-04-03", "2021-04-03", "2021-04-03", "Ja"]
    hypotheses = ["2021-04-03", " 2021-04-03\n", "2021-4-3", "", "ja"]
    found = corpus_scores(hypotheses, references, None, ["exact"])
    assert found == {"exact": {"score": 40.0, "signature": "exact|norm:strip|version:1"}}
    assert corpus_scores(references, references, None, ["exact"])["exact"]["score"] == 100


def test_exact_match_refuses_texts_that_are_not_aligned():
    with refused("zip", by=ValueError):
        corpus_scores(["a"], ["a", "b"], None, ["exact"])


def test_health_by_hand():
    """Over-long means more than twice the reference's characters plus 20."""
    references = ["abcde", "abcde", "abcde", "abcde", ""]
    hypotheses = ["x" * 30, "x" * 31, "", " \n", "x" * 21]
    truncated = [True, True, False, False, True]
    counts = {"empty": 2, "truncated": 3, "overlong": 2}
    assert health(hypotheses, references, truncated, None) == counts | {"wrong_language": None}
    assert health(hypotheses, references, truncated, "klingon") == counts | {"wrong_language": None}


def test_outputs_in_a_wrong_language_by_hand():
    """The source's and a third language are wrong. Not counted: too little text, or a reference in that language."""
    german, french = (
        "Der Vertrag wird morgen geprüft und unterschrieben.",
        "Le contrat sera signé demain par le directeur.",
    )
    english = "The contract will be signed by the director tomorrow."
    hypotheses = [english, german, french, "Ja.", german, ""]
    references = [english, english, english, english, german, english]
    assert health(hypotheses, references, [False] * 6, "en")["wrong_language"] == 2
    assert health(hypotheses, references, [False] * 6, "de")["wrong_language"] == 0


@pytest.fixture
def references():
    return {
        "it": [Row("it.test.1", "Öffnen.", "Open."), Row("it.test.2", "Schließen Sie es.", "Close it.")],
        "law": [Row("law.test.1", "Artikel 7", "Article 7")],
    }


def line(name, text="x", flags=(), domain=None):
    return {"id": name, "domain": domain or name.split(".")[0], "hypothesis": text, "flags": list(flags)}


@pytest.fixture
def written(tmp_path):
    """Writes lines, given as objects or as text, to a file of translations."""

    def write(*lines):
        path = tmp_path / "test.jsonl"
        texts = (entry if isinstance(entry, str) else json.dumps(entry) for entry in lines)
        path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
        return path

    return write


GOOD = [line("it.test.1", "Open\u2028it"), line("law.test.1"), line("it.test.2", "", ["empty"])]


def of_adapters(name, adapter="it", **texts):
    return line(name, texts[adapter]) | {
        "adapter": adapter,
        "alternatives": texts,
        "source_loss": dict.fromkeys(texts, 1),
    }


def test_translations_come_back_by_domain_in_order(written, references):
    found = translated.read(written(*GOOD), references)
    assert found == {"it": [GOOD[0], GOOD[2]], "law": [GOOD[1]]}


def test_lines_of_other_domains_are_left_out(written, references):
    """A domain that is no longer needed stays in the file until the next translation."""
    found = translated.read(written(line("koran.test.1"), *GOOD, line("koran.test.2")), references)
    assert found == {"it": [GOOD[0], GOOD[2]], "law": [GOOD[1]]}


BROKEN = {
    "missing line": GOOD[:2],
    "swapped lines": [GOOD[2], GOOD[1], GOOD[0]],
    "line twice": [*GOOD, GOOD[1]],
    "other id": [line("it.test.7"), *GOOD[1:]],
    "cut line": [*GOOD[:2], json.dumps(GOOD[2])[:-9]],
    "blank line": [*GOOD, ""],
    "list": [*GOOD[:2], "[1, 2]"],
    "text": [*GOOD[:2], '"it.test.2"'],
    "no id": [{"domain": "it", "hypothesis": "x", "flags": []}, *GOOD[1:]],
    "no domain": [*GOOD[:2], {"id": "it.test.2", "hypothesis": "x", "flags": []}],
    "no hypothesis": [*GOOD[:2], {"id": "it.test.2", "domain": "it", "flags": []}],
    "hypothesis is null": [*GOOD[:2], line("it.test.2") | {"hypothesis": None}],
    "no flags": [*GOOD[:2], {"id": "it.test.2", "domain": "it", "hypothesis": "x"}],
    "flags are null": [*GOOD[:2], line("it.test.2") | {"flags": None}],
    "some lines have adapters": [of_adapters("it.test.1", it="x", law="y"), *GOOD[1:]],
    "adapters differ": [of_adapters("it.test.1", it="x"), GOOD[1], of_adapters("it.test.2", it="x", law="y")],
    "chosen differ": [
        of_adapters("it.test.1", it="x", law="y"),
        GOOD[1],
        of_adapters("it.test.2", "law", it="x", law="y"),
    ],
    "not the chosen": [line("law.test.1", "z") | {"adapter": "it", "alternatives": {"it": "x"}}, GOOD[0], GOOD[2]],
    "alternative is null": [of_adapters("law.test.1", it="x", law=None), GOOD[0], GOOD[2]],
    "domain is a list": [*GOOD[:2], line("it.test.2") | {"domain": ["it"]}],
}


@pytest.mark.parametrize("lines", BROKEN.values(), ids=BROKEN)
def test_translations_that_do_not_fit_are_refused_by_name(written, references, lines):
    with refused("test.jsonl"):
        translated.read(written(*lines), references)


def test_a_domains_scores(references):
    found = score(
        [line("it.test.1", "Open."), line("it.test.2", "Close i", ["truncated"])], references["it"], "en", ["chrf"]
    )
    assert found["segments"] == 2
    assert found["health"] == {"empty": 0, "truncated": 1, "overlong": 0, "wrong_language": 0}
    assert found["chrf"] == corpus_scores(["Open.", "Close i"], ["Open.", "Close it."], "en", ["chrf"])["chrf"]


def test_every_adapter_is_scored_beside_the_chosen_one(references):
    """By hand: law has every word, it has half of them; medical equals law, but law comes first."""
    texts = {"it": ("Open.", "x"), "law": ("Open.", "Close it."), "medical": ("Open.", "Close it.")}
    lines = [of_adapters(f"it.test.{i + 1}", **{name: both[i] for name, both in texts.items()}) for i in range(2)]
    found = score(lines, references["it"], "en", ["chrf", "bleu"])
    targets = ["Open.", "Close it."]
    plain = score([line(entry["id"], entry["hypothesis"]) for entry in lines], references["it"], "en", ["chrf", "bleu"])
    assert found["adapters"] == {name: corpus_scores(t, targets, "en", ["bleu", "chrf"]) for name, t in texts.items()}
    assert (found["chosen"], found["oracle"]) == ("it", "law")
    assert found["chrf"] == found["adapters"]["it"]["chrf"]
    assert plain == {key: value for key, value in found.items() if key not in ("adapters", "chosen", "oracle")}


def test_the_oracle_goes_by_the_headline_metric(references):
    """For these hypotheses BLEU and chrF2 prefer different adapters."""
    rows = [Row("it.test.1", "a", "the dog sleeps under international telecommunication tables")]
    texts = {"it": "the dog sleeps under", "law": "a dogs sleep internationale telecommunications table"}
    lines = [of_adapters("it.test.1", **texts)]
    assert score(lines, rows, "en", ["bleu", "chrf"])["oracle"] == "it"
    assert score(lines, rows, "en", ["chrf", "bleu"])["oracle"] == "law"
    by_ter = score(lines, rows, "en", ["ter"])
    reached = {adapter: found["ter"]["score"] for adapter, found in by_ter["adapters"].items()}
    assert by_ter["oracle"] == min(reached, key=reached.get) and len(set(reached.values())) == 2


def test_another_number_of_hypotheses_is_never_scored(references):
    with pytest.raises(ValueError):
        score([line("it.test.1")], references["it"], "en", ["chrf"])


def test_the_sources_are_their_own_translations(references):
    found = translated.copies(references)
    assert [entry["hypothesis"] for entry in found["it"]] == ["Öffnen.", "Schließen Sie es."]
    assert score(found["law"], references["law"], "en", ["chrf"])["health"]["empty"] == 0


def test_a_test_set_has_a_file_for_each_domain_or_one_whose_rows_say_it(tmp_path, references):
    paths = [tmp_path / f"{domain}.jsonl" for domain in references]
    for path, rows in zip(paths, references.values(), strict=True):
        write(path, rows)
    assert read_testset(["it", "law"], paths) == references
    assert read_testset(["law"], paths[1:]) == {"law": references["law"]}
    told = {domain: [row._replace(domain=domain) for row in rows] for domain, rows in references.items()}
    write(tmp_path / "dev.jsonl", [told["law"][0], *told["it"]])
    found = read_testset(["it", "law"], [tmp_path / "dev.jsonl"])
    assert found == told and list(found) == ["it", "law"]
    for path, rows in zip(paths, told.values(), strict=True):
        write(path, rows)
    assert read_testset(["it", "law"], paths) == told


@pytest.mark.parametrize(
    ("domains", "files", "facts"),
    [
        (["it"], ["dev"], ["dev.jsonl", "law.test.1", "domain law"]),
        (["it", "koran", "law"], ["dev"], ["dev.jsonl", "koran"]),
        (["it", "law"], ["it"], [1, 2, "it, law"]),
        (["it"], ["it", "dev"], [2, 1, "it"]),
    ],
)
def test_a_test_set_of_other_domains_is_an_error(tmp_path, references, domains, files, facts):
    write(tmp_path / "it.jsonl", references["it"])
    write(tmp_path / "dev.jsonl", [row._replace(domain=d) for d, rows in references.items() for row in rows])
    with refused(*facts):
        read_testset(domains, [tmp_path / f"{file}.jsonl" for file in files])
