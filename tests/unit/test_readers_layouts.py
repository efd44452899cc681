"""One text in every layout gives the same prepared corpus, byte by byte; rules know the files before reading them."""

import gzip
import io
import json
import lzma
import unicodedata
import zipfile
from xml.sax.saxutils import escape

import pytest

from caneft import config, demo
from caneft.corpora import readers, store
from caneft.storage.files import split_archive

SPLITS = {"train": 300, "dev": 30, "test": 60}
AWKWARD = [
    ("Fahr & Söhne <GmbH>", 'Fahr & "Sons" <Ltd>'),
    ("", "an empty source"),
    ("ein leeres Ziel", " "),
    ("a\u0308hnlich\u2028wie\x85dies", "like this \u00a0 🙂"),
    ("Fahr & Söhne <GmbH>", 'Fahr & "Sons" <Ltd>'),
    ("表格", "table"),
]
# Awkward pairs are in the middle, because a final empty line of alternating lines is no line.
CONTENT = {s: [*demo.pairs("it", s, n - 2), *AWKWARD, *demo.pairs("law", s, 2)] for s, n in SPLITS.items()}


def moses(content):
    return {name: "".join(pair[side] + "\n" for pair in content) for side, name in enumerate(("de", "en"))}


def moses_in_one_archive(content):
    return {"zip": zipped({f"opus/law.{name}": text for name, text in moses(content).items()})}


def tsv(content):
    return {"tsv": "".join(f"{source}\t{target}\n" for source, target in content)}


def english_first(content):
    return {"txt": "".join(f"{target}\n{source}\n" for source, target in content)}


def separated(content):
    return {"txt": "\r\n".join(f"{source}\r\n{target}\r\n" for source, target in content)}


def tmx(content):
    seg = '<tuv xml:lang="{}"><seg>{}</seg></tuv>'
    units = (
        f"<tu>{seg.format('EN-US', escape(target))}\n{seg.format('de', escape(source))}</tu>\n"
        for source, target in content
    )
    return {"tmx": f'<?xml version="1.0"?>\n<tmx version="1.4"><body>{"".join(units)}</body></tmx>'}


def nested(content):
    records = ({"id": 7, "translation": {"de": source, "en": target}} for source, target in content)
    return {"jsonl": "".join(json.dumps(record) + "\n" for record in records)}


def instruct(content, indent=2):
    records = [{"input": f"German: {source}", "output": f"English: {target}"} for source, target in content]
    return {"json": json.dumps(records, ensure_ascii=False, indent=indent)}


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


PREFIXES = {"source_prefix": "German: ", "target_prefix": "English: "}
NESTED = {"source": "translation.de", "target": "translation.en"}
CODES = {"source_language": "de", "target_language": "en"}
AS_IT_IS = (lambda data: data, "")
GZ, XZ = (gzip.compress, ".gz"), (lzma.compress, ".xz")
ZIP = (lambda data: zipped({"folder/": b"", "folder/corpus": data, "__MACOSX/folder/._corpus": b"?"}), ".zip")
GZ_IN_ZIP = (lambda data: zipped({"other.gz": b"", "corpus.gz": gzip.compress(data)}), ".zip")

LAYOUTS = {
    "moses": (moses, "utf-8", AS_IT_IS, {"format": "moses", "source_path": "{}.de", "target_path": "{}.en"}),
    "moses.gz": (moses, "utf-8", GZ, {"format": "moses", "source_path": "{}.de.gz", "target_path": "{}.en.gz"}),
    "moses.zip::": (
        moses_in_one_archive,
        "utf-8",
        AS_IT_IS,
        {"format": "moses", "source_path": "{}.zip::opus/law.de", "target_path": "{}.zip::opus/law.en"},
    ),
    "tsv": (tsv, "utf-8", AS_IT_IS, {"format": "tsv", "path": "{}.tsv"}),
    "tsv, BOM": (tsv, "utf-8-sig", AS_IT_IS, {"format": "tsv", "path": "{}.tsv"}),
    "tsv.gz": (tsv, "utf-8", GZ, {"format": "tsv", "path": "{}.tsv.gz"}),
    "tsv.xz": (tsv, "utf-8", XZ, {"format": "tsv", "path": "{}.tsv.xz"}),
    "tsv.zip": (tsv, "utf-8", ZIP, {"format": "tsv", "path": "{}.tsv.zip"}),
    "tsv.zip::": (tsv, "utf-8", ZIP, {"format": "tsv", "path": "{}.tsv.zip::folder/corpus"}),
    "gz in zip": (tsv, "utf-8", GZ_IN_ZIP, {"format": "tsv", "path": "{}.tsv.zip::corpus.gz"}),
    "alternating": (english_first, "utf-8", AS_IT_IS, {"format": "alternating", "path": "{}.txt"}),
    "separated": (separated, "utf-8", XZ, {"format": "alternating", "path": "{}.txt.xz", "first": "source"}),
    "tmx": (tmx, "utf-8", AS_IT_IS, {"format": "tmx", "path": "{}.tmx", **CODES}),
    "tmx, UTF-16": (tmx, "utf-16", GZ, {"format": "tmx", "path": "{}.tmx.gz", **CODES}),
    "nested": (nested, "utf-8", AS_IT_IS, {"format": "jsonl", "path": "{}.jsonl", **NESTED}),
    "nested.zip": (nested, "utf-8", ZIP, {"format": "jsonl", "path": "{}.jsonl.zip", **NESTED}),
    "instruct": (instruct, "utf-8", AS_IT_IS, {"format": "instruct", "path": "{}.json", **PREFIXES}),
    "one line": (
        lambda content: instruct(content, indent=None),
        "utf-8",
        GZ,
        {"format": "instruct", "path": "{}.json.gz", **PREFIXES},
    ),
}


def domain_of(layout, folder, content=CONTENT, **more):
    """Writes all splits in a layout. Returns the domain that reads them."""
    texts, encoding, (packed, suffix), entry = LAYOUTS[layout]
    for split in SPLITS:
        for name, text in texts(content[split]).items():
            data = text if isinstance(text, bytes) else text.encode(encoding)
            (folder / f"{split}.{name}{suffix}").write_bytes(packed(data))
    return config.Domain.model_validate(
        {split: {key: value.format(split) for key, value in entry.items()} | more for split in SPLITS}
    )


def prepared(domain, folder):
    """Bytes of the prepared splits, and the reports."""
    rows, reports = store.prepare(domain, "it", folder.joinpath)
    for split in SPLITS:
        store.write(folder / "prepared" / split, rows[split])
    return {split: (folder / "prepared" / split).read_bytes() for split in SPLITS}, reports


def by_hand(content, split):
    """What must be left of a split: with its line numbers, in NFC, with single spaces. Train and dev lose pairs with an
    empty side and the sources of later splits."""
    texts, seen = "", {side for other in ("dev", "test") if split == "train" for side, _ in AWKWARD}
    seen |= {side for side, _ in AWKWARD} if split == "dev" else set()
    for number, pair in enumerate(content, start=1):
        source, target = (" ".join(unicodedata.normalize("NFC", side).split()) for side in pair)
        if split == "test" or (pair[0] not in seen and source and target):
            row = {"id": f"it.{split}.{number}", "source": source, "target": target}
            texts += json.dumps(row, ensure_ascii=False) + "\n"
    return texts.encode()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_prepared_corpus(tmp_path, layout):
    texts, reports = prepared(domain_of(layout, tmp_path), tmp_path)
    assert texts == {split: by_hand(CONTENT[split], split) for split in SPLITS}
    assert reports["train"]["read"] == len(CONTENT["train"]) == 306
    # All splits have the awkward pairs: in train two are empty, one is a copy, and three are in dev and test.
    dropped = {"empty_source": 1, "empty_target": 1, "duplicate_pair": 1, "leakage": 3}
    assert {reason: reports["train"]["dropped"][reason] for reason in dropped} == dropped


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reverse_is_the_corpus_of_the_other_direction(tmp_path, layout):
    (tmp_path / "there").mkdir()
    (tmp_path / "back").mkdir()
    swapped = {split: [(target, source) for source, target in content] for split, content in CONTENT.items()}
    reversed_ = prepared(domain_of(layout, tmp_path / "there", reverse=True), tmp_path / "there")
    assert reversed_ == prepared(domain_of("nested", tmp_path / "back", swapped), tmp_path / "back")


def test_built_in_text_reverses_too():
    source = {"format": "demo", "domain": "it", "pairs": 5}
    forth, back = (readers.read(config.Demo(**source, reverse=r), "train", None) for r in (False, True))
    assert [(n, target, text) for n, text, target in forth] == list(back)


def test_a_folder_of_the_datasets_library_gives_the_same_prepared_corpus(tmp_path):
    datasets = pytest.importorskip("datasets")
    records = {
        split: datasets.Dataset.from_list([{"translation": {"de": de, "en": en}} for de, en in content])
        for split, content in CONTENT.items()
    }
    datasets.DatasetDict(records).save_to_disk(str(tmp_path / "saved"))
    entry = {split: {"format": "datasets", "name": "saved", "split": split} for split in SPLITS}
    texts, _ = prepared(config.Domain.model_validate(entry), tmp_path)
    assert texts == {split: by_hand(CONTENT[split], split) for split in SPLITS}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_files_of_a_layout_are_known_before_it_is_read(tmp_path, layout):
    """The paths are files on disk, or archives with them: a rule can wait for these."""
    domain = domain_of(layout, tmp_path)
    files = {str(split_archive(tmp_path / path)[0]) for split in SPLITS for path in getattr(domain, split).paths()}
    assert files == {str(path) for path in tmp_path.iterdir()}
