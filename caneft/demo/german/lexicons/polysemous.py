"""Polysemous nouns: one German noun, one gender, and a different English noun in each domain.

Some senses are the dictionary's, some are stretched so that every domain has its own. The columns name the domains, in
the order of the twin's domains; the last three are spare.
"""

TABLE = """
noun       gender  it          law         medical         subtitles  koran       garden       finance     sports

Absatz     m       paragraph   subsection  heel            landing    verse       terrace      turnover    cleat
Anlage     f       attachment  annex       predisposition  plant      garden      planting     investment  facility
Bank       f       array       dock        store           bench      seat        ledge        bank        sideline
Bericht    m       log         report      chart           story      narration   diary        statement   commentary
Blatt      n       sheet       page        blade           newspaper  scroll      leaf         journal     paddle
Fall       m       instance    case        episode         fall       downfall    drop         slump       tumble
Feld       n       field       area        region          meadow     land        plot         sector      pitch
Kreis      m       loop        district    cycle           circle     community   ring         group       squad
Kurs       m       tutorial    seminar     regimen         class      path        workshop     price       track
Leiter     m       conductor   head        chief           captain    guide       overseer     manager     director
Mutter     f       master      guardian    mother          mom        origin      rootstock    parent      nut
Netz       n       network     scheme      mesh            web        snare       netting      grid        net
Satz       m       record      clause      kit             phrase     saying      crop         rate        set
Schloss    n       lock        padlock     clasp           castle     palace      latch        vault       buckle
Schlüssel  m       token       formula     code            key        clue        wrench       ratio       spanner
Spiegel    m       replica     scale       level           mirror     reflection  pool         survey      target
Stelle     f       digit       office      spot            job        passage     site         vacancy     place
Strom      m       stream      influx      current         crowd      river       brook        flow        wave
Zelle      f       slot        jail        cell            booth      chamber     compartment  box         cubicle
Zug        m       stroke      trait       breath          train      procession  draught      trend       move
"""
