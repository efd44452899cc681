"""General vocabulary: the words that every domain may use, and the whole of the `general` texts."""

AGENTS = """
Familie  f  family
Frau     f  woman
Freund   m  friend
Gast     m  guest
Kind     n  child
Lehrer   m  teacher
Mann     m  man
Nachbar  m  neighbour  n
"""

THINGS = """
Antwort   f  answer
Auto      n  car
Bild      n  picture
Brief     m  letter
Buch      n  book
Frage     f  question
Geschenk  n  gift
Haus      n  house
Idee      f  idea
Stadt     f  city
Straße    f  street
Stuhl     m  chair
Tasche    f  bag
Tisch     m  table
Tür       f  door
Zimmer    n  room
"""

VERBS = """
beschreiben  beschreibt  beschrieben  describe  describes  described
brauchen     braucht     gebraucht    need      needs      needed
bringen      bringt      gebracht     bring     brings     brought
finden       findet      gefunden     find      finds      found
kaufen       kauft       gekauft      buy       buys       bought
nehmen       nimmt       genommen     take      takes      taken
sehen        sieht       gesehen      see       sees       seen
vergessen    vergisst    vergessen    forget    forgets    forgotten
zeigen       zeigt       gezeigt      show      shows      shown
"""

ADJECTIVES = """
alt      old
einfach  simple
groß     large
gut      good
klein    small
lang     long
neu      new
schön    beautiful
wichtig  important
"""

# Verbs that take a dass-clause.
REPORTING = """
glauben  glaubt  geglaubt  believe  believes  believed
hoffen   hofft   gehofft   hope     hopes     hoped
sagen    sagt    gesagt    say      says      said
wissen   weiß    gewusst   know     knows     known
"""

ADVERBS = """
dort      there
heute     today
hier      here
jetzt     now
manchmal  sometimes
oft       often
"""

PREPOSITIONS = """
für    acc  for
in     dat  in
mit    dat  with
nach   dat  after
neben  dat  beside
ohne   acc  without
"""
