"""Which configuration a results folder has while a run under another one has not finished."""

import pytest
import yaml

from caneft.commands.finished import OWN, PENDING, begin, open_plan, settle
from tests.workflow import job_sets as jobs


def baseline(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["significance"]["baseline"]


def fraction(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["selection"]["fraction"]


def test_tables_keep_their_configuration_until_new_ones_are_made(tmp_path, capsys, pristine):
    old, new = (pristine.configuration() | {"selection": {"fraction": share}} for share in (0.1, 0.3))
    begin(tmp_path, old)
    begin(tmp_path, new)  # no tables yet: the folder is the last run's
    assert fraction(tmp_path / OWN) == 0.3 and not (tmp_path / PENDING).exists()
    begin(tmp_path, old)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/main.csv").touch()
    begin(tmp_path, old)
    assert open_plan(tmp_path).config.selection.fraction == 0.1 and not capsys.readouterr().err

    begin(tmp_path, new)
    assert open_plan(tmp_path).config.selection.fraction == 0.1
    warned = capsys.readouterr().err
    assert PENDING in warned and str(tmp_path / OWN) in warned

    (tmp_path / OWN).write_bytes(b"\xff")  # damaged: no run trips over it
    begin(tmp_path, new)
    settle(tmp_path, new)
    assert open_plan(tmp_path).config.selection.fraction == 0.3 and not capsys.readouterr().err
    assert not (tmp_path / PENDING).exists()


@pytest.mark.slow
def test_a_run_of_a_part_leaves_the_summary_and_the_configuration_alone(finished, tmp_path):
    copy = finished.copy(tmp_path / "copy")
    before = (copy.results / OWN).read_bytes()
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(copy.configuration(jobs.change_baseline)))
    part = copy.snakemake("--cores", "1", "--until", "test_significance", config=changed, forked=True)
    assert part.returncode == 0, part.stdout
    assert "overview.html" not in part.stdout
    assert (copy.results / OWN).read_bytes() == before
    assert baseline(copy.results / PENDING) == "lora"

    whole = copy.snakemake("--cores", "2", config=changed, forked=True)
    assert whole.returncode == 0, whole.stdout
    assert "overview.html" in whole.stdout
    assert baseline(copy.results / OWN) == "lora" and not (copy.results / PENDING).exists()
