"""One side of a pair: what repairs change and what they must not change, and which texts count as alike."""

import unicodedata

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from caneft.corpora import sides
from caneft.corpora.sides import has_inner_control, key, normalise, without_mojibake

GERMAN = (
    "Für jede Größe gilt: Öffnen Sie das Menü „Über uns“ …",
    "Prüfen Sie die Änderung – sie schließt ältere Aufträge aus.",
    "Der Preis beträgt 5 € (etwa 4,50 £).",
)


@pytest.mark.parametrize("text", GERMAN)
@pytest.mark.parametrize("encodings", [["latin-1"], ["latin-1", "latin-1"], ["cp1252"]])
def test_what_was_decoded_wrongly_is_restored(text, encodings):
    broken = text
    for encoding in encodings:
        broken = broken.encode("utf-8").decode(encoding)
    assert broken != text
    assert without_mojibake(broken) == text
    assert without_mojibake(f"In einem Satz: {broken}\n") == f"In einem Satz: {text}\n"


@pytest.mark.parametrize(
    "text",
    [
        *GERMAN,
        "Ä. Ãh, Â, São Paulo, ÂNCORA, CORAÇÃO, déjà vu, l’été, Ñandú",
        "“quotes” ‘and’ ﬁne ligatures, Ｗｉｄｔｈ, &amp; &#228; entities, a\u0308",
        "表格：“你好”，ＡＢＣ。《论语》——“学而时习之，不亦说乎？”",
        "Ôáìåßï Óýíôáîçò Ìç÷áíéêþí",  # Greek in Windows-1253, which ftfy does not recognise
        "line\u2028separators\x00and\x0bcontrols\r\n",
    ],
)
def test_other_text_is_left_alone(text):
    assert without_mojibake(text) == text


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_left_alone_by_ftfy_itself(text):
    import ftfy

    assert ftfy.fix_encoding(text) == text == without_mojibake(text)


@settings(deadline=None)
@given(st.text(), st.integers(0, 3))
def test_control_characters_count_between_others_only(text, place):
    inner = "a" * place + "b" + "\x07" + "c"
    assert has_inner_control(inner) and not has_inner_control(f"\n\t{inner.replace(chr(7), '')}\r\n")
    assert has_inner_control(text) or "\x07" not in normalise(text)


MARK = r"[\p{P}\p{Z}]"


UNSEEN = r"[\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]"


@settings(deadline=None)
@given(
    st.text(st.sampled_from("aÄß1 2.,-–(«<+€#\u3000。表١\u200b\u00ad\u0301\ufe0f\u2800"), max_size=12)
    | st.text(max_size=12)
)
def test_key_is_what_two_regular_expressions_leave(text):
    if regex.search(UNSEEN, text):
        text = normalise(regex.sub(UNSEEN, "", text))
    between = regex.sub(rf"(?<=\d){MARK}+(?=\d)", "|", text.casefold())
    assert key(text) == (regex.sub(MARK, "", between) or text)


@settings(deadline=None)
@given(st.text())
def test_key_ignores_case_and_marks_around_letters(text):
    letters = [c for c in unicodedata.normalize("NFC", text) if c.isalpha()]
    assert key("".join(letters)) == key("… ".join(letters)) == key(f"({''.join(letters)})!") or not letters


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Das Haus.", "das HAUS", True),
        ("Straße", "STRASSE", True),
        ("2.5 mg", "2,5 mg", True),
        ("2.5 mg", "25 mg", False),
        ("2.5 mg", "2.6 mg", False),
        ("1 000", "1.000", True),
        ("Nr. 2 (5)", "Nr. 2, 5", True),
        ("a < b", "a > b", False),
        ("...", "?", False),
        ("这是。", "这是.", True),
    ],
)
def test_keys_by_hand(one, other, alike):
    assert (key(one) == key(other)) is alike


def test_the_languages_of_the_detector_are_loaded_once(monkeypatch):
    """Loading takes a third of a second, so it happens once for all languages; no call changes another one's set."""
    from py3langid.langid import LanguageIdentifier

    read, loaded = LanguageIdentifier.from_model_file, []
    monkeypatch.setattr(LanguageIdentifier, "from_model_file", lambda *given: loaded.append(given) or read(*given))
    for cached in (sides._model, sides._identifier, sides.label):
        cached.cache_clear()
    for tag in ("de", "en", "xh", "de"):
        assert sides.language("Der Vertrag ist gültig, bis er gekündigt wird.", tag) == "de"
    assert len(loaded) == 1


def test_no_one_sees_what_unicode_calls_ignorable():
    """Checked for all characters by regex's Unicode tables, plus blank Braille and format characters."""
    everything = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))
    unseen = set(regex.findall(r"[\p{Default_Ignorable_Code_Point}\u2800]", everything))
    unseen |= {character for character in everything if unicodedata.category(character) == "Cf"}
    table = sides._Invisible()
    assert {character for character in everything if table[ord(character)] is None} == unseen
