"""Chinese words of the demo corpus, read from the tables in `lexicons`."""

from functools import partial
from typing import NamedTuple

from caneft.demo import words
from caneft.demo.chinese.lexicons import education, general, laws, microblog, news, polysemous, science, spoken, thesis


class Noun(NamedTuple):
    """A noun and its measure word. A polysemous one has no `english`; its `senses` are in the order of the domains."""

    word: str
    measure: str
    english: str = ""
    senses: tuple[str, ...] = ()


class Verb(NamedTuple):
    """A transitive action, with all forms of the English verb."""

    word: str
    english: str
    english_third: str
    english_past: str
    english_participle: str
    english_progressive: str


class Adjective(NamedTuple):
    word: str
    english: str


class Adverb(NamedTuple):
    """An adverb of time. forms: those of the clauses that it goes with, "modal" for all modals."""

    word: str
    forms: tuple[str, ...]
    english: str


class Preposition(NamedTuple):
    """The words before and after a noun phrase. nouns: "any" thing or "abstract"; forms: as in `Adverb`."""

    before: str
    behind: str
    nouns: str
    forms: tuple[str, ...]
    english: str


def _forms(column: str) -> tuple[str, ...]:
    return tuple(form.replace("_", " ") for form in column.split(","))


def _polysemous(table: str) -> tuple[Noun, ...]:
    return tuple(Noun(word, measure, senses=tuple(senses)) for word, measure, *senses in words.rows(table)[1:])


_lexicon = partial(words.lexicon, noun=Noun, verb=Verb, adjective=Adjective)

VOCABULARY = words.Vocabulary(
    domains=tuple(words.rows(polysemous.AGENTS)[0][2:]),
    polysemous_agents=_polysemous(polysemous.AGENTS),
    polysemous_things=_polysemous(polysemous.THINGS),
    general=_lexicon(general),
    lexicons={
        "education": _lexicon(education),
        "spoken": _lexicon(spoken),
        "thesis": _lexicon(thesis),
        "science": _lexicon(science),
        "microblog": _lexicon(microblog),
        "news": _lexicon(news),
        "laws": _lexicon(laws),
    },
    reporting=tuple(Verb(*row) for row in words.rows(general.REPORTING)),
    adverbs=tuple(Adverb(word, _forms(forms), english) for word, forms, english in words.rows(general.ADVERBS)),
    prepositions=tuple(
        Preposition(before, behind.replace("-", ""), nouns, _forms(forms), english)
        for before, behind, nouns, forms, english in words.rows(general.PREPOSITIONS)
    ),
)
