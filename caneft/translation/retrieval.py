"""Chooses examples for a prompt: the pairs of a mixture that are shown before a source."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from caneft import config
from caneft.corpora.store import Row

# Scripts that are written without spaces between words: Thai, Lao, Burmese, Khmer, kana, Han with its extensions.
SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
RUN = re.compile(rf"([{SPACELESS}]+)|((?:(?![{SPACELESS}])\w)+)")


def tokens(text: str) -> list[str]:
    """Lower-cased words of a text, without punctuation and without stemming.

    A run of characters in a script without spaces gives its overlapping pairs of characters, or its only character.
    """
    found = []
    for spaceless, word in RUN.findall(text.lower()):
        pairs = [spaceless[i : i + 2] for i in range(len(spaceless) - 1)]
        found += pairs or [spaceless or word]
    return found


class Examples:
    """Finds the pairs that are shown before a source, among the training pairs of a mixture.

    rows: those pairs, with their domains. withheld: how many were left out, as their source is the one to translate.
    """

    def __init__(self, rows: Sequence[Row], settings: config.Icl):
        self.rows, self.settings, self.withheld = list(rows), settings, 0
        self._by_domain: dict[str | None, list[int]] = defaultdict(list)
        self._by_source: dict[str, list[int]] = defaultdict(list)
        for index, row in enumerate(self.rows):
            self._by_domain[row.domain].append(index)
            self._by_source[row.source].append(index)
        self._scorers: dict[str, Callable[[str], np.ndarray]] = {}

    def of(self, source: str, domain: str) -> list[tuple[str, str]]:
        """Sources and targets in the order in which they are shown: with BM25, the most similar one is last.

        They are pairs of the domain or, if the mixture lacks it, of the whole mixture; fewer than configured if there
        are no more. They depend only on the pairs, the settings, the source and the domain.
        """
        pool = np.array(self._by_domain.get(domain) or range(len(self.rows)), dtype=np.int64)
        free = ~np.isin(pool, self._by_source.get(source, ()))
        self.withheld += int((~free).sum())
        if self.settings.retrieval == "random":
            chosen = self._drawn(source, pool[free])
        else:
            chosen = pool[free][self._most_similar(self._scores(source, domain, pool)[free])]
        return [(self.rows[i].source, self.rows[i].target) for i in chosen]

    def _drawn(self, source: str, pool: np.ndarray) -> np.ndarray:
        """Draws for this source alone, so that neither other sources nor their order matter."""
        digest = hashlib.sha256(f"{self.settings.seed}:{source}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(digest[:16], "big"))
        return generator.choice(pool, size=min(self.settings.examples, len(pool)), replace=False)

    def _most_similar(self, scores: np.ndarray) -> np.ndarray:
        """Places of the highest scores, the highest last; among equal scores, the first place counts as the highest."""
        return np.argsort(-scores, kind="stable")[: self.settings.examples][::-1]

    def _scores(self, source: str, domain: str, pool: np.ndarray) -> np.ndarray:
        """BM25 score of each pair of the pool. Builds one index per pool."""
        key = domain if domain in self._by_domain else ""
        if key not in self._scorers:
            self._scorers[key] = bm25([self.rows[i].source for i in pool])
        return self._scorers[key](source)


def bm25(texts: Sequence[str]) -> Callable[[str], np.ndarray]:
    """Function from a query to the BM25 score of each text, float64: Lucene's form, k1 = 1.5, b = 0.75."""
    import bm25s  # here, because only this retrieval needs it

    words = [tokens(text) for text in texts]
    if not any(words):
        return lambda query: np.zeros(len(texts))
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75, dtype="float64", backend="numpy")
    index.index(words, show_progress=False)

    return lambda query: index.get_scores_from_ids(index.get_tokens_ids(tokens(query)))
