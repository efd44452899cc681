"""Subtitles: what people in films talk about."""

AGENTS = """
Bruder     m  brother
Chef       m  boss
Junge      m  boy      n
Killer     m  killer
Kumpel     m  buddy
Mädchen    n  girl
Polizist   m  cop      en
Schwester  f  sister
"""

THINGS = """
Bier       n  beer
Film       m  movie
Flasche    f  bottle
Geheimnis  n  secret
Geist      m  ghost
Handy      n  phone
Hotel      n  hotel
Hund       m  dog
Koffer     m  suitcase
Kuss       m  kiss
Lüge       f  lie
Party      f  party
Pistole    f  gun
Zigarette  f  cigarette
"""

VERBS = """
hassen      hasst      gehasst    hate    hates    hated
jagen       jagt       gejagt     chase   chases   chased
lieben      liebt      geliebt    love    loves    loved
retten      rettet     gerettet   rescue  rescues  rescued
rufen       ruft       gerufen    call    calls    called
stehlen     stiehlt    gestohlen  steal   steals   stolen
vermissen   vermisst   vermisst   miss    misses   missed
verstecken  versteckt  versteckt  hide    hides    hidden
werfen      wirft      geworfen   throw   throws   thrown
"""

ADJECTIVES = """
berühmt   famous
blöd      stupid
leis      quiet
lustig    funny
mutig     brave
nett      nice
verrückt  crazy
"""
