"""Scripture and ethics, in neutral words: the domain that is tested without training."""

AGENTS = """
Bote      m  messenger  n
Diener    m  servant
Engel     m  angel
Pilger    m  pilgrim
Prediger  m  preacher
Prophet   m  prophet    en
Volk      n  nation
"""

THINGS = """
Botschaft    f  message
Gebet        n  prayer
Gebot        n  commandment
Glaube       m  faith        n
Gnade        f  mercy
Himmel       m  heaven
Moschee      f  mosque
Offenbarung  f  revelation
Paradies     n  paradise
Schrift      f  scripture
Seele        f  soul
Segen        m  blessing
Verheißung   f  promise
Zeichen      n  sign
"""

VERBS = """
achten      achtet     geachtet   respect   respects   respected
befolgen    befolgt    befolgt    obey      obeys      obeyed
belohnen    belohnt    belohnt    reward    rewards    rewarded
bewahren    bewahrt    bewahrt    preserve  preserves  preserved
ehren       ehrt       geehrt     honour    honours    honoured
hören       hört       gehört     hear      hears      heard
offenbaren  offenbart  offenbart  reveal    reveals    revealed
preisen     preist     gepriesen  praise    praises    praised
segnen      segnet     gesegnet   bless     blesses    blessed
verkünden   verkündet  verkündet  proclaim  proclaims  proclaimed
"""

ADJECTIVES = """
barmherzig  merciful
demütig     humble
ewig        eternal
gerecht     righteous
gläubig     faithful
heilig      holy
rein        pure
"""
