"""Markup dropped from a translation memory leaves a space only where it separated words."""

import pytest

from caneft import config
from caneft.corpora import readers
from caneft.corpora.readers import tmx


@pytest.fixture
def read(tmp_path):
    """Reads the text of a segment that is the source side of the only unit."""

    def written_and_read(seg):
        unit = f'<tu><tuv xml:lang="de"><seg>{seg}</seg></tuv><tuv xml:lang="en"><seg>x</seg></tuv></tu>'
        (tmp_path / "memory.tmx").write_text(f"<tmx><body>{unit}</body></tmx>", encoding="utf-8")
        source = config.Tmx(format="tmx", path="memory.tmx", source_language="de", target_language="en")
        ((_, text, _),) = readers.read(source, "train", tmp_path.joinpath)
        return text

    return written_and_read


@pytest.mark.parametrize(
    ("seg", "text"),
    [
        # line breaks, in every way to write them
        ("First line<ph>&lt;br/&gt;</ph>second line", "First line second line"),
        ("Erste.<ph>&lt;br /&gt;</ph>Zweite.", "Erste. Zweite."),
        ("one<ph>&amp;lt;BR&amp;gt;</ph>two", "one two"),  # escaped twice, as some programs do
        ("one<it pos='begin'>&lt;p&gt;</it>two", "one two"),
        ("<bpt i='1'>&lt;li&gt;</bpt>Eins<ept i='1'>&lt;/li&gt;</ept><bpt i='2'>&lt;li&gt;</bpt>Zwei", "Eins Zwei"),
        ("Name<ut>\\tab </ut>Wert<ut>{\\par }</ut>(leer)", "Name Wert (leer)"),
        ("one<ph>\\n</ph>two", "one two"),
        ("one<ph>&#10;</ph>two", "one two"),
        ("10<ph>&amp;nbsp;</ph>km", "10 km"),
        ("one<br/>two", "one two"),  # not valid TMX, but it occurs
        ("one<x id='1' ctype='lb'/>2", "one 2"),
        ("one<x id='1' equiv-text='&lt;br&gt;'/>2", "one 2"),
        ("one<ph type='x-br'/>2", "one 2"),
        ("一<ph>&lt;br/&gt;</ph>二", "一 二"),
        # a placeholder between two letters
        ("File<x id='1'/>menu", "File menu"),
        ("File<ph x='1'/>menu", "File menu"),
        ("Klick<ph>&lt;img src='a.png'/&gt;</ph>hier", "Klick hier"),
        ("Hallo<ph>{0}</ph><ph>{1}</ph>Welt", "Hallo Welt"),
        ("मेरा<ph>{0}</ph>घर", "मेरा घर"),  # the first word ends in a vowel sign, which is a mark
        # no second space, and none at the ends
        ("one <ph>&lt;br/&gt;</ph>two", "one two"),
        ("one<ph>&lt;br/&gt;</ph> two", "one two"),
        ("<ph>&lt;br/&gt;</ph>one<ph>&lt;br/&gt;</ph>", "one"),
        ("one<ph>&lt;br/&gt;</ph><ph>&lt;br/&gt;</ph>two", "one two"),
    ],
)
def test_a_space_where_words_were_parted(read, seg, text):
    assert read(seg) == text


@pytest.mark.parametrize(
    ("seg", "text"),
    [
        ("<bpt i='1'>&lt;b&gt;</bpt>H<ept i='1'>&lt;/b&gt;</ept>aus", "Haus"),
        ("H<it pos='begin'>{\\i</it>aus<it pos='end'>}</it>", "Haus"),
        ("H<ph>&lt;b&gt;</ph>aus<ph>&lt;/b&gt;</ph>halt", "Haushalt"),
        ("H<ph>{\\b\\fs20 </ph>aus<ph>}</ph>halt", "Haushalt"),
        ("E<ph type='bold'/>inzel<ph ctype='x-italic'/>fall", "Einzelfall"),
        ("Donau<ph>&amp;shy;</ph>dampf<ph>&lt;wbr&gt;</ph>schiff<ph>\u200b</ph>fahrt", "Donaudampfschifffahrt"),
        ("a<ut>{\\cf1</ut>b<ut>\\pard\\plain </ut>c", "abc"),
        ("Ende<ph>{1}</ph>.", "Ende."),
        ("(<ph>{1}</ph>x<ph>{2}</ph>)", "(x)"),
        ("H<ph>{1}</ph>2", "H2"),
        ("中<ph>{1}</ph>文、ไทย<ph>{1}</ph>ไทย", "中文、ไทยไทย"),  # these scripts have no spaces between words
        (
            "siehe<bpt i='1'>&lt;fn <sub>eine<ph type='lb'>&lt;br/&gt;</ph>Note</sub>&gt;</bpt>oben<ept i='1'/>",
            "sieheoben",
        ),
        ("H<hi type='bold'>au</hi>s", "Haus"),
        ("H<mrk mtype='term'>au</mrk><g id='1'>s</g>", "Haus"),
    ],
)
def test_no_space_otherwise(read, seg, text):
    assert read(seg) == text


def test_pieces_in_which_a_file_is_read_are_no_matter(read, monkeypatch):
    seg = "First line<ph>&lt;br/&gt;</ph>second<x id='1'/>line<bpt i='1'>{\\b</bpt>s<ept i='1'>}</ept>"
    for chunk in (1, 2, 3, 7):
        monkeypatch.setattr(tmx, "CHUNK", chunk)
        assert read(seg) == "First line second lines"


def test_markup_of_any_length_is_left_out(read):
    assert read(f"a<ph>{'&lt;x ' * 100_000}</ph>b") == "a b"
