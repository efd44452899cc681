"""A language code means its language in every spelling: in names of directions, for BLEU, in texts, in TMX."""

import pytest

from caneft import config
from caneft.config import Cleaning, languages
from caneft.corpora import cleaning, readers, sides
from caneft.corpora.readers import Pair
from caneft.errors import InputError
from caneft.scoring import surface
from tests.messages import assert_names, refused
from tests.unit.test_config import VALID, changed, message

CHINESE = ["今天天气很好。"], ["今天天气不错。"]


def direction(name, **languages_of_prompt):
    """Changes that rename the direction of the valid configuration."""
    own = VALID["directions"]["de-en"] | {"source_language": "one", "target_language": "another"} | languages_of_prompt
    corpora = VALID["models"]["tiny"]["pretrain"]["corpora"]
    return (
        ("directions", {name: own}),
        ("mixtures", "all", {name: ["it", "law"]}),
        ("models", "tiny", "pretrain", "corpora", [corpora[0] | {"direction": name}]),
    )


# --- names of directions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("de-en", ("de", "en")),
        ("eng-zho", ("en", "zh")),
        ("en-zh-cn", ("en", "zh-cn")),
        ("en-zh_cn", ("en", "zh-cn")),
        ("eng_latn-zho_hans", ("en-latn", "zh-hans")),
        ("en-jpn", ("en", "ja")),
        ("zh-cn-en", ("zh-cn", "en")),
        ("pt-br-de", ("pt-br", "de")),  # not Portuguese into Breton (Germany)
        ("ger-fre", ("de", "fr")),  # the other three-letter codes of ISO 639-2
        ("de-em", None),
        ("en-cn", None),
        ("xx-yy", None),
        ("german-english", None),
        ("en-zxx", None),  # "no linguistic content"
        ("dates", None),
        ("en-fr-ca", None),  # French of Canada, or English of France into Catalan
    ],
)
def test_a_direction_is_read_by_its_tags(name, tags):
    assert languages.of_direction(name) == tags
    assert config.target_code(name) == (tags and tags[1])


@pytest.mark.parametrize(
    ("name", "spoken", "facts"),
    [
        ("de-em", {"target_language": "English"}, ["'em'", "'en'"]),
        ("en-cn", {"source_language": "English", "target_language": "Chinese"}, ["'cn'", "'zh'"]),
        ("de-gr", {"target_language": "Greek"}, ["'gr'", "'el'"]),
        ("jp-en", {"source_language": "Japanese"}, ["'jp'", "'ja'"]),
        ("german-english", {}, ["'german'", "'de'", "'english'", "'en'"]),
    ],
)
def test_what_is_no_language_is_said_with_what_was_meant(name, spoken, facts):
    assert_names(message(changed(*direction(name, **spoken))), f"directions.{name}", *facts)


def test_what_looks_like_codes_is_refused_without_bleu_too():
    assert_names(message(changed(*direction("de-em"), ("scoring", "metrics", ["chrf"]))), "directions.de-em", "'em'")
    config.load(changed(*direction("de-plain"), ("scoring", "metrics", ["chrf"])))


def test_a_name_of_two_readings_is_refused_with_the_way_to_write_it():
    assert_names(message(changed(*direction("en-fr-ca"))), "directions.en-fr-ca", "en-fr_ca")
    assert config.load(changed(*direction("en-fr_ca")))


# --- BLEU ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "en-zh",
        "en-zh-cn",
        "en-zh_cn",
        "eng-zho",
        "en-zh-hans",
        "en-cmn",
        "en-yue",
        "en-zh_hant_tw",
        "en-zho_hant",
        "en-zh_hani",
    ],
)
def test_chinese_is_cut_into_characters_under_every_code(name):
    """今天天气, then 不错 for 很好: 5 of 7, 3 of 6, 2 of 5 and 1 of 4 n-grams match; (5/7 3/6 2/5 1/4) ** 1/4."""
    found = surface.corpus_scores(*CHINESE, config.target_code(name), ["bleu"])["bleu"]
    assert found["score"] == pytest.approx(100 * (5 / 7 * 3 / 6 * 2 / 5 * 1 / 4) ** 0.25, abs=1e-9)
    assert "tok:zh" in found["signature"].split("|")


@pytest.mark.parametrize("tag", ["zh-latn", "de", "pt-br", "sr", "hi", "ar", "qu", None])
def test_what_has_spaces_is_cut_at_them(tag):
    assert languages.tokenizer(tag) == "13a"


@pytest.mark.parametrize("name", ["en-th", "en-tha", "en-lo", "de-my", "en-khm_khmr", "zh-bo"])
def test_what_sacrebleu_cannot_cut_is_refused(name):
    assert_names(message(changed(*direction(name))), f"directions.{name}", "scoring.metrics", "chrf")
    assert config.load(changed(*direction(name), ("scoring", "metrics", ["chrf"])))
    with refused(f"'{config.target_code(name)}'", "scoring.metrics"):
        surface.corpus_scores(["a"], ["a"], config.target_code(name), ["bleu"])


@pytest.mark.parametrize("name", ["en-th", "en-lo"])
def test_edits_are_of_words_too(name):
    """TER counts words that moved, so it needs the same words as BLEU."""
    for metrics in (["chrf", "ter"], ["chrf", "bleu"]):
        said = message(changed(*direction(name), ("scoring", "metrics", metrics)))
        assert_names(said, f"directions.{name}", metrics[1], "scoring.metrics")
    assert config.load(changed(*direction(name), ("scoring", "metrics", ["chrf", "exact"])))


# --- the language of a text ----------------------------------------------------------------------------------------

NEAR = {
    "hr": ["Komisija će u roku od šest mjeseci podnijeti izvješće o primjeni ove Uredbe.", "Otvorite datoteku."],
    "sr-latn": ["Komisija će u roku od šest meseci podneti izveštaj o primeni ove uredbe."],
    "id": ["Saya akan pergi ke pasar besok pagi.", "Silakan buka berkas dan simpan perubahan Anda."],
    "da": ["Kommissionen forelægger en rapport om anvendelsen af denne forordning inden seks måneder."],
    "ar": ["تقدم المفوضية تقريرا عن تطبيق هذه اللائحة في غضون ستة أشهر."],
    "nb": ["Kommisjonen skal legge fram en rapport innen seks måneder."],
    "zh-hant": ["今日天氣好好呀，我哋一齊去行街啦。"],
    "fil": ["Buksan ang file at i-save ang mga pagbabago."],
}


@pytest.mark.parametrize(("tag", "text"), [(tag, text) for tag, texts in NEAR.items() for text in texts])
def test_near_languages_count_as_one(tag, text):
    assert sides.language(text, tag) == tag
    assert sides.language(text, "de") != "de"


@pytest.mark.parametrize(
    ("written", "tag"),
    [("da", "nb"), ("da", "no"), ("nb", "da"), ("nb", "nn"), ("ar", "arz"), ("ar", "ary"), ("id", "ms")],
)
def test_the_languages_of_a_group_count_for_one_another(written, tag):
    assert sides.language(NEAR[written][0], tag) == tag


def test_outputs_in_a_near_language_are_no_failures():
    hypothesis, reference = "Komisija će podnijeti izvješće o primjeni uredbe.", NEAR["hr"][0]
    assert surface.health([hypothesis], [reference], [False], "hr")["wrong_language"] == 0
    english = "The Commission shall present a report on the application of this Regulation."
    assert surface.health([english], [reference], [False], "hr")["wrong_language"] == 1


@pytest.mark.parametrize("tags", [("de", "hr"), ("ger", "hrv_latn"), ("deu", "hr-hr")])
def test_good_pairs_of_a_near_language_stay(tags):
    german = "Die Kommission legt innerhalb von sechs Monaten einen Bericht über die Anwendung dieser Verordnung vor."
    pairs = [Pair(1, german, NEAR["hr"][0]), Pair(2, german, german)]
    rules = Cleaning(wrong_language="drop")
    kept, report = cleaning.clean(pairs, rules, tags)
    assert [pair.line for pair in kept] == [1] and report["dropped"]["wrong_language"] == 1


@pytest.mark.parametrize("tag", ["tlh", "kpi_latn"])
def test_a_language_that_the_detector_does_not_know_is_said(tag):
    with refused(f"'{tag}'", "cleaning.wrong_language", "keep"):
        sides.language("Text", tag)


# --- translation memories ------------------------------------------------------------------------------------------


@pytest.fixture
def sides_of(tmp_path):
    """The two sides read from one unit with variants (tag, text)."""

    def read(variants, source_language, target_language):
        tuvs = "".join(f'<tuv xml:lang="{tag}"><seg>{text}</seg></tuv>' for tag, text in variants)
        body = f'<?xml version="1.0"?><tmx version="1.4"><header/><body><tu>{tuvs}</tu></body></tmx>'
        (tmp_path / "a.tmx").write_text(body, encoding="utf-8")
        codes = {"source_language": source_language, "target_language": target_language}
        source = config.Tmx(format="tmx", path="a.tmx", **codes)
        [pair] = readers.read(source, "train", tmp_path.joinpath)
        return pair.source, pair.target

    return read


@pytest.mark.parametrize(
    ("variants", "codes", "pair"),
    [
        # an exact code comes before a range, in either order
        ([("pt-BR", "Ônibus"), ("pt", "Autocarro")], ("pt", "pt-BR"), ("Autocarro", "Ônibus")),
        ([("pt", "Autocarro"), ("pt-BR", "Ônibus")], ("pt-BR", "pt"), ("Ônibus", "Autocarro")),
        ([("en-GB", "colour"), ("en", "color"), ("de", "Farbe")], ("de", "en"), ("Farbe", "color")),
        # one variant fills one side; the side with the more special code gets the one that only it can have
        ([("pt-BR", "Ônibus"), ("pt-PT", "Autocarro")], ("pt", "pt-BR"), ("Autocarro", "Ônibus")),
        ([("zh-Hant-TW", "軟體"), ("zh-Hans-CN", "软件")], ("zh", "zh-TW"), ("软件", "軟體")),
        ([("en", "lift"), ("en", "elevator")], ("en", "en"), ("lift", "elevator")),
        # the first segment that has text
        ([("de", ""), ("de", "Haus"), ("en", " "), ("en-US", "house")], ("de", "en"), ("Haus", "house")),
        ([("de", "Haus"), ("en", ""), ("en", "home"), ("en", "house")], ("de", "en"), ("Haus", "home")),
        ([("de", "Haus"), ("en", "")], ("de", "en"), ("Haus", "")),
        # codes of other standards
        ([("deu", "Haus"), ("eng_Latn", "house")], ("de", "en"), ("Haus", "house")),
        ([("nb-NO", "hus"), ("zho_Hans", "房子")], ("no", "zh"), ("hus", "房子")),
        ([("cmn-Hans", "房子"), ("EN_us", "house")], ("zh-Hans", "eng"), ("房子", "house")),
    ],
)
def test_variants_of_a_unit(sides_of, variants, codes, pair):
    assert sides_of(variants, *codes) == pair


def test_one_variant_never_fills_both_sides(sides_of):
    with pytest.raises(InputError):
        sides_of([("pt-BR", "Ônibus")], "pt", "pt-BR")


@pytest.mark.parametrize(
    ("tag", "code"),
    [("hr", "sr"), ("ms", "id"), ("zh-Hant", "zh-Hans"), ("no", "nb"), ("pt-PT", "pt-BR"), ("de", "nl")],
)
def test_near_languages_are_others_in_a_memory(tag, code):
    assert not languages.is_in(tag, code)
