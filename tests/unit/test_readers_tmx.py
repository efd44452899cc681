"""Translation memories: what is text, which variant is on which side, what is refused, and that memory stays small."""

import time
import tracemalloc
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caneft import config
from caneft.config import languages
from caneft.corpora import readers, store
from caneft.corpora.readers import Pair, tmx
from tests.messages import refused


@pytest.fixture
def read(tmp_path):
    """Reads bytes, or a body's text, as a memory of German and English."""

    def written_and_read(data, source_language="de", target_language="en", **more):
        if isinstance(data, str):
            data = f'<?xml version="1.0"?>\n<tmx version="1.4"><header/><body>{data}</body></tmx>'.encode()
        (tmp_path / "memory.tmx").write_bytes(data)
        codes = {"source_language": source_language, "target_language": target_language}
        source = config.Tmx(format="tmx", path="memory.tmx", **codes, **more)
        return list(readers.read(source, "train", tmp_path.joinpath))

    return written_and_read


def variant(language, seg):
    return f'<tuv xml:lang="{language}"><seg>{seg}</seg></tuv>'


def unit(*variants):
    return f"<tu>{''.join(variant(*entry) for entry in variants)}</tu>\n"


@pytest.mark.parametrize(
    ("seg", "text"),
    [
        ("Fish &amp; chips &#x1F35F; &lt;b>", "Fish & chips 🍟 <b>"),
        ("<![CDATA[a < b & c]]>", "a < b & c"),
        ('<bpt i="1">&lt;b&gt;</bpt>bold<ept i="1">&lt;/b&gt;</ept> text', "bold text"),
        ('H<it pos="begin">{\\i</it>aus', "Haus"),
        ('a<ph x="1">{1}</ph>b', "a b"),
        ('one<ph type="lb">&lt;br/&gt;</ph>two', "one two"),
        ('<hi type="bold">high</hi> light', "high light"),
        ('see<bpt i="1">&lt;fn <sub>a footnote <ph/>here</sub> &gt;</bpt> below<ept i="1"/>', "see below"),
        ("a<ut>{\\cf1</ut>b", "ab"),
        ("<hi>a<ph>x<sub>y</sub></ph>b</hi>c", "a bc"),
        ("kept<!-- a comment --><?pi x?>", "kept"),
        ("", ""),
        ("\n  on two\n  lines ", "\n  on two\n  lines "),
    ],
)
def test_text_of_a_segment(read, seg, text):
    assert read(unit(("de", "x"), ("en", seg))) == [Pair(1, "x", text)]


INLINE = st.sampled_from(["bpt", "ept", "it", "ph", "ut", "hi", "sub", "x"])
TREES = st.recursive(
    st.text(st.sampled_from("aü🙂 <&'\""), max_size=5),
    lambda inner: st.tuples(INLINE, st.lists(inner, max_size=3)),
    max_leaves=12,
)


def element(name, parts):
    """An element of nested (name, parts) tuples and texts."""
    made, last = ElementTree.Element(name), None
    for part in parts:
        if isinstance(part, tuple):
            last = element(*part)
            made.append(last)
        elif last is None:
            made.text = (made.text or "") + part
        else:
            last.tail = (last.tail or "") + part
    return made


def pieces(parts):
    """Characters of text, and the dropped elements between them, in order."""
    for part in parts:
        if isinstance(part, str) or part[0] in MARKUP:
            yield from part if isinstance(part, str) else [part]
        else:
            yield from pieces(part[1])


def content(parts):
    """Text in dropped markup, without the text of its sub-flows."""
    kept = (part for part in parts if isinstance(part, str) or part[0] != "sub")
    return "".join(part if isinstance(part, str) else content(part[1]) for part in kept)


MARKUP = {"bpt", "ept", "it", "ph", "ut", "x"}


def text_of(parts):
    """The text by definition: blank markup is a break, `ph` and `x` separate letters; there is no other markup here."""
    text, gap = "", set()
    for piece in pieces(parts):
        if isinstance(piece, tuple):
            gap.add("break" if content(piece[1]).isspace() else "letters" if piece[0] in ("ph", "x") else "")
            continue
        around = text[-1:] + piece
        if len(around) == 2 and not any(map(str.isspace, around)):
            text += " " * ("break" in gap or ("letters" in gap and around.isalpha()))
        text, gap = text + piece, set()
    return text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(units=st.lists(st.tuples(*[st.lists(TREES, max_size=4)] * 2), min_size=1, max_size=4), chunk=st.integers(1, 64))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_any_segments_in_any_encoding_and_pieces(read, monkeypatch, encoding, units, chunk):
    monkeypatch.setattr(tmx, "CHUNK", chunk)
    body = ElementTree.Element("body")
    for sides in units:
        tu = ElementTree.SubElement(body, "tu")
        for language, parts in zip(("DE-at", "en_US"), sides, strict=True):
            tuv = ElementTree.SubElement(tu, "tuv", {"xml:lang": language})
            tuv.append(element("seg", parts))
    root = ElementTree.Element("tmx")
    root.append(body)
    data = ElementTree.tostring(root, encoding=encoding, xml_declaration=True)
    expected = [Pair(number, *map(text_of, sides)) for number, sides in enumerate(units, start=1)]
    assert read(data) == expected


@pytest.mark.parametrize(
    ("language", "code", "found"),
    [
        ("EN-US", "en", True), ("en", "EN", True), ("en_GB", "en-gb", True), ("zh-Hant-TW", "zh-Hant", True),
        ("en", "en-US", False), ("eng", "en", True), ("zh-TW", "zh-CN", False), ("", "en", False),
    ],
)  # fmt: skip
def test_codes_are_ranges(language, code, found):
    assert languages.is_in(language, code) is found


def test_of_several_variants_the_first_is_taken_and_other_languages_are_left(read):
    body = unit(("fr", "f"), ("en-US", "color"), ("en-GB", "colour"), ("de", "Farbe"), ("de", "Farben"))
    assert read(body) == [Pair(1, "Farbe", "color")]
    assert read(body, target_language="EN-gb") == [Pair(1, "Farbe", "colour")]
    assert read(body, "en-gb", "en-us") == [Pair(1, "colour", "color")]
    assert read(body, reverse=True) == [Pair(1, "color", "Farbe")]


def test_the_attribute_of_version_1_1_is_known(read):
    body = '<tu><tuv lang="DE"><seg>a</seg></tuv><tuv lang="EN"><seg>b</seg></tuv></tu>'
    assert read(body) == [Pair(1, "a", "b")]


def test_notes_and_properties_are_no_text(read):
    inner = '<prop type="p">p</prop><note>n</note>'
    body = f'<tu>{inner}<tuv xml:lang="de">{inner}<seg>a</seg></tuv>{variant("en", "b")}</tu>'
    assert read(body) == [Pair(1, "a", "b")]


def test_prefixed_elements_and_a_document_type_are_no_matter(read):
    body = unit(("de", "a"), ("en", "b")).replace("<t", "<x:t").replace("</t", "</x:t").replace("seg", "x:seg")
    data = f'<!DOCTYPE tmx SYSTEM "tmx14.dtd"><x:tmx xmlns:x="http://www.lisa.org/tmx14">{body}</x:tmx>'
    assert read(data.encode()) == [Pair(1, "a", "b")]


def test_units_without_a_side_are_counted_and_keep_their_number(read, tmp_path):
    body = unit(("de", "a"), ("en", "b")) + unit(("de", "c")) + unit(("en", "d")) + unit(("fr", "e"))
    body += unit(("de", "f"), ("en", "g"))
    assert read(body) == [Pair(1, "a", "b"), Pair(2, "c", ""), Pair(3, "", "d"), Pair(4, "", ""), Pair(5, "f", "g")]
    train = {"format": "tmx", "path": "memory.tmx", "source_language": "de", "target_language": "en"}
    held_out = {"format": "demo", "domain": "it", "pairs": 1}
    domain = config.Domain.model_validate({"train": train, "dev": held_out, "test": held_out})
    rows, reports = store.prepare(domain, "it", tmp_path.joinpath)
    assert [row.id for row in rows["train"]] == ["it.train.1", "it.train.5"]
    dropped = reports["train"]["dropped"]
    assert (reports["train"]["read"], dropped["empty_source"], dropped["empty_target"]) == (5, 2, 1)


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (unit(("de", "a"), ("fr", "b")), ["memory.tmx", "de", "en", "de, fr", "source_language, target_language"]),
        ("<tu><tuv><seg>a</seg></tuv></tu>", ["memory.tmx", "de", "en", "source_language, target_language"]),
        # expat's own words
        (b"", ["memory.tmx:1", "no element found"]),
        (b"a b\n", ["memory.tmx:1", "syntax error"]),
        (b"<tmx>\n<body>\n<tu>\n</body></tmx>", ["memory.tmx:4", "mismatched tag"]),
        (b"<tmx>\n<body>\n", ["memory.tmx:3", "no element found"]),
        (b"<tmx>\na & b</tmx>", ["memory.tmx:2", "invalid token"]),
        (b"<tmx>\n\0</tmx>", ["memory.tmx:2", "invalid token"]),
        ("<tmx>\nfür</tmx>".encode("latin-1"), ["memory.tmx:2", "invalid token"]),
        (b"<tmx>\n&nbsp;</tmx>", ["memory.tmx:2", "undefined entity"]),
        (b'<!DOCTYPE tmx SYSTEM "tmx14.dtd"><tmx>\n&nbsp;</tmx>', ["memory.tmx:2", "'nbsp'", "DTD"]),
        (b'<!DOCTYPE tmx [\n<!ENTITY e SYSTEM "/etc/hosts">]><tmx>&e;</tmx>', ["memory.tmx:2", "'e'", "DTD"]),
        (
            '<?xml version="1.0" encoding="gb18030"?><tmx>中</tmx>'.encode("gb18030"),
            ["memory.tmx", "multi-byte", "UTF-8"],
        ),
        (b'<?xml version="1.0" encoding="nosuch"?><tmx/>', ["memory.tmx", "unknown encoding", "UTF-8"]),
    ],
)
def test_what_cannot_be_read_is_named(read, data, facts):
    with refused(*facts):
        read(data)


def test_a_segment_outside_any_unit_is_no_pair(read):
    assert read(b"<seg>a</seg>") == read(b'<tuv xml:lang="de"><seg>a</seg></tuv>') == []


def test_an_expansion_bomb_is_refused_at_its_first_entity(read):
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">\n' for n in range(30))
    data = f'<!DOCTYPE tmx [\n<!ENTITY e0 "boom">\n{entities}]>\n<tmx>&e30;</tmx>'
    start = time.monotonic()
    with refused("memory.tmx:2", "'e0'", "DTD"):
        read(data.encode())
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_memory_is_read_by_parts(tmp_path, encoding):
    """Ten thousand units are read, of which none is kept; the file alone has 2.5 MB."""
    one = unit(("de", "a" * 100), ("en", "b" * 100))
    (tmp_path / "big.tmx").write_bytes(f"<tmx><body>{one * 10_000}</body></tmx>".encode(encoding))
    source = config.Tmx(format="tmx", path="big.tmx", source_language="de", target_language="en")
    tracemalloc.start()
    number = sum(1 for _ in readers.read(source, "train", tmp_path.joinpath))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == 10_000
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("start", "fact"),
    [
        ('<tu>\n<tuv xml:lang="de"><seg>', "4,000,000"),
        ("<tu>\n<!-- ", "comment"),
        ('<tu>\n<tuv xml:lang="', "tag"),
    ],
)
def test_a_piece_beyond_all_bounds_names_the_line(read, start, fact):
    with refused("memory.tmx:3", fact):
        read(start + "a" * 6_000_000)
