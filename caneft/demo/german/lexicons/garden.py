"""Gardening: plants, tools and their keepers."""

AGENTS = """
Bauer       m  farmer     n
Baumschule  f  nursery
Biene       f  bee
Gärtner     m  gardener
Imker       m  beekeeper
Schnecke    f  snail
"""

THINGS = """
Apfel        m  apple
Baum         m  tree
Blume        f  flower
Gewächshaus  n  greenhouse
Hecke        f  hedge
Rasen        m  lawn
Rose         f  rose
Samen        m  seed
Schaufel     f  shovel
Strauch      m  shrub
Teich        m  pond
Tomate       f  tomato
Topf         m  pot
Zaun         m  fence
"""

VERBS = """
bewässern  bewässert  bewässert    irrigate   irrigates   irrigated
düngen     düngt      gedüngt      fertilize  fertilizes  fertilized
ernten     erntet     geerntet     harvest    harvests    harvested
gießen     gießt      gegossen     water      waters      watered
mähen      mäht       gemäht       mow        mows        mown
pflanzen   pflanzt    gepflanzt    plant      plants      planted
pflegen    pflegt     gepflegt     tend       tends       tended
säen       sät        gesät        sow        sows        sown
schneiden  schneidet  geschnitten  prune      prunes      pruned
"""

ADJECTIVES = """
blühend  flowering
essbar   edible
feucht   moist
frisch   fresh
grün     green
reif     ripe
sonnig   sunny
trocken  dry
"""
