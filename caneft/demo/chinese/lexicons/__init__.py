"""Word tables of the Chinese twin: one module per domain, the general vocabulary, and the polysemous nouns.

A table is text, one entry per line, columns separated by blanks; `caneft.demo.chinese.words` reads them:

    AGENTS, THINGS  noun, measure word, English noun
    VERBS           verb, then English base, third person, past, participle, present participle
    ADJECTIVES      adjective, with 的 if it takes it before a noun; English adjective

Nouns are countable. Verbs are transitive actions that go with 了, 过, 正在, 被 and 把. Adjectives suit people and
things. Every English entry is one word. A Chinese word is in one table only, so that a domain's words identify the
domain.
"""
