"""Word tables of the German twin: one module per domain, the general vocabulary, and the polysemous nouns.

A table is text, one entry per line, columns separated by blanks; `caneft.demo.german.words` reads them:

    AGENTS, THINGS  noun, gender (m, f, n), English noun, suffix of the oblique cases if the noun is weak
    VERBS           infinitive, third person, participle (perfect with haben), then base, third person, participle
    ADJECTIVES      form without ending, English adjective

Nouns are countable and stay singular; verbs are transitive and inseparable; every English entry is one word.
A German word is in one table only, so that a domain's words identify the domain.
"""
