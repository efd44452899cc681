"""Neural metrics in the main table: each is scaled, named and marked in its own way. The files are written by hand."""

import fake_results
import pytest

from caneft.reporting import inputs, results, tables
from tests.messages import assert_names

TRAIN = {"corpora": [{"direction": "de-en", "corpus": {"format": "demo", "domain": "it", "pairs": 10}}]}
COMET = {"base": 0.5, "lora": 0.71, "caneft": 0.68, "copy": 0.1}
METRICX = {"base": 9.0, "lora": 3.16, "caneft": 3.04, "copy": 24.0}
TRAINING = {"pairs": 1080, "held_out": 120, "comet": {"pearson": 0.876}, "chrf": {"pearson": 0.912}}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """(frame, printed tables by metric) for one seed; a variant has the same score in every domain."""
    root = tmp_path_factory.mktemp("neural")
    plan = fake_results.plan(scoring={"comet": {"train": TRAIN}, "metricx": {"hub": "a/b"}})
    fake_results.write(plan, root)
    for file in inputs.score_files(plan):
        for metric, path in file.neural.items():
            score = {"comet": COMET, "metricx": METRICX}[metric][file.variant]
            entry = {"score": score, "signature": f"{metric}|some", "segments": [score]}
            content = {"format": 1, "metric": metric, "domains": {domain: entry for domain in file.domains}}
            fake_results.add_domains(root / path, content)
    fake_results.write_json(root / "metrics/comet/manifest.json", {"format": 1, "training": TRAINING})
    fake_results.write_json(root / "metrics/metricx/manifest.json", {"format": 1})
    assert {path for path in inputs.table_inputs(plan) if "metricx" in path or "comet" in path} == {
        str(file.relative_to(root)) for file in root.rglob("*") if "metricx" in str(file) or "comet" in str(file)
    } - {"metrics/comet", "metrics/metricx"}
    scores, records = results.scores(plan, root), results.records(plan, root)
    frame, training = tables.main_table(plan, scores, records), results.metric_training(plan, root)
    printed = list(tables.main_tables(plan, frame, scores, records, training, {}, results.decoded(plan, root)))
    return frame, dict(zip(plan.config.scoring.all, printed, strict=True))


def cells(table, variant):
    (row,) = [row for row in [*table.rows, *table.footer] if row[0].text == variant]
    return {(cell.text, cell.mark) for cell in row[2:]}


def test_comet_is_shown_in_per_cent_and_metricx_as_it_is(found):
    frame, _ = found
    means = frame.set_index(["metric", "variant"])["average_all_mean"]
    assert {variant: means["comet", variant] for variant in COMET} == pytest.approx(
        {variant: 100 * score for variant, score in COMET.items()}
    )
    assert {variant: means["metricx", variant] for variant in METRICX} == pytest.approx(METRICX)


def test_the_highest_comet_and_the_lowest_metricx_are_best(found):
    _, printed = found
    marks = {"best": ("71.0", "lora"), "second": ("68.0", "caneft"), "": ("50.0", "base")}
    assert all(cells(printed["comet"], variant) == {(text, mark)} for mark, (text, variant) in marks.items())
    marks = {"best": ("3.04", "caneft"), "second": ("3.16", "lora"), "": ("9.00", "base")}
    assert all(cells(printed["metricx"], variant) == {(text, mark)} for mark, (text, variant) in marks.items())
    assert cells(printed["metricx"], "copy") == {("24.00", "")}


def test_a_demonstration_and_a_count_of_errors_are_called_so(found):
    _, printed = found
    assert_names(printed["comet"].title, "COMET (demonstration)", "tiny")
    assert_names(printed["metricx"].title, "MetricX (lower is better)", "tiny")
    (note,) = [note for note in printed["comet"].notes if "1,080" in note]
    assert_names(note, "120", "0.88", "Pearson", "chrF2", "0.91")
    assert not any("Pearson" in note for note in printed["metricx"].notes)
