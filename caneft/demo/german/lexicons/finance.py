"""Finance: accounts, markets and investors."""

AGENTS = """
Anleger      m  investor
Berater      m  adviser
Gläubiger    m  creditor
Händler      m  trader
Kunde        m  customer  n
Schuldner    m  debtor
Unternehmen  n  company
"""

THINGS = """
Aktie      f  share
Anleihe    f  bond
Betrag     m  amount
Dividende  f  dividend
Gebühr     f  fee
Gewinn     m  profit
Haushalt   m  budget
Konto      n  account
Kredit     m  loan
Markt      m  market
Rechnung   f  invoice
Steuer     f  tax
Verlust    m  loss
Währung    f  currency
"""

VERBS = """
berechnen    berechnet   berechnet   calculate  calculates  calculated
bezahlen     bezahlt     bezahlt     pay        pays        paid
buchen       bucht       gebucht     post       posts       posted
erhöhen      erhöht      erhöht      increase   increases   increased
finanzieren  finanziert  finanziert  finance    finances    financed
senken       senkt       gesenkt     reduce     reduces     reduced
überweisen   überweist   überwiesen  transfer   transfers   transferred
verkaufen    verkauft    verkauft    sell       sells       sold
verwalten    verwaltet   verwaltet   manage     manages     managed
"""

ADJECTIVES = """
finanziell      financial
günstig         cheap
international   international
jährlich        annual
privat          private
riskant         risky
wirtschaftlich  economic
"""
