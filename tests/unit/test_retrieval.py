"""Examples for prompts: BM25 by its formula, draws that depend on nothing else, and never the question itself."""

import hashlib
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from caneft import config
from caneft.corpora.store import Row
from caneft.translation.retrieval import Examples, bm25, tokens


def settings(retrieval="bm25", examples=2, seed=0):
    return config.Icl(method="icl", examples=examples, retrieval=retrieval, seed=seed)


def rows_of(*sources, domain="it"):
    return [Row(f"{domain}.train.{i}", source, f"of {source}", domain) for i, source in enumerate(sources)]


IT = rows_of("Der Hund schläft.", "Die Katze schläft auf dem Dach.", "Ein Hund bellt.", "Das Programm startet.")
LAW = rows_of("Artikel 7 gilt.", "Der Hund haftet nicht.", "Absatz 2 gilt nicht.", domain="law")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Der HUND schläft, Öl & 7.5%!", ["der", "hund", "schläft", "öl", "7", "5"]),
        ("doesn't", ["doesn", "t"]),
        ("狗在屋顶上睡觉。", ["狗在", "在屋", "屋顶", "顶上", "上睡", "睡觉"]),
        ("狗，DNA在2024年", ["狗", "dna", "在", "2024", "年"]),
        ("ねこが居る", ["ねこ", "こが", "が居", "居る"]),
        ("กินข้าว", ["กิ", "ิน", "นข", "ข้", "้า", "าว"]),
        ("개가 잔다", ["개가", "잔다"]),
        ("", []),
        ("… —", []),
    ],
)
def test_words_are_lower_case_and_texts_without_spaces_give_pairs_of_characters(text, expected):
    assert tokens(text) == expected


def by_formula(texts, query, k1=1.5, b=0.75):
    """Lucene's BM25: a sum over the query's words, term by term."""
    words = [text.lower().split() for text in texts]
    mean = sum(map(len, words)) / len(words)
    scores = []
    for document in words:
        score = 0.0
        for word in query.lower().split():
            containing = sum(word in other for other in words)
            idf = math.log(1 + (len(words) - containing + 0.5) / (containing + 0.5))
            count = Counter(document)[word]
            score += idf * count / (count + k1 * (1 - b + b * len(document) / mean))
        scores.append(score)
    return scores


def test_bm25_by_hand():
    """Two texts of one and three words: `a` is in both, `b` twice in the second only."""
    found = bm25(["a", "a b b"])("a b")
    idf_a, idf_b = math.log(1 + 0.5 / 2.5), math.log(1 + 1.5 / 1.5)
    short, long = 1 - 0.75 + 0.75 * 1 / 2, 1 - 0.75 + 0.75 * 3 / 2
    expected = [idf_a / (1 + 1.5 * short), idf_a / (1 + 1.5 * long) + idf_b * 2 / (2 + 1.5 * long)]
    assert found == approx(expected, rel=1e-12)


some_text = st.lists(st.sampled_from("abcde"), min_size=1, max_size=6).map(" ".join)


@given(texts=st.lists(some_text, min_size=1, max_size=8), query=some_text)
def test_bm25_is_its_formula(texts, query):
    assert bm25(texts)(query) == approx(by_formula(texts, query), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("texts", "query"), [(["a", "b"], "c"), (["a"], ""), (["a"], "…"), (["…", ""], "a")])
def test_without_a_common_word_every_score_is_zero(texts, query):
    assert bm25(texts)(query).tolist() == [0.0] * len(texts)


def test_the_most_similar_stands_last():
    found = Examples(IT, settings()).of("Die Katze bellt auf dem Dach.", "it")
    assert found == [(IT[i].source, IT[i].target) for i in (2, 1)]
    words = [" ".join(tokens(row.source)) for row in IT]
    scores = by_formula(words, "die katze bellt auf dem dach")
    assert scores[1] > scores[2] > max(scores[0], scores[3])


def test_of_equally_like_pairs_the_earlier_counts_as_the_liker():
    """Three sources differ only in case. Two of four pairs are shown, the first nearest to the question."""
    rows = rows_of("ein Hund", "Ein Hund", "EIN HUND", "eine Katze")
    assert [source for source, _ in Examples(rows, settings()).of("der Hund", "it")] == ["Ein Hund", "ein Hund"]
    assert [source for source, _ in Examples(rows, settings()).of("Maus", "it")] == ["Ein Hund", "ein Hund"]


@pytest.mark.parametrize("retrieval", ["random", "bm25"])
def test_a_domain_of_the_mixture_shows_its_own_pairs_and_another_those_of_all(retrieval):
    examples = Examples(IT + LAW, settings(retrieval, examples=20))
    found = {domain: set(examples.of("Der Hund gilt nicht.", domain)) for domain in ("it", "law", "koran")}
    its, laws = ({(row.source, row.target) for row in rows} for rows in (IT, LAW))
    assert found == {"it": its, "law": laws, "koran": its | laws}


def test_an_index_is_of_its_own_domain():
    """Among all pairs another would be more similar. Asking for one domain does not change the others."""
    examples = Examples(IT + LAW, settings(examples=1))
    for _ in range(2):
        assert examples.of("Der Hund haftet nicht!", "it") == [(IT[0].source, IT[0].target)]
        assert examples.of("Der Hund haftet nicht!", "koran") == [(LAW[1].source, LAW[1].target)]


@pytest.mark.parametrize("retrieval", ["random", "bm25"])
def test_the_question_itself_is_never_an_example(retrieval):
    rows = IT + [IT[0]._replace(target="another")] + LAW
    examples = Examples(rows, settings(retrieval, examples=20))
    shown = examples.of(IT[0].source, "it")
    assert len(shown) == 3 and IT[0].source not in [source for source, _ in shown]
    assert examples.withheld == 2
    assert len(examples.of(IT[0].source, "law")) == 3  # it is in another domain, so nothing was left out
    assert examples.withheld == 2
    examples.of(IT[1].source, "koran")
    assert examples.withheld == 3


def test_a_draw_is_of_its_source_and_seed_alone():
    rows = rows_of(*(f"Satz {i}" for i in range(50)))
    sources = [f"Frage {i}" for i in range(40)]

    def draws(sources, seed=0):
        examples = Examples(rows, settings("random", examples=3, seed=seed))
        return {source: examples.of(source, "it") for source in sources}

    found = draws(sources)
    assert draws(sources[::-1]) == found
    assert all(draws([source])[source] == found[source] for source in sources)
    assert len({tuple(shown) for shown in found.values()}) == 40
    assert draws(sources, seed=1) != found
    assert draws(sources, seed=77) != found
    assert all(len(set(shown)) == 3 for shown in found.values())


def test_a_draw_is_numpys_of_a_hash():
    """Python's own hash would differ between processes."""
    rows = rows_of("a", "b", "c", "d", "e")
    number = int.from_bytes(hashlib.sha256(b"7:Frage").digest()[:16], "big")
    chosen = np.random.default_rng(number).choice(5, size=2, replace=False)
    found = Examples(rows, settings("random", seed=7)).of("Frage", "it")
    assert found == [(rows[i].source, rows[i].target) for i in chosen]


def test_every_pair_is_drawn_about_as_often():
    rows = rows_of(*"abcdefgh")
    examples = Examples(rows, settings("random", examples=2))
    counts = Counter(source for i in range(2000) for source, _ in examples.of(f"Frage {i}", "it"))
    assert len(counts) == 8
    assert max(abs(count - 500) for count in counts.values()) < 5 * math.sqrt(2000 * 0.25 * 0.75)


@pytest.mark.parametrize("retrieval", ["random", "bm25"])
def test_fewer_pairs_than_asked_for_are_all_shown(retrieval):
    assert len(Examples(IT, settings(retrieval, examples=9)).of("Hund", "it")) == 4
    assert Examples(IT[:1], settings(retrieval)).of(IT[0].source, "it") == []
