"""Information technology: files, programs and the people who run them."""

AGENTS = """
Benutzer    m  user
Browser     m  browser
Entwickler  m  developer
Programm    n  program
Rechner     m  computer
Server      m  server
"""

THINGS = """
Bildschirm   m  screen
Datei        f  file
Datenbank    f  database
Drucker      m  printer
Fehler       m  error
Fenster      n  window
Menü         n  menu
Ordner       m  folder
Passwort     n  password
Skript       n  script
Symbol       n  icon
Taste        f  button
Verzeichnis  n  directory
"""

VERBS = """
aktualisieren  aktualisiert  aktualisiert  update   updates   updated
drucken        druckt        gedruckt      print    prints    printed
formatieren    formatiert    formatiert    format   formats   formatted
installieren   installiert   installiert   install  installs  installed
kopieren       kopiert       kopiert       copy     copies    copied
laden          lädt          geladen       load     loads     loaded
löschen        löscht        gelöscht      delete   deletes   deleted
öffnen         öffnet        geöffnet      open     opens     opened
speichern      speichert     gespeichert   save     saves     saved
"""

ADJECTIVES = """
aktiv          active
automatisch    automatic
binär          binary
digital        digital
leer           empty
lokal          local
verschlüsselt  encrypted
virtuell       virtual
"""
