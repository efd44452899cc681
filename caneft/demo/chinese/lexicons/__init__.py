"""Word tables of the Chinese twin: one module a domain, the general vocabulary, and the polysemous nouns.

A table is text, one entry a line, columns separated by blanks; `caneft.demo.chinese.words` reads them:

    AGENTS, THINGS  noun, measure word, English noun
    VERBS           verb, then English base, third person, past, participle, present participle
    ADJECTIVES      adjective, with 的 where it has it before a noun; English adjective

Nouns are countable. Verbs are transitive actions that go with 了, 过, 正在, 被 and 把. Adjectives suit people and
things. Every English entry is one word. A Chinese word stands in one table only, so that a domain's words give the
domain away.
"""
