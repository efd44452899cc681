"""Law: courts, contracts and statutes."""

AGENTS = """
Anwalt     m  lawyer
Behörde    f  authority
Gericht    n  court
Kläger     m  plaintiff
Parlament  n  parliament
Richter    m  judge
Zeuge      m  witness     n
"""

THINGS = """
Abkommen    n  agreement
Antrag      m  application
Artikel     m  article
Beschluss   m  decision
Frist       f  deadline
Gesetz      n  law
Klage       f  lawsuit
Richtlinie  f  directive
Strafe      f  penalty
Urteil      n  ruling
Verordnung  f  regulation
Vertrag     m  contract
Vorschrift  f  rule
"""

VERBS = """
ändern         ändert         geändert       amend    amends     amended
bestätigen     bestätigt      bestätigt      confirm  confirms   confirmed
begründen      begründet      begründet      justify  justifies  justified
erlassen       erlässt        erlassen       enact    enacts     enacted
genehmigen     genehmigt      genehmigt      approve  approves   approved
prüfen         prüft          geprüft        review   reviews    reviewed
unterzeichnen  unterzeichnet  unterzeichnet  sign     signs      signed
verbieten      verbietet      verboten       forbid   forbids    forbidden
verlängern     verlängert     verlängert     extend   extends    extended
"""

ADJECTIVES = """
gerichtlich  judicial
gültig       valid
national     national
rechtlich    legal
strafbar     punishable
verbindlich  binding
vertraglich  contractual
"""
