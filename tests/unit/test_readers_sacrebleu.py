"""sacreBLEU's test sets from its cache: the library is real, on small files in the layouts that it downloads."""

import pytest

from caneft import config
from caneft.corpora import readers
from caneft.corpora.readers import Pair
from tests.messages import refused

DATASETS = pytest.importorskip("sacrebleu.dataset").DATASETS

XML = """<dataset id="wmttest2022"><doc id="d" origlang="de">
<src lang="de"><p><seg id="1">Ein  Haus.</seg><seg id="2">Zwei &amp; drei.</seg></p></src>
<ref lang="en" translator="B"><p><seg id="1">B house.</seg><seg id="2">B two.</seg></p></ref>
<ref lang="en" translator="A"><p><seg id="1">A house.</seg><seg id="2">Two &amp; three.</seg></p></ref>
<hyp system="s" lang="en"><p><seg id="1">x</seg><seg id="2">y</seg></p></hyp>
</doc></dataset>"""


def read(name, langpair, **more):
    source = config.SacreBleu(format="sacrebleu", name=name, langpair=langpair, **more)
    return list(readers.read(source, "test", None))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """sacreBLEU's empty folder for wmt22, and no network to fill it."""
    for name in ("wmt22", "wmt21/AB", "wmt14"):
        monkeypatch.setattr(DATASETS[name], "_outdir", str(tmp_path / name))
        monkeypatch.setattr(DATASETS[name], "_rawdir", str(tmp_path / name / "raw"))
        monkeypatch.setattr(DATASETS[name], "data", [f"file://{tmp_path}/no/{name.replace('/', '-')}.tar.gz"])
    return tmp_path


def fill(cache, name, langpair, content, index=0):
    """Writes what a download leaves: the archive and its unpacked files."""
    dataset = DATASETS[name]
    entry = dataset.langpairs[langpair]
    place = cache / name / "raw" / (entry["path"] if isinstance(entry, dict) else entry[index])
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content, encoding="utf-8")
    archive = f"{name.replace('/', '_')}.{name.replace('/', '-')}.tar.gz"
    (cache / name / "raw" / archive).write_bytes(b"as if it had been downloaded")


@pytest.mark.parametrize(("name", "first"), [("wmt22", "A house."), ("wmt21/AB", "A house.")])
def test_of_several_references_the_first_by_name_is_read(cache, name, first):
    fill(cache, name, "de-en", XML)
    assert read(name, "de-en") == [Pair(1, "Ein Haus.", first), Pair(2, "Zwei & drei.", "Two & three.")]
    assert read(name, "de-en", reverse=True)[1] == Pair(2, "Two & three.", "Zwei & drei.")


def test_older_sets_are_two_files(cache):
    for index, text in enumerate(("Ein Haus.", "A house.")):
        fill(cache, "wmt14", "de-en", f'<doc docid="d" genre="g" origlang="de">\n<seg id="1">{text}</seg>\n', index)
    assert read("wmt14", "de-en") == [Pair(1, "Ein Haus.", "A house.")]


def test_unknown_names_are_compared_with_the_known_ones():
    with refused("'wtm22'", "wmt21", "'wmt22'"):
        read("wtm22", "de-en")
    with refused("wmt22", "'de-zh'", "cs-en", "zh-en"):
        read("wmt22", "de-zh")


def test_without_a_network_the_message_says_what_to_copy(cache):
    with refused("wmt22", "de-en", "sacrebleu -t wmt22 -l de-en"):
        read("wmt22", "de-en")


def test_a_wrong_checksum_is_a_message_too(cache, monkeypatch):
    """sacreBLEU would exit the process."""
    (cache / "no").mkdir()
    (cache / "no/wmt22.tar.gz").write_bytes(b"something else")
    monkeypatch.setattr(DATASETS["wmt22"], "md5", ["0" * 32])
    with refused("wmt22", "de-en", "sacrebleu -t wmt22 -l de-en"):
        read("wmt22", "de-en")
