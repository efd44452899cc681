"""Medicine: doctors, diseases and drugs."""

AGENTS = """
Apotheker  m  pharmacist
Arzt       m  doctor
Chirurg    m  surgeon     en
Klinik     f  clinic
Labor      n  laboratory
Patient    m  patient     en
Pfleger    m  nurse
"""

THINGS = """
Allergie    f  allergy
Dosis       f  dose
Impfstoff   m  vaccine
Infektion   f  infection
Knochen     m  bone
Krankheit   f  disease
Leber       f  liver
Lunge       f  lung
Medikament  n  drug
Muskel      m  muscle
Salbe       f  ointment
Spritze     f  syringe
Tumor       m  tumour
Wunde       f  wound
"""

VERBS = """
behandeln        behandelt       behandelt       treat       treats       treated
diagnostizieren  diagnostiziert  diagnostiziert  diagnose    diagnoses    diagnosed
entfernen        entfernt        entfernt        remove      removes      removed
heilen           heilt           geheilt         heal        heals        healed
injizieren       injiziert       injiziert       inject      injects      injected
lindern          lindert         gelindert       relieve     relieves     relieved
messen           misst           gemessen        measure     measures     measured
untersuchen      untersucht      untersucht      examine     examines     examined
verabreichen     verabreicht     verabreicht     administer  administers  administered
verschreiben     verschreibt     verschrieben    prescribe   prescribes   prescribed
"""

ADJECTIVES = """
akut         acute
chronisch    chronic
gefährlich   dangerous
klinisch     clinical
krank        sick
schmerzhaft  painful
steril       sterile
wirksam      effective
"""
