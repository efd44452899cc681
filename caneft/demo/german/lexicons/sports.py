"""Sports: matches, players and their gear."""

AGENTS = """
Athlet          m  athlete     en
Gegner          m  opponent
Mannschaft      f  team
Schiedsrichter  m  referee
Spieler         m  player
Torwart         m  goalkeeper
Trainer         m  coach
Verein          m  club
"""

THINGS = """
Ball      m  ball
Elfmeter  m  penalty
Helm      m  helmet
Liga      f  league
Medaille  f  medal
Pokal     m  trophy
Rennen    n  race
Schläger  m  racket
Sieg      m  victory
Spiel     n  match
Stadion   n  stadium
Tor       n  goal
Trikot    n  jersey
Turnier   n  tournament
"""

VERBS = """
besiegen     besiegt     besiegt     defeat     defeats     defeated
fangen       fängt       gefangen    catch      catches     caught
feiern       feiert      gefeiert    celebrate  celebrates  celebrated
gewinnen     gewinnt     gewonnen    win        wins        won
schießen     schießt     geschossen  shoot      shoots      shot
spielen      spielt      gespielt    play       plays       played
trainieren   trainiert   trainiert   train      trains      trained
verlieren    verliert    verloren    lose       loses       lost
verteidigen  verteidigt  verteidigt  defend     defends     defended
"""

ADJECTIVES = """
beliebt       popular
fair          fair
offensiv      offensive
regional      regional
schnell       fast
sportlich     athletic
stark         strong
ungeschlagen  unbeaten
"""
