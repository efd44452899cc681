"""LaTeX tables: a real pdfLaTeX typesets all of them in a two-column article without any warning."""

import re
import shutil
import subprocess

import fake_results
import pandas as pd
import pytest

from caneft.reporting import tables
from caneft.reporting.contents import every_table
from caneft.reporting.escaping import BREAK, breakable, escape
from caneft.reporting.latex import column_widths, latex
from caneft.reporting.layout import BEST, SECOND, Cell, Column, Table
from caneft.reporting.listing import TABLES
from caneft.reporting.widths import SIZES

TEX = shutil.which("pdflatex")
HAS_BOOKTABS = TEX and subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True).returncode == 0
PACKAGES = "texlive-latex-base texlive-latex-recommended"
needs_latex = pytest.mark.skipif(not HAS_BOOKTABS, reason=f"no pdflatex with booktabs: apt-get install {PACKAGES}")
COMPLAINT = re.compile(r"^!.*|.*(?:Overfull|Underfull|Warning|undefined|Missing character).*", flags=re.MULTILINE)
PREAMBLE = "\\documentclass[twocolumn]{article}\n\\usepackage{booktabs}\n\\begin{document}\n"


def complaints(folder, body, runs=2):
    """pdfLaTeX's complaints; it runs twice, so that references and floats are settled."""
    (folder / "paper.tex").write_text(PREAMBLE + body + "\n\\end{document}\n", encoding="utf-8")
    for _ in range(runs):
        command = [TEX, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
        done = subprocess.run(command, cwd=folder, capture_output=True)
    found = COMPLAINT.findall((folder / "paper.log").read_text(encoding="utf-8", errors="replace"))
    return found + ([f"exit status {done.returncode}"] if done.returncode else [])


GRID = [1e-5, 2.5e-4, 1e-3]
SEEN = ("it", "law", "medical", "subtitles", "education", "microblog", "science")
UNSEEN = ("koran", "news", "spoken", "thesis", "laws")
LABELS = {
    "it": "Software & manuals",
    "law": "law_of_the_union",
    "medical": "50 % médecine",
    "subtitles": "字幕",
    "microblog": "Donaudampfschifffahrtsgesellschaftskapitän",
    "koran": "Łódź ~ #1 ^ {x} \\y $",
    "caneft": "CANEFT (ours, with the consensus of all of the domains and 10 % of the neurons)",
    "full": "全参数微调 (full)",
    "random-2": "a_name_with_underscores_and_no_blank_anywhere_in_it_at_all",
    "lora": "ąęþ „low“ rank … – ±1 < 2 | 3 > 2",
}
NEURONS = ("joint", "importance", "activation", "gradient", "bottom", "specific")
METHODS = {
    "base": {"method": "base"},
    "shown": {"method": "icl", "examples": 2, "retrieval": "bm25"},
    "full": {"method": "full", "learning_rate": GRID},
    "lora": {"method": "lora", "rank": 16, "learning_rate": GRID},
    "lora-2": {"method": "lora", "rank": 2, "learning_rate": GRID},
    "equal": {"method": "lora", "equal_to": "caneft", "learning_rate": 1e-2},
    "adapters": {"method": "adapters", "learning_rate": GRID},
    "random": {"method": "random", "learning_rate": GRID},
    "random-2": {"method": "random", "learning_rate": GRID, "fraction": 0.02},
    **{name: {"method": name, "learning_rate": GRID} for name in NEURONS},
    "caneft": {"method": "caneft", "learning_rate": GRID},
    "caneft-20": {"method": "caneft", "learning_rate": GRID, "fraction": 0.2},
    "heads": {"method": "caneft-attention", "learning_rate": GRID},
}  # fmt: skip
MIXTURES = {
    "all": {"de-en": list(SEEN)},
    "first": {"de-en": {"domains": ["it", "law", "medical"], "rates_on": "all", "select_on": "all"}},
    "only-it": {"de-en": {"domains": ["it"], "test": ["law", "koran"], "methods": ["base", "full", "caneft"]}},
    "only-law": {"de-en": {"domains": ["law"], "test": ["it", "koran"], "methods": ["base", "full", "caneft"]}},
}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Tables of 18 methods on 12 domains with hostile labels, deviations, marks, overlap and bad outputs."""
    root = tmp_path_factory.mktemp("large")
    report = {"labels": LABELS, "note": "100 % of {nothing} is_meant; see 材料."}
    plan = fake_results.plan(METHODS, seeds=(1, 2, 3), seen=SEEN, unseen=UNSEEN, mixtures=MIXTURES, report=report)
    wrong = {"empty": 1, "truncated": 400, "overlong": 17, "wrong_language": 3}
    fake_results.write(plan, root, flagged=lambda mixture, domain: (7, 13), health=lambda variant, domain: wrong)
    for name, numbers, printed, absent in every_table(plan, root):
        assert printed, f"{name} has nothing to print, so it is not tried"
        tables.write(root / "tables" / name, numbers, printed, absent)
    return root / "tables"


@needs_latex
def test_every_table_compiles_without_a_warning(large, tmp_path):
    files = sorted(large.glob("*.tex"))
    assert len(files) == len(TABLES)
    body = [f"\\input{{{path.with_suffix('')}}}\\clearpage" for path in files]
    labels = [label for path in files for label in re.findall(r"\\label{(.*?)}", path.read_text(encoding="utf-8"))]
    assert len(set(labels)) == len(labels)
    body += [f"Table~\\ref{{{label}}}." for label in labels]
    assert complaints(tmp_path, "\n".join(body)) == []


@needs_latex
def test_a_sentence_in_the_place_of_a_table_compiles(tmp_path):
    plan = fake_results.plan({"full": {"method": "full", "learning_rate": 1e-3}}, unseen=())
    fake_results.write(plan, tmp_path)
    absent = [(name, sentence) for name, _, printed, sentence in every_table(plan, tmp_path) if not printed]
    names = {name for name, _ in absent}
    others = {"interference", "trials", "health", "overlap", "significance"}
    assert names == {"unseen", "criteria", "stability", "budget", *others}
    for name, sentence in absent:
        tables.write(tmp_path / name, pd.DataFrame(), [], sentence)
    assert complaints(tmp_path, "\n\n".join(f"\\input{{{name}}}" for name in names)) == []


@needs_latex
def test_every_accepted_letter_is_one_that_pdflatex_has(tmp_path):
    """Covers letters passed on as they are or as a command, in text, bold and typewriter, and other letters."""
    letters = [
        chr(code) for code in (*range(0x21, 0x7F), *range(0xA0, 0x250), *range(0x2010, 0x2027), *range(0x2190, 0x2270))
    ]
    others = ["材", "Ж", "α", "א", "😀", "\u0308"]
    shown = [escape(letter) for letter in [*letters, *others]]
    assert {"é", "Ł", "ß", "ő"} <= set(shown) and escape("材") == r"\ifdefined\Umathchar 材\else[U+6750]\fi{}"
    lines = [f"{text} \\textbf{{{text}}}\\par" for text in shown]
    own = " ".join(letter for letter in letters if escape(letter) == letter)
    table = Table("tab:x", "X", own, [Column("y")], [[Cell("1")]], notes=["`nrefs:1|case_x|tok:13a`"])
    assert complaints(tmp_path, "\\footnotesize\n" + "\n".join(lines) + latex([table])) == []


@needs_latex
@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.command[1:])
def test_widths_are_hardly_more_than_latex_s_own_and_never_less(tmp_path, size):
    """Covers bold digits, capitals, small letters, deviations, headers, and groups wider than their columns."""
    lines = []
    texts = {"88.8": "10.8", "1,234,567.8": "", "WORM": "", "mammoth mmm": "", "a (0.25)": "", "77.7": "0.5"}
    shown = [wide(4)]
    for text, deviation in texts.items():
        columns = [Column("Method", numeric=False), Column(text[:4], "a wide group"), Column("x y z", "g"), Column("W")]
        cells = [Cell("icl-bm25"), Cell(text, deviation, BEST), *[Cell(text, deviation)] * 2]
        shown.append(Table("tab:x", "T", "C.", columns, [cells]))
    for table in shown:
        tabular = re.search(r"\\begin{tabular}.*?\\end{tabular}", latex([table]), flags=re.DOTALL)[0]
        gap = f"{size.command}\\setlength{{\\tabcolsep}}{{{size.gap}pt}}"
        lines.append(f"\\setbox0\\hbox{{{gap}{tabular}}}\\typeout{{WIDTH \\the\\wd0}}")
    assert complaints(tmp_path, "\n".join(lines), runs=1) == []
    found = [
        float(width) for width in re.findall(r"^WIDTH ([\d.]+)pt", (tmp_path / "paper.log").read_text(), re.MULTILINE)
    ]
    reckoned = [sum(column_widths(table, size)) for table in shown]
    assert len(found) == len(shown)
    assert all(real <= width <= 1.2 * real for real, width in zip(found, reckoned, strict=True)), (found, reckoned)


@needs_latex
def test_a_table_that_does_not_fit_is_complained_of(tmp_path):
    """So the tests do read the log: without panels, sizes and breaks the same table is too wide."""
    row = " & ".join(["a_name\\_with\\_underscores".replace("_", "\\_", 1)] * 12)
    body = f"\\begin{{table*}}\\begin{{tabular}}{{{'r' * 12}}}{row}\\end{{tabular}}\\end{{table*}}"
    assert any("Overfull" in line for line in complaints(tmp_path, body, runs=1))


def columns_of(text):
    """For each tabular, the headers of the last line and the cells of the rows."""
    parts = re.findall(r"\\begin{tabular}.*?\\toprule\n(.*?)\\midrule\n(.*?)\\bottomrule", text, flags=re.DOTALL)
    return [
        (head.strip().splitlines()[-1].rstrip(" \\").split(" & "), body.strip().splitlines()) for head, body in parts
    ]


def wide(columns, group="", rows=3):
    cells = [
        [Cell(f"m{row}"), *(Cell(f"{row}{number:02}.5", "10.5") for number in range(columns))] for row in range(rows)
    ]
    names = [Column("Method", numeric=False), *(Column(f"c{number:02}", group) for number in range(columns))]
    return Table("tab:w", "W", "C.", names, cells)


def test_columns_that_do_not_fit_go_on_below_and_none_is_lost():
    text = latex([wide(25)])
    parts = columns_of(text)
    assert len(parts) > 1 and text.count(r"\begin{table*}") == 1
    assert [name for head, _ in parts for name in head[1:]] == [f"c{number:02}" for number in range(25)]
    assert all(
        head[0] == "Method" and [line.split(" & ")[0] for line in body] == ["m0", "m1", "m2"] for head, body in parts
    )
    values = [re.findall(r"(\d+)\.5\$", line) for _, body in parts for line in body if line.startswith("m1")]
    assert [value for part in values for value in part] == [f"1{number:02}" for number in range(25)]


@pytest.mark.parametrize(
    ("columns", "environment", "size"), [(3, "table", "small"), (7, "table*", "small"), (9, "table*", "footnotesize")]
)
def test_size_and_environment_follow_the_width(columns, environment, size):
    text = latex([wide(columns)])
    assert rf"\begin{{{environment}}}[tp]" in text and rf"\centering\{size}" in text


def test_a_long_word_in_the_caption_wants_the_whole_width():
    table = wide(2)
    assert r"\begin{table}" in latex([table])
    long = Table(table.label, "W" * 30, table.caption, table.columns, table.rows)
    assert r"\begin{table*}" in latex([long]) and BREAK not in latex([long])


def test_long_words_have_places_to_break_at():
    assert breakable("a short_word and " + "x" * 40) == f"a short_word and {'x' * 18}{BREAK}{'x' * 18}{BREAK}xxxx"
    assert breakable("a_name_with_underscores") == "a_name_with_underscores".replace("_", f"_{BREAK}")


def test_marks_and_a_long_header():
    cells = [[Cell("a"), Cell("1.0", mark=BEST)], [Cell("b"), Cell("0.5", mark=SECOND)]]
    table = Table("tab:m", "M", "C.", [Column("Method", numeric=False), Column("Trained parameters")], cells)
    text = latex([table])
    assert " & Trained \\\\\nMethod & parameters \\\\" in text
    assert r"a & \textbf{1.0} \\" in text and r"b & \underline{0.5} \\" in text
