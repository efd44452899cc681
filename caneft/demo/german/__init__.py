"""The German twin. Of its domains, `koran` is unseen in the demo; `garden`, `finance` and `sports` are spare."""

from caneft.demo.german.grammar import MODALS, german, order
from caneft.demo.german.words import VOCABULARY
from caneft.demo.sampling import Writer
from caneft.demo.twin import Twin


class GermanWriter(Writer):
    """Draws sentences with the frequencies of German."""

    vocabulary = VOCABULARY
    kinds = ("statement",) * 11 + ("question",) * 2 + ("when",) * 4 + ("that",) * 3
    forms = consequences = ("present",) * 8 + ("perfect",) * 5 + ("passive",) * 5 + ("modal",) * 6
    modals = tuple(MODALS)
    determiners = ("the",) * 10 + ("a",) * 6 + ("this",) * 3 + ("every",)


TWIN = Twin(GermanWriter, german, order, length=lambda source: len(source.split()), lengths=range(4, 17))
